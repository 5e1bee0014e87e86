import {
  type Booking,
  type CalendarState,
  isPostponedRecheck,
  knownEvent,
  type NextRun,
  type Presence,
  recordedEvent,
} from '../../shared/booking/booking.ts';
import { deadlineOf } from '../../shared/booking/day-span.ts';
import { isInFormerAccount } from '../../shared/booking/former-account.ts';
import { isGivenUp, isOpen, showsDesired } from '../../shared/booking/status.ts';
import type { Connection, GrantedConnection } from '../../shared/connection/connection.ts';
import type { Random } from '../../shared/lib/clock.ts';
import { postponeRecheck } from './doubt.ts';
import { leftWithinReach } from './other-events.ts';
import { eventAbsent, giveUp, isOutranked, leaveInFormerAccount, withoutCheck } from './outcomes.ts';
import { pause, waitForConnection } from './retries.ts';

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

/** Tolerated clock skew between workers, in seconds. */
export const clockSkewSeconds = 5;

export function decideNext(situation: Situation): Decision {
  const { booking, wanted, now } = situation;
  if (isAtRest(situation)) return decideCheck(situation);
  if (isBackingOff(situation)) return record(booking);
  if (isAway(situation)) return { do: 'record', ...leaveInFormerAccount(booking, wanted, now) };
  return wanted === 'absent' ? decideRemoval(situation) : decideEntry(situation);
}

/** The calendar agrees with the desired state as far as is known, or the booking was given up: only checks are due. */
function isAtRest({ booking, wanted }: Situation): boolean {
  if (isOpen(booking.nextRun)) return false;
  if (isGivenUp(booking, wanted)) return !isOutranked(booking);
  return wanted === 'absent' ? knownEvent(booking) === undefined : showsDesired(booking, wanted);
}

/** Google is left alone until the next run is due, unless what it waits for has come. */
function isBackingOff({ booking: { nextRun }, connection, now }: Situation): boolean {
  if (!nextRun || isDue(nextRun, now)) return false;
  const active = activeOf(connection);
  switch (nextRun.why) {
    case 'retry':
    case 'paused':
      return true;
    case 'refused':
      return active === undefined || !hasReconnected(nextRun, active);
    case 'no_connection':
      return active === undefined;
    default:
      return false;
  }
}

/** At rest: a check or re-check that is due, a contested slot, or events that a former account can delete now. */
function decideCheck(situation: Situation): Decision {
  const { booking, wanted, now } = situation;
  const { nextRun } = booking;
  const active = activeOf(situation.connection);
  const reachable = isAway(situation) ? undefined : active;
  if (reachable && isContested(situation)) return { do: 'check', booking, wanted, connection: reachable };
  const isReleased = reachable !== undefined && isPostponedRecheck(nextRun);
  if (!nextRun || !(isReleased || isDue(nextRun, now))) {
    const canClean = active !== undefined && leftWithinReach(booking, active).length > 0;
    return canClean ? { do: 'check', booking, wanted, connection: active } : record(booking);
  }
  if (reachable) return act(actionAtRest(situation), situation);
  return record(nextRun.why === 'in_doubt' ? postponeRecheck(booking, now) : withoutCheck(booking));
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
  const isOver = hasEnded(situation);
  if (isKnownAbsent(booking.calendar)) return record(eventAbsent(booking, now));
  const wasNeverConnected = connection === undefined && !knownEvent(booking);
  const isHopeless = isOver && (wasRefusedAtEnd(situation) || !activeOf(connection));
  if (wasNeverConnected || isHopeless) return record(eventAbsent(booking, now));
  return activeOf(connection) ? act('remove', situation) : record(waitForConnection(situation));
}

function decideEntry(situation: Situation): Decision {
  const { booking, wanted, connection, now } = situation;
  const active = activeOf(connection);
  if (active && isOutranked(booking)) return act('remove', situation);
  if (!isTooLate(situation)) return active ? act('ensure', situation) : record(waitForConnection(situation));
  const mayExist = !knownEvent(booking) && hasUnknownWrite(booking.calendar);
  return active && mayExist
    ? act('check', situation)
    : record(giveUp(booking, { reason: 'missed', wanted, now }));
}

/** Whether it is too late to create the event, or to change a known one. */
function isTooLate(situation: Situation): boolean {
  const { booking, connection } = situation;
  if (!knownEvent(booking)) return hasEnded(situation) || hasRetriedUntilDeadline(situation);
  return hasEnded(situation) && (!activeOf(connection) || wasRefusedAtEnd(situation));
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

function activeOf(connection: Connection | undefined): GrantedConnection | undefined {
  return connection?.status === 'active' ? connection : undefined;
}

function isDue({ at }: NextRun, now: number): boolean {
  return at <= now + clockSkewSeconds;
}

function hasEnded({ booking: { appointment }, now }: Situation): boolean {
  return (appointment?.endsAt ?? 0) <= now;
}

/** Whether Google has still refused the account or calendar in the last run, when the appointment was over. */
function wasRefusedAtEnd({ booking: { nextRun, appointment } }: Situation): boolean {
  return nextRun?.why === 'refused' && nextRun.at > (appointment?.endsAt ?? 0);
}

/** Runs have failed from before the deadline until now. A booking that was first tried after it is tried until the end. */
function hasRetriedUntilDeadline({ booking: { nextRun, appointment }, now }: Situation): boolean {
  const deadline = appointment ? deadlineOf(appointment) : 0;
  const since = nextRun?.since;
  return since !== undefined && since < deadline && deadline <= now;
}

/** Whether the event is in a Google account that the user connected before, which the connected account cannot reach. */
function isAway({ booking, connection }: Situation): boolean {
  const active = activeOf(connection);
  return active !== undefined && isInFormerAccount(recordedEvent(booking), active);
}

function isKnownAbsent({ kind }: CalendarState): boolean {
  return kind === 'absent' || kind === 'deleted_by_owner';
}

/** Whether a request without known outcome may have created an event that no record shows. */
export function hasUnknownWrite(calendar: CalendarState): boolean {
  return calendar.kind === 'in_doubt' && (calendar.until > 0 || calendar.notFound !== undefined);
}

/** Whether the user has connected or chosen a calendar since Google refused the account or the calendar. */
function hasReconnected({ refusal }: NextRun, { connectedAt, choices }: GrantedConnection): boolean {
  return refusal !== undefined && (refusal.connectedAt !== connectedAt || refusal.choices !== choices);
}
