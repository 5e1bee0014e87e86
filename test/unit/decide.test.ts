import { describe, expect, it } from 'vitest';
import { applyPayment, type PaymentPolicy } from '../../functions/booking-sync/apply-payment.ts';
import { isOurs } from '../../functions/booking-sync/calendar-event.ts';
import {
  afterFailure,
  afterRefusal,
  nextStep,
  type Situation,
  scheduled,
  waiting,
} from '../../functions/booking-sync/decide.ts';
import {
  type Booking,
  calendarEventId,
  type EventPlace,
  type ObservedEvent,
} from '../../shared/booking/booking.ts';
import { problemsOf } from '../../shared/booking/booking-payments.ts';
import { isInFormerAccount } from '../../shared/booking/former-account.ts';
import type { PaymentReported } from '../../shared/booking/queue.ts';
import {
  accountFingerprint,
  type Connection,
  type GrantedConnection,
} from '../../shared/connection/connection.ts';
import type { CalendarEvent, CalendarFailure, CalendarFailureKind } from '../../shared/google/calendar.ts';

const now = 1_790_000_000;
const middle = () => 0.5;
const policy = { refunded: 'cancel', disputeLost: 'cancel' } as const;
const named = {
  bookingId: 'booking-1',
  userId: 'ada',
  appointment: {
    summary: 'First meeting',
    description: '<b>bold</b> & "quoted"',
    start: { dateTime: '2026-12-01T10:00:00+01:00' },
    end: { dateTime: '2026-12-01T11:00:00+01:00' },
    startsAt: now + 86_400,
    endsAt: now + 90_000,
  },
  problems: [],
};
const facts = { confirmedAt: '2026-09-21T14:13:20Z', amount: 9000 };
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
const apply = (stored: Booking | undefined, said: PaymentReported, at = now) =>
  applyPayment(stored, said, undefined, at) as Booking;
const active = { userId: 'ada', status: 'active', calendarId: 'primary' } as Connection;
const broken = { ...active, status: 'reauthorization_required' } as Connection;

const paid = apply(undefined, message, now);
/** As the table would answer it. */
const stored = (booking: Booking): Booking => ({ ...booking, version: booking.version + 1 });
const event = (change: Partial<CalendarEvent> = {}): CalendarEvent => ({
  id: calendarEventId('booking-1', 'primary', 0),
  etag: '"1"',
  status: 'confirmed',
  htmlLink: 'https://calendar.example/e',
  extendedProperties: { private: { leadscalendarBooking: 'booking-1' } },
  ...change,
});
const inCalendar = stored(scheduled(paid, 'confirmed', 'primary', event(), now).booking);
const failure = (kind: CalendarFailureKind, more: Partial<CalendarFailure> = {}): CalendarFailure => ({
  kind,
  reason: 'aReason',
  message: 'Google says no',
  ...more,
});
const step = (booking: Booking, before: Booking | undefined, connection: Connection | undefined, at = now) =>
  nextStep({ booking, stored: before, connection, now: at, random: middle, policy, suspect: false });

const outcomeOf = (given: ReturnType<typeof nextStep>): Booking => {
  if (given.do !== 'record') throw new Error(`It is to ${given.do}.`);
  return given.outcome.booking;
};

describe('a payment', () => {
  it('makes a pending booking', () => {
    expect(paid).toMatchObject({ status: 'pending', version: 0, problems: [], timeline: [{ what: 'paid' }] });
    expect(step(paid, undefined, active)).toEqual({
      do: 'insert',
      booking: paid,
      presence: 'confirmed',
      connection: active,
    });
  });

  it('that comes twice changes nothing', () => {
    expect(apply(inCalendar, message, now + 5)).toBe(inCalendar);
    expect(step(inCalendar, inCalendar, active)).toEqual({ do: 'nothing' });
  });

  it('whose booking is unusable is recorded as failed, with its problems, and published', () => {
    const failed = apply(undefined, unusable, now);
    expect(failed).toMatchObject({ status: 'failed', problems });
    expect(step(failed, undefined, active)).toEqual({
      do: 'record',
      outcome: { booking: failed, event: 'booking.failed' },
    });
    expect(apply(stored(failed), unusable, now)).toEqual(stored(failed));
  });

  it('mends a failed booking when a usable one follows, and not the reverse', () => {
    const failed = stored(apply(undefined, unusable, now));
    const mended = apply(failed, message, now);
    expect(mended).toMatchObject({ status: 'pending', version: 1, problems: [] });
    expect(step(mended, failed, active)).toMatchObject({ do: 'insert' });
    expect(apply(inCalendar, unusable, now)).toBe(inCalendar);
  });

  it('other than the first one for a booking is noted once, since somebody may have paid twice', () => {
    const second = { ...message, paymentId: 'pi_2' };
    const noted = apply(inCalendar, second, now);
    expect(noted.timeline.at(-1)?.what).toBe('paid: also pi_2');
    expect(step(noted, inCalendar, active)).toEqual({ do: 'record', outcome: { booking: noted } });
    expect(apply(noted, second, now)).toBe(noted);
  });

  it.each([undefined, broken])(
    'waits where the user has no working connection, announced once',
    (connection) => {
      const first = step(paid, undefined, connection);
      expect(first).toMatchObject({
        do: 'record',
        outcome: { event: 'booking.waiting', booking: { status: 'waiting_for_connection' } },
      });
      const held = stored((first as { outcome: { booking: Booking } }).outcome.booking);
      expect(held.syncDueAt).toBeGreaterThan(now);

      expect(step(held, held, connection)).toEqual({ do: 'nothing' });
      const again = step(held, held, connection, held.syncDueAt);
      expect(again).toMatchObject({ do: 'record', outcome: { booking: { attempts: 2 } } });
      expect(again).not.toHaveProperty('outcome.event');
      expect(step(held, held, active)).toMatchObject({ do: 'insert' });
    },
  );

  it('for an appointment that is over is reported, not entered', () => {
    const over = paid.appointment?.endsAt;
    expect(step(paid, undefined, active, over)).toMatchObject({
      do: 'record',
      outcome: { event: 'booking.missed', booking: { status: 'missed' } },
    });
    const held = stored(waiting(paid, now, middle).booking);
    expect(step(held, held, broken, over)).toMatchObject({ outcome: { booking: { status: 'missed' } } });
  });

  it('for an appointment that is over is looked for first where an attempt may have entered it unheard', () => {
    const tried = stored(afterFailure(paid, failure('transient'), now, middle).booking);
    expect(step(tried, tried, active, paid.appointment?.endsAt)).toMatchObject({ do: 'find' });
  });

  it('that comes again during a wait does not make us bother Google early', () => {
    const held = stored(
      afterFailure(paid, failure('rate_limited', { retryAfter: 600 }), now, middle).booking,
    );
    expect(held.syncDueAt).toBe(now + 600);
    expect(step(held, held, active, now + 100)).toEqual({ do: 'nothing' });
    expect(step(held, held, active, now + 600)).toMatchObject({ do: 'insert' });
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
  ])('%j (try %i, refreshed %s): %s', (refusal, tries, refreshed, move) => {
    expect(afterRefusal(refusal, tries, refreshed)).toBe(move);
  });
});

describe('a failure that ends a run', () => {
  it("fails the booking with Google's reason where Google will not have it", () => {
    const { booking, event: published } = afterFailure(
      paid,
      failure('refused', { status: 400, reason: 'timeRangeEmpty' }),
      now,
      middle,
    );
    expect(booking).toMatchObject({
      status: 'failed',
      problems: [{ code: 'google_refused', message: expect.stringContaining('timeRangeEmpty') }],
    });
    expect(booking).not.toHaveProperty('syncDueAt');
    expect(published).toBe('booking.failed');
  });

  it('is tried again later and later, up to an hour', () => {
    const waits = Array.from({ length: 10 }, (_, attempts) => {
      const { booking } = afterFailure({ ...paid, attempts }, failure('transient'), now, middle);
      return (booking.syncDueAt ?? 0) - now;
    });
    expect(waits).toEqual([23, 45, 90, 180, 360, 720, 1440, 2700, 2700, 2700]);
  });

  it('is jittered: bookings that failed together do not come back together', () => {
    const at = (random: number) =>
      afterFailure(paid, failure('transient'), now, () => random).booking.syncDueAt;
    expect(at(0)).toBe(now + 15);
    expect(at(0.999)).toBe(now + 30);
  });

  it("waits as long as Google's Retry-After says", () => {
    expect(
      afterFailure(paid, failure('rate_limited', { retryAfter: 900 }), now, middle).booking.syncDueAt,
    ).toBe(now + 900);
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
  ])('of the kind %s waits at most %i seconds, whatever Retry-After says', (kind, longest) => {
    const { appointment } = paid;
    const later = appointment && { ...appointment, startsAt: now + 1e8, endsAt: now + 1e8 + 3600 };
    const refused = failure(kind, { retryAfter: 999_999_999 });
    const { booking } = afterFailure(
      { ...paid, ...(later ? { appointment: later } : {}) },
      refused,
      now,
      middle,
    );
    expect(booking.syncDueAt).toBe(now + longest);
  });

  it('waits long on an exhausted quota', () => {
    expect(afterFailure(paid, failure('quota_exceeded'), now, middle).booking.syncDueAt).toBe(now + 2700);
  });

  it.each<[CalendarFailureKind, 'account' | 'calendar', number]>([
    ['account_refused', 'account', 2700],
    ['not_found', 'calendar', 23],
  ])('%s leaves the booking pending and blocked by the %s, however often it is tried', (kind, by, wait) => {
    const refused = failure(kind, { reason: 'aReason' });
    const connection = { connectedAt: 7, choices: 2 };
    const first = afterFailure(paid, refused, now, middle, connection).booking;
    expect(first).toMatchObject({
      status: 'pending',
      problems: [{ code: `google_${kind}` }],
      blocked: { by, reason: 'aReason', ...connection },
      syncDueAt: now + wait,
    });
    const later = afterFailure({ ...paid, attempts: 20 }, refused, now, middle, connection).booking;
    expect(later).toMatchObject({ status: 'pending', syncDueAt: now + 16_200 });
  });

  it('never waits past the beginning of the appointment or, after that, its end', () => {
    const at = (startsAt: number, endsAt: number) =>
      afterFailure(
        { ...paid, attempts: 9, appointment: { ...named.appointment, startsAt, endsAt } },
        failure('transient'),
        now,
        middle,
      ).booking.syncDueAt;
    expect(at(now + 60, now + 600)).toBe(now + 60);
    expect(at(now - 60, now + 600)).toBe(now + 600);
    // An event that is to be taken out after its end: nothing is urgent any more.
    expect(at(now - 600, now - 60)).toBe(now + 2700);
  });

  it('keeps the timeline bounded', () => {
    let booking = paid;
    for (let attempt = 0; attempt < 50; attempt++)
      booking = afterFailure(booking, failure('transient'), now, middle).booking;
    expect(booking.timeline).toHaveLength(20);
  });
});

describe('the calendar event', () => {
  it("has an id of Google's alphabet that depends on booking, calendar and generation alone", () => {
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

  it('is ours when it stands and says so', () => {
    expect(isOurs(event(), paid)).toBe(true);
    expect(isOurs(event({ status: 'cancelled' }), paid)).toBe(false);
    expect(isOurs(event({ extendedProperties: undefined }), paid)).toBe(false);
    expect(isOurs(event({ extendedProperties: { private: { leadscalendarBooking: 'other' } } }), paid)).toBe(
      false,
    );
  });
});

describe('the next step', () => {
  const observed = {
    calendarId: 'primary',
    eventId: 'e',
    generation: 0,
    etag: '"1"',
    htmlLink: '',
    revision: 1,
  };
  const refunded = { pi_1: { ...facts, refundedTotal: 9000 } };
  const disconnected = { userId: 'ada', status: 'disconnected' } as Connection;
  const over = named.appointment.endsAt;
  type Row = {
    booking?: Partial<Booking>;
    stored?: Partial<Booking> | 'same';
    connection?: Connection | undefined;
    at?: number;
    suspect?: boolean;
    policy?: PaymentPolicy;
  };
  const keep: PaymentPolicy = { refunded: 'keep', disputeLost: 'keep' };

  it.each<[string, Row, string]>([
    // Wanted, and nothing stands.
    ['paid, nothing stands', {}, 'insert'],
    ['paid, not connected', { connection: undefined }, 'record waiting_for_connection'],
    ['paid, connection ended', { connection: disconnected }, 'record waiting_for_connection'],
    ['paid, over', { at: over }, 'record missed'],
    ['paid while it lasts', { at: over - 60 }, 'insert'],
    [
      'tried in vain until it began, perhaps not',
      { booking: { attempts: 3, syncDueAt: over - 60 }, stored: 'same', at: over - 60 },
      'find',
    ],
    [
      'tried in vain until it began, and nobody is connected',
      {
        booking: { attempts: 3, syncDueAt: over - 60 },
        stored: 'same',
        at: over - 60,
        connection: broken,
      },
      'record missed',
    ],
    ['paid, refused by Google before', { booking: { status: 'failed' }, stored: 'same' }, 'nothing'],
    ['paid, missed before', { booking: { status: 'missed' }, stored: 'same' }, 'nothing'],
    ['paid, in conflict before', { booking: { status: 'conflict' }, stored: 'same' }, 'nothing'],
    [
      'paid, in conflict before, entered perhaps',
      { booking: { status: 'conflict' }, stored: 'same', suspect: true },
      'insert',
    ],
    [
      'paid, in conflict before, to be settled',
      { booking: { status: 'conflict', unsettled: true, syncDueAt: now }, stored: 'same' },
      'insert',
    ],
    [
      'paid again after a refund that failed',
      { booking: { status: 'cancelled', generation: 1 }, stored: 'same' },
      'insert',
    ],
    [
      'waiting, connected again',
      { booking: { status: 'waiting_for_connection', attempts: 3, syncDueAt: now + 900 }, stored: 'same' },
      'insert',
    ],
    ['tried before its time', { booking: { attempts: 1, syncDueAt: now + 900 }, stored: 'same' }, 'nothing'],
    [
      'refused for the account, before its time',
      {
        booking: { attempts: 1, syncDueAt: now + 900, blocked: { by: 'account', reason: 'x' } },
        stored: 'same',
      },
      'nothing',
    ],
    [
      'refused for the account, connected again since',
      {
        booking: { attempts: 1, syncDueAt: now + 900, blocked: { by: 'account', reason: 'x' } },
        stored: 'same',
        connection: { ...active, connectedAt: now } as Connection,
      },
      'insert',
    ],
    [
      'refused for the calendar, another one chosen since',
      {
        booking: { attempts: 1, syncDueAt: now + 900, blocked: { by: 'calendar', reason: 'x' } },
        stored: 'same',
        connection: { ...active, choices: 1 } as Connection,
      },
      'insert',
    ],
    [
      'refused for the account, has begun',
      {
        booking: { attempts: 1, syncDueAt: over - 60, blocked: { by: 'account', reason: 'x' } },
        stored: 'same',
        at: over - 60,
      },
      'insert',
    ],
    ['tried when its time has come', { booking: { attempts: 1, syncDueAt: now }, stored: 'same' }, 'insert'],
    // Wanted, and it stands.
    ['stands as it should', { booking: { observed, status: 'scheduled' }, stored: 'same' }, 'nothing'],
    [
      'stands as it should, and more is known of its payment',
      { booking: { observed, status: 'scheduled' }, stored: {} },
      'record scheduled',
    ],
    [
      'stands as it should, and nobody is connected',
      { booking: { observed, status: 'scheduled' }, stored: 'same', connection: undefined },
      'nothing',
    ],
    [
      'stands, perhaps',
      { booking: { observed, status: 'scheduled' }, stored: 'same', suspect: true },
      'insert',
    ],
    [
      'stands, perhaps, but its owner has deleted it',
      { booking: { observed, status: 'deleted_by_user' }, stored: 'same', suspect: true },
      'nothing',
    ],
    [
      'stands, time to look',
      { booking: { observed, status: 'scheduled', syncDueAt: now }, stored: 'same' },
      'verify',
    ],
    [
      'stands, time to look, not connected',
      { booking: { observed, status: 'scheduled', syncDueAt: now }, stored: 'same', connection: undefined },
      'record scheduled',
    ],
    ['stands as it was before', { booking: { observed, revision: 2 } }, 'update'],
    ['stands as it was before, over by now', { booking: { observed, revision: 2 }, at: over }, 'update'],
    [
      'stands as it was before, which was told as missed',
      { booking: { observed, revision: 2, status: 'missed' }, stored: 'same', at: over },
      'nothing',
    ],
    [
      'stands as it was before, not connected',
      { booking: { observed, revision: 2 }, connection: broken },
      'record waiting_for_connection',
    ],
    [
      'is held, and paid now',
      { booking: { observed: { ...observed, tentative: true }, status: 'held' } },
      'update',
    ],
    [
      'stands as it should, but a run that was to make sure did not end',
      { booking: { observed, status: 'pending', syncDueAt: now, attempts: 1 }, stored: 'same' },
      'insert',
    ],
    [
      'the same, and nobody is connected',
      {
        booking: { observed, status: 'pending', syncDueAt: now, attempts: 1 },
        stored: 'same',
        connection: broken,
      },
      'record waiting_for_connection',
    ],
    [
      'the same, over by now',
      {
        booking: { observed, status: 'waiting_for_connection', syncDueAt: over, attempts: 9 },
        stored: 'same',
        connection: broken,
        at: over,
      },
      'record missed',
    ],
    [
      'the same, connected again',
      {
        booking: { observed, status: 'waiting_for_connection', syncDueAt: now + 900, attempts: 1 },
        stored: 'same',
      },
      'insert',
    ],
    [
      'a change refused for the account, over by now',
      {
        booking: {
          observed,
          revision: 2,
          attempts: 3,
          blocked: { by: 'account', reason: 'x' },
          syncDueAt: over,
        },
        stored: 'same',
        at: over,
      },
      'record missed',
    ],
    [
      'event not found once, before the second read',
      {
        booking: {
          observed,
          revision: 2,
          doubt: { calendarId: 'primary', eventId: 'e', since: now },
          syncDueAt: now + 66,
        },
        stored: 'same',
      },
      'nothing',
    ],
    [
      'event not found once, second read due',
      {
        booking: {
          observed,
          revision: 2,
          doubt: { calendarId: 'primary', eventId: 'e', since: now - 66 },
          syncDueAt: now,
        },
        stored: 'same',
      },
      'update',
    ],
    [
      'event not found by a check, second read due',
      {
        booking: {
          observed,
          status: 'scheduled',
          doubt: { calendarId: 'primary', eventId: 'e', since: now - 66 },
          syncDueAt: now,
        },
        stored: 'same',
      },
      'verify',
    ],
    [
      'event not found once, refunded, second read due',
      {
        booking: {
          observed,
          payments: refunded,
          doubt: { calendarId: 'primary', eventId: 'e', since: now - 66 },
          syncDueAt: now,
        },
        stored: 'same',
      },
      'remove',
    ],
    // Not paid yet.
    ['declared', { booking: { payments: {}, status: 'declared' }, stored: 'same' }, 'nothing'],
    [
      'declared, its payment had been refunded before it came',
      { booking: { payments: refunded, status: 'declared' }, stored: { status: 'declared' } },
      'record cancelled',
    ],
    ['declared, to be held', { booking: { payments: {}, hold: true } }, 'insert'],
    [
      'held as it should',
      {
        booking: { payments: {}, hold: true, status: 'held', observed: { ...observed, tentative: true } },
        stored: 'same',
      },
      'nothing',
    ],
    [
      'held, and the payment failed',
      {
        booking: {
          payments: { pi_1: { failedAt: 'then' } },
          hold: true,
          status: 'held',
          observed: { ...observed, tentative: true },
        },
      },
      'remove',
    ],
    // Not wanted any more.
    ['refunded, stands', { booking: { payments: refunded, observed } }, 'remove'],
    [
      'refunded, kept',
      { booking: { payments: refunded, observed, status: 'scheduled' }, stored: 'same', policy: keep },
      'nothing',
    ],
    ['refunded, stands, over by now', { booking: { payments: refunded, observed }, at: over }, 'remove'],
    [
      'refunded, stands, not connected',
      { booking: { payments: refunded, observed }, connection: broken },
      'record waiting_for_connection',
    ],
    [
      'refunded, stands, not connected, over by now',
      { booking: { payments: refunded, observed }, connection: broken, at: over },
      'record cancelled',
    ],
    ['refunded, never entered as far as is known', { booking: { payments: refunded } }, 'remove'],
    [
      'refunded, nobody was ever connected',
      { booking: { payments: refunded }, connection: undefined },
      'record cancelled',
    ],
    [
      'refunded, had failed: it may have been entered before',
      { booking: { payments: refunded, status: 'failed' }, stored: { status: 'failed' } },
      'remove',
    ],
    ['refunded, gone', { booking: { payments: refunded, status: 'cancelled' }, stored: 'same' }, 'nothing'],
    [
      'refunded, gone, perhaps',
      { booking: { payments: refunded, status: 'cancelled' }, stored: 'same', suspect: true },
      'remove',
    ],
    [
      'refunded, in conflict, entered perhaps',
      {
        booking: { payments: refunded, status: 'conflict', unsettled: true },
        stored: { status: 'conflict' },
      },
      'remove',
    ],
    [
      'refunded, gone, to be settled',
      {
        booking: { payments: refunded, status: 'cancelled', unsettled: true, syncDueAt: now },
        stored: 'same',
      },
      'remove',
    ],
    [
      'refunded, gone, to be settled, not connected',
      {
        booking: { payments: refunded, status: 'cancelled', unsettled: true, syncDueAt: now },
        stored: 'same',
        connection: broken,
      },
      'record cancelled',
    ],
    ['cancelled, whatever was paid', { booking: { cancelledAt: 'then', observed } }, 'remove'],
    [
      'declared, cancelled',
      { booking: { payments: {}, cancelledAt: 'then', status: 'pending' }, stored: { status: 'declared' } },
      'record cancelled',
    ],
  ])('%s: %s', (_, row, expected) => {
    // The backend has declared it: only then may it be without a payment.
    const { fromPayment: __, ...declared } = stored(paid);
    const booking: Booking = { ...declared, ...row.booking };
    const before = row.stored === 'same' ? booking : row.stored && { ...booking, ...row.stored };
    const step = nextStep({
      booking,
      stored: before,
      connection: 'connection' in row ? row.connection : active,
      now: row.at ?? now,
      random: middle,
      policy: row.policy ?? policy,
      suspect: row.suspect ?? false,
    });
    expect(step.do === 'record' ? `record ${step.outcome.booking.status}` : step.do).toBe(expected);
  });

  it('what nobody can look at is due again until the appointment is over, and never after it', () => {
    let booking = { ...stored(paid), status: 'cancelled', unsettled: true, syncDueAt: now } as Booking;
    booking.payments = refunded;
    const looks: number[] = [];
    while (booking.syncDueAt !== undefined && looks.length < 50) {
      looks.push(booking.syncDueAt);
      booking = outcomeOf(step(booking, booking, broken, booking.syncDueAt));
    }
    expect(looks).toEqual([0, 6, 12, 18, 24].map((hours) => now + hours * 3600));
    expect(booking).not.toHaveProperty('unsettled');
  });
});

describe('a booking whose event is in the account that the user connected before', () => {
  const connectedTo = (googleSub: string, calendarId = 'primary') =>
    ({ ...active, googleSub, calendarId }) as GrantedConnection;
  const [former, current] = [connectedTo('sub-1'), connectedTo('sub-2')];
  const account = accountFingerprint(former);
  const inFormer = stored({
    ...inCalendar,
    observed: { ...(inCalendar.observed as ObservedEvent), account },
  });
  const left = { calendarId: 'primary', eventId: inFormer.observed?.eventId, account };
  const decide = (booking: Booking, before: Booking, change: Partial<Situation> = {}) =>
    nextStep({
      booking,
      stored: before,
      connection: current,
      now,
      random: middle,
      policy,
      suspect: false,
      ...change,
    });

  it.each<[string, Partial<Situation>]>([
    ['by an ordinary message', {}],
    ['by a message that is redelivered', { suspect: true }],
    ['by a message that asks to check the slot', { checkSlot: true }],
  ])('stays as it is when it is asked for %s', (_, change) => {
    expect(decide(inFormer, inFormer, change)).toEqual({ do: 'nothing' });
  });

  it('is not checked when a check is due', () => {
    const due = { ...inFormer, syncDueAt: now };
    const { syncDueAt: _, ...rest } = due;
    expect(outcomeOf(decide(due, due))).toEqual({ ...rest, updatedAt: expect.any(String) });
    expect(decide(due, due, { connection: former })).toMatchObject({ do: 'verify' });
  });

  it.each<[string, Partial<Booking>, number, Partial<Booking>]>([
    ['changed', { revision: 2 }, now, { status: 'pending', generation: 1 }],
    ['changed after it was over', { revision: 2 }, now + 90_000, { status: 'missed', generation: 1 }],
    ['cancelled', { cancelledAt: '2026-09-21T14:13:20Z' }, now, { status: 'cancelled', generation: 1 }],
    [
      'changed while it waits',
      { status: 'waiting_for_connection', revision: 2 },
      now,
      { status: 'pending', generation: 1 },
    ],
  ])('when it is %s is recorded without that event', (_, change, at, expected) => {
    const outcome = outcomeOf(decide({ ...inFormer, ...change }, inFormer, { now: at }));
    expect(outcome).toMatchObject({ ...expected, formerAccountEvents: [left] });
    expect(outcome).not.toHaveProperty('observed');
    expect(problemsOf(outcome).map(({ code }) => code)).toContain('event_in_former_account');
  });

  it('is cleaned up once the former account is connected again', () => {
    const { observed: _, ...rest } = inFormer;
    const cancelled: Booking = {
      ...rest,
      status: 'cancelled',
      cancelledAt: '2026-09-21T14:13:20Z',
      formerAccountEvents: [left as EventPlace],
    };
    expect(decide(cancelled, cancelled)).toEqual({ do: 'nothing' });
    expect(decide(cancelled, cancelled, { connection: former })).toMatchObject({ do: 'delete left events' });
  });

  it.each<[string, string, string | undefined, GrantedConnection, boolean]>([
    ['primary of the same account', 'primary', account, former, false],
    ['primary of another account', 'primary', account, current, true],
    ['a calendar of another account', 'team', account, current, true],
    ['the chosen calendar, used with another account', 'team', account, connectedTo('sub-2', 'team'), false],
    ['an earlier calendar of the same account', 'team', account, former, false],
    ['an unknown account', 'primary', undefined, current, false],
  ])('is recognized by its place: %s', (_, calendarId, of, connection, expected) => {
    const place = { calendarId, ...(of === undefined ? {} : { account: of }) };
    expect(isInFormerAccount(place, connection)).toBe(expected);
  });
});

it('the fingerprint of an account names neither the account nor its other users', () => {
  const account = accountFingerprint({ userId: 'ada', googleSub: '100000000000000000001' });
  expect(account).toMatch(/^[\w-]{6}$/);
  expect(account).not.toBe(accountFingerprint({ userId: 'ben', googleSub: '100000000000000000001' }));
});
