import { type Booking, type EventPlace, knownEvent } from '../../shared/booking/booking.ts';
import { type CalendarEvent, getEvent } from '../../shared/google/calendar.ts';
import { deleteOptions, isEventOf, isOurs } from './calendar-event.ts';
import { snapshotOf } from './event-snapshot.ts';
import { eventAbsent, eventDeleted, type Outcome } from './outcomes.ts';
import { requestDeletion } from './own-deletions.ts';
import { isMissing, notFound, placeIn, readEvent } from './read-event.ts';
import { recordFailure } from './record-failure.ts';
import { nothingFound, unknownPlace } from './repair-event.ts';
import { ask, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/** The action `remove`: the event is deleted. */

/** Deletes the event that is known, or one that a crashed run may have left under the id it would use. */
export async function remove(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
  const event = knownEvent(booking);
  if (!event) return removeUnknown(deps, session, booking);
  const { wanted } = session;
  const place = placeIn(session, event.calendarId, event.eventId);
  const isInDoubt = booking.calendar.kind === 'in_doubt' && booking.calendar.notFound !== undefined;
  if (!isInDoubt) {
    const answer = await requestDeletion(deps, session, place, deleteOptions(booking));
    if (answer.ok) return eventDeleted(booking, wanted, deps.clock());
    if (!isMissing(answer.failure)) return recordFailure(deps, session, booking, answer.failure);
  }
  const read = await readEvent(deps, session, booking, place);
  if (read.is === 'open') return read.outcome;
  if (read.is === 'gone') return eventDeleted(read.booking, wanted, deps.clock());
  if (!isEventOf(read.event, booking)) return eventDeleted(booking, wanted, deps.clock());
  return removeFound(deps, session, booking, placeIn(session, read.calendarId, read.event.id), read.event);
}

/** Deletes what a request without known outcome may have left. */
async function removeUnknown(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
  const place = unknownPlace(session, booking);
  const { calendarId, eventId } = place;
  const found = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, eventId));
  if (!found.ok && !isMissing(found.failure)) return recordFailure(deps, session, booking, found.failure);
  const now = deps.clock();
  if (!found.ok) {
    const after = await nothingFound(deps, session, booking, place);
    return { booking: eventAbsent(booking, now, { after }) };
  }
  if (!isOurs(found.value, booking)) return { booking: eventAbsent(booking, now, { isSpent: true }) };
  const { revision } = booking;
  const event = snapshotOf(session, booking, { calendarId, event: found.value }, { revision });
  const adopted: Booking = { ...booking, calendar: { kind: 'in_doubt', event, until: 0 } };
  return removeFound(deps, session, adopted, place, found.value);
}

/** Deletes an event that was just read. */
async function removeFound(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  place: EventPlace,
  event: CalendarEvent,
): Promise<Outcome> {
  const answer = await requestDeletion(deps, session, place, deleteOptions(booking, event));
  if (answer.ok) return eventDeleted(booking, session.wanted, deps.clock());
  if (isMissing(answer.failure)) return notFound(deps, session, booking, place);
  return recordFailure(deps, session, booking, answer.failure);
}
