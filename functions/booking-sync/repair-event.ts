import { type Booking, calendarEventId, type EventPlace } from '../../shared/booking/booking.ts';
import { type CalendarEvent, readCalendar } from '../../shared/google/calendar.ts';
import { isOurs, isRight } from './calendar-event.ts';
import { afterNothingFound, isWindowOpen } from './doubt.ts';
import { eventFound, eventWritten } from './event-snapshot.ts';
import { giveUp, type Outcome } from './outcomes.ts';
import { mayHaveDeleted } from './own-deletions.ts';
import { calendarWithoutEvent, isMissing, notFound, placeIn, readEvent } from './read-event.ts';
import { recordFailure } from './record-failure.ts';
import { ask, type Session, snapshotExpired } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';
import { patch } from './write-event.ts';
import { writtenOf } from './written-event.ts';

/** Events that exist and may not be as they should be: found, repaired and recorded. */

/** Where the next event of a booking is created. */
export function newPlace(session: Session, { bookingId, eventNumber }: Booking): EventPlace {
  const { calendarId } = session.access.connection;
  return placeIn(session, calendarId, calendarEventId(bookingId, calendarId, eventNumber));
}

/**
 * Makes an event of ours show the desired state. It may be as another worker has just made it for a newer version, so
 * the booking is read again before.
 */
export async function repair(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  { calendarId, event }: { calendarId: string; event: CalendarEvent },
): Promise<Outcome> {
  const found = { calendarId, event };
  if (isRight(event, booking, session.wanted)) {
    const now = deps.clock();
    return eventFound(session, booking, found, { now, mayBeUndone: isWindowOpen(booking, now) });
  }
  const { booking: current } = await deps.readForSync({ bookingId: booking.bookingId });
  if ((current?.version ?? 0) !== booking.version) throw snapshotExpired();
  const basis = { written: writtenOf(event), guests: event.attendees };
  const { answer, ...written } = await patch(deps, session, booking, { calendarId, event, basis });
  const now = deps.clock();
  // A success does not end the doubt that a late deletion may still be applied.
  const mayBeUndone = isWindowOpen(booking, now) && mayHaveDeleted(session, booking, event.id);
  if (answer.ok)
    return eventWritten(session, booking, { ...found, event: answer.value }, written, { now, mayBeUndone });
  if (isMissing(answer.failure))
    return notFound(deps, session, booking, placeIn(session, calendarId, event.id));
  return recordFailure(deps, session, booking, answer.failure);
}

/** Reads the event that a request without known outcome may have created, now that it is too late to create it. */
export async function findLateEvent(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
  const read = await readEvent(deps, session, booking, unknownPlace(session, booking));
  if (read.is === 'found' && isOurs(read.event, booking)) return repair(deps, session, booking, read);
  const now = deps.clock();
  const isOver = (booking.appointment?.endsAt ?? 0) <= now;
  if (read.is === 'open' && !(read.failure && isOver)) return read.outcome;
  const calendar = read.is === 'open' ? booking.calendar : calendarWithoutEvent(booking, now);
  return { booking: giveUp({ ...booking, calendar }, { reason: 'missed', wanted: session.wanted, now }) };
}

/** Where an event may be that no record shows. */
export function unknownPlace(session: Session, booking: Booking): EventPlace {
  const { calendar } = booking;
  const place = calendar.kind === 'in_doubt' ? calendar.notFound : undefined;
  return place ? placeIn(session, place.calendarId, place.eventId) : newPlace(session, booking);
}

export function nothingFound(deps: SyncDeps, session: Session, booking: Booking, place: EventPlace) {
  const moment = { now: deps.clock(), random: deps.random };
  return afterNothingFound(booking, place, moment, async () => {
    const { calendarId } = place;
    const answer = await ask(deps, session, (token) => readCalendar(deps.calendar, token, calendarId));
    return answer.ok;
  });
}
