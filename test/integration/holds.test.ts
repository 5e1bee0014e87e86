import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { declareBooking, patchBooking, type WriteResult } from '../../functions/bookings/change-booking.ts';
import { viewBooking } from '../../functions/bookings/view-booking.ts';
import type { SyncRequested } from '../../shared/booking/queue.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { startWorld, type World } from './world.ts';

let world: World;
let number = 0;
let bookingId: string;
const userId = 'user-1';

beforeAll(async () => {
  world = await startWorld();
  await world.connect(userId, { accessTokenExpiresAt: world.time.now + 1e8 });
  world.google.control.setSwitch('accessTokenSeconds', 1e8);
});
afterAll(() => world?.close());
beforeEach(() => {
  number += 1;
  bookingId = `hold-${number}`;
  world.queue.messages.length = 0;
  world.bus.events.length = 0;
});

const target = () => ({ userId, bookingId });
const body = (change: object = {}) => ({
  summary: `Meeting ${bookingId}`,
  start: '2027-03-01T10:00:00Z',
  end: '2027-03-01T11:00:00Z',
  hold: true,
  ...change,
});
async function drain(): Promise<void> {
  for (const message of world.queue.messages.splice(0))
    await syncBooking(world.deps, message as SyncRequested);
}
async function put(change: object = {}): Promise<WriteResult> {
  const written = await declareBooking(world.deps, target(), body(change));
  await drain();
  return written;
}
async function patch(change: object): Promise<WriteResult> {
  const written = await patchBooking(world.deps, target(), change);
  await drain();
  return written;
}
const view = () => viewBooking(world.deps, userId, bookingId);
const event = () => world.events().find(({ summary }) => summary?.includes(bookingId));
/** A checkout session that expires at `at`: the provider reports that time, and its message may arrive later. */
const expire = (session: string, at = world.time.now, repeated = false) =>
  syncBooking(
    world.deps,
    { ...world.payment(bookingId), paymentId: `${session}_${bookingId}`, facts: { failedAt: toIso(at) } },
    { repeated },
  );

describe('a hold that is declared after a failed payment', () => {
  it.each<[string, () => Promise<unknown>]>([
    ['by the same PUT', () => put()],
    ['by a changed PUT', () => put({ location: 'Room 7' })],
    ['by an empty PATCH', () => patch({})],
    [
      'by PATCH to false and to true',
      async () => {
        await patch({ hold: false });
        await patch({ hold: true });
      },
    ],
  ])('a hold takes the slot again after a failed payment %s', async (_, declareAgain) => {
    await put();
    await expire('cs_1');
    expect(await view()).toMatchObject({ status: 'declared', problems: [], desired: { hold: true } });
    expect(event()).toBeUndefined();
    await declareAgain();
    expect(await view()).toMatchObject({ status: 'held' });
    expect(event()).toMatchObject({ status: 'tentative' });
    await syncBooking(world.deps, { ...world.payment(bookingId), paymentId: `cs_2_${bookingId}` });
    expect(await view()).toMatchObject({ status: 'scheduled' });
    expect(event()).toMatchObject({ status: 'confirmed' });
  });

  it('a hold after a failed payment is accepted, and unchanged the second time', async () => {
    await put();
    await expire('cs_1');
    expect(await put()).toMatchObject({ outcome: 'accepted', booking: { revision: 2 } });
    world.time.now += 5;
    const again = await put();
    expect(again.outcome).not.toBe('accepted');
    expect(again.booking).toMatchObject({ status: 'held', revision: 2 });
    expect(world.queue.messages).toEqual([]);
  });

  it('a hold stays when the earlier failure is redelivered or arrives late', async () => {
    await put();
    const failedAt = world.time.now + 1;
    world.time.now += 10;
    await put();
    await expire('cs_1', failedAt);
    expect(await view()).toMatchObject({ status: 'held' });
    await expire('cs_1', failedAt, true);
    await expire('cs_2', failedAt + 1);
    expect(event()).toMatchObject({ status: 'tentative' });
    expect(world.bus.types()).toEqual([]);
  });

  it("a hold stays when the provider's clock is ahead", async () => {
    await put();
    await expire('cs_1', world.time.now + 250);
    await put();
    expect(await view()).toMatchObject({ status: 'held' });
    await expire('cs_1', world.time.now + 250, true);
    expect(await view()).toMatchObject({ status: 'held' });
  });

  it('each failed payment releases the hold, as often as it is declared', async () => {
    for (let round = 1; round <= 3; round++) {
      await put();
      expect(await view()).toMatchObject({ status: 'held' });
      world.time.now += 60;
      await expire(`cs_${round}`);
      expect(await view()).toMatchObject({ status: 'declared' });
    }
    expect(world.bus.types()).toEqual(Array(3).fill('booking.hold_released'));
    expect(world.bus.events[0]).toMatchObject({ userId, bookingId, paymentId: `cs_1_${bookingId}` });
  });

  it('a hold does not revive a booking that was paid and refunded: it stays cancelled', async () => {
    await syncBooking(world.deps, world.payment(bookingId));
    await syncBooking(world.deps, world.reported(bookingId, { refundedTotal: 9000 }));
    await put();
    expect(await view()).toMatchObject({ status: 'cancelled' });
    expect(event()).toBeUndefined();
  });
});

it('publishes a released hold again when the run crashes before saving', async () => {
  await put();
  const save = () => Promise.reject(new Error('crashed'));
  const broken = { ...world.deps, bookings: { ...world.deps.bookings, save } };
  const expired = {
    ...world.payment(bookingId),
    paymentId: 'cs_1',
    facts: { failedAt: toIso(world.time.now) },
  };
  await expect(syncBooking(broken, expired)).rejects.toThrow('crashed');
  await syncBooking(world.deps, expired, { repeated: true });
  expect(event()).toBeUndefined();
  expect(await view()).toMatchObject({ status: 'declared' });
  expect(new Set(world.bus.types())).toEqual(new Set(['booking.hold_released']));
  expect(new Set(world.bus.events.map(({ id }) => id)).size).toBe(1);
});

it('a booking without a hold stays declared after a failed payment', async () => {
  await put({ hold: false });
  await expire('cs_1');
  await patch({ location: 'Room 7' });
  expect(await view()).toMatchObject({ status: 'declared' });
  expect(world.bus.types()).toEqual([]);
});

it('records a payment after any number of expired checkouts', { timeout: 60_000 }, async () => {
  await put({ hold: false });
  for (let session = 0; session < 60; session++) {
    world.time.now += 1;
    await expire(`cs_${session}`);
  }
  const { payments = {}, version } = (await world.booking(bookingId)) ?? {};
  expect(Object.keys(payments)).toEqual(Array.from({ length: 20 }, (_, at) => `cs_${at + 40}_${bookingId}`));
  // A dropped failure changes nothing when it is redelivered, and pays when it is confirmed.
  await expire('cs_3', world.time.now - 56);
  expect((await world.booking(bookingId))?.version).toBe(version);
  expect((await world.deps.readForSync({ paymentId: `cs_3_${bookingId}` })).pointer).toBeUndefined();
  await syncBooking(world.deps, { ...world.payment(bookingId), paymentId: `cs_3_${bookingId}` });
  expect(await view()).toMatchObject({ status: 'scheduled' });
  expect(world.bus.events.at(-1)).toMatchObject({
    type: 'booking.scheduled',
    paymentId: `cs_3_${bookingId}`,
  });
});
