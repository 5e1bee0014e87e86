import { type Booking, type EventPlace, knownEvent } from '../../shared/booking/booking.ts';
import { isInFormerAccount } from '../../shared/booking/former-account.ts';
import { isGivenUp, isOpen } from '../../shared/booking/status.ts';
import { getAccess, recordUse } from '../../shared/connection/access-token.ts';
import type { GrantedConnection } from '../../shared/connection/connection.ts';
import { type CalendarEvent, getEvent } from '../../shared/google/calendar.ts';
import { AppError, isOperatorError } from '../../shared/lib/app-error.ts';
import { describeError, log, reportOperatorError } from '../../shared/lib/observability.ts';
import { deleteOptions, isEventOf, isOurs, isRight } from './calendar-event.ts';
import { keepOrYield } from './conflicts.ts';
import type { Action, Decision } from './decide.ts';
import { type Cleaned, deleteFoundAgain, deleteLeftBehind, deleteOrphans } from './delete-orphans.ts';
import { hasUnknownWrite, inDoubtSeconds, isWindowOpen, withDoubt, withoutFirstRead } from './doubt.ts';
import { ensure, findLateEvent, nothingFound, repair, unknownPlace } from './ensure-event.ts';
import { eventFound, snapshotOf } from './event-snapshot.ts';
import { leftWithinReach, withNotFound } from './other-events.ts';
import {
  checkLater,
  deletedByOwner,
  eventAbsent,
  eventDeleted,
  eventSeen,
  type Outcome,
  withoutCheck,
} from './outcomes.ts';
import { isMissing, notFound, placeIn, readEvent } from './read-event.ts';
import { hasTimeCome, retryAfter, waitForConnection } from './retries.ts';
import {
  ask,
  isOtherAccount,
  type OwnDeletions,
  recordFailure,
  requestDeletion,
  type Session,
} from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/** Runs an action in the user's calendar. Each way it can go ends in an outcome. */

type Reading = {
  isSlotContested: boolean;
  validUntil: number;
  ownDeletions: OwnDeletions;
  seenEvents: Set<string>;
};

/** Gets a token and runs the action. Undefined where the snapshot may not be valid any more. */
export async function runAction(
  deps: SyncDeps,
  decision: Extract<Decision, { do: Action }>,
  { isSlotContested, validUntil, ownDeletions, seenEvents }: Reading,
): Promise<Outcome | undefined> {
  const { do: action, wanted, connection } = decision;
  const isCheck = action === 'check' && !isOpen(decision.booking.nextRun);
  let booking = withoutFormerDoubt(decision.booking, connection, deps.clock());
  let session: Session | undefined;
  try {
    const access = await getAccess(deps, connection);
    if (isOtherAccount(access.connection, connection)) return undefined;
    session = {
      access,
      refreshed: false,
      until: validUntil,
      wanted,
      hasOpenWrite: false,
      hasWritten: false,
      ownDeletions,
      seenEvents,
    };
    const cleaned = await deleteOthers(deps, session, booking, action);
    if ('hindered' in cleaned) return isCheck ? checkLater(booking, deps.clock()) : cleaned.hindered;
    booking = await deleteLeftBehind(deps, session, cleaned.booking);
    const used = session.access.connection;
    const run = isSlotContested ? contested(action, isCheck) : actions[action];
    const [outcome] = await Promise.all([run(deps, session, booking), noteUse(deps, used)]);
    return outcome;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    if (error.code === 'concurrent_update') return undefined;
    if (isOperatorError(error)) reportOperatorError('A booking waits until the service is set up', error);
    return isCheck ? checkLater(booking, deps.clock()) : afterError(deps, session, booking, error);
  }
}

/** The action for a booking whose slot another one has taken too. At rest, only the slot is compared. */
function contested(action: Action, isAtRest: boolean): ActionOf {
  return async (deps, session, booking) => {
    const outcome = isAtRest ? { booking } : await actions[action](deps, session, booking);
    return keepOrYield(deps, session, outcome);
  };
}

/** The outcome of a run that something other than Calendar has ended. What it has written before is not on record. */
function afterError(
  { clock, random }: SyncDeps,
  session: Session | undefined,
  booking: Booking,
  { code, message }: AppError,
): Outcome {
  const moment = { now: clock(), random };
  const mayDiffer = session !== undefined && (session.hasOpenWrite || session.hasWritten);
  const left = mayDiffer ? withDoubt(booking, moment.now + inDoubtSeconds) : booking;
  return code === 'reauthorization_required'
    ? { booking: waitForConnection({ booking: left, ...moment }) }
    : retryAfter(left, { code, message }, moment);
}

/** Deletes events beside the current one. */
async function deleteOthers(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  action: Action,
): Promise<Cleaned> {
  const { kind } = booking.calendar;
  const isDue = booking.nextRun !== undefined && hasTimeCome(booking.nextRun, deps.clock());
  const mayHaveOrphans = action === 'check' ? isDue : kind === 'absent' || kind === 'in_doubt';
  const cleaned = mayHaveOrphans ? await deleteOrphans(deps, session, booking) : { booking };
  if ('hindered' in cleaned) return cleaned;
  const hindered = await deleteFoundAgain(deps, session, booking);
  return hindered ? { hindered } : cleaned;
}

/** A doubt from another account says nothing about the connected one. Its event is deleted if that account comes back. */
function withoutFormerDoubt(booking: Booking, connection: GrantedConnection, now: number): Booking {
  const { calendar } = booking;
  const place = calendar.kind === 'in_doubt' ? calendar.notFound : undefined;
  if (calendar.kind !== 'in_doubt' || !place || !isInFormerAccount(place, connection)) return booking;
  const { notFound: _, ...doubt } = calendar;
  return withNotFound({ ...booking, calendar: doubt }, place, now);
}

type ActionOf = (deps: SyncDeps, session: Session, booking: Booking) => Promise<Outcome>;

const actions: Record<Action, ActionOf> = { ensure, check, remove };

/** Beside the action, and never its undoing: a use that is not on record costs one refresh at the next use. */
async function noteUse(deps: SyncDeps, connection: GrantedConnection): Promise<void> {
  await recordUse(deps, connection).catch((error: unknown) => {
    const { userId } = connection;
    log.warn('Use of a connection was not recorded', { userId, reason: describeError(error) });
  });
}

/** The action `check`: the event is read without being changed. */

/** Reads the event without changing it. What its owner has changed in it stays. */
async function check(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
  if (leftWithinReach(booking, session.access.connection).length > 0)
    return checkLater(booking, deps.clock());
  const event = knownEvent(booking);
  if (event && isInFormerAccount(event, session.access.connection)) return { booking };
  if (event) return checkEvent(deps, session, booking);
  if (!hasUnknownWrite(booking.calendar)) return { booking: withoutCheck(booking) };
  return isGivenUp(booking, session.wanted)
    ? recheckGivenUp(deps, session, booking)
    : findLateEvent(deps, session, booking);
}

async function checkEvent(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
  const known = knownEvent(booking);
  // A slot that is only held is read when it is paid for.
  if (!known || (known.tentative && booking.calendar.kind === 'present'))
    return { booking: withoutCheck(booking) };
  const now = deps.clock();
  const read = await readEvent(deps, session, booking, placeIn(session, known.calendarId, known.eventId));
  // A check that failed leaves the status as it is.
  if (read.is === 'open') return read.failure ? checkLater(booking, now) : read.outcome;
  if (read.is === 'gone') return deletedByOwner(read.booking);
  if (!isEventOf(read.event, booking)) return deletedByOwner(booking);
  if (isGivenUp(booking, session.wanted) && isRight(read.event, booking, session.wanted))
    return eventFound(session, booking, read, { now, mayBeUndone: isWindowOpen(booking, now) });
  return { booking: eventSeen(booking, snapshotOf(session, booking, read, known), now) };
}

/** A booking that was given up, whose event a request without known outcome may have created: adopted where it exists. */
async function recheckGivenUp(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
  const place = unknownPlace(session, booking);
  const { calendarId, eventId } = place;
  const found = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, eventId));
  if (found.ok && isOurs(found.value, booking)) {
    const outcome = await repair(deps, session, booking, { calendarId, event: found.value });
    return keepOrYield(deps, session, outcome);
  }
  if (!found.ok && !isMissing(found.failure)) return checkLater(booking, deps.clock());
  const { nextRun: _, ...rest } = booking;
  if (found.ok) {
    const calendar = { kind: 'absent' } as const;
    return { booking: { ...rest, calendar, eventNumber: booking.eventNumber + 1 } };
  }
  return { booking: { ...rest, ...(await nothingFound(deps, session, booking, place)) } };
}

/** The action `remove`: the event is deleted. */

/** Deletes the event that is known, or one that a crashed run may have left under the id it would use. */
async function remove(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
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
  given: Booking,
  place: EventPlace,
  event: CalendarEvent,
): Promise<Outcome> {
  const booking = withoutFirstRead(given);
  const answer = await requestDeletion(deps, session, place, deleteOptions(booking, event));
  if (answer.ok) return eventDeleted(booking, session.wanted, deps.clock());
  if (isMissing(answer.failure)) return notFound(deps, session, booking, place);
  return recordFailure(deps, session, booking, answer.failure);
}
