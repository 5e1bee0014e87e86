import {
  appendTimeline,
  type Booking,
  isPostponedRecheck,
  type NextRun,
  type Presence,
} from '../../shared/booking/booking.ts';
import { deadlineOf } from '../../shared/booking/day-span.ts';
import type { GrantedConnection } from '../../shared/connection/connection.ts';
import type { CalendarFailure, CalendarFailureKind } from '../../shared/google/calendar.ts';
import { adviceForProject, isSwitchedOff, switchedOffAdvice } from '../../shared/google/calendar-advice.ts';
import type { Problem } from '../../shared/lib/app-error.ts';
import { backoff } from '../../shared/lib/backoff.ts';
import type { Moment } from './doubt.ts';
import { giveUp, type Outcome } from './outcomes.ts';

/** Runs that could not do what they were for: when and why the next one is due, and when it is too late for one. */

/** Tolerated clock skew between workers, in seconds. */
const clockSkewSeconds = 5;
/** Seconds over which the bookings of a paused calendar come back: a limit is counted by the minute. */
const pauseSpreadSeconds = 60;
/** Seconds between two attempts, by what prevents them. */
const retryRanges = {
  soon: { first: 30, longest: 3600 },
  rate: { first: 60, longest: 3600 },
  quota: { first: 3600, longest: 6 * 3600 },
  connection: { first: 60, longest: 6 * 3600 },
};
/** A calendar that Google does not find may be a passing fault: tried again soon for this many attempts. */
const notFoundAttempts = 6;

const pausedCode: `google_${CalendarFailureKind}` = 'google_rate_limited';
const problems = {
  noConnection: {
    code: 'no_connection',
    message: 'The user has no working Google connection. The booking is synced as soon as there is one.',
  },
  paused: {
    code: pausedCode,
    message:
      "Google has refused calls to this user's calendar as too many. Its other bookings wait a minute, too.",
  },
} satisfies Record<string, Problem>;

/** Whether a run is due: its time has come, or what it waits for. `connection`: the working one that it would use. */
export function isDue(nextRun: NextRun, connection: GrantedConnection | undefined, now: number): boolean {
  if (hasTimeCome(nextRun, now)) return true;
  switch (nextRun.why) {
    case 'requested':
      return true;
    case 'refused':
      return connection !== undefined && hasReconnected(nextRun, connection);
    case 'no_connection':
      return connection !== undefined;
    case 'in_doubt':
      return connection !== undefined && isPostponedRecheck(nextRun);
    default:
      return false;
  }
}

export function hasTimeCome({ at }: NextRun, now: number): boolean {
  return at <= now + clockSkewSeconds;
}

/** Whether the user has connected or chosen a calendar since Google refused the account or the calendar. */
function hasReconnected({ refusal }: NextRun, { connectedAt, choices }: GrantedConnection): boolean {
  return refusal !== undefined && (refusal.connectedAt !== connectedAt || refusal.choices !== choices);
}

/** Whether it is too late to create the event: a booking that was first tried after its deadline is tried until its end. */
export function isOutOfTime(booking: Booking, now: number): boolean {
  const { appointment, nextRun } = booking;
  const deadline = appointment ? deadlineOf(appointment) : 0;
  const since = nextRun?.since;
  const hasRetriedUntilDeadline = since !== undefined && since < deadline && deadline <= now;
  return hasRetriedUntilDeadline || hasEnded(booking, now);
}

/** Whether the appointment is over and the calendar was out of reach to the end: nothing can be changed in it any more. */
export function isHopeless(
  booking: Booking,
  connection: GrantedConnection | undefined,
  now: number,
): boolean {
  const { appointment, nextRun } = booking;
  const wasRefusedAtEnd = nextRun?.why === 'refused' && nextRun.at > (appointment?.endsAt ?? 0);
  return hasEnded(booking, now) && (connection === undefined || wasRefusedAtEnd);
}

function hasEnded({ appointment }: Booking, now: number): boolean {
  return (appointment?.endsAt ?? 0) <= now;
}

/** The user has no working connection: waits until there is one, or the deadline. */
export function waitForConnection({ booking, now, random }: Moment & { booking: Booking }): Booking {
  const count = countOf(booking, 'no_connection');
  return {
    ...booking,
    nextRun: {
      why: 'no_connection',
      at: dueAt(booking, now, backoff(count, random, retryRanges.connection)),
      count,
    },
    problems: [problems.noConnection],
  };
}

/** Runs in a row that ended for this reason, this one included. */
function countOf({ nextRun }: Booking, why: NextRun['why']): number {
  return nextRun?.why === why ? nextRun.count + 1 : 1;
}

/** It did not work this time: tried again after `wait` seconds. */
function retryLater(
  booking: Booking,
  problem: Problem,
  wait: number,
  now: number,
  refused?: Pick<NextRun, 'refusal'>,
): Outcome {
  const why = refused ? 'refused' : 'retry';
  const count = countOf(booking, why);
  const since = booking.nextRun?.since ?? now;
  return {
    booking: {
      ...booking,
      nextRun: { why, at: dueAt(booking, now, wait), count, ...(refused ?? { since }) },
      problems: [problem],
      timeline: appendTimeline(booking.timeline, now, 'attempt failed', problem.code),
    },
  };
}

/** The outcome of a run that Google's Calendar ended with `failure`. */
export function afterFailure(
  booking: Booking,
  failure: CalendarFailure,
  { wanted, now, random }: Moment & { wanted: Presence },
  connection?: Pick<GrantedConnection, 'connectedAt' | 'choices'>,
): Outcome {
  const problem = problemOf(failure);
  if (failure.kind === 'refused')
    return { booking: giveUp(booking, { reason: 'failed', wanted, now, because: problem }) };
  const by = refusers[failure.kind];
  const count = countOf(booking, by ? 'refused' : 'retry');
  const range = rangeOf(failure, count);
  // A longer wait than the longest of our own could last until the appointment is over.
  const asked = Math.min(failure.retryAfter ?? 0, range.longest);
  const wait = Math.max(asked, backoff(count, random, range));
  if (!by) return retryLater(booking, problem, wait, now);
  const { connectedAt, choices } = connection ?? {};
  const refusal = {
    by,
    reason: failure.reason,
    ...(connectedAt === undefined ? {} : { connectedAt }),
    ...(choices === undefined ? {} : { choices }),
  };
  return retryLater(booking, problem, wait, now, { refusal });
}

/** What refuses although the user is connected. */
const refusers: Partial<Record<CalendarFailure['kind'], 'account' | 'calendar'>> = {
  account_refused: 'account',
  not_found: 'calendar',
  permission_missing: 'calendar',
};

function rangeOf({ kind }: CalendarFailure, count: number): { first: number; longest: number } {
  const lasts = kind === 'quota_exceeded' || kind === 'account_refused' || kind === 'permission_missing';
  if (lasts || (kind === 'not_found' && count > notFoundAttempts)) return retryRanges.quota;
  return kind === 'rate_limited' ? retryRanges.rate : retryRanges.soon;
}

/** The outcome of a run that something other than Calendar has ended, for a reason that may pass. */
export function retryAfter(booking: Booking, problem: Problem, { now, random }: Moment): Outcome {
  const wait = backoff(countOf(booking, 'retry'), random, retryRanges.soon);
  return retryLater(booking, problem, wait, now);
}

/** Instead of a call to Google, a later run. A check keeps its reason; otherwise the booking waits for the calendar. */
export function pause(booking: Booking, until: number, { now, random }: Moment): Booking {
  const { nextRun } = booking;
  const at = dueAt(booking, now, until - now + 1 + Math.round(pauseSpreadSeconds * random()));
  if (nextRun?.why === 'check' || nextRun?.why === 'in_doubt')
    return { ...booking, nextRun: { ...nextRun, at } };
  const since = nextRun?.since;
  const isKnown = booking.problems.some(({ code }) => code === problems.paused.code);
  return {
    ...booking,
    nextRun: {
      why: 'paused',
      at,
      count: countOf(booking, 'paused'),
      ...(since === undefined ? {} : { since }),
    },
    problems: [problems.paused],
    timeline: isKnown
      ? booking.timeline
      : appendTimeline(booking.timeline, now, 'calendar paused', problems.paused.code),
  };
}

/** Never later than the deadline or, after that, the end: the run at that moment records and publishes `missed`. */
function dueAt({ appointment }: Booking, now: number, wait: number): number {
  const moments = appointment ? [deadlineOf(appointment), appointment.endsAt] : [];
  return Math.min(now + wait, moments.find((at) => at > now) ?? Number.POSITIVE_INFINITY);
}

/** Failures of Google's Calendar in words. */

const advice: Partial<Record<CalendarFailure['kind'], string>> = {
  not_found:
    'The chosen calendar does not exist or this user may not see it. Choose another calendar, or share it again.',
  permission_missing:
    "The user's permission does not cover the calendar of this event, for example because another account owns it. If the event does not exist yet, choose another calendar. If it does, change or delete it there by hand, or let the user connect with a permission that covers it.",
  account_refused:
    "Google does not allow this for the user's account or calendar at present. The user should check access to the chosen calendar, or choose another one; tried again then, and from time to time.",
  unauthorized: 'Google refuses a token that it has just issued.',
};

function adviceFor({ kind, reason }: CalendarFailure): string | undefined {
  if (kind === 'operator') return adviceForProject(reason);
  if (kind === 'account_refused' && isSwitchedOff(reason))
    return `${switchedOffAdvice}; tried again from time to time.`;
  return advice[kind];
}

/** Google's refusal as a problem of the booking: its code is stable, its message says what to do. */
export function problemOf(failure: CalendarFailure): Problem {
  const says = `Google: ${failure.message} (${failure.status ?? 'no answer'}, ${failure.reason})`;
  return { code: `google_${failure.kind}`, message: [adviceFor(failure), says].filter(Boolean).join(' ') };
}
