import type { Booking } from '../../shared/booking/booking.ts';
import { isInFormerAccount } from '../../shared/booking/former-account.ts';
import { isOpen } from '../../shared/booking/status.ts';
import { getAccess, recordUse } from '../../shared/connection/access-token.ts';
import type { GrantedConnection } from '../../shared/connection/connection.ts';
import { AppError, isOperatorError } from '../../shared/lib/app-error.ts';
import { describeError, log, reportOperatorError } from '../../shared/lib/observability.ts';
import { check } from './check-event.ts';
import { keepOrYield } from './conflicts.ts';
import { type Action, clockSkewSeconds, type Decision } from './decide.ts';
import { type Cleaned, deleteFoundAgain, deleteLeftBehind, deleteOrphans } from './delete-orphans.ts';
import { ensure } from './ensure-event.ts';
import { withNotFound } from './other-events.ts';
import { checkLater, type Outcome } from './outcomes.ts';
import type { OwnDeletions } from './own-deletions.ts';
import { withOpenWrite } from './record-failure.ts';
import { remove } from './remove-event.ts';
import { retryAfter, waitForConnection } from './retries.ts';
import { isOtherAccount, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/** Runs an action in the user's calendar. Each way it can go ends in an outcome. */

type Reading = { isSlotContested: boolean; validUntil: number; ownDeletions: OwnDeletions };

/** Gets a token and runs the action. Undefined where the snapshot may not be valid any more. */
export async function runAction(
  deps: SyncDeps,
  decision: Extract<Decision, { do: Action }>,
  { isSlotContested, validUntil, ownDeletions }: Reading,
): Promise<Outcome | undefined> {
  const { do: action, wanted, connection } = decision;
  const isCheck = action === 'check' && !isOpen(decision.booking.nextRun);
  let booking = withoutFormerDoubt(decision.booking, connection, deps.clock());
  let session: Session | undefined;
  try {
    const access = await getAccess(deps, connection);
    if (isOtherAccount(access.connection, connection)) return undefined;
    session = { access, refreshed: false, until: validUntil, wanted, hasOpenWrite: false, ownDeletions };
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

/** The outcome of a run that something other than Calendar has ended. */
function afterError(
  { clock, random }: SyncDeps,
  session: Session | undefined,
  booking: Booking,
  { code, message }: AppError,
): Outcome {
  const moment = { now: clock(), random };
  const left = session ? withOpenWrite(session, booking, moment.now) : booking;
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
  const isDue = (booking.nextRun?.at ?? Number.POSITIVE_INFINITY) <= deps.clock() + clockSkewSeconds;
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
