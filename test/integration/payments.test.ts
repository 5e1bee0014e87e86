import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import type { FaultEffect } from '../../infra/local/google/faults.ts';
import type { PaymentReported } from '../../shared/booking-queue.ts';
import type { PaymentFacts } from '../../shared/payment.ts';
import { ada, startWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
});
afterEach(() => world.close());

const sync = (message: Parameters<typeof syncBooking>[1]) => syncBooking(world.deps, message);
const fullRefund: PaymentFacts = { refunds: { re_1: { amount: 9000, state: 'done' } } };
const refundFailed: PaymentFacts = { refunds: { re_1: { amount: 9000, state: 'failed' } } };
const chargeRefunded: PaymentFacts = { amount: 9000, refundedTotal: 9000 };
const syncWhenDue = async () => {
  world.time.now = (await world.booking('b1'))?.syncDueAt ?? Number.NaN;
  await sync({ type: 'sync', bookingId: 'b1', userId: 'user-1', cause: 'due' });
};
const status = async (bookingId: string) => (await world.booking(bookingId))?.status;
/** Works through messages as the queue would: side by side, and again those that were not acknowledged. */
async function deliver(messages: PaymentReported[], width: number): Promise<void> {
  const left = messages.map((message) => ({ message, repeated: false }));
  const lane = async (): Promise<void> => {
    for (let next = left.shift(); next; next = left.shift()) {
      const { message, repeated } = next;
      await syncBooking(world.deps, message, { repeated }).catch((error: unknown) => {
        if ((error as { code?: string }).code !== 'concurrent_update') throw error;
        left.push({ message, repeated: true });
      });
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
}

describe('a full refund', () => {
  beforeEach(() => world.connect('user-1'));

  it('takes the event out of the calendar, and says so once', async () => {
    await sync(world.payment('b1'));
    await sync(world.reported('b1', fullRefund));
    await sync(world.reported('b1', chargeRefunded));
    expect(world.events()).toEqual([]);
    expect(await world.booking('b1')).toMatchObject({
      status: 'cancelled',
      timeline: [{ what: 'paid' }, { what: 'scheduled' }, { what: 'refunded' }, { what: 'cancelled' }],
    });
    expect(await world.booking('b1')).not.toHaveProperty('observed');
    expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.cancelled']);
  });

  it('before its payment leaves a tombstone, and the payment then creates nothing', async () => {
    await sync(world.reported('b1', fullRefund));
    expect(await world.booking('b1')).toBeUndefined();
    await sync(world.payment('b1'));
    expect(world.calls()).not.toContain('events.insert');
    expect(await status('b1')).toBe('cancelled');
  });

  it('that fails later puts the appointment back, under a new id', async () => {
    await sync(world.payment('b1'));
    await sync(world.reported('b1', fullRefund));
    await sync(world.reported('b1', refundFailed));
    expect(world.events()).toHaveLength(1);
    expect(await world.booking('b1')).toMatchObject({
      status: 'scheduled',
      generation: 1,
      observed: { generation: 1 },
    });
    expect(world.calls().filter((route) => route === 'events.insert')).toHaveLength(2);
  });

  it('counts an event that its owner has deleted as gone', async () => {
    await sync(world.payment('b1'));
    world.google.control.deleteEvent(ada, (await world.booking('b1'))?.observed?.eventId ?? '');
    await sync(world.reported('b1', fullRefund));
    expect(await status('b1')).toBe('cancelled');
  });

  it.each<[string, FaultEffect]>([
    ['a used up quota', { status: 403, reason: 'quotaExceeded', retryAfter: 3000 }],
    ['a fault of Google', { status: 500, reason: 'backendError', retryAfter: 3000 }],
  ])('during a wait for %s takes effect at once, and is looked at once more', async (_, how) => {
    world.google.control.fail({ on: 'events.insert', how });
    await sync(world.payment('b1'));
    expect((await world.booking('b1'))?.syncDueAt).toBe(world.time.now + 3000);
    await sync(world.reported('b1', fullRefund));
    expect(await status('b1')).toBe('cancelled');
    // The insert that was given up on might yet take effect: two reads a minute apart must not find it.
    expect((await world.booking('b1'))?.syncDueAt).toBe(world.time.now + 120);
    await syncWhenDue();
    await syncWhenDue();
    expect(await world.booking('b1')).not.toHaveProperty('syncDueAt');
    expect(world.calls()).toEqual(['events.insert', 'events.get', 'events.get', 'events.get', 'events.list']);
    expect(world.bus.types()).toEqual(['booking.cancelled']);
  });

  it('while the calendar is paused waits for the end of the pause, and calls nothing before', async () => {
    world.google.control.fail({
      on: 'events.insert',
      how: { status: 429, reason: 'rateLimitExceeded', retryAfter: 3000 },
    });
    await sync(world.payment('b1'));
    const pausedUntil = world.time.now + 3000;
    await sync(world.reported('b1', fullRefund));
    expect(await world.booking('b1')).toMatchObject({
      status: 'pending',
      problems: [{ code: 'google_rate_limited' }],
    });
    expect(world.calls()).toEqual(['events.insert']);
    const { syncDueAt = 0 } = (await world.booking('b1')) ?? {};
    expect(syncDueAt).toBeGreaterThan(pausedUntil);
    expect(syncDueAt).toBeLessThanOrEqual(pausedUntil + 61);
    world.time.now = pausedUntil - 1;
    await sync({ type: 'sync', bookingId: 'b1', userId: 'user-1', cause: 'due' });
    expect(world.calls()).toEqual(['events.insert']);
    await syncWhenDue();
    expect(await status('b1')).toBe('cancelled');
    expect(world.events()).toEqual([]);
    // A pause of 50 minutes is no end of the doubt: the insert is still looked for.
    await syncWhenDue();
    await syncWhenDue();
    expect(await world.booking('b1')).not.toHaveProperty('syncDueAt');
    expect(await world.booking('b1')).not.toHaveProperty('unsettled');
    expect(world.bus.types()).toEqual(['booking.cancelled']);
  });

  it('removes an event that a run left behind which was cut off', async () => {
    const broken = {
      ...world.deps,
      bookings: { ...world.deps.bookings, save: () => Promise.reject(new Error('cut off')) },
    };
    await expect(syncBooking(broken, world.payment('b1'))).rejects.toThrow('cut off');
    expect(world.events()).toHaveLength(1);
    await sync(world.reported('b1', fullRefund));
    await sync(world.payment('b1'));
    expect(world.events()).toEqual([]);
    expect(await status('b1')).toBe('cancelled');
  });

  it.each([
    ['503', { status: 503, html: true as const }, 'pending'],
    ['401', { status: 401, reason: 'authError' }, 'cancelled'],
    ['410', { status: 410, reason: 'deleted' }, 'cancelled'],
    ['404', { status: 404, reason: 'notFound' }, 'cancelled'],
  ])('that Google answers %s to ends as it should', async (_, how, expected) => {
    await sync(world.payment('b1'));
    world.google.control.fail({ on: 'events.delete', times: expected === 'pending' ? 2 : 1, how });
    await sync(world.reported('b1', fullRefund));
    expect(await status('b1')).toBe(expected);
    if (expected !== 'pending') return;
    world.time.now += 60;
    await sync({ type: 'sync', bookingId: 'b1', userId: 'user-1', cause: 'due' });
    expect(await status('b1')).toBe('cancelled');
    expect(world.events()).toEqual([]);
  });

  it('waits for the connection where it is broken, and is done when it works again', async () => {
    await sync(world.payment('b1'));
    const connection = await world.connection('user-1');
    await world.deps.connections.requireReauthorization('user-1', 1, 'invalid_grant', world.time.now);
    await sync(world.reported('b1', fullRefund));
    expect(await status('b1')).toBe('waiting_for_connection');
    await world.deps.connections.put({ ...connection, tokenVersion: 3 } as never, { tokenVersion: 2 });
    await sync({ type: 'sync', bookingId: 'b1', userId: 'user-1', cause: 'activated' });
    expect(await status('b1')).toBe('cancelled');
    expect(world.events()).toEqual([]);
  });

  it('is kept in the calendar where the operator wants it so', async () => {
    const keeping = { ...world.deps, paymentPolicy: { refunded: 'keep', disputeLost: 'keep' } as const };
    await syncBooking(keeping, world.payment('b1'));
    await syncBooking(keeping, world.reported('b1', fullRefund));
    expect(world.events()).toHaveLength(1);
    expect((await world.booking('b1'))?.timeline.at(-1)?.what).toBe('refunded');
  });
});

describe('what leaves the appointment standing', () => {
  beforeEach(() => world.connect('user-1'));

  it.each<[string, PaymentFacts]>([
    ['partly refunded', { refunds: { re_1: { amount: 100, state: 'done' } } }],
    ['disputed', { disputes: { dp_1: { amount: 9000, state: 'open' } } }],
  ])('is noted: %s', async (what, facts) => {
    await sync(world.payment('b1'));
    await sync(world.reported('b1', facts));
    expect(await status('b1')).toBe('scheduled');
    expect((await world.booking('b1'))?.timeline.at(-1)?.what).toBe(what);
    expect(world.events()).toHaveLength(1);
    expect(world.calls()).toEqual(['events.insert']);
  });

  it('is another payment for the same booking: it stands while one of them does', async () => {
    await sync(world.payment('b1'));
    await sync({ ...world.payment('b1'), paymentId: 'pi_other' });
    await sync(world.reported('b1', fullRefund));
    expect(world.events()).toHaveLength(1);
    await sync({ ...world.reported('b1', fullRefund), paymentId: 'pi_other' });
    expect(world.events()).toEqual([]);
  });
});

it('cancels when a dispute is lost', async () => {
  await world.connect('user-1');
  await sync(world.payment('b1'));
  await sync(world.reported('b1', { disputes: { dp_1: { amount: 9000, state: 'lost' } } }));
  expect(await status('b1')).toBe('cancelled');
});

it('does not wait for a connection that never was to cancel a booking', async () => {
  await sync(world.payment('b1'));
  expect(await status('b1')).toBe('waiting_for_connection');
  await sync(world.reported('b1', fullRefund));
  expect(await status('b1')).toBe('cancelled');
});

it('remembers a refund of a payment that is not ours for a while only, at the cost of one write', async () => {
  await sync(world.reported('foreign', fullRefund));
  const { pointer } = await world.deps.readForSync({ paymentId: 'pi_foreign' });
  expect(pointer).toMatchObject({ expiresAt: world.time.now + 90 * 86_400, version: 1 });
  await sync(world.reported('foreign', { failedAt: '2026-11-23T10:00:00Z' }));
  expect((await world.deps.readForSync({ paymentId: 'pi_foreign' })).pointer?.version).toBe(1);
});

it('lets a payment count for one booking only, the one that was faster', async () => {
  await world.connect('user-1');
  const first = world.payment('b1');
  const second = { ...world.payment('b2'), paymentId: first.paymentId };
  await deliver([first, second], 2);
  const standing = await Promise.all(['b1', 'b2'].map(status));
  expect(standing.filter((each) => each === 'scheduled')).toHaveLength(1);
  expect(world.events()).toHaveLength(1);
  const loser = standing.indexOf('scheduled') === 0 ? 'b2' : 'b1';
  expect(await status(loser)).toBe('failed');
});

it('takes a payment back from a booking that lost it, even when the run that found out was cut off', async () => {
  await world.connect('user-1');
  const winner = world.payment('b1');
  const loser = { ...world.payment('b2'), paymentId: winner.paymentId };
  const { savePointer } = world.deps.bookings;
  const cutOff = {
    ...world.deps,
    bookings: {
      ...world.deps.bookings,
      // The other one is faster at the very last moment, and then the run ends.
      savePointer: async (pointer: Parameters<typeof savePointer>[0]) => {
        await savePointer({ ...pointer, bookingId: 'b1' });
        throw new Error('cut off');
      },
    },
  };
  await expect(syncBooking(cutOff, loser)).rejects.toThrow('cut off');
  await sync(winner);
  expect(world.events()).toHaveLength(2);
  await syncBooking(world.deps, loser, { repeated: true });
  expect(world.events()).toHaveLength(1);
  expect([await status('b1'), await status('b2')]).toEqual(['scheduled', 'failed']);
});

it('ends right in a hundred random orders of one payment delivered fifty times, with its refund in between', {
  timeout: 120_000,
}, async () => {
  await world.connect('user-1');
  for (let run = 0; run < 100; run++) {
    const bookingId = `run-${run}`;
    const refunded = run % 2 === 0;
    const payment = world.payment(bookingId);
    const events = [
      ...Array.from({ length: 50 }, () => payment),
      world.reported(bookingId, chargeRefunded),
      world.reported(bookingId, fullRefund),
      ...(refunded ? [] : [world.reported(bookingId, refundFailed)]),
    ];
    await deliver(shuffled(events, run), 8);
    expect({ run, status: await status(bookingId) }).toEqual({
      run,
      status: refunded ? 'cancelled' : 'scheduled',
    });
    const events1 = world
      .events()
      .filter(({ extendedProperties }) => extendedProperties?.private?.leadscalendarBooking === bookingId);
    expect({ run, events: events1.length }).toEqual({ run, events: refunded ? 0 : 1 });
  }
});

/** The same order for the same seed. */
function shuffled<T>(items: T[], seed: number): T[] {
  let state = seed * 2654435761 + 1;
  const random = (): number => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return state / 4294967296;
  };
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
