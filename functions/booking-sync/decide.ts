import { type Booking, knownEvent, type Presence } from '../../shared/booking/booking.ts';
import { paymentOf } from '../../shared/booking/booking-payments.ts';
import { isAway } from '../../shared/booking/former-account.ts';
import type { PaymentReported } from '../../shared/booking/queue.ts';
import { isGivenUp, isOpen, showsDesired } from '../../shared/booking/status.ts';
import { activeOf, type Connection, type GrantedConnection } from '../../shared/connection/connection.ts';
import type { Random } from '../../shared/lib/clock.ts';
import { hasUnknownWrite, postponeRecheck } from './doubt.ts';
import { leftWithinReach } from './other-events.ts';
import { eventAbsent, giveUp, isOutranked, leaveInFormerAccount } from './outcomes.ts';
import { isDue, isHopeless, isOutOfTime, pause, waitForConnection } from './retries.ts';

/** What sync does next with a booking, decided from the booking and the connection alone. */

/** - `ensure`: the event exists and shows the desired state; `check`: read it without changing it; `remove`: delete it. */
export type Action = 'ensure' | 'check' | 'remove';

export type Decision =
  | { do: 'record'; booking: Booking; again?: true }
  | { do: Action; booking: Booking; wanted: Presence; connection: GrantedConnection };

/** All that a decision is made from. */
type Situation = {
  booking: Booking;
  /** The desired presence. */
  wanted: Presence;
  connection: Connection | undefined;
  now: number;
  random: Random;
  /** Another booking has taken the same slot at the same moment. */
  isSlotContested: boolean;
};

export function decideNext(situation: Situation): Decision {
  const { booking, wanted, now } = situation;
  if (isAtRest(situation)) return decideCheck(situation);
  const active = activeOf(situation.connection);
  if (isOpen(booking.nextRun) && !isDue(booking.nextRun, active, now)) return record(booking);
  if (isAway(booking, active)) return { do: 'record', ...leaveInFormerAccount(booking, wanted, now) };
  return wanted === 'absent' ? decideRemoval(situation) : decideEntry(situation);
}

/** The calendar agrees with the desired state as far as is known, or the booking was given up: only checks are due. */
function isAtRest({ booking, wanted }: Situation): boolean {
  if (isOpen(booking.nextRun)) return false;
  if (isGivenUp(booking, wanted)) return !isOutranked(booking);
  return wanted === 'absent' ? knownEvent(booking) === undefined : showsDesired(booking, wanted);
}

/** At rest: a check or re-check that is due, a contested slot, or events that a former account can delete now. */
function decideCheck(situation: Situation): Decision {
  const { booking, wanted, now } = situation;
  const active = activeOf(situation.connection);
  const reachable = isAway(booking, active) ? undefined : active;
  if (reachable && isContested(situation)) return { do: 'check', booking, wanted, connection: reachable };
  if (booking.nextRun && isDue(booking.nextRun, reachable, now))
    return reachable ? act(actionAtRest(situation), situation) : record(postponeRecheck(booking, now));
  const canClean = active !== undefined && leftWithinReach(booking, active).length > 0;
  return canClean ? { do: 'check', booking, wanted, connection: active } : record(booking);
}

function isContested({ booking, wanted, isSlotContested }: Situation): boolean {
  return isSlotContested && !isGivenUp(booking, wanted) && knownEvent(booking) !== undefined;
}

/** What a due check or re-check does. */
function actionAtRest({ booking, wanted }: Situation): Action {
  const { calendar } = booking;
  if (calendar.kind !== 'in_doubt' || isGivenUp(booking, wanted)) return 'check';
  if (wanted === 'absent') return 'remove';
  // A known event that a check did not find was deleted by its owner; any other may have been changed by a late write.
  return calendar.event && calendar.notFound ? 'check' : 'ensure';
}

function decideRemoval(situation: Situation): Decision {
  const { booking, connection, now } = situation;
  const { kind } = booking.calendar;
  const active = activeOf(connection);
  const wasNeverConnected = connection === undefined && !knownEvent(booking);
  const isKnownAbsent = kind === 'absent' || kind === 'deleted_by_owner';
  if (isKnownAbsent || wasNeverConnected || isHopeless(booking, active, now))
    return record(eventAbsent(booking, now));
  return active ? act('remove', situation) : record(waitForConnection(situation));
}

function decideEntry(situation: Situation): Decision {
  const { booking, wanted, connection, now } = situation;
  const active = activeOf(connection);
  const isKnown = knownEvent(booking) !== undefined;
  if (active && isOutranked(booking)) return act('remove', situation);
  const isTooLate = isKnown ? isHopeless(booking, active, now) : isOutOfTime(booking, now);
  if (!isTooLate) return active ? act('ensure', situation) : record(waitForConnection(situation));
  const mayExist = !isKnown && hasUnknownWrite(booking.calendar);
  return active && mayExist
    ? act('check', situation)
    : record(giveUp(booking, { reason: 'missed', wanted, now }));
}

/**
 * `decision`, or to record first what is known. An event that no record accounts for would be left behind where
 * - another run that received the message acknowledges it, and this one crashes: `isSuspected`, and no run is on record
 * - the account that was paid is unbound meanwhile: once on record, its payment counts all the same
 */
export function recordFirst(
  decision: Decision,
  stored: Booking | undefined,
  payment: PaymentReported | undefined,
  isSuspected: boolean,
): Decision {
  if (decision.do !== 'ensure') return decision;
  const isOfAccount = payment?.account !== undefined;
  const isNew = isOfAccount && (!stored || paymentOf(stored, payment.paymentId)?.confirmedAt === undefined);
  const isUnrecorded = isSuspected && stored?.calendar.kind === 'absent';
  return isNew || isUnrecorded ? { do: 'record', booking: decision.booking, again: true } : decision;
}

function record(booking: Booking): Decision {
  return { do: 'record', booking };
}

/** An action in the user's calendar, or a later run while that is paused after a rate limit. */
function act(action: Action, situation: Situation): Decision {
  const { booking, wanted, now } = situation;
  const connection = activeOf(situation.connection);
  if (!connection) return record(booking);
  const { calendarPausedUntil = 0 } = connection;
  if (calendarPausedUntil > now) return record(pause(booking, calendarPausedUntil, situation));
  return { do: action, booking, wanted, connection };
}
