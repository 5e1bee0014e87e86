import type { Booking, EventPlace } from '../../shared/booking/booking.ts';
import { type CalendarFailure, deleteEvent, getEvent } from '../../shared/google/calendar.ts';
import { deleteOptions, isOurs } from './calendar-event.ts';
import { withGivenUp } from './doubt.ts';
import { leftWithinReach, withoutLeftEvent } from './former-account.ts';
import { ask, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/**
 * Deletes the events that were left in an account that is connected again. One that Google does not delete now stays
 * recorded, and hinders nothing else.
 */
export async function deleteLeftEvents(deps: SyncDeps, session: Session, booking: Booking): Promise<Booking> {
  let current = booking;
  for (const place of leftWithinReach(booking, session.access.connection)) {
    const result = await deleteLeftEvent(deps, session, booking, place);
    if (result === 'open') continue;
    current = withoutLeftEvent(current, place);
    // A 404 does not prove that it is deleted: if it is found again, it is deleted then.
    if (result === 'not found') current = withGivenUp(current, place, { isProven: false, now: deps.clock() });
  }
  return current;
}

async function deleteLeftEvent(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  { calendarId, eventId }: EventPlace,
): Promise<'deleted' | 'not found' | 'open'> {
  const found = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, eventId));
  if (!found.ok) return afterFailure(found.failure);
  if (found.value.status === 'cancelled' || !isOurs(found.value, booking)) return 'deleted';
  const answer = await ask(deps, session, (token) =>
    deleteEvent(deps.calendar, token, calendarId, eventId, deleteOptions(booking, found.value)),
  );
  return answer.ok ? 'deleted' : afterFailure(answer.failure);
}

function afterFailure({ kind }: CalendarFailure): 'not found' | 'open' {
  return kind === 'not_found' || kind === 'gone' ? 'not found' : 'open';
}
