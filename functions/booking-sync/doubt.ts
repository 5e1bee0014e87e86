import {
  appendTimeline,
  type Booking,
  type CalendarState,
  type EventPlace,
  type NextRun,
  type Presence,
  recordedEvent,
  requestRun,
} from '../../shared/booking/booking.ts';
import { isOpen, showsDesired } from '../../shared/booking/status.ts';
import type { Problem } from '../../shared/lib/app-error.ts';
import type { Random } from '../../shared/lib/clock.ts';
import { placeOf } from './other-events.ts';
import type { Outcome } from './outcomes.ts';

/** A calendar in doubt: what opens a doubt, what a read says of it, and when the next read is due. */

/** Seconds in which Google may still apply a request that timed out. */
export const inDoubtSeconds = 120;
/** Seconds between two reads that must agree before an event counts as gone. */
const readsApartSeconds = 60;
/** Seconds added before the second read: workers tolerate some clock skew. */
const skewMarginSeconds = 6;
/** Seconds between two re-checks of a calendar that cannot be read, at most. */
const longestRecheckSeconds = 6 * 3600;

export type Moment = { now: number; random: Random };

export const doubtProblems = {
  inDoubt: {
    code: 'event_in_doubt',
    message:
      'Google does not find the event of this booking at present. It is read again in a minute before anything is concluded.',
  },
  mayExist: {
    code: 'event_in_doubt',
    message:
      'An earlier attempt may have created the event of this booking, but Google does not find it at present. It is read again in a minute before anything is concluded.',
  },
} satisfies Record<string, Problem>;

/** `booking` with a calendar that only a read can tell, until after `until` for certain. A deletion by the owner stays. */
export function withDoubt(booking: Booking, until: number): Booking {
  const { calendar } = booking;
  if (calendar.kind === 'deleted_by_owner') return booking;
  return { ...booking, calendar: inDoubt(calendar, Math.max(windowEnd(booking), until)) };
}

/** `booking` whose event was perhaps not deleted by its owner, but by a run of ours that has crashed. */
export function withDoubtfulDeletion(booking: Booking): Booking {
  const { calendar } = booking;
  if (calendar.kind !== 'deleted_by_owner') return withoutFirstRead(booking);
  return { ...booking, calendar: { kind: 'in_doubt', event: calendar.event, until: 0 } };
}

/** Whether a request without known outcome may have created an event that no record shows. */
export function hasUnknownWrite(calendar: CalendarState): boolean {
  return calendar.kind === 'in_doubt' && (calendar.until > 0 || calendar.notFound !== undefined);
}

/** Until when a late request may change what is read: epoch second; 0 where none is known. */
function windowEnd({ calendar }: Booking): number {
  return calendar.kind === 'in_doubt' ? calendar.until : 0;
}

function inDoubt(calendar: CalendarState, until: number): CalendarState {
  const event = calendar.kind === 'absent' ? undefined : calendar.event;
  // An event that no record shows may have been created since it was not found.
  const notFound = event && calendar.kind === 'in_doubt' ? calendar.notFound : undefined;
  return { kind: 'in_doubt', ...(event ? { event } : {}), until, ...(notFound ? { notFound } : {}) };
}

/**
 * `booking` for a run that may be stale, since an earlier one may have called Google without recording it: in doubt for
 * the window, and read now, unless it waits for a second read or backs off anyway.
 */
export function maybeStale(booking: Booking, now: number): Booking {
  const doubted = withDoubt(booking, now + inDoubtSeconds);
  const { calendar, nextRun } = doubted;
  if (calendar.kind !== 'in_doubt' || (nextRun && nextRun.why !== 'check' && nextRun.why !== 'in_doubt'))
    return doubted;
  const isAwaitingRead = nextRun?.why === 'in_doubt' && calendar.notFound !== undefined;
  return isAwaitingRead ? doubted : requestRun(doubted, now, { mayCreate: false });
}

/** Whether a late request may still change what is read now. */
export function isWindowOpen(booking: Booking, now: number): boolean {
  return windowEnd(booking) > now;
}

/** Whether an earlier read, long enough ago, did not find this event either. */
export function isConfirmed({ calendar }: Booking, eventId: string, now: number): boolean {
  const notFound = calendar.kind === 'in_doubt' ? calendar.notFound : undefined;
  return notFound?.eventId === eventId && now - notFound.since >= readsApartSeconds;
}

/** The event was found, or the run came to a conclusion: that an earlier read did not find the event counts no more. */
export function withoutFirstRead(booking: Booking): Booking {
  if (booking.calendar.kind !== 'in_doubt') return booking;
  const { notFound: _, ...calendar } = booking.calendar;
  return { ...booking, calendar };
}

/** The event at `place` was not found: read again in a minute, at rest or as an attempt that goes on. */
export function eventNotFound(
  booking: Booking,
  place: EventPlace,
  { wanted, now, random }: Moment & { wanted: Presence },
): Outcome {
  const { notFound, at, isNew } = secondRead(booking, place, { now, random });
  const event = recordedEvent(booking);
  const problem = event ? doubtProblems.inDoubt : doubtProblems.mayExist;
  const doubted: Booking = {
    ...booking,
    calendar: { kind: 'in_doubt', ...(event ? { event } : {}), until: windowEnd(booking), notFound },
    timeline: isNew
      ? appendTimeline(booking.timeline, now, 'event not found', problem.code)
      : booking.timeline,
  };
  if (isShownAtRest(booking, wanted)) {
    const others = booking.problems.filter(({ code }) => code !== problem.code);
    return { booking: { ...doubted, nextRun: recheckAt(at), problems: [...others, problem] } };
  }
  const { count = 0, since } = booking.nextRun?.why === 'retry' ? booking.nextRun : {};
  const retry: NextRun = { why: 'retry', at, count, ...(since === undefined ? {} : { since }) };
  return { booking: { ...doubted, nextRun: retry, problems: [problem] } };
}

/** Whether the event on record shows the desired state, and no run but a check or re-check is due. */
function isShownAtRest(booking: Booking, wanted: Presence): boolean {
  return wanted === 'confirmed' && showsDesired(booking, wanted) && !isOpen(booking.nextRun);
}

function secondRead(
  { calendar }: Booking,
  place: EventPlace,
  { now, random }: Moment,
): { notFound: EventPlace & { since: number }; at: number; isNew: boolean } {
  const before = calendar.kind === 'in_doubt' ? calendar.notFound : undefined;
  const isNew = before?.eventId !== place.eventId;
  const since = isNew ? now : before.since;
  return {
    notFound: { ...placeOf(place), since },
    at: Math.max(now, since + readsApartSeconds) + skewMarginSeconds + Math.round(24 * random()),
    isNew,
  };
}

/** Calendar and next run after a read that did not find what an attempt may have left. */
export type AfterRead = { calendar: CalendarState; nextRun?: NextRun };

/**
 * What a read says that found nothing at the id of a new event: in doubt as long as a late request may create it, then
 * once more, so that two reads agree. `isAnswering`: whether the calendar itself answers, asked for the second read only.
 */
export async function afterNothingFound(
  booking: Booking,
  place: EventPlace,
  { now, random }: Moment,
  isAnswering: () => Promise<boolean>,
): Promise<AfterRead> {
  const { calendar } = booking;
  if (calendar.kind !== 'in_doubt') return { calendar: { kind: 'absent' } };
  const { until, notFound: before } = calendar;
  if (until > now) return { calendar: { kind: 'in_doubt', until }, nextRun: recheckAt(until) };
  if (until === 0 && !before) return { calendar: { kind: 'absent' } };
  if (!isConfirmed(booking, place.eventId, now)) {
    const { notFound, at } = secondRead(booking, place, { now, random });
    return { calendar: { kind: 'in_doubt', until, notFound }, nextRun: recheckAt(at) };
  }
  if (before === undefined || (await isAnswering())) return { calendar: { kind: 'absent' } };
  const shortest = readsApartSeconds + skewMarginSeconds;
  const wait = Math.min(Math.max(now - before.since, shortest), longestRecheckSeconds);
  const isOver = now + wait >= (booking.appointment?.endsAt ?? 0);
  return isOver
    ? { calendar: { kind: 'absent' } }
    : { calendar: { kind: 'in_doubt', until, notFound: before }, nextRun: recheckAt(now + wait) };
}

export function recheckAt(at: number): NextRun {
  return { why: 'in_doubt', at, count: 1 };
}

/**
 * The calendar cannot be reached: a doubt is re-checked in hours, until the appointment is over, or once there is a
 * connection; any other check is dropped.
 */
export function postponeRecheck(booking: Booking, now: number): Booking {
  const { nextRun, ...rest } = booking;
  const endsAt = booking.appointment?.endsAt ?? 0;
  if (nextRun?.why !== 'in_doubt' || endsAt <= now) return rest;
  const at = Math.min(now + longestRecheckSeconds, endsAt);
  return { ...rest, nextRun: { ...nextRun, at, count: nextRun.count + 1 } };
}
