import { type Booking, type EventPlace, knownEvent, recordedEvent } from '../../shared/booking/booking.ts';
import { isOpen, showsDesired } from '../../shared/booking/status.ts';
import { isEventOf, mustReadGuests } from './calendar-event.ts';
import { beside, isChecked, keepOrYield, lookForConflict } from './conflicts.ts';
import { hasUnknownWrite } from './decide.ts';
import { calendarsBefore } from './delete-orphans.ts';
import { afterNothingFound, isWindowOpen } from './doubt.ts';
import { eventWritten } from './event-snapshot.ts';
import { giveUp, nextEventNumber, type Outcome } from './outcomes.ts';
import { isMissing, placeIn, readEvent } from './read-event.ts';
import { recordFailure } from './record-failure.ts';
import { findLateEvent, newPlace, repair } from './repair-event.ts';
import type { Session } from './session.ts';
import { claimTextOf } from './slot-claim.ts';
import type { SyncDeps } from './sync-booking.ts';
import { placeWithGoogle } from './whole-days.ts';
import { insert, patch } from './write-event.ts';

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
  if (canPatch && !mustReadGuests(booking, wanted)) {
    const { calendarId, written: before } = event;
    const { answer, ...written } = await patch(deps, session, booking, {
      calendarId,
      event: { id: event.eventId, etag: event.etag },
      basis: { written: before },
    });
    const now = deps.clock();
    if (answer.ok)
      return eventWritten(session, booking, { calendarId, event: answer.value }, written, { now });
    if (answer.failure.kind !== 'stale' && !isMissing(answer.failure))
      return recordFailure(deps, session, booking, answer.failure);
  }
  return readAndRepair(deps, session, booking, placeIn(session, event.calendarId, event.eventId));
}

/** Whole days turned out to be over in the zone of the calendar. */
export async function missed(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
  if (hasUnknownWrite(booking.calendar)) return findLateEvent(deps, session, booking);
  return { booking: giveUp(booking, { reason: 'missed', wanted: session.wanted, now: deps.clock() }) };
}

/** Creates the event, unless another one exists at that time and the operator wants none created then. */
export async function create(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
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
  const { problems } = beside({ booking: { ...booking, problems: [] } }, 'busy').booking;
  const [because] = problems;
  return {
    booking: giveUp(booking, {
      reason: 'conflict',
      wanted: session.wanted,
      now: moment.now,
      after,
      ...(because ? { because } : {}),
    }),
  };
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
