import { appendTimeline, type Booking } from '../../shared/booking/booking.ts';
import type { CalendarFailureKind } from '../../shared/google/calendar.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { dueAt, isToBeSettled, type Situation, type Step } from './decide.ts';

/** Seconds over which the bookings of a paused calendar come back: a limit is counted by the minute. */
const spread = 60;

const pausedCode: `google_${CalendarFailureKind}` = 'google_rate_limited';
const paused = {
  code: pausedCode,
  message:
    "Google has refused calls to this user's calendar as too many. Its other bookings wait a minute, too.",
};

/**
 * The step while the user's calendar is paused: instead of a call to Google, a later run. An attempt is not counted, and
 * a run that may be stale stays in doubt.
 */
export function heedPause(step: Step, { stored, suspect, now, random }: Situation): Step {
  if (step.do === 'nothing' || step.do === 'record') return step;
  const { booking, connection } = step;
  // The messages that ask for these come once.
  if (step.do === 'check slot' || step.do === 'delete left events') return step;
  const { calendarPausedUntil = 0 } = connection;
  if (calendarPausedUntil <= now) return step;
  const isDue = (booking.syncDueAt ?? 0) <= now + spread;
  if (booking === stored && !suspect && booking.status === 'pending' && !isDue) return { do: 'nothing' };
  const syncDueAt = dueAt(booking, now, calendarPausedUntil - now + 1 + Math.round(spread * random()));
  const later: Booking = { ...booking, syncDueAt, updatedAt: toIso(now) };
  const isCheck = step.do === 'verify' || isToBeSettled(booking, now);
  if (isCheck && !suspect) return { do: 'record', outcome: { booking: later } };
  const isKnown = booking.problems.some(({ code }) => code === paused.code);
  const waiting: Booking = {
    ...later,
    status: 'pending',
    problems: [paused],
    ...(suspect ? { unheard: true } : {}),
    timeline: isKnown
      ? booking.timeline
      : appendTimeline(booking.timeline, now, 'calendar paused', paused.code),
  };
  return { do: 'record', outcome: { booking: waiting } };
}
