import {
  appendTimeline,
  type Booking,
  type EventSnapshot,
  type GivenUp,
  knownEvent,
  type Presence,
  recordedEvent,
} from '../../shared/booking/booking.ts';
import {
  conflictProblems,
  isConflict,
  paymentProblems,
  statusWithoutEvent,
} from '../../shared/booking/booking-payments.ts';
import { deadlineOf } from '../../shared/booking/day-span.ts';
import { formerAccountProblems } from '../../shared/booking/former-account.ts';
import { isGivenUp } from '../../shared/booking/status.ts';
import type { Problem } from '../../shared/lib/app-error.ts';
import { type AfterRead, doubtProblems, inDoubtSeconds, isWindowOpen, recheckAt } from './doubt.ts';
import { hasJustGivenUp, olderEventProblems, withLeftBehind, withoutNotFound } from './other-events.ts';

/** What a run leaves behind: the booking to record, without status, timeline and events, which `conclude` derives. */

/** Seconds after which another worker takes over what this run has only begun. */
const takeoverSeconds = 60;
/** Seconds until a check that failed is repeated, and a re-check that is to end a doubt near the deadline. */
const checkAgainSeconds = { rest: 3600, doubt: 300 };
/** Seconds after which a Meet link is read for that Google was still making, first and at most. */
const meetSeconds = { first: 60, longest: 6 * 3600 };
/** Seconds before an appointment at which its event is checked, where it was created well before that. */
const dayBeforeSeconds = 86_400;

/** `again`: recorded, and there is more to do at once. */
export type Outcome = { booking: Booking; again?: true };

/** The event cannot be checked in the connected account. */
export function withoutCheck({ nextRun: _, ...booking }: Booking): Booking {
  return booking;
}

/**
 * The event shows the desired state.
 * @param mayBeUndone a late request may still change that
 */
export function eventShown(
  booking: Booking,
  event: EventSnapshot,
  { now, mayBeUndone, partProblems }: { now: number; mayBeUndone: boolean; partProblems: Problem[] },
): Outcome {
  const { nextRun: _, givenUp: __, calendar, ...rest } = booking;
  // A slot beside another appointment is no freer for being paid or read again.
  const known = knownEvent(booking);
  const isSame = known?.tentative || known?.revision === booking.revision;
  const kept = isSame ? booking.problems.filter(isConflict) : [];
  const shown: Booking = {
    ...rest,
    calendar: { kind: 'present', event },
    problems: [
      ...kept,
      ...olderEventProblems({ ...rest, calendar: { kind: 'present', event } }),
      ...partProblems,
    ],
  };
  if (!mayBeUndone && !hasJustGivenUp(booking, now)) return { booking: withNextCheck(shown, 1, now) };
  const until = calendar.kind === 'in_doubt' && calendar.until > now ? calendar.until : now + inDoubtSeconds;
  return { booking: { ...shown, calendar: { kind: 'in_doubt', event, until }, nextRun: recheckAt(until) } };
}

/** The event was read, and is checked again only for a Meet link that is still being made. */
export function eventSeen(booking: Booking, event: EventSnapshot, now: number): Booking {
  const { nextRun, ...rest } = booking;
  const count = nextRun?.why === 'check' ? nextRun.count + 1 : 1;
  const others = booking.problems.filter(({ code }) => code !== doubtProblems.inDoubt.code);
  const seen: Booking = { ...rest, calendar: { kind: 'present', event }, problems: others };
  if (!isWindowOpen(booking, now)) return withNextCheck(seen, count, now);
  const until = booking.calendar.kind === 'in_doubt' ? booking.calendar.until : now;
  return { ...seen, calendar: { kind: 'in_doubt', event, until }, nextRun: recheckAt(until) };
}

/**
 * When an event is checked next: for a Meet link soon, then less and less often and until the appointment is over; and
 * a day before it begins. A slot that is only held is read when it is paid for.
 */
function withNextCheck(booking: Booking, count: number, now: number): Booking {
  const event = knownEvent(booking);
  const { startsAt = 0, endsAt = 0 } = booking.appointment ?? {};
  if (!event || event.tentative) return booking;
  const forMeet = now + Math.min(meetSeconds.first * 2 ** (count - 1), meetSeconds.longest);
  if (event.meet?.state === 'pending' && forMeet < endsAt)
    return { ...booking, nextRun: { why: 'check', at: forMeet, count } };
  const dayBefore = startsAt - dayBeforeSeconds;
  return dayBefore > now ? { ...booking, nextRun: { why: 'check', at: dayBefore, count: 1 } } : booking;
}

/** The check failed: repeated before the deadline, and a doubt is read again until the appointment is over. */
export function checkLater(booking: Booking, now: number): Outcome {
  const { nextRun, appointment, ...rest } = booking;
  if (!appointment) return { booking: rest };
  const count = nextRun?.count ?? 1;
  const at = now + checkAgainSeconds.rest;
  const why = nextRun?.why === 'in_doubt' ? 'in_doubt' : 'check';
  const checked = { ...rest, appointment };
  if (at < deadlineOf(appointment)) return { booking: { ...checked, nextRun: { why, at, count } } };
  if (why === 'check' || appointment.endsAt <= now) return { booking: checked };
  const soon = Math.min(now + checkAgainSeconds.doubt, appointment.endsAt);
  return { booking: { ...checked, nextRun: { why, at: soon, count } } };
}

/** Another booking keeps the slot. Recorded before the event is deleted: a crash in between leaves an event to delete. */
export function outranked(booking: Booking, wanted: Presence, now: number): Outcome {
  const { revision } = booking;
  return {
    booking: {
      ...booking,
      givenUp: { reason: 'conflict', revision, presence: wanted },
      problems: [conflictProblems.busy],
      nextRun: { why: 'requested', at: now + takeoverSeconds, count: 0 },
    },
    again: true,
  };
}

/** Whether the event was given up for a conflict and is to be deleted, also where the booking has changed since. */
export function isOutranked(booking: Booking): boolean {
  const event = knownEvent(booking);
  const { givenUp } = booking;
  return event !== undefined && givenUp?.reason === 'conflict' && givenUp.revision === event.revision;
}

/** The known event is deleted. Where the booking should have one all the same, it is tried again under the next number. */
export function eventDeleted(booking: Booking, wanted: Presence, now: number): Outcome {
  if (wanted === 'absent') return { booking: eventAbsent(booking, now, { isSpent: true }) };
  if (!isGivenUp(booking, wanted)) return nextEventNumber(booking, now);
  const { nextRun: _, ...rest } = booking;
  return {
    booking: {
      ...rest,
      calendar: { kind: 'absent' },
      eventNumber: booking.eventNumber + 1,
      problems: [conflictProblems.busy],
    },
  };
}

/** No event exists, and none should. `isSpent`: Google does not accept the event id again. */
export function eventAbsent(
  booking: Booking,
  now: number,
  { isSpent = false, after }: { isSpent?: boolean; after?: AfterRead } = {},
): Booking {
  const { nextRun: _, givenUp: __, calendar, ...rest } = booking;
  const wasSpent = isSpent || calendar.kind === 'deleted_by_owner';
  const absent: Booking = {
    ...rest,
    calendar: { kind: 'absent' },
    eventNumber: booking.eventNumber + (wasSpent ? 1 : 0),
  };
  const isFailure = statusWithoutEvent(booking) === 'failed';
  const reasons = isFailure ? paymentProblems(booking) : [];
  // A booking without an appointment says why it has none.
  const problems = booking.appointment ? [...olderEventProblems(absent), ...reasons] : booking.problems;
  return { ...absent, ...(after ?? afterDeletion(booking, now)), problems };
}

/** An event that was given up only now is read once more. */
function afterDeletion(booking: Booking, now: number): AfterRead {
  if (!hasJustGivenUp(booking, now)) return { calendar: { kind: 'absent' } };
  const until = now + inDoubtSeconds;
  return { calendar: { kind: 'in_doubt', until }, nextRun: recheckAt(until) };
}

/**
 * Google does not accept the id again: it is of an event that was deleted, or not ours. The next one is used once it is
 * on record, or a crash would leave an event that no record shows.
 */
export function nextEventNumber(booking: Booking, now: number): Outcome {
  const { calendar: _, givenUp: __, ...rest } = booking;
  const others = booking.problems.filter(({ code }) => code !== doubtProblems.inDoubt.code);
  return {
    booking: {
      ...rest,
      calendar: { kind: 'in_doubt', until: 0 },
      eventNumber: booking.eventNumber + 1,
      problems: others,
      nextRun: { why: 'requested', at: now + takeoverSeconds, count: 0 },
    },
    again: true,
  };
}

/** Its owner has deleted the event: recorded and published, and left so until the booking changes. */
export function deletedByOwner(booking: Booking): Outcome {
  const event = recordedEvent(booking);
  if (!event) return { booking };
  const { nextRun: _, ...rest } = booking;
  // Should it exist after all, it is this booking's event.
  const deleted = withoutNotFound({ ...rest, calendar: { kind: 'deleted_by_owner', event } }, event);
  const older = olderEventProblems(deleted);
  const codes = new Set([doubtProblems.inDoubt.code, ...older.map(({ code }) => code)]);
  return {
    booking: { ...deleted, problems: [...booking.problems.filter(({ code }) => !codes.has(code)), ...older] },
  };
}

/** The event stays in the former account. Where one should exist, the next is created in the connected account. */
export function leaveInFormerAccount(booking: Booking, wanted: Presence, now: number): Outcome {
  const event = recordedEvent(booking);
  const isDeleted = booking.calendar.kind === 'deleted_by_owner';
  const left = event && !isDeleted ? noteLeftBehind(withLeftBehind(booking, event), now) : booking;
  if (wanted === 'absent') return { booking: eventAbsent(left, now, { isSpent: true }) };
  if ((booking.appointment?.endsAt ?? 0) > now) return nextEventNumber(left, now);
  const { calendar: _, ...rest } = left;
  const missed: Booking = { ...rest, calendar: { kind: 'absent' }, eventNumber: left.eventNumber + 1 };
  return { booking: giveUp(missed, { reason: 'missed', wanted, now }) };
}

function noteLeftBehind(booking: Booking, now: number): Booking {
  const [problem] = formerAccountProblems(booking);
  return {
    ...booking,
    timeline: appendTimeline(booking.timeline, now, 'event left in former account', problem?.code),
  };
}

/** Stops pursuing this revision and presence. What is in doubt is read again after the window. */
export function giveUp(
  booking: Booking,
  {
    reason,
    wanted,
    now,
    after,
    because,
  }: { reason: GivenUp['reason']; wanted: Presence; now: number; after?: AfterRead; because?: Problem },
): Booking {
  const { nextRun: _, calendar, ...rest } = booking;
  const isOpen = calendar.kind === 'in_doubt' && (calendar.until > now || calendar.event !== undefined);
  const settled: AfterRead =
    calendar.kind === 'in_doubt' && !isOpen && calendar.until === 0
      ? { calendar: { kind: 'absent' } }
      : { calendar };
  const recheck =
    isWindowOpen(booking, now) && calendar.kind === 'in_doubt' ? { nextRun: recheckAt(calendar.until) } : {};
  return {
    ...rest,
    ...(after ?? { ...settled, ...recheck }),
    givenUp: { reason, revision: booking.revision, presence: wanted },
    problems: because
      ? [because]
      : booking.problems.filter(({ code }) => code !== doubtProblems.inDoubt.code),
  };
}
