import { type Booking, calendarEventId, type EventPlace, knownEvent } from '../../shared/booking/booking.ts';
import { isInFormerAccount } from '../../shared/booking/former-account.ts';
import { type CalendarFailure, deleteEvent, getEvent } from '../../shared/google/calendar.ts';
import { deleteOptions, isOurs } from './calendar-event.ts';
import { hasUnknownWrite } from './doubt.ts';
import { isNoted, leftWithinReach, notFoundToRead, withNotFound, withoutLeftBehind } from './other-events.ts';
import type { Outcome } from './outcomes.ts';
import { isMissing, mayPass, placeIn } from './read-event.ts';
import { problemOf, retryAfter } from './retries.ts';
import { ask, recordFailure, requestDeletion, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/** Events of a booking that should not exist beside its current one: found, and deleted. */

/** The booking, with what is to be read again; or the outcome of the run where Google does not let us. */
export type Cleaned = { booking: Booking } | { hindered: Outcome };

/**
 * Deletes what an attempt with unknown outcome may have left in a calendar that its user had chosen then, and not any
 * more. Google is asked nothing where none was chosen lately.
 */
export async function deleteOrphans(deps: SyncDeps, session: Session, given: Booking): Promise<Cleaned> {
  const chosen = session.access.connection.calendarId;
  const home = knownEvent(given)?.calendarId ?? chosen;
  let booking = given;
  for (const calendarId of new Set([chosen, ...calendarsBefore(deps, session)])) {
    if (calendarId === home) continue;
    const eventId = calendarEventId(booking.bookingId, calendarId, booking.eventNumber);
    // Its owner may have moved the event back to the calendar that it was created in.
    if (eventId === knownEvent(booking)?.eventId) continue;
    const cleaned = await deleteOrphan(deps, session, booking, placeIn(session, calendarId, eventId));
    if ('hindered' in cleaned) return cleaned;
    booking = cleaned.booking;
  }
  return { booking };
}

async function deleteOrphan(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  place: EventPlace,
): Promise<Cleaned> {
  const { calendarId, eventId } = place;
  const found = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, eventId));
  if (!found.ok) return keepOrForget(deps, session, booking, place, found.failure);
  if (!isOurs(found.value, booking)) return { booking };
  const answer = await requestDeletion(deps, session, place, deleteOptions(booking, found.value));
  if (answer.ok) return { booking };
  if (!isMissing(answer.failure)) return keepOrForget(deps, session, booking, place, answer.failure);
  // It was there a moment ago: not deleted, as far as is known.
  const moment = { now: deps.clock(), random: deps.random };
  return { hindered: retryAfter(booking, problemOf(answer.failure), moment) };
}

/**
 * A calendar that the user has left may refuse us, or be gone: that keeps nothing out of the chosen one. A refusal may
 * pass, and so may a 404 where an attempt may have created the event: then it is read once more.
 */
async function keepOrForget(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  place: EventPlace,
  failure: CalendarFailure,
): Promise<Cleaned> {
  if (isMissing(failure) && !hasUnknownWrite(booking.calendar)) return { booking };
  if (mayPass(failure)) return { hindered: await recordFailure(deps, session, booking, failure) };
  return { booking: isNoted(booking, place) ? booking : withNotFound(booking, place, deps.clock()) };
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
