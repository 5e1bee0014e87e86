import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyPayment } from '../../functions/booking-sync/apply-payment.ts';
import type { OrphanReason } from '../../shared/aws/bus-events.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import {
  holdsSlot,
  mainPayment,
  orphanedProblem,
  problemsOf,
  statusWithoutEvent,
  withOrphaned,
  withoutOldFailures,
} from '../../shared/booking/booking-payments.ts';
import { desiredPresence } from '../../shared/booking/desired-presence.ts';
import type { PaymentFacts } from '../../shared/booking/payment.ts';
import type { PaymentReported } from '../../shared/booking/queue.ts';
import { toIso } from '../../shared/lib/clock.ts';

const now = 1_790_000_000;
const policy = { refunded: 'cancel', disputeLost: 'cancel' } as const;
const paid: PaymentFacts = { confirmedAt: toIso(now), amount: 9000 };
const refunded: PaymentFacts = { ...paid, refundedTotal: 9000 };
const failed = (at: number): PaymentFacts => ({ failedAt: toIso(at) });
const declared: Booking = {
  schemaVersion: 1,
  calendar: { kind: 'absent' },
  bookingId: 'b1',
  userId: 'ada',
  appointment: {
    summary: 'Meeting',
    start: { dateTime: toIso(now + 86_400) },
    end: { dateTime: toIso(now + 90_000) },
    startsAt: now + 86_400,
    endsAt: now + 90_000,
  },
  status: 'declared',
  revision: 1,
  payments: {},
  problems: [],
  eventNumber: 0,
  timeline: [],
  createdAt: toIso(now),
  updatedAt: toIso(now),
  version: 1,
};

describe('a hold', () => {
  it.each<[string, Partial<Booking>, boolean]>([
    ['not paid yet', {}, true],
    ['none', { hold: undefined as never }, false],
    ['cancelled', { cancelledAt: toIso(now) }, false],
    ['paid', { payments: { pi_1: paid } }, false],
    ['paid and refunded', { payments: { pi_1: refunded } }, false],
    ['failed in the same second', { payments: { cs_1: failed(now) } }, false],
    ['failed after it', { payments: { cs_1: failed(now + 1) } }, false],
    ['failed before it', { payments: { cs_1: failed(now - 1) } }, true],
    ['failed before and after it', { payments: { cs_1: failed(now - 1), cs_2: failed(now + 1) } }, false],
    ['refunded before it was confirmed', { payments: { pi_1: { refundedTotal: 1 } } }, true],
  ])('a hold (%s: %j) occupies the slot: %s', (_, change, expected) => {
    const booking = { ...declared, hold: true as const, heldAt: toIso(now), ...change };
    expect(holdsSlot(booking)).toBe(expected);
    expect(desiredPresence(booking, policy) === 'tentative').toBe(expected);
  });
});

describe('the status of a booking without an event', () => {
  it.each<[Partial<Booking>, string]>([
    [{}, 'declared'],
    [{ payments: { cs_1: failed(now) } }, 'declared'],
    [{ payments: { pi_1: refunded } }, 'cancelled'],
    [{ payments: { pi_1: refunded, cs_1: failed(now + 9) } }, 'cancelled'],
    [{ cancelledAt: toIso(now) }, 'cancelled'],
    [{ fromPayment: true }, 'failed'],
    [{ fromPayment: true, cancelledAt: toIso(now) }, 'cancelled'],
  ])('a booking without an event and with %j is %s', (change, expected) => {
    expect(statusWithoutEvent({ ...declared, ...change })).toBe(expected);
  });
});

describe('failed payments', () => {
  const message = (paymentId: string, facts: PaymentFacts): PaymentReported => ({
    type: 'payment',
    paymentId,
    eventId: 'evt',
    facts,
    booking: { bookingId: 'b1', problems: [] },
  });
  const apply = (messages: PaymentReported[]): Booking =>
    messages.reduce((booking, each) => applyPayment(booking, each, undefined, now) as Booking, declared);

  it('keeps only the latest failed payments, in any order, and all other payments', () => {
    const drawn = fc.array(
      fc.record({
        id: fc.integer({ min: 0, max: 60 }).map((at) => `cs_${at}`),
        at: fc.integer({ min: 0, max: 1000 }),
        paid: fc.boolean(),
      }),
      { minLength: 1, maxLength: 150 },
    );
    fc.assert(
      fc.property(drawn, fc.infiniteStream(fc.nat()), (said, order) => {
        // A payment fails at one time, also when that is reported repeatedly.
        const messages = said.map(({ id, at, paid: isPaid }) =>
          message(id, isPaid && at < 200 ? paid : failed(now + Number(id.slice(3)) * 7)),
        );
        const keys = messages.map((each) => ({ each, key: order.next().value }));
        const shuffled = keys.sort((one, other) => one.key - other.key).map(({ each }) => each);
        const [one, other] = [apply(messages), apply([...shuffled, ...messages.slice(0, 5)])];
        expect(Object.keys(other.payments).sort()).toEqual(Object.keys(one.payments).sort());
        const confirmed = new Set(
          messages.filter(({ facts }) => facts.confirmedAt).map((each) => each.paymentId),
        );
        for (const id of confirmed) expect(one.payments[id]?.confirmedAt).toBe(paid.confirmedAt);
        expect(Object.keys(one.payments).length - confirmed.size).toBeLessThanOrEqual(20);
      }),
      { numRuns: 200 },
    );
  });

  it('keeps failed payments that carry a refund or a dispute', () => {
    const many = Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`cs_${at}`, failed(now + at)]));
    const kept = withoutOldFailures({
      ...many,
      pi_1: { ...failed(now - 9), refundedTotal: 5 },
      pi_2: { ...failed(now - 9), refunds: { re_1: { amount: 5, state: 'done' } } },
    });
    expect(Object.keys(kept)).toHaveLength(22);
    expect(kept).toHaveProperty('pi_1');
    expect(kept).toHaveProperty('pi_2');
  });

  it('a redelivered failed payment that was dropped changes nothing', () => {
    const booking = apply(Array.from({ length: 21 }, (_, at) => message(`cs_${at}`, failed(now + at))));
    expect(applyPayment(booking, message('cs_0', failed(now)), undefined, now)).toBe(booking);
  });
});

it('publishes the payment that pays, not a failed one', () => {
  expect(mainPayment({ payments: { a: failed(now), c: paid, b: refunded } })).toBe('c');
  expect(mainPayment({ payments: { b: failed(now), a: failed(now) } })).toBe('a');
  expect(mainPayment({ payments: {} })).toBeUndefined();
});

describe('orphaned payments', () => {
  it('each reason for an orphaned payment has its own problem code', () => {
    const reasons: OrphanReason[] = [
      'booking_cancelled',
      'already_paid',
      'too_late',
      'already_used',
      'user_mismatch',
      'booking_unknown',
    ];
    const codes = reasons.map(
      (reason) => orphanedProblem({ paymentId: 'pi_1', reason, bookingId: 'b1' }).code,
    );
    expect(new Set(codes).size).toBe(reasons.length);
  });

  it('lists an orphaned payment once, and a bounded number of them', () => {
    let list = withOrphaned([], { paymentId: 'pi', reason: 'too_late', bookingId: 'b1' });
    expect(withOrphaned(list, { paymentId: 'pi', reason: 'too_late', bookingId: 'b1' })).toBe(list);
    for (let at = 0; at < 50; at++)
      list = withOrphaned(list, { paymentId: `pi_${at}`, reason: 'already_used', bookingId: 'b1' });
    expect(list).toHaveLength(20);
    expect(list.at(-1)?.paymentId).toBe('pi_49');
  });

  it('an orphaned payment that is refunded is no problem any more', () => {
    const orphaned = [{ paymentId: 'pi_1', reason: 'booking_cancelled', bookingId: 'b1' }] as const;
    const booking = { ...declared, orphaned: [...orphaned] };
    expect(problemsOf({ ...booking, payments: { pi_1: paid } })).toHaveLength(1);
    expect(problemsOf({ ...booking, payments: { pi_1: refunded } })).toEqual([]);
  });
});
