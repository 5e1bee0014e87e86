import { describe, expect, it } from 'vitest';
import { secondsToEvent } from '../../functions/booking-sync/measures.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { facts, now, paidBooking } from '../fakes/booking.ts';

const paidAt = Date.parse(facts.confirmedAt) / 1000;
const scheduled = (change: Partial<Booking> = {}): Booking =>
  paidBooking({ status: 'scheduled', createdAt: toIso(paidAt - 600), ...change });
const withTimeline = (...texts: string[]): Booking =>
  paidBooking({ timeline: texts.map((what) => ({ at: toIso(now), what })) });

describe('the time from a payment to its event', () => {
  it.each<[string, number | undefined, Booking | undefined, Booking]>([
    ['a declared booking: since its payment', 7, withTimeline('declared', 'paid'), scheduled()],
    ['one that was held: since its payment', 7, withTimeline('declared', 'held', 'paid'), scheduled()],
    [
      'one of a payment alone: since the payment',
      7,
      undefined,
      scheduled({ fromPayment: true, createdAt: toIso(paidAt + 5) }),
    ],
    [
      'one declared after its payment: since then',
      2,
      withTimeline('paid'),
      scheduled({ createdAt: toIso(paidAt + 5) }),
    ],
    [
      'one whose first attempts failed: since its payment',
      7,
      withTimeline('paid', 'attempt failed'),
      scheduled(),
    ],
    ['one that is scheduled again: not measured', undefined, withTimeline('paid', 'scheduled'), scheduled()],
    [
      'one that waited for its user: not measured',
      undefined,
      withTimeline('waiting for a connection'),
      scheduled(),
    ],
    ['one that was in conflict: not measured', undefined, withTimeline('conflict'), scheduled()],
    ['one that is not scheduled yet: not measured', undefined, undefined, scheduled({ status: 'pending' })],
    ['one without a payment: not measured', undefined, undefined, scheduled({ payments: {} })],
  ])('%s', (_, expected, stored, booking) => {
    expect(secondsToEvent(stored, booking, paidAt + 7)).toBe(expected);
  });

  it('is never negative where the clock of the provider is ahead', () => {
    expect(secondsToEvent(undefined, scheduled(), paidAt - 3)).toBe(0);
  });
});
