import { DeleteItemCommand, GetItemCommand } from '@aws-sdk/client-dynamodb';
import { marshall, unmarshall } from '@aws-sdk/util-dynamodb';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { patchBooking } from '../../functions/bookings/change-booking.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { startWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
  await world.connect('user-1');
});
afterEach(() => world.close());

const TableName = 'BookingsTable';
const days = 86_400;
const keep = 400 * days;

async function expiryOf(id: string): Promise<number> {
  const { Item = {} } = await world.dynamo.send(new GetItemCommand({ TableName, Key: marshall({ id }) }));
  return unmarshall(Item).expiresAt;
}

/** What DynamoDB does with an item once its `expiresAt` has passed. */
const expire = (id: string) => world.dynamo.send(new DeleteItemCommand({ TableName, Key: marshall({ id }) }));

it('keeps a booking for 400 days after its end, and its payment pointer longer', async () => {
  const payment = world.payment('b1');
  await syncBooking(world.deps, payment);
  const { endsAt = 0 } = payment.booking.appointment ?? {};
  expect(await expiryOf('booking#b1')).toBe(endsAt + keep);
  expect(await expiryOf('payment#pi_b1')).toBe(endsAt + 2 * keep);
  expect(await world.booking('b1')).not.toHaveProperty('expiresAt');
});

it('an appointment that is moved is kept from its new end on', async () => {
  await syncBooking(world.deps, world.payment('b1'));
  const end = world.time.now + 900 * days;
  await patchBooking(
    world.deps,
    { userId: 'user-1', bookingId: 'b1' },
    { start: toIso(end - 3600), end: toIso(end) },
  );
  expect(await expiryOf('booking#b1')).toBe(end + keep);
});

it('a change after the end keeps a booking from that change on', async () => {
  const payment = world.payment('b1');
  await syncBooking(world.deps, payment);
  world.time.now += 30 * days;
  await syncBooking(world.deps, world.reported('b1', { refundedTotal: 9000 }));
  expect(await expiryOf('booking#b1')).toBe(world.time.now + keep);
});

it('a payment that arrives again after its booking has expired creates no event', async () => {
  const payment = world.payment('b1');
  await syncBooking(world.deps, payment);
  const inserts = () => world.calls().filter((route) => route === 'events.insert').length;
  expect(inserts()).toBe(1);
  world.time.now += 900 * days;
  for (const gone of [['booking#b1'], ['booking#b1', 'payment#pi_b1']]) {
    for (const id of gone) await expire(id);
    await syncBooking(world.deps, payment);
    expect((await world.booking('b1'))?.status).toBe('missed');
  }
  expect(inserts()).toBe(1);
});

it('a refund of a booking that has expired makes no booking', async () => {
  await syncBooking(world.deps, world.payment('b1'));
  world.time.now += 402 * days;
  await expire('booking#b1');
  await syncBooking(world.deps, world.reported('b1', { refundedTotal: 9000 }));
  expect(await world.booking('b1')).toBeUndefined();
  const { pointer } = await world.deps.readForSync({ paymentId: 'pi_b1' });
  expect(pointer).toMatchObject({ bookingId: 'b1', facts: { refundedTotal: 9000 } });
});
