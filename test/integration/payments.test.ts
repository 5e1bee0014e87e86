import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { type Booking, recordedEvent } from '../../shared/booking/booking.ts';
import type { PaymentFacts } from '../../shared/booking/payment.ts';
import type { PaymentReported } from '../../shared/booking/queue.ts';
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
  world.time.now = (await world.booking('b1'))?.nextRun?.at ?? Number.NaN;
  await sync({ type: 'sync', bookingId: 'b1', userId: 'user-1', cause: 'due' });
};
const status = async (bookingId: string) => (await world.booking(bookingId))?.status;
/** Processes messages as the queue would: concurrently, and again those that were not acknowledged. */
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

  it('a full refund deletes the event and publishes once', async () => {
    await sync(world.payment('b1'));
    await sync(world.reported('b1', fullRefund));
    await sync(world.reported('b1', chargeRefunded));
    expect(world.events()).toEqual([]);
    expect(await world.booking('b1')).toMatchObject({
      status: 'cancelled',
      timeline: [{ what: 'paid' }, { what: 'scheduled' }, { what: 'refunded' }, { what: 'cancelled' }],
    });
    expect(await world.booking('b1')).not.toHaveProperty('calendar.event');
    expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.cancelled']);
  });

  it('a refund before its payment leaves a tombstone, and the payment creates no event', async () => {
    await sync(world.reported('b1', fullRefund));
    expect(await world.booking('b1')).toBeUndefined();
    await sync(world.payment('b1'));
    expect(world.calls()).not.toContain('events.insert');
    expect(await status('b1')).toBe('cancelled');
  });

  it('a refund that fails later creates a new event', async () => {
    await sync(world.payment('b1'));
    await sync(world.reported('b1', fullRefund));
    await sync(world.reported('b1', refundFailed));
    expect(world.events()).toHaveLength(1);
    expect(await world.booking('b1')).toMatchObject({
      status: 'scheduled',
      eventNumber: 1,
      calendar: { event: {} },
    });
    expect(world.calls().filter((route) => route === 'events.insert')).toHaveLength(2);
  });

  it('a full refund cancels a booking whose owner has deleted the event', async () => {
    await sync(world.payment('b1'));
    world.google.control.deleteEvent(
      ada,
      recordedEvent((await world.booking('b1')) as Booking)?.eventId ?? '',
    );
    await sync(world.reported('b1', fullRefund));
    expect(await status('b1')).toBe('cancelled');
  });

  it('a refund during a wait for a used up quota cancels at once: a refusal has a known outcome', async () => {
    const how = { status: 403, reason: 'quotaExceeded', retryAfter: 3000 };
    world.google.control.fail({ on: 'events.insert', how });
    await sync(world.payment('b1'));
    await sync(world.reported('b1', fullRefund));
    expect(await status('b1')).toBe('cancelled');
    expect(await world.booking('b1')).not.toHaveProperty('nextRun');
    expect(world.calls()).toEqual(['events.insert', 'events.get']);
    expect(world.bus.types()).toEqual(['booking.cancelled']);
  });

  it('a refund during a wait for a fault of Google cancels at once, and re-checks', async () => {
    const how = { status: 500, reason: 'backendError', retryAfter: 3000 };
    world.google.control.fail({ on: 'events.insert', how });
    await sync(world.payment('b1'));
    expect((await world.booking('b1'))?.nextRun?.at).toBe(world.time.now + 3000);
    await sync(world.reported('b1', fullRefund));
    expect(await status('b1')).toBe('cancelled');
    // The insert that timed out may still be applied: two reads a minute apart must not find it.
    expect((await world.booking('b1'))?.nextRun?.at).toBe(world.time.now + 120);
    await syncWhenDue();
    await syncWhenDue();
    expect(await world.booking('b1')).not.toHaveProperty('nextRun');
    expect(world.calls()).toEqual(['events.insert', 'events.get', 'events.get', 'events.get', 'events.list']);
    expect(world.bus.types()).toEqual(['booking.cancelled']);
  });

  it('a refund during a pause of the calendar waits for its end, without a call before', async () => {
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
    const syncDueAt = (await world.booking('b1'))?.nextRun?.at ?? 0;
    expect(syncDueAt).toBeGreaterThan(pausedUntil);
    expect(syncDueAt).toBeLessThanOrEqual(pausedUntil + 61);
    world.time.now = pausedUntil - 1;
    await sync({ type: 'sync', bookingId: 'b1', userId: 'user-1', cause: 'due' });
    expect(world.calls()).toEqual(['events.insert']);
    await syncWhenDue();
    expect(await status('b1')).toBe('cancelled');
    expect(world.events()).toEqual([]);
    expect(await world.booking('b1')).not.toHaveProperty('nextRun');
    expect(await world.booking('b1')).not.toMatchObject({ calendar: { kind: 'in_doubt' } });
    expect(world.bus.types()).toEqual(['booking.cancelled']);
  });

  it('a refund deletes an event that a crashed run left behind', async () => {
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
  ])('a refund whose deletion Google answers with %s ends in the right status', async (_, how, expected) => {
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

  it('a refund waits while the connection is broken, and is completed after a reconnect', async () => {
    await sync(world.payment('b1'));
    const connection = await world.connection('user-1');
    await world.deps.connections.markReauthorizationRequired('user-1', 1, 'invalid_grant', world.time.now);
    await sync(world.reported('b1', fullRefund));
    expect(await status('b1')).toBe('waiting_for_connection');
    await world.deps.connections.put({ ...connection, tokenVersion: 3 } as never, { tokenVersion: 2 });
    await sync({ type: 'sync', bookingId: 'b1', userId: 'user-1', cause: 'activated' });
    expect(await status('b1')).toBe('cancelled');
    expect(world.events()).toEqual([]);
  });

  it('a full refund keeps the event if the operator configured so', async () => {
    const keeping = { ...world.deps, paymentPolicy: { refunded: 'keep', disputeLost: 'keep' } as const };
    await syncBooking(keeping, world.payment('b1'));
    await syncBooking(keeping, world.reported('b1', fullRefund));
    expect(world.events()).toHaveLength(1);
    expect((await world.booking('b1'))?.timeline.at(-1)?.what).toBe('refunded');
  });
});

describe('payment facts that keep the appointment', () => {
  beforeEach(() => world.connect('user-1'));

  it.each<[string, PaymentFacts]>([
    ['partly refunded', { refunds: { re_1: { amount: 100, state: 'done' } } }],
    ['disputed', { disputes: { dp_1: { amount: 9000, state: 'open' } } }],
  ])('keeps the event and records in the timeline: %s', async (what, facts) => {
    await sync(world.payment('b1'));
    await sync(world.reported('b1', facts));
    expect(await status('b1')).toBe('scheduled');
    expect((await world.booking('b1'))?.timeline.at(-1)?.what).toBe(what);
    expect(world.events()).toHaveLength(1);
    expect(world.calls()).toEqual(['events.insert']);
  });

  it('keeps the event while another payment of the booking counts', async () => {
    await sync(world.payment('b1'));
    await sync({ ...world.payment('b1'), paymentId: 'pi_other' });
    await sync(world.reported('b1', fullRefund));
    expect(world.events()).toHaveLength(1);
    await sync({ ...world.reported('b1', fullRefund), paymentId: 'pi_other' });
    expect(world.events()).toEqual([]);
  });
});

it('cancels a booking whose dispute is lost', async () => {
  await world.connect('user-1');
  await sync(world.payment('b1'));
  await sync(world.reported('b1', { disputes: { dp_1: { amount: 9000, state: 'lost' } } }));
  expect(await status('b1')).toBe('cancelled');
});

it('cancels a refunded booking whose user never connected', async () => {
  await sync(world.payment('b1'));
  expect(await status('b1')).toBe('waiting_for_connection');
  await sync(world.reported('b1', fullRefund));
  expect(await status('b1')).toBe('cancelled');
});

it('an unrelated refund leaves a tombstone for 90 days, with one write', async () => {
  await sync(world.reported('foreign', fullRefund));
  const { pointer } = await world.deps.readForSync({ paymentId: 'pi_foreign' });
  expect(pointer).toMatchObject({ expiresAt: world.time.now + 90 * 86_400, version: 1 });
  await sync(world.reported('foreign', { failedAt: '2026-11-23T10:00:00Z' }));
  expect((await world.deps.readForSync({ paymentId: 'pi_foreign' })).pointer?.version).toBe(1);
});

it('a payment counts only for the booking that saved its pointer first', async () => {
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

it('detaches a payment from the losing booking, also after a crash of that run', async () => {
  await world.connect('user-1');
  const winner = world.payment('b1');
  const loser = { ...world.payment('b2'), paymentId: winner.paymentId };
  const { savePointer } = world.deps.bookings;
  const cutOff = {
    ...world.deps,
    bookings: {
      ...world.deps.bookings,
      // The other booking is faster at the last moment, and then the run crashes.
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

it('a payment delivered fifty times with a refund ends right, in a hundred random orders', {
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
