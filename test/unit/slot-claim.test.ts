import { describe, expect, it } from 'vitest';
import { type Claim, claimTextOf, outranks, overlaps } from '../../functions/booking-sync/conflicts.ts';
import type { Appointment, EventTime } from '../../shared/booking/booking.ts';
import type { OwnEvent } from '../../shared/google/own-events.ts';

const created = Date.parse('2027-01-15T10:00:00Z');
const claim = (change: Partial<Claim> = {}): Claim => ({
  bookingId: 'b1',
  claim: '2027-01-15T09:59:58Z',
  createdAt: created,
  ...change,
});

describe('two bookings in one slot', () => {
  it.each<[string, Claim, Claim]>([
    ['the one paid earlier', claim({ bookingId: 'b2' }), claim({ claim: '2027-01-15T09:59:59Z' })],
    ['the paid one beside a held one', claim({ bookingId: 'b2' }), claim({ claim: 'held' })],
    ['the smaller id at the same second', claim(), claim({ bookingId: 'b2' })],
    ['the smaller id of two held ones', claim({ claim: 'held' }), claim({ bookingId: 'b2', claim: 'held' })],
    [
      'the one that was there long before, though it is only held',
      claim({ bookingId: 'b2', claim: 'held' }),
      claim({ createdAt: created + 181_000 }),
    ],
    [
      'the one paid earlier where Google does not say when they were created',
      claim({ createdAt: undefined }),
      claim({ bookingId: 'b2', createdAt: created - 1e9, claim: '2027-01-15T09:59:59Z' }),
    ],
  ])('the booking with the stronger claim keeps the slot: %s', (_, one, other) => {
    expect([outranks(one, other), outranks(other, one)]).toEqual([true, false]);
  });

  it('exactly one of two bookings outranks the other, for every pair of claims', () => {
    const claims = ['b1', 'b2', 'b10'].flatMap((bookingId) =>
      ['held', '2027-01-15T09:59:58Z', '2027-01-15T09:59:59Z'].flatMap((claim) =>
        [undefined, created, created + 1000, created + 600_000].map((createdAt) => ({
          bookingId,
          claim,
          createdAt,
        })),
      ),
    );
    for (const one of claims)
      for (const other of claims)
        if (one.bookingId !== other.bookingId) expect(outranks(one, other)).toBe(!outranks(other, one));
  });
});

describe('claim of a slot by the first payment', () => {
  const amount = 9000;
  it.each([
    ['by none of no payments', {}, 'held'],
    [
      'by the earliest',
      { a: { confirmedAt: '2027-01-02T00:00:00Z' }, b: { confirmedAt: '2027-01-01T00:00:00Z' } },
      '2027-01-01T00:00:00Z',
    ],
    [
      'not by one that was refunded',
      {
        a: { confirmedAt: '2027-01-02T00:00:00Z' },
        b: { confirmedAt: '2027-01-01T00:00:00Z', amount, refundedTotal: amount },
      },
      '2027-01-02T00:00:00Z',
    ],
    ['not by one that failed', { a: { failedAt: '2027-01-02T00:00:00Z' } }, 'held'],
  ])('claim of a slot by payments: %s', (_, payments, expected) => {
    expect(claimTextOf({ payments })).toBe(expected);
  });
});

describe('an event in the list', () => {
  const timed = (from: string, to: string) => ({
    start: { dateTime: `2027-01-15T${from}:00Z` },
    end: { dateTime: `2027-01-15T${to}:00Z` },
  });
  const days = (from: string, to: string) => ({ start: { date: from }, end: { date: to } });
  const appointment = ({ start, end }: { start: EventTime; end: EventTime }): Appointment => {
    const at = (time: EventTime) => Date.parse('date' in time ? time.date : time.dateTime) / 1000;
    return { summary: 'x', start, end, startsAt: at(start), endsAt: at(end) };
  };
  const event = (times: object, change: Partial<OwnEvent> = {}): OwnEvent => ({
    id: 'e',
    status: 'confirmed',
    created: undefined,
    transparency: 'opaque',
    extendedProperties: { private: {} },
    start: {},
    end: {},
    ...times,
    ...change,
  });

  it.each<[string, { start: EventTime; end: EventTime }, OwnEvent, boolean]>([
    ['at the same hour', timed('10:00', '11:00'), event(timed('10:00', '11:00')), true],
    ['that begins at the end', timed('10:00', '11:00'), event(timed('11:00', '12:00')), false],
    ['that ends at the start', timed('10:00', '11:00'), event(timed('09:00', '10:00')), false],
    [
      'that leaves the time free',
      timed('10:00', '11:00'),
      event(timed('10:00', '11:00'), { transparency: 'transparent' }),
      false,
    ],
    [
      'that was deleted',
      timed('10:00', '11:00'),
      event(timed('10:00', '11:00'), { status: 'cancelled' }),
      false,
    ],
    ['of the same day', days('2027-01-15', '2027-01-16'), event(days('2027-01-15', '2027-01-16')), true],
    ['of the day after', days('2027-01-15', '2027-01-16'), event(days('2027-01-16', '2027-01-17')), false],
    ['of the day before', days('2027-01-15', '2027-01-16'), event(days('2027-01-14', '2027-01-15')), false],
    [
      'of a whole day, in the range of a time',
      timed('10:00', '11:00'),
      event(days('2027-01-15', '2027-01-16')),
      true,
    ],
  ])('overlap with another event: %s', (_, own, other, expected) => {
    expect(overlaps(appointment(own), other)).toBe(expected);
  });
});
