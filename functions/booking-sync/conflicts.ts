import { type Booking, calendarEventId } from '../../shared/booking.ts';
import { type CalendarFailure, freeOrBusy, getEvent } from '../../shared/calendar.ts';
import { toIso } from '../../shared/clock.ts';
import { optionalScopes } from '../../shared/names.ts';
import { isOurs } from './calendar-event.ts';
import { ask, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/**
 * Whether something else stands at that time. What cannot be seen is unknown, and never free. Whether it is our own
 * event that stands there must be known before anything is decided: a failure of that look ends the run.
 */
export async function lookForConflict(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
): Promise<'free' | 'busy' | 'unknown' | CalendarFailure> {
  const { appointment, observed, generation, bookingId } = booking;
  if (deps.conflictPolicy === 'create' || !appointment || observed) return 'free';
  const { calendarId, scopes } = session.access.connection;
  if (!scopes.includes(optionalScopes.freeBusy)) return 'unknown';
  const { startsAt, endsAt } = appointment;
  const answer = await ask(deps, session, (token) =>
    freeOrBusy(deps.calendar, token, calendarId, toIso(startsAt), toIso(endsAt)),
  );
  if (!answer.ok) return 'unknown';
  if (answer.value !== 'busy') return answer.value;
  // It may be our own event, from a run that was cut off.
  const id = calendarEventId(bookingId, calendarId, generation);
  const own = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, id));
  if (!own.ok && own.failure.kind !== 'not_found') return own.failure;
  return own.ok && isOurs(own.value, booking) ? 'free' : 'busy';
}
