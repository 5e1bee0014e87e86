import { describe, expect, it } from 'vitest';
import { applyPayment } from '../../functions/booking-sync/apply-payment.ts';
import { isOurs } from '../../functions/booking-sync/calendar-event.ts';
import { afterFailure } from '../../functions/booking-sync/retries.ts';
import { afterRefusal } from '../../functions/booking-sync/session.ts';
import { type Booking, calendarEventId, type NextRun } from '../../shared/booking/booking.ts';
import type { PaymentReported } from '../../shared/booking/queue.ts';
import { conclude } from '../../shared/booking/status.ts';
import type { CalendarEvent } from '../../shared/google/calendar.ts';
import type { CalendarFailure, CalendarFailureKind } from '../../shared/google/calendar-failures.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { appointment, facts, now } from '../fakes/booking.ts';

const middle = () => 0.5;
const named = {
  bookingId: 'booking-1',
  userId: 'ada',
  appointment,
  problems: [],
};
const message: PaymentReported = {
  type: 'payment',
  paymentId: 'pi_1',
  eventId: 'evt_1',
  facts,
  booking: named,
};
const { appointment: _, ...withoutAppointment } = named;
const problems = [{ code: 'invalid_booking', field: 'start', message: '"start" is missing.' }];
const unusable: PaymentReported = { ...message, booking: { ...withoutAppointment, problems } };
const apply = (stored: Booking | undefined, said: PaymentReported) =>
  applyPayment(stored, said, undefined, now) as Booking;
const paid = apply(undefined, message);
const confirmed = { wanted: 'confirmed', now } as const;
const failure = (kind: CalendarFailureKind, more: Partial<CalendarFailure> = {}): CalendarFailure => ({
  kind,
  reason: 'aReason',
  message: 'Google says no',
  ...more,
});
const fail = (
  booking: Booking,
  refused: CalendarFailure,
  random = middle,
  connection?: { connectedAt: number; choices: number },
) => afterFailure(booking, refused, { ...confirmed, random }, connection).booking;
const booked = (why: NextRun['why'], count: number): Booking => ({
  ...paid,
  nextRun: { why, at: now, count },
});

describe('a payment', () => {
  it('a payment makes a booking, and publishes nothing yet', () => {
    expect(paid).toMatchObject({ version: 0, problems: [], timeline: [{ what: 'paid' }] });
    expect(conclude(undefined, paid, confirmed)).toMatchObject({
      booking: { status: 'pending' },
      events: [],
    });
  });

  it('a booking is recorded at a later time than before, also by a worker whose clock is behind', () => {
    const stored = { ...paid, updatedAt: toIso(now + 3) };
    const changed = { ...stored, cancelledAt: toIso(now) };
    expect(conclude(stored, changed, confirmed).booking.updatedAt).toBe(toIso(now + 4));
    expect(conclude(stored, changed, { ...confirmed, now: now + 9 }).booking.updatedAt).toBe(toIso(now + 9));
  });

  it('a redelivered payment changes nothing', () => {
    expect(apply(paid, message)).toBe(paid);
  });

  it('an unusable payment is recorded and published as failed, once', () => {
    const failed = conclude(undefined, apply(undefined, unusable), confirmed);
    expect(failed).toMatchObject({ booking: { status: 'failed', problems }, events: ['booking.failed'] });
    expect(conclude(failed.booking, failed.booking, confirmed)).toMatchObject({
      booking: failed.booking,
      events: [],
    });
    expect(apply(failed.booking, unusable)).toBe(failed.booking);
  });

  it('a usable payment repairs a failed booking, and an unusable one fails no usable booking', () => {
    const failed = conclude(undefined, apply(undefined, unusable), confirmed).booking;
    expect(apply(failed, message)).toMatchObject({ appointment: named.appointment, problems: [] });
    expect(apply(paid, unusable)).toBe(paid);
  });

  it('notes another payment of a booking once, since the customer may have paid twice', () => {
    const second = { ...message, paymentId: 'pi_2' };
    const noted = apply(paid, second);
    expect(noted.timeline.at(-1)?.what).toBe('paid: also pi_2');
    expect(apply(noted, second)).toBe(noted);
  });
});

describe('a call that Google refuses', () => {
  it.each<[CalendarFailure, number, boolean, string]>([
    [failure('exists'), 1, false, 'accept'],
    [failure('unauthorized'), 1, false, 'refresh token'],
    [failure('unauthorized'), 2, true, 'accept'],
    [failure('permission_missing'), 1, false, 'accept'],
    [failure('refused'), 1, false, 'accept'],
    [failure('transient'), 1, false, 'try again'],
    [failure('transient'), 2, false, 'accept'],
    [failure('rate_limited'), 1, false, 'accept'],
    [failure('transient', { status: 429 }), 1, false, 'accept'],
    [failure('rate_limited', { retryAfter: 30 }), 1, false, 'accept'],
    [failure('rate_limited'), 2, false, 'accept'],
    [failure('quota_exceeded'), 1, false, 'accept'],
    [failure('operator'), 1, false, 'accept'],
    [failure('not_found'), 1, false, 'accept'],
  ])('reacts to a refused call %j (try %i, refreshed %s): %s', (refusal, tries, refreshed, move) => {
    expect(afterRefusal(refusal, tries, refreshed)).toBe(move);
  });
});

describe('a failure that ends a run', () => {
  it('gives up a booking whose data Google rejects', () => {
    const refused = failure('refused', { status: 400, reason: 'timeRangeEmpty' });
    const { booking, events } = conclude(paid, fail(paid, refused), confirmed);
    expect(booking).toMatchObject({
      status: 'failed',
      problems: [{ code: 'google_refused', message: expect.stringContaining('timeRangeEmpty') }],
    });
    expect(booking).not.toHaveProperty('nextRun');
    expect(events).toEqual(['booking.failed']);
  });

  it('retries a failed run less and less often, up to an hour', () => {
    const waits = Array.from({ length: 10 }, (_, count) => {
      const { nextRun } = fail(booked('retry', count), failure('transient'));
      return (nextRun?.at ?? 0) - now;
    });
    expect(waits).toEqual([23, 45, 90, 180, 360, 720, 1440, 2700, 2700, 2700]);
  });

  it('counts failures from one again when the reason of the next run changes', () => {
    expect(fail(booked('no_connection', 9), failure('transient')).nextRun).toMatchObject({
      at: now + 23,
      count: 1,
    });
    expect(fail(booked('check', 9), failure('transient')).nextRun).toMatchObject({ at: now + 23, count: 1 });
  });

  it('jitters retries, so that bookings that failed together are not retried together', () => {
    const at = (random: number) => fail(paid, failure('transient'), () => random).nextRun?.at;
    expect(at(0)).toBe(now + 15);
    expect(at(0.999)).toBe(now + 30);
  });

  it("retries after Google's Retry-After", () => {
    expect(fail(paid, failure('rate_limited', { retryAfter: 900 })).nextRun?.at).toBe(now + 900);
  });

  it.each<[CalendarFailureKind, number]>([
    ['transient', 3600],
    ['operator', 3600],
    ['unauthorized', 3600],
    ['exists', 3600],
    ['stale', 3600],
    ['gone', 3600],
    ['not_found', 3600],
    ['rate_limited', 3600],
    ['quota_exceeded', 6 * 3600],
    ['account_refused', 6 * 3600],
  ])('a failure of the kind %s is retried after at most %i seconds, for any Retry-After', (kind, longest) => {
    const appointment = { ...named.appointment, startsAt: now + 1e8, endsAt: now + 1e8 + 3600 };
    const refused = failure(kind, { retryAfter: 999_999_999 });
    expect(fail({ ...paid, appointment }, refused).nextRun?.at).toBe(now + longest);
  });

  it('retries an exhausted quota after a long wait', () => {
    expect(fail(paid, failure('quota_exceeded')).nextRun?.at).toBe(now + 2700);
  });

  it.each<[CalendarFailureKind, 'account' | 'calendar', number]>([
    ['account_refused', 'account', 2700],
    ['not_found', 'calendar', 23],
  ])('%s leaves the booking pending, refused by the %s, after any number of runs', (kind, by, wait) => {
    const refused = failure(kind, { reason: 'aReason' });
    const connection = { connectedAt: 7, choices: 2 };
    const first = fail(paid, refused, middle, connection);
    expect(conclude(paid, first, confirmed).booking).toMatchObject({
      status: 'pending',
      problems: [{ code: `google_${kind}` }],
      nextRun: { why: 'refused', at: now + wait, refusal: { by, reason: 'aReason', ...connection } },
    });
    expect(fail(booked('refused', 20), refused).nextRun).toMatchObject({ why: 'refused', at: now + 16_200 });
  });

  it('retries at the latest at the deadline, and after that at the end', () => {
    const at = (startsAt: number, endsAt: number) => {
      const appointment = { ...named.appointment, startsAt, endsAt };
      return fail({ ...booked('retry', 9), appointment }, failure('transient')).nextRun?.at;
    };
    expect(at(now + 60, now + 600)).toBe(now + 60);
    expect(at(now - 60, now + 600)).toBe(now + 600);
    // An event to delete after its end: nothing is urgent any more.
    expect(at(now - 600, now - 60)).toBe(now + 2700);
  });

  it('keeps the time of the first failure, also through a pause', () => {
    const first = fail(paid, failure('transient'));
    expect(first.nextRun?.since).toBe(now);
    const paused: Booking = { ...first, nextRun: { why: 'paused', at: now, count: 1, since: now - 500 } };
    expect(fail(paused, failure('transient')).nextRun?.since).toBe(now - 500);
  });

  it('keeps the timeline bounded', () => {
    let booking = paid;
    for (let attempt = 0; attempt < 50; attempt++) booking = fail(booking, failure('transient'));
    expect(booking.timeline).toHaveLength(20);
  });
});

describe('the calendar event', () => {
  const event = (change: Partial<CalendarEvent> = {}): CalendarEvent => ({
    id: calendarEventId('booking-1', 'primary', 0),
    etag: '"1"',
    status: 'confirmed',
    htmlLink: 'https://calendar.example/e',
    extendedProperties: { private: { leadscalendarBooking: 'booking-1' } },
    ...change,
  });

  it("an event id has Google's alphabet, and depends on booking, calendar and event number only", () => {
    const id = calendarEventId('booking-1', 'primary', 0);
    expect(id).toMatch(/^[a-v0-9]{54}$/);
    expect(id).toBe(calendarEventId('booking-1', 'primary', 0));
    const others = [
      calendarEventId('booking-1', 'other', 0),
      calendarEventId('booking-1', 'primary', 1),
      calendarEventId('b', 'primary', 0),
    ];
    expect(new Set([id, ...others]).size).toBe(4);
  });

  it('an event is ours when it exists and is marked with the booking', () => {
    expect(isOurs(event(), paid)).toBe(true);
    expect(isOurs(event({ status: 'cancelled' }), paid)).toBe(false);
    expect(isOurs(event({ extendedProperties: undefined }), paid)).toBe(false);
    expect(isOurs(event({ extendedProperties: { private: { leadscalendarBooking: 'other' } } }), paid)).toBe(
      false,
    );
  });
});
