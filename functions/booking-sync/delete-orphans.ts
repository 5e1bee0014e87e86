import { type Booking, calendarEventId, type EventPlace, knownEvent } from '../../shared/booking/booking.ts';
import { isInFormerAccount } from '../../shared/booking/former-account.ts';
import { type CalendarFailure, deleteEvent, getEvent } from '../../shared/google/calendar.ts';
import { deleteOptions, isOurs } from './calendar-event.ts';
import { problemOf } from './calendar-problems.ts';
import { leftWithinReach, notFoundToRead, withNotFound, withoutLeftBehind } from './other-events.ts';
import type { Outcome } from './outcomes.ts';
import { requestDeletion } from './own-deletions.ts';
import { isMissing, mayPass } from './read-event.ts';
import { recordFailure } from './record-failure.ts';
import { retryAfter } from './retries.ts';
import { ask, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/** Events of a booking that should not exist beside its current one: found, and deleted. */

/**
 * Deletes what an attempt with unknown outcome may have left in a calendar that its user had chosen then, and not any
 * more. Google is asked nothing where none was chosen lately. The outcome of the run where it does not let us.
 */
export async function deleteOrphans(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
): Promise<Outcome | undefined> {
  const chosen = session.access.connection.calendarId;
  const home = knownEvent(booking)?.calendarId ?? chosen;
  for (const calendarId of new Set([chosen, ...calendarsBefore(deps, session)])) {
    if (calendarId === home) continue;
    const eventId = calendarEventId(booking.bookingId, calendarId, booking.eventNumber);
    const refused = await deleteOrphan(deps, session, booking, { calendarId, eventId });
    if (refused) return refused;
  }
  return undefined;
}

async function deleteOrphan(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  place: EventPlace,
): Promise<Outcome | undefined> {
  const { calendarId, eventId } = place;
  const found = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, eventId));
  // A calendar that the user has left may refuse us, or be gone: that keeps nothing out of the chosen one.
  if (!found.ok && mayPass(found.failure)) return recordFailure(deps, session, booking, found.failure);
  if (!found.ok || !isOurs(found.value, booking)) return undefined;
  const answer = await requestDeletion(deps, session, place, deleteOptions(booking, found.value));
  if (answer.ok) return undefined;
  if (mayPass(answer.failure)) return recordFailure(deps, session, booking, answer.failure);
  if (!isMissing(answer.failure)) return undefined;
  // It was there a moment ago: not deleted, as far as is known.
  return retryAfter(booking, problemOf(answer.failure), { now: deps.clock(), random: deps.random });
}

/** The calendars that the user had chosen lately. */
export function calendarsBefore(deps: SyncDeps, { access: { connection } }: Session): string[] {
  const lately = (connection.formerCalendars ?? []).filter(
    (former) => former.until > deps.clock() && !isInFormerAccount(former, connection),
  );
  return lately.map(({ calendarId }) => calendarId);
}

/** Deletes events that were not found any more and exist after all. The outcome of the run where Google does not let us. */
export async function deleteFoundAgain(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
): Promise<Outcome | undefined> {
  const outcomes = await Promise.all(
    notFoundToRead(booking, session.access.connection, deps.clock()).map(async (place) => {
      const { calendarId, eventId } = place;
      const found = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, eventId));
      if (!found.ok)
        return mayPass(found.failure) ? recordFailure(deps, session, booking, found.failure) : undefined;
      if (!isOurs(found.value, booking)) return undefined;
      const answer = await requestDeletion(deps, session, place, deleteOptions(booking, found.value));
      return answer.ok ? undefined : recordFailure(deps, session, booking, answer.failure);
    }),
  );
  return outcomes.find((outcome) => outcome !== undefined);
}

/**
 * Deletes the events that were left in an account that is connected again. One that Google does not delete now stays
 * recorded, and hinders nothing else.
 */
export async function deleteLeftBehind(deps: SyncDeps, session: Session, booking: Booking): Promise<Booking> {
  let current = booking;
  for (const place of leftWithinReach(booking, session.access.connection)) {
    const result = await deleteLeft(deps, session, booking, place);
    if (result === 'open') continue;
    current = withoutLeftBehind(current, place);
    // A 404 does not prove that it is deleted: if it is found again, it is deleted then.
    if (result === 'not found') current = withNotFound(current, place, deps.clock());
  }
  return current;
}

async function deleteLeft(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  { calendarId, eventId }: EventPlace,
): Promise<'deleted' | 'not found' | 'open'> {
  const found = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, eventId));
  if (!found.ok) return resultAfter(found.failure);
  if (found.value.status === 'cancelled' || !isOurs(found.value, booking)) return 'deleted';
  const answer = await ask(deps, session, (token) =>
    deleteEvent(deps.calendar, token, calendarId, eventId, deleteOptions(booking, found.value)),
  );
  return answer.ok ? 'deleted' : resultAfter(answer.failure);
}

function resultAfter(failure: CalendarFailure): 'not found' | 'open' {
  return isMissing(failure) ? 'not found' : 'open';
}
