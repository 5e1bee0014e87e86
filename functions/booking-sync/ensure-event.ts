import {
  type Booking,
  calendarEventId,
  type EventPlace,
  type EventSnapshot,
  knownEvent,
  recordedEvent,
} from '../../shared/booking/booking.ts';
import { conflictProblems } from '../../shared/booking/booking-payments.ts';
import { isOpen, showsDesired } from '../../shared/booking/status.ts';
import { type CalendarEvent, readCalendar } from '../../shared/google/calendar.ts';
import { isEventOf, isOurs, isRight, mustReadGuests } from './calendar-event.ts';
import { beside, claimTextOf, isChecked, keepOrYield, lookForConflict } from './conflicts.ts';
import { calendarsBefore } from './delete-orphans.ts';
import { afterNothingFound, hasUnknownWrite, isWindowOpen, withoutFirstRead } from './doubt.ts';
import { eventFound, eventWritten } from './event-snapshot.ts';
import { giveUp, nextEventNumber, type Outcome } from './outcomes.ts';
import { calendarWithoutEvent, isMissing, notFound, placeIn, readEvent } from './read-event.ts';
import { ask, mayHaveDeleted, recordFailure, type Session, snapshotExpired } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';
import { placeWithGoogle } from './whole-days.ts';
import { insert, patch } from './write-event.ts';
import { writtenOf } from './written-event.ts';

/** The action `ensure`: the event exists and shows the desired state. */

/** Makes the event exist and show the desired state. */
export async function ensure(deps: SyncDeps, session: Session, given: Booking): Promise<Outcome> {
  const booking = await placeWithGoogle(deps, session, given);
  if ('failure' in booking) return recordFailure(deps, session, given, booking.failure);
  const event = recordedEvent(booking);
  const isOver = booking !== given && (booking.appointment?.endsAt ?? 0) <= deps.clock();
  if (isOver && !event) return missed(deps, session, booking);
  if (!event) return create(deps, session, booking);
  const { wanted } = session;
  const canPatch = booking.calendar.kind === 'present' && !showsDesired(booking, wanted);
  const patched =
    canPatch && !mustReadGuests(booking, wanted)
      ? await patchUnread(deps, session, booking, event)
      : undefined;
  return patched ?? readAndRepair(deps, session, booking, placeIn(session, event.calendarId, event.eventId));
}

/** Changes the event on record. Undefined where it has changed since, or is not found: then it must be read. */
async function patchUnread(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  { calendarId, eventId, etag, written: before }: EventSnapshot,
): Promise<Outcome | undefined> {
  const event = { id: eventId, etag };
  const basis = { written: before };
  const { answer, ...written } = await patch(deps, session, booking, { calendarId, event, basis });
  const now = deps.clock();
  if (answer.ok) return eventWritten(session, booking, { calendarId, event: answer.value }, written, { now });
  const { failure } = answer;
  const mustRead = failure.kind === 'stale' || isMissing(failure);
  return mustRead ? undefined : recordFailure(deps, session, booking, failure);
}

/** Whole days turned out to be over in the zone of the calendar. */
async function missed(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
  if (hasUnknownWrite(booking.calendar)) return findLateEvent(deps, session, booking);
  return { booking: giveUp(booking, { reason: 'missed', wanted: session.wanted, now: deps.clock() }) };
}

/** Creates the event, unless another one exists at that time and the operator wants none created then. */
async function create(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
  const conflict = await lookForConflict(deps, session, booking);
  if (typeof conflict === 'object') {
    if ('failure' in conflict) return recordFailure(deps, session, booking, conflict.failure);
    const { calendarId } = session.access.connection;
    const repaired = await repair(deps, session, booking, { calendarId, event: conflict.own });
    return keepOrYield(deps, session, repaired);
  }
  if (conflict === 'busy' && deps.conflictPolicy === 'hold') return inConflict(deps, session, booking);
  const claim = conflict === 'free' && isChecked(deps, booking) ? claimTextOf(booking) : undefined;
  const outcome = await insertOrRepair(deps, session, booking, claim);
  if (!knownEvent(outcome.booking) || isOpen(outcome.booking.nextRun)) return outcome;
  if (conflict !== 'free') return beside(outcome, conflict);
  return claim === undefined ? outcome : keepOrYield(deps, session, outcome);
}

async function inConflict(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
  const moment = { now: deps.clock(), random: deps.random };
  const after = await afterNothingFound(booking, newPlace(session, booking), moment, async () => true);
  const { wanted } = session;
  const because = conflictProblems.busy;
  return { booking: giveUp(booking, { reason: 'conflict', wanted, now: moment.now, after, because }) };
}

/** Inserts the event, or finds that it exists already, as it should be or not. */
async function insertOrRepair(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  claim?: string,
): Promise<Outcome> {
  const place = newPlace(session, booking);
  const { answer, ...written } = await insert(deps, session, booking, place, claim);
  const now = deps.clock();
  if (answer.ok) {
    // An earlier request may still create it in the calendar that was chosen then.
    const mayBeUndone = isWindowOpen(booking, now) && calendarsBefore(deps, session).length > 0;
    const { calendarId } = place;
    return eventWritten(session, booking, { calendarId, event: answer.value }, written, { now, mayBeUndone });
  }
  if (answer.failure.kind !== 'exists') return recordFailure(deps, session, booking, answer.failure);
  // The id is taken: by our own event, if an earlier run got so far and no further; otherwise by one in the way.
  return readAndRepair(deps, session, booking, place);
}

/** Reads the event at `place`, and repairs it where it is ours and not as it should be. */
async function readAndRepair(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  place: EventPlace,
): Promise<Outcome> {
  const read = await readEvent(deps, session, booking, place);
  if (read.is === 'open') return read.outcome;
  if (read.is === 'gone') return nextEventNumber(read.booking, deps.clock());
  if (!isEventOf(read.event, booking)) return nextEventNumber(booking, deps.clock());
  return repair(deps, session, booking, read);
}

/** Events that exist and may not be as they should be: found, repaired and recorded. */

/** Where the next event of a booking is created. */
function newPlace(session: Session, { bookingId, eventNumber }: Booking): EventPlace {
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
  given: Booking,
  { calendarId, event }: { calendarId: string; event: CalendarEvent },
): Promise<Outcome> {
  const found = { calendarId, event };
  const booking = withoutFirstRead(given);
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
