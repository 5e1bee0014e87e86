import type { BusEventType } from '../../shared/aws/bus.ts';
import {
  appendTimeline,
  type Blocked,
  type Booking,
  type BookingStatus,
  type ObservedEvent,
} from '../../shared/booking/booking.ts';
import { statusWithoutEvent } from '../../shared/booking/booking-payments.ts';
import { isInFormerAccount } from '../../shared/booking/former-account.ts';
import type { Connection, GrantedConnection } from '../../shared/connection/connection.ts';
import type { CalendarEvent, CalendarFailure } from '../../shared/google/calendar.ts';
import { adviceForProject, isSwitchedOff, switchedOffAdvice } from '../../shared/google/calendar-advice.ts';
import type { Problem } from '../../shared/lib/app-error.ts';
import { backoff } from '../../shared/lib/backoff.ts';
import { type Random, toIso } from '../../shared/lib/clock.ts';
import { isNewFailure, type PaymentPolicy, type Presence, presenceOf } from './apply-payment.ts';
import { deadlineOf } from './deadlines.ts';
import { hasJustGivenUp, olderEventProblems, withoutDoubt } from './doubt.ts';
import { endWithoutEvent } from './end-without-event.ts';
import { leaveInFormerAccount, leftWithinReach } from './former-account.ts';
import { writtenOf } from './written-event.ts';

/** Everything sync decides, as pure functions of the booking, the connection and what Google says. */

/** How a booking is to be left, and what LeadsCalendar is to be told of it. `again`: there is more to do at once. */
export type Outcome = { booking: Booking; event?: BusEventType; again?: true };

/**
 * What to do with a booking next: leave it as it is, record an outcome, put its event into the calendar, or take it
 * out again.
 */
export type Step =
  | { do: 'nothing' }
  | { do: 'record'; outcome: Outcome }
  | { do: Work; booking: Booking; presence: Presence; connection: GrantedConnection };

/**
 * Put the event into the calendar, make it show what is desired, look whether it still stands, find one that an attempt
 * which seemed to fail has left after all, or take it out. Withdraw it where another booking keeps the slot, or check
 * whether one does. Delete the events that were left in an account that is connected again.
 */
export type Work =
  | 'insert'
  | 'update'
  | 'verify'
  | 'find'
  | 'remove'
  | 'withdraw'
  | 'check slot'
  | 'delete left events';

/** Seconds between two attempts, by what stands in the way. */
const retryRanges = {
  soon: { first: 30, longest: 3600 },
  rate: { first: 60, longest: 3600 },
  quota: { first: 3600, longest: 6 * 3600 },
  connection: { first: 60, longest: 6 * 3600 },
};
/** Seconds after which a Meet link is looked for that Google was still making, first and later. */
const meetWait = 60;
const longestMeetWait = 6 * 3600;
/** Seconds before an appointment at which its event is looked at once more, where it was entered well before that. */
const lookBefore = 86_400;
/** Seconds until somebody else takes over what this run has only begun. */
const spareTime = 60;
/** Seconds by which the clocks of those who hand bookings over may differ. */
const dueWithin = 5;
/** Seconds after which a request that we have given up on can no longer take effect at Google. */
const lateEffect = 120;
/** A calendar that Google does not find may be a passing fault: tried again soon for this many attempts. */
const notFoundAttempts = 6;

/** All that a step is decided from. `stored` is what the table holds, if anything. */
export type Situation = {
  booking: Booking;
  stored: Booking | undefined;
  connection: Connection | undefined;
  now: number;
  random: Random;
  policy: PaymentPolicy;
  /**
   * The record may not tell what stands in the calendar: this run has changed it and was overtaken, or an earlier one
   * was cut off. Then Google is asked.
   */
  suspect: boolean;
  /** Another booking has taken the same slot at the same moment. */
  checkSlot?: boolean;
};

/** The next step for a booking. */
export function nextStep(given: Situation): Step {
  const { booking, stored, connection, now, random, policy } = given;
  const active = connection?.status === 'active' ? connection : undefined;
  const isAway = active !== undefined && isInFormerAccount(booking.observed, active);
  // The calendar of the connected account says nothing about an event in a former one.
  const reachable = isAway ? undefined : active;
  const toBeSettled = isToBeSettled(booking, now);
  const suspect = !isAway && (given.suspect || (active !== undefined && toBeSettled));
  const situation = { ...given, suspect };
  const recordIfChanged = (outcome: Outcome): Step =>
    outcome.booking === stored ? { do: 'nothing' } : { do: 'record', outcome };
  if (!booking.appointment) {
    return recordIfChanged({
      booking,
      ...(isNewFailure(booking, stored) ? { event: 'booking.failed' } : {}),
    });
  }
  const presence = presenceOf(booking, policy);
  const isOver = booking.appointment.endsAt <= now;
  if (presence === 'absent' ? isGone(situation) : isSettled(situation, presence)) {
    if (toBeSettled && !reachable) return { do: 'record', outcome: settledLater(booking, now) };
    if (isSlotToBeChecked(situation) && reachable)
      return { do: 'check slot', booking, presence, connection: reachable };
    if (!isToBeVerified(situation)) {
      if (active && leftWithinReach(booking, active).length > 0)
        return { do: 'delete left events', booking, presence, connection: active };
      return recordIfChanged({ booking });
    }
    if (reachable) return { do: 'verify', booking, presence, connection: reachable };
    return { do: 'record', outcome: verified(isAway ? withoutDoubt(booking) : booking, undefined, now) };
  }
  if (presence === 'absent' && hasNoEvent(situation))
    return { do: 'record', outcome: withdrawn(booking, now) };
  if (presence !== 'absent' && (isOver || hasRunOut(situation)) && !booking.observed) {
    // It is too late to enter it, but not to see that an attempt of which nobody heard has done so in time.
    return active && isUncertain(situation)
      ? { do: 'find', booking: unblocked(booking), presence, connection: active }
      : { do: 'record', outcome: missed(booking, now) };
  }

  // Asked before its time after a failure, by a duplicate: Google is left alone until then. A new connection ends any
  // waiting for it, and so does a change of what is desired, which starts counting anew.
  const isPaused = booking.attempts > 0 || booking.doubt !== undefined;
  const early = booking === stored && !suspect && isPaused && (booking.syncDueAt ?? 0) > now + dueWithin;
  const released = active && (booking.status === 'waiting_for_connection' || hasReconnected(booking, active));
  if (early && !released) return { do: 'nothing' };
  if (isAway) return { do: 'record', outcome: afterAccountChange(booking, presence, now) };
  if (isOver && booking.blocked && booking === stored)
    return { do: 'record', outcome: presence === 'absent' ? withdrawn(booking, now) : missed(booking, now) };
  if (active)
    return { do: workFor(situation, presence), booking: unblocked(booking), presence, connection: active };
  if (presence === 'absent' && isOver) return { do: 'record', outcome: withdrawn(booking, now) };
  if (isOver) return { do: 'record', outcome: missed(booking, now) };
  return { do: 'record', outcome: waiting(booking, now, random) };
}

/** The event stays in the former account. Where one should exist, the next is created in the connected account. */
function afterAccountChange(booking: Booking, presence: Presence, now: number): Outcome {
  const left = leaveInFormerAccount(booking, now);
  const generation = booking.generation + 1;
  if (presence === 'absent') return cancelled(left, generation, now);
  if ((booking.appointment?.endsAt ?? 0) > now) return withNextId(left, now);
  const { observed: _, ...rest } = left;
  return missed({ ...rest, generation }, now);
}

/** Failed attempts have lasted until the deadline. A booking that was first tried after it is tried until the end. */
function hasRunOut({ booking, stored, now }: Situation): boolean {
  const { status, attempts, appointment, triedSince = 0 } = booking;
  const mayPass = status === 'pending' && attempts > 0 && !booking.blocked;
  const deadline = appointment ? deadlineOf(appointment) : 0;
  return booking === stored && mayPass && triedSince < deadline && deadline <= now;
}

/** Whether something may stand in a calendar that the record does not tell of. */
export function isUncertain({ booking, suspect }: Pick<Situation, 'booking' | 'suspect'>): boolean {
  const isOpen = booking.unheard === true || booking.unsettled === true;
  return suspect || booking.attempts > 0 || isOpen || (booking.doubt !== undefined && !booking.observed);
}

/** An event that the record may not tell the truth of is inserted again: Google then says what stands. */
function workFor({ booking, suspect }: Situation, presence: Presence): Work {
  if (presence === 'absent') return 'remove';
  if (!booking.observed) return 'insert';
  if (booking.observed.outranked) return 'withdraw';
  if (booking.doubt) return 'update';
  return !suspect && !showsWhatIsDesired(booking, presence) ? 'update' : 'insert';
}

/** Whether the event, as far as is on record, shows what is desired now. */
export function showsWhatIsDesired({ observed, revision }: Booking, presence: Presence): boolean {
  return observed?.revision === revision && (observed.tentative ?? false) === (presence === 'tentative');
}

/** What is to stand stands as it should, or there is nothing more that could be done for it. */
function isSettled({ booking, suspect }: Situation, presence: Presence): boolean {
  const { observed, status } = booking;
  if (status === 'missed') return true;
  if (!observed) return status === 'failed' || (status === 'conflict' && !suspect);
  if (!showsWhatIsDesired(booking, presence)) return status === 'failed';
  if (status === 'deleted_by_user') return true;
  // A run that was to make sure of it has not come to an end.
  if (status === 'pending' || status === 'waiting_for_connection') return false;
  return !suspect;
}

function isSlotToBeChecked({ booking: { observed, status }, checkSlot = false }: Situation): boolean {
  return checkSlot && observed !== undefined && (status === 'scheduled' || status === 'held');
}

/** The time has come to look whether an event still stands. */
function isToBeVerified({ booking, stored, now }: Situation): boolean {
  return (
    booking === stored &&
    booking.status === 'scheduled' &&
    (booking.syncDueAt ?? Number.POSITIVE_INFINITY) <= now + dueWithin
  );
}

/** The time has come to look whether a request that was given up on has taken effect after all. */
export function isToBeSettled({ unsettled, syncDueAt }: Booking, now: number): boolean {
  return unsettled === true && (syncDueAt ?? Number.POSITIVE_INFINITY) <= now + dueWithin;
}

/** Nothing stands, and that is on record. */
function isGone({ booking, suspect }: Situation): boolean {
  return booking.observed === undefined && booking.status === statusWithoutEvent(booking) && !suspect;
}

/**
 * Whether there can be no event although none is on record as removed. A run that was cut off or refused may have left
 * one, so this is only so where a run ended well without it, or where the user has never been connected.
 */
function hasNoEvent({ booking, stored, connection, suspect }: Situation): boolean {
  if (booking.observed || booking.unsettled || suspect) return false;
  const ended: (BookingStatus | undefined)[] = ['missed', 'conflict', 'declared'];
  return connection === undefined || ended.includes(stored?.status);
}

/** The end of a booking that stands nowhere. */
function withdrawn(booking: Booking, now: number): Outcome {
  return cancelled(booking, booking.generation, now);
}

/** What an answer that is no success means for the next move: the first two are tried here and now. */
export type Move = 'refresh token' | 'try again' | 'accept';

/** The move after a refusal. `tries` counts the calls so far, the refused one included. */
export function afterRefusal(failure: CalendarFailure, tries: number, refreshed: boolean): Move {
  switch (failure.kind) {
    case 'unauthorized':
      return refreshed ? 'accept' : 'refresh token';
    case 'transient': {
      const isLimit = failure.status === 429;
      return tries < 2 && !isLimit && (failure.retryAfter ?? 0) <= 1 ? 'try again' : 'accept';
    }
    default:
      return 'accept';
  }
}

/**
 * The event stands in the calendar as it should.
 * @param unsettled a deletion that was given up on may yet take effect
 */
export function scheduled(
  booking: Booking,
  presence: Presence,
  calendarId: string,
  event: CalendarEvent,
  now: number,
  unsettled = false,
): Outcome {
  const { syncDueAt: _, unsettled: __, unheard: ___, observed: before, ...rest } = withoutDoubt(booking);
  const tentative = presence === 'tentative';
  const what = tentative ? 'held' : before && !before.tentative ? 'changed' : 'scheduled';
  const meet = meetOf(booking, event);
  const isKnown = before?.revision === booking.revision && !before.tentative && !before.doubted;
  const isNews = what !== 'held' && !isKnown;
  return {
    booking: {
      ...rest,
      status: tentative ? 'held' : 'scheduled',
      observed: {
        calendarId,
        eventId: event.id,
        generation: booking.generation,
        etag: event.etag,
        htmlLink: event.htmlLink,
        revision: booking.revision,
        ...(tentative ? { tentative } : {}),
        ...meet,
      },
      // A slot that is only held is looked at when it is paid for.
      ...(tentative ? {} : nextLook(booking, meet.meet?.state === 'pending', now)),
      ...(unsettled || hasJustGivenUp(booking, now) ? toBeSettled(now) : {}),
      // A slot that was held beside another appointment is no freer for being paid.
      problems: [
        ...(before?.tentative ? booking.problems.filter(isConflict) : []),
        ...olderEventProblems(booking),
      ],
      attempts: 0,
      timeline: isNews || tentative ? appendTimeline(booking.timeline, now, what) : booking.timeline,
      updatedAt: toIso(now),
    },
    ...(isNews ? { event: what === 'changed' ? 'booking.rescheduled' : 'booking.scheduled' } : {}),
  };
}

/** The event still stands, as `event` shows it: looked at again only for a Meet link that is still being made. */
export function verified(booking: Booking, event: CalendarEvent | undefined, now: number): Outcome {
  const { syncDueAt: _, ...rest } = event ? withoutDoubt(booking) : booking;
  const { observed } = booking;
  if (!observed || !event) return { booking: { ...rest, updatedAt: toIso(now) } };
  const { meet: before, ...known } = observed;
  const { meet } = meetOf(booking, event);
  const seen: ObservedEvent = {
    ...known,
    etag: event.etag,
    htmlLink: event.htmlLink,
    ...(meet ? { meet } : {}),
  };
  const hasCome = before?.state === 'pending' && meet?.state === 'ready';
  return {
    booking: {
      ...rest,
      observed: seen,
      ...nextLook(booking, meet?.state === 'pending', now),
      attempts: meet?.state === 'pending' ? booking.attempts + 1 : 0,
      timeline: hasCome ? appendTimeline(booking.timeline, now, 'Meet link made') : booking.timeline,
      updatedAt: toIso(now),
    },
    ...(hasCome ? { event: 'booking.rescheduled' } : {}),
  };
}

/** The check failed. The event is assumed to exist, and checked again before the deadline. */
export function lookAgain(booking: Booking, now: number): Outcome {
  const { syncDueAt: _, ...rest } = booking;
  const lookAt = now + 3600;
  const isWorthIt = booking.appointment !== undefined && lookAt < deadlineOf(booking.appointment);
  return { booking: { ...rest, ...(isWorthIt ? { syncDueAt: lookAt } : {}), updatedAt: toIso(now) } };
}

/**
 * When an event that stands is looked at next: for a Meet link soon, then less and less often and until the appointment
 * is over; and once a day before it begins.
 */
function nextLook(
  { appointment, attempts }: Pick<Booking, 'appointment' | 'attempts'>,
  meetIsPending: boolean,
  now: number,
): { syncDueAt?: number } {
  const { startsAt = 0, endsAt = 0 } = appointment ?? {};
  const forMeet = now + Math.min(meetWait * 2 ** attempts, longestMeetWait);
  if (meetIsPending && forMeet < endsAt) return { syncDueAt: forMeet };
  const dayBefore = startsAt - lookBefore;
  return dayBefore > now ? { syncDueAt: dayBefore } : {};
}

/** What to do where something else stands at that time: enter it, enter it and say so, or not enter it. */
export type ConflictPolicy = 'create' | 'flag' | 'hold';

/**
 * Something else stands in the calendar at that time, and it is not entered until it changes. Announced once.
 * @param unsettled an insert that was given up on may yet take effect
 */
export function conflicting(booking: Booking, now: number, unsettled: boolean): Outcome {
  const { syncDueAt: _, unsettled: __, unheard: ___, ...rest } = withoutDoubt(booking);
  const isNews = booking.status !== 'conflict';
  return {
    booking: {
      ...rest,
      status: 'conflict',
      problems: [conflictProblems.busy],
      attempts: 0,
      ...(unsettled ? toBeSettled(now) : {}),
      timeline: isNews ? appendTimeline(booking.timeline, now, 'conflict') : booking.timeline,
      updatedAt: toIso(now),
    },
    ...(isNews ? { event: 'booking.conflict' } : {}),
  };
}

/**
 * Another booking keeps the slot. Recorded before the event is deleted: a crash in between leaves an event that the
 * record says to delete.
 */
export function outranked(booking: Booking, now: number): Outcome {
  const { observed, ...rest } = booking;
  return {
    booking: {
      ...rest,
      ...(observed ? { observed: { ...observed, outranked: true } } : {}),
      status: 'pending',
      problems: [conflictProblems.busy],
      syncDueAt: now + spareTime,
      updatedAt: toIso(now),
    },
    again: true,
  };
}

/** The event of an outranked booking is deleted. A booking that has changed since may have another slot: tried again. */
export function yielded(booking: Booking, now: number): Outcome {
  const { observed, ...rest } = booking;
  if (observed?.revision !== booking.revision) return withNextId(booking, now);
  return conflicting({ ...rest, generation: booking.generation + 1 }, now, false);
}

/** Why an appointment that was entered may stand beside another one. */
export const conflictProblems = {
  busy: { code: 'calendar_conflict', message: 'Something else stands in the calendar at that time.' },
  unknown: {
    code: 'calendar_conflict_unknown',
    message: 'Whether something else stands in the calendar at that time could not be seen.',
  },
} satisfies Record<string, Problem>;

export function isConflict({ code }: Problem): boolean {
  return Object.values(conflictProblems).some((problem) => problem.code === code);
}

/**
 * Its owner has deleted the event: recorded and told, and not fought. `olderEvents`: with the event itself where it may
 * have been moved instead.
 */
export function deletedByUser(
  booking: Booking,
  { olderEvents }: Pick<Booking, 'olderEvents'>,
  now: number,
): Outcome {
  const { syncDueAt: _, ...rest } = withoutDoubt(booking);
  const { observed } = rest;
  const older = olderEventProblems({ ...rest, ...(olderEvents ? { olderEvents } : {}) });
  const others = rest.problems.filter(({ code }) => older.every((problem) => problem.code !== code));
  return {
    booking: {
      ...rest,
      ...(observed ? { observed: { ...observed, deletedByUser: true } } : {}),
      ...(olderEvents ? { olderEvents } : {}),
      status: 'deleted_by_user',
      problems: [...others, ...older],
      timeline: appendTimeline(booking.timeline, now, 'deleted by its owner'),
      updatedAt: toIso(now),
    },
    event: 'booking.deleted_by_user',
  };
}

/**
 * Google will not take the id again: it is of an event that was deleted, or not ours. The next one is used once it is
 * on record, so that whatever stands in the calendar stands under the generation on record, or an earlier and spent one.
 */
export function withNextId(booking: Booking, now: number): Outcome {
  const { observed: _, ...rest } = withoutDoubt(booking);
  const generation = booking.generation + 1;
  return {
    booking: { ...rest, status: 'pending', generation, syncDueAt: now + spareTime, updatedAt: toIso(now) },
    again: true,
  };
}

/**
 * No event exists any more. `generation` is that of the next event, should there be one.
 * @param unsettled an insert that was given up on may yet take effect
 */
export function cancelled(booking: Booking, generation: number, now: number, unsettled = false): Outcome {
  const { syncDueAt: _, unsettled: __, unheard: ___, observed, ...rest } = withoutDoubt(unblocked(booking));
  const end = endWithoutEvent(booking);
  const isNews = booking.status !== end.status;
  return {
    booking: {
      ...rest,
      status: end.status,
      generation,
      problems: [...olderEventProblems(booking), ...end.problems],
      attempts: 0,
      ...(unsettled || hasJustGivenUp(booking, now) ? toBeSettled(now) : {}),
      timeline: isNews ? appendTimeline(booking.timeline, now, end.what) : booking.timeline,
      updatedAt: toIso(now),
    },
    ...(isNews && end.event ? { event: end.event } : {}),
  };
}

/** Looked at once more when nothing that was given up on can take effect any longer. */
function toBeSettled(now: number): Pick<Booking, 'unsettled' | 'syncDueAt'> {
  return { unsettled: true, syncDueAt: now + lateEffect };
}

/** Nobody can look at present whether what was given up on has taken effect: tried again until the appointment is over. */
function settledLater(booking: Booking, now: number): Outcome {
  const { syncDueAt: _, unsettled: __, ...rest } = booking;
  const lookAt = now + retryRanges.connection.longest;
  const isWorthIt = lookAt < (booking.appointment?.endsAt ?? 0);
  return {
    booking: { ...rest, ...(isWorthIt ? { unsettled: true, syncDueAt: lookAt } : {}), updatedAt: toIso(now) },
  };
}

/** It cannot be put into the calendar as it is. That counts as an attempt: the refusal may not have been the first answer. */
function failed(booking: Booking, problem: Problem, now: number): Outcome {
  const { syncDueAt: _, ...rest } = booking;
  return {
    booking: {
      ...rest,
      ...doubted(booking),
      status: 'failed',
      attempts: booking.attempts + 1,
      problems: [problem],
      timeline: appendTimeline(booking.timeline, now, 'failed', problem.code),
      updatedAt: toIso(now),
    },
    event: 'booking.failed',
  };
}

/** It is over, and it or its last change was never in the calendar, as far as anybody could see. */
export function missed(booking: Booking, now: number): Outcome {
  const { syncDueAt: _, unheard: __, ...rest } = withoutDoubt(unblocked(booking));
  return {
    booking: {
      ...rest,
      status: 'missed',
      timeline: appendTimeline(booking.timeline, now, 'missed'),
      updatedAt: toIso(now),
    },
    event: 'booking.missed',
  };
}

/** The user has no working connection: held until there is one. Announced once. */
export function waiting(booking: Booking, now: number, random: Random): Outcome {
  const alreadyWaiting = booking.status === 'waiting_for_connection';
  const attempts = alreadyWaiting ? booking.attempts + 1 : 1;
  const { triedSince: _, ...rest } = unblocked(booking);
  return {
    booking: {
      ...rest,
      ...(alreadyWaiting ? {} : doubted(booking)),
      status: 'waiting_for_connection',
      problems: [
        {
          code: 'no_connection',
          message: 'The user has no working Google connection. It is done once there is one.',
        },
      ],
      attempts,
      syncDueAt: dueAt(booking, now, backoff(attempts, random, retryRanges.connection)),
      timeline: alreadyWaiting
        ? booking.timeline
        : appendTimeline(booking.timeline, now, 'waiting for a connection'),
      updatedAt: toIso(now),
    },
    ...(alreadyWaiting ? {} : { event: 'booking.waiting' }),
  };
}

function doubted({ observed }: Booking): Pick<Booking, 'observed'> {
  return observed ? { observed: { ...observed, doubted: true } } : {};
}

/** It did not work this time: the booking carries the time of its next attempt, and why. */
function retryLater(booking: Booking, problem: Problem, wait: number, now: number): Outcome {
  // An attempt that failed leaves as much open as what it was to settle.
  const { unsettled: _, ...rest } = booking;
  return {
    booking: {
      ...rest,
      status: 'pending',
      problems: [problem],
      attempts: booking.attempts + 1,
      triedSince: booking.attempts > 0 ? (booking.triedSince ?? now) : now,
      syncDueAt: dueAt(booking, now, wait),
      timeline: appendTimeline(booking.timeline, now, 'attempt failed', problem.code),
      updatedAt: toIso(now),
    },
  };
}

/** The outcome of a run that Google's Calendar ended with `failure`. */
export function afterFailure(
  booking: Booking,
  failure: CalendarFailure,
  now: number,
  random: Random,
  connection?: Pick<GrantedConnection, 'connectedAt' | 'choices'>,
): Outcome {
  const problem = problemOf(failure);
  if (failure.kind === 'refused') return failed(booking, problem, now);
  const range = rangeOf(failure, booking);
  // A longer wait than the longest of our own could last until the appointment is over.
  const asked = Math.min(failure.retryAfter ?? 0, range.longest);
  const wait = Math.max(asked, backoff(booking.attempts + 1, random, range));
  const outcome = retryLater(booking, problem, wait, now);
  const by = blockers[failure.kind];
  if (!by) return outcome;
  const { connectedAt, choices } = connection ?? {};
  const blocked: Blocked = {
    by,
    reason: failure.reason,
    ...(connectedAt === undefined ? {} : { connectedAt }),
    ...(choices === undefined ? {} : { choices }),
  };
  return { ...outcome, booking: { ...outcome.booking, blocked } };
}

/** What a failure says stands in the way although the user is connected. */
const blockers: Partial<Record<CalendarFailure['kind'], Blocked['by']>> = {
  account_refused: 'account',
  not_found: 'calendar',
  permission_missing: 'calendar',
};

function rangeOf({ kind }: CalendarFailure, { attempts }: Booking): { first: number; longest: number } {
  const lasts = kind === 'quota_exceeded' || kind === 'account_refused' || kind === 'permission_missing';
  if (lasts || (kind === 'not_found' && attempts >= notFoundAttempts)) return retryRanges.quota;
  return kind === 'rate_limited' ? retryRanges.rate : retryRanges.soon;
}

/** Whether the user has connected or chosen a calendar since Google refused the account or the calendar. */
function hasReconnected({ blocked }: Booking, { connectedAt, choices }: GrantedConnection): boolean {
  return blocked !== undefined && (blocked.connectedAt !== connectedAt || blocked.choices !== choices);
}

function unblocked(booking: Booking): Booking {
  if (!booking.blocked) return booking;
  const { blocked: _, triedSince: __, ...rest } = booking;
  return rest;
}

/** The outcome of a run that something other than Calendar has ended, for a reason that may pass. */
export function triedInVain(booking: Booking, problem: Problem, now: number, random: Random): Outcome {
  return retryLater(booking, problem, backoff(booking.attempts + 1, random, retryRanges.soon), now);
}

/** Never later than the deadline or, after that, the end: the attempt at that moment records and publishes `missed`. */
export function dueAt({ appointment }: Booking, now: number, wait: number): number {
  const moments = appointment ? [deadlineOf(appointment), appointment.endsAt] : [];
  return Math.min(now + wait, moments.find((at) => at > now) ?? Number.POSITIVE_INFINITY);
}

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

/** What is known of the Meet link that was asked for. */
function meetOf(booking: Booking, event: CalendarEvent): Pick<ObservedEvent, 'meet'> {
  if (!booking.appointment?.details?.meet || writtenOf(event)?.refused.meet) return {};
  if (event.hangoutLink) return { meet: { state: 'ready', link: event.hangoutLink } };
  const failed = event.conferenceData?.createRequest?.status?.statusCode === 'failure';
  return { meet: { state: failed ? 'failed' : 'pending' } };
}
