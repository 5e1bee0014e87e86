import { backoff } from '../../shared/backoff.ts';
import { type Booking, calendarEventId, type Problem, withEntry } from '../../shared/booking.ts';
import type { PaymentConfirmed } from '../../shared/booking-queue.ts';
import type { BusEventType } from '../../shared/bus.ts';
import type { CalendarEvent, CalendarFailure, NewCalendarEvent } from '../../shared/calendar.ts';
import { type Random, toIso } from '../../shared/clock.ts';
import type { Connection, GrantedConnection } from '../../shared/connection.ts';
import { escapeHtml } from '../../shared/html.ts';

/** Everything sync decides, as pure functions of the booking, the connection and what Google says. */

/** How a booking is to be left, and what LeadsCalendar is to be told of it. */
export type Outcome = { booking: Booking; event?: BusEventType };

/** What to do with a booking next: leave it as it is, record an outcome, or put the event into the calendar. */
export type Step =
  | { do: 'nothing' }
  | { do: 'record'; outcome: Outcome }
  | { do: 'insert'; booking: Booking; connection: GrantedConnection };

/** The last generation tried: so many ids in a row that Google will not take are no accident. */
export const lastGeneration = 5;

/** Seconds between two attempts, by what stands in the way. */
const retryRanges = {
  soon: { first: 30, longest: 3600 },
  quota: { first: 3600, longest: 6 * 3600 },
  connection: { first: 60, longest: 6 * 3600 },
};
/** Seconds by which the clocks of those who hand bookings over may differ. */
const dueWithin = 5;
/** A calendar that Google does not find may be a passing fault, but not for this many attempts. */
const notFoundAttempts = 6;

/** The booking after a payment: the first valid one sets what is desired; the same one again changes nothing. */
export function applyPayment(stored: Booking | undefined, message: PaymentConfirmed, now: number): Booking {
  const { bookingId, userId, payment, appointment, problems } = message;
  if (stored?.appointment) return noteOtherPayment(stored, message, now);
  if (stored && !appointment) return stored;
  return {
    bookingId,
    ...(userId === undefined ? {} : { userId }),
    status: appointment ? 'pending' : 'failed',
    ...(appointment ? { appointment } : {}),
    payment,
    problems,
    generation: 0,
    attempts: 0,
    timeline: withEntry(
      stored?.timeline ?? [],
      now,
      appointment ? 'paid' : 'paid, but the booking is not usable',
    ),
    createdAt: stored?.createdAt ?? toIso(now),
    updatedAt: toIso(now),
    version: stored?.version ?? 0,
  };
}

/** A second payment for the same booking changes nothing in the calendar, but somebody may have paid twice. */
function noteOtherPayment(stored: Booking, { payment }: PaymentConfirmed, now: number): Booking {
  const what = `also paid by ${payment.id}`;
  if (payment.id === stored.payment.id || stored.timeline.some((entry) => entry.what === what)) return stored;
  return { ...stored, timeline: withEntry(stored.timeline, now, what) };
}

/** The next step for a booking, given the user's connection. `stored` is what the table holds. */
export function nextStep(
  booking: Booking,
  stored: Booking | undefined,
  connection: Connection | undefined,
  now: number,
  random: Random,
): Step {
  if (booking.status === 'failed' && !stored)
    return { do: 'record', outcome: { booking, event: 'booking.failed' } };
  if (booking.status !== 'pending' && booking.status !== 'waiting_for_connection') {
    return booking === stored ? { do: 'nothing' } : { do: 'record', outcome: { booking } };
  }
  if ((booking.appointment?.endsAt ?? 0) <= now) return { do: 'record', outcome: missed(booking, now) };
  const active = connection?.status === 'active' ? connection : undefined;
  // Asked before its time, by a duplicate: Google is left alone until then. A new connection ends any waiting for it.
  const early = booking === stored && (booking.syncDueAt ?? 0) > now + dueWithin;
  if (early && !(active && booking.status === 'waiting_for_connection')) return { do: 'nothing' };
  if (active) return { do: 'insert', booking, connection: active };
  return { do: 'record', outcome: waiting(booking, now, random) };
}

/** What an answer to an insert means for the next move. */
export type InsertMove =
  | 'look'
  | 'refresh token'
  | 'require reauthorization'
  | 'try again'
  | 'give up for now'
  | 'fail';

/** The move after a refused insert. `tries` counts the inserts of this run, the refused one included. */
export function afterRefusedInsert(failure: CalendarFailure, tries: number, refreshed: boolean): InsertMove {
  switch (failure.kind) {
    case 'exists':
      return 'look';
    case 'unauthorized':
      return refreshed ? 'give up for now' : 'refresh token';
    case 'permission_missing':
      return 'require reauthorization';
    case 'refused':
      return 'fail';
    case 'transient':
    case 'rate_limited':
      return tries < 2 && (failure.retryAfter ?? 0) <= 1 ? 'try again' : 'give up for now';
    case 'not_found':
    case 'quota_exceeded':
    case 'operator':
      return 'give up for now';
  }
}

/** Whether the event that holds our id is the one we mean to insert; otherwise another id has to be used. */
export function isOurs(event: CalendarEvent, booking: Booking): boolean {
  return (
    event.status !== 'cancelled' && event.extendedProperties?.private?.[bookingProperty] === booking.bookingId
  );
}

/** The event stands in the calendar. */
export function scheduled(booking: Booking, calendarId: string, event: CalendarEvent, now: number): Outcome {
  const { syncDueAt: _, ...rest } = booking;
  return {
    booking: {
      ...rest,
      status: 'scheduled',
      observed: {
        calendarId,
        eventId: event.id,
        generation: booking.generation,
        etag: event.etag,
        htmlLink: event.htmlLink,
      },
      problems: [],
      attempts: 0,
      timeline: withEntry(booking.timeline, now, 'scheduled'),
      updatedAt: toIso(now),
    },
    event: 'booking.scheduled',
  };
}

/** It cannot be put into the calendar as it is. */
export function failed(booking: Booking, problem: Problem, now: number): Outcome {
  const { syncDueAt: _, ...rest } = booking;
  return {
    booking: {
      ...rest,
      status: 'failed',
      problems: [problem],
      timeline: withEntry(booking.timeline, now, 'failed', problem.code),
      updatedAt: toIso(now),
    },
    event: 'booking.failed',
  };
}

/** It is over, and was never in the calendar. */
export function missed(booking: Booking, now: number): Outcome {
  const { syncDueAt: _, ...rest } = booking;
  return {
    booking: {
      ...rest,
      status: 'missed',
      timeline: withEntry(booking.timeline, now, 'missed'),
      updatedAt: toIso(now),
    },
    event: 'booking.missed',
  };
}

/** The user has no working connection: held until there is one. Announced once. */
export function waiting(booking: Booking, now: number, random: Random): Outcome {
  const alreadyWaiting = booking.status === 'waiting_for_connection';
  const attempts = alreadyWaiting ? booking.attempts + 1 : 1;
  return {
    booking: {
      ...booking,
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
        : withEntry(booking.timeline, now, 'waiting for a connection'),
      updatedAt: toIso(now),
    },
    ...(alreadyWaiting ? {} : { event: 'booking.waiting' }),
  };
}

/** It did not work this time: the booking carries the time of its next attempt, and why. */
export function retryLater(booking: Booking, problem: Problem, wait: number, now: number): Outcome {
  return {
    booking: {
      ...booking,
      status: 'pending',
      problems: [problem],
      attempts: booking.attempts + 1,
      syncDueAt: dueAt(booking, now, wait),
      timeline: withEntry(booking.timeline, now, 'attempt failed', problem.code),
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
): Outcome {
  const problem = problemOf(failure);
  if (failure.kind === 'refused') return failed(booking, problem, now);
  if (failure.kind === 'not_found' && booking.attempts + 1 >= notFoundAttempts)
    return failed(booking, problem, now);
  const range = failure.kind === 'quota_exceeded' ? retryRanges.quota : retryRanges.soon;
  const wait = Math.max(failure.retryAfter ?? 0, backoff(booking.attempts + 1, random, range));
  return retryLater(booking, problem, wait, now);
}

/** The outcome of a run that got no access token for a reason that may pass. */
export function afterTokenFailure(
  booking: Booking,
  code: string,
  message: string,
  now: number,
  random: Random,
): Outcome {
  return retryLater(booking, { code, message }, backoff(booking.attempts + 1, random, retryRanges.soon), now);
}

/** Never later than the end of the appointment: then the attempt finds that it was missed, and says so. */
function dueAt(booking: Booking, now: number, wait: number): number {
  return Math.min(now + wait, Math.max(booking.appointment?.endsAt ?? Number.MAX_SAFE_INTEGER, now + 1));
}

const advice: Partial<Record<CalendarFailure['kind'], string>> = {
  not_found: 'The chosen calendar does not exist or this user may not see it. Choose another calendar.',
  operator: 'The Google project of this service is not set up. Its operator must enable the Calendar API.',
  unauthorized: 'Google refuses a token that it has just issued.',
};

function problemOf(failure: CalendarFailure): Problem {
  const says = `Google: ${failure.message} (${failure.status ?? 'no answer'}, ${failure.reason})`;
  return { code: `google_${failure.kind}`, message: [advice[failure.kind], says].filter(Boolean).join(' ') };
}

/** Private extended property by which an event is known as ours; Google keeps it per calendar. */
const bookingProperty = 'leadscalendarBooking';

/** What is inserted for a booking. Descriptions may hold HTML at Google, so ours is escaped. */
export function toCalendarEvent(booking: Booking, calendarId: string): NewCalendarEvent {
  const { appointment } = booking;
  if (!appointment) throw new Error(`Booking ${booking.bookingId} has no appointment to insert.`);
  const { summary, location, description, start, end } = appointment;
  return {
    id: calendarEventId(booking.bookingId, calendarId, booking.generation),
    summary,
    ...(location === undefined ? {} : { location }),
    ...(description === undefined ? {} : { description: escapeHtml(description) }),
    start,
    end,
    extendedProperties: { private: { [bookingProperty]: booking.bookingId } },
  };
}
