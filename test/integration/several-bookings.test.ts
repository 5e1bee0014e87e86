import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseBookingMessage } from '../../functions/booking-sync/read-message.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { cancelBooking } from '../../functions/bookings/change-booking.ts';
import { parseStandardEvent } from '../../functions/payment-confirmed/standard/events.ts';
import type { PaymentReported, SyncRequested } from '../../shared/booking/queue.ts';
import { parseStripeEvent } from '../../shared/payments/stripe/events.ts';
import { queuedText } from '../fakes/queue.ts';
import { stripeSettings } from '../fixtures/stripe-settings.ts';
import { charge, intent, session, snapshot } from '../unit/stripe.ts';
import { startWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
  await world.connect('user-1');
});
afterEach(() => world.close());

/** A message as the queue delivers it. */
const delivered = (message: object) =>
  parseBookingMessage(queuedText(message)) as PaymentReported | SyncRequested;
const translated = async (type: string, object: object): Promise<PaymentReported> => {
  const event = snapshot(type, object, { created: world.time.now });
  const translation = await parseStripeEvent(event, stripeSettings, async () => ({}));
  if (!('payment' in translation)) throw new Error(JSON.stringify(translation));
  return translation.payment;
};
const paid = (booking_ids: string, more: object = {}) =>
  translated('payment_intent.succeeded', intent({ metadata: { booking_ids, ...more } }));
const refunded = (amount: number) => translated('charge.refunded', charge({ amount_refunded: amount }));

const requestOf = (bookingId: string): SyncRequested => ({
  type: 'sync',
  bookingId,
  userId: 'user-1',
  cause: 'test',
});

/** Works through the queue until it is empty. */
async function work(...messages: (PaymentReported | SyncRequested)[]): Promise<void> {
  world.queue.messages.push(...messages);
  for (let message = world.queue.messages.shift(); message; message = world.queue.messages.shift())
    await syncBooking(world.deps, delivered(message));
}
const statuses = (...ids: string[]) =>
  Promise.all(ids.map(async (id) => (await world.booking(id))?.status ?? 'none'));
const problems = async (id: string) => (await world.booking(id))?.problems.map(({ code }) => code) ?? [];
const pointer = async () => (await world.deps.readForSync({ paymentId: 'pi_1' })).pointer;
const orphaned = () =>
  world.bus.events.flatMap((event) =>
    event.type === 'payment.orphaned' ? [[event.bookingId, event.reason]] : [],
  );

async function declareThree(): Promise<void> {
  for (const id of ['b1', 'b2', 'b3']) await world.declare(id);
}

it('creates an event for each booking that a payment names', async () => {
  await declareThree();
  await work(await paid('b1, b2,b3'));
  expect(await statuses('b1', 'b2', 'b3')).toEqual(['scheduled', 'scheduled', 'scheduled']);
  expect(world.events()).toHaveLength(3);
});

it('creates the same events when each message is delivered twice', async () => {
  await declareThree();
  const payment = await paid('b1,b2,b3');
  await work(payment, payment);
  await work(payment);
  expect(world.events()).toHaveLength(3);
  expect(await statuses('b1', 'b2', 'b3')).toEqual(['scheduled', 'scheduled', 'scheduled']);
});

it('cancels all with a full refund, and none with a partial one', async () => {
  await declareThree();
  await work(await paid('b1,b2,b3'), await refunded(3000));
  expect(await statuses('b1', 'b2', 'b3')).toEqual(['scheduled', 'scheduled', 'scheduled']);
  await work(await refunded(9000));
  expect(await statuses('b1', 'b2', 'b3')).toEqual(['cancelled', 'cancelled', 'cancelled']);
  expect(world.events()).toEqual([]);
});

it('creates no event where the refund came before the payment', async () => {
  await declareThree();
  await work(await refunded(9000), await paid('b1,b2,b3'));
  expect(await statuses('b1', 'b2', 'b3')).toEqual(['cancelled', 'cancelled', 'cancelled']);
  expect(world.events()).toEqual([]);
});

it('leaves the others where one is cancelled', async () => {
  await declareThree();
  await work(await paid('b1,b2,b3'));
  await cancelBooking(world.deps, { userId: 'user-1', bookingId: 'b2' });
  await work();
  expect(await statuses('b1', 'b2', 'b3')).toEqual(['scheduled', 'cancelled', 'scheduled']);
});

it('records a booking that was not declared, and pays for the others', async () => {
  await world.declare('b1');
  await work(await paid('b1,b2'));
  expect(await statuses('b1', 'b2', 'pi_1')).toEqual(['scheduled', 'none', 'failed']);
  expect(await problems('pi_1')).toEqual(['booking_unknown']);
  expect(orphaned()).toEqual([['b2', 'booking_unknown']]);
});

it('pays for a booking that was declared later when the provider delivers again', async () => {
  await world.declare('b1');
  await work(await paid('b1,b2'));
  await world.declare('b2');
  await work(await paid('b1,b2'));
  expect(await statuses('b1', 'b2')).toEqual(['scheduled', 'scheduled']);
});

it('records names that cannot be used, and pays for the others', async () => {
  await declareThree();
  await work(await paid('b1, b 2, b3'));
  expect(await statuses('b1', 'b2', 'b3', 'pi_1')).toEqual(['scheduled', 'declared', 'scheduled', 'failed']);
  expect(await problems('pi_1')).toEqual(['invalid_booking']);
});

it('pays for the first 20 of more bookings, and records that there were more', async () => {
  const ids = Array.from({ length: 22 }, (_, index) => `n${index + 1}`);
  for (const id of ids) await world.declare(id);
  await work(await paid(ids.join(',')));
  expect(await statuses('n1', 'n20', 'n21', 'pi_1')).toEqual([
    'scheduled',
    'scheduled',
    'declared',
    'failed',
  ]);
  expect(await problems('pi_1')).toEqual(['too_many_bookings']);
  expect((await world.booking('pi_1'))?.problems[0]?.message).toContain('names 22 bookings');
});

it('records a list without any booking under the id of the payment', async () => {
  await work(await paid(' , '));
  expect(await problems('pi_1')).toEqual(['invalid_booking']);
});

it('counts for no booking of another user, and says so', async () => {
  await world.declare('b1');
  await world.declare('b2', { userId: 'user-2' });
  await work(await paid('b1,b2', { user_id: 'user-1' }));
  expect(await statuses('b1', 'b2', 'pi_1')).toEqual(['scheduled', 'declared', 'failed']);
  expect(await problems('pi_1')).toEqual(['user_mismatch']);
  expect(orphaned()).toEqual([['b2', 'user_mismatch']]);
});

it('counts for no booking where its user id cannot be used', async () => {
  await declareThree();
  await work(await paid('b1,b2', { user_id: 'user 1' }));
  expect(await statuses('b1', 'b2', 'pi_1')).toEqual(['declared', 'declared', 'failed']);
  expect(world.events()).toEqual([]);
});

it('stays with the bookings that its first report names', async () => {
  await declareThree();
  await work(await paid('b1,b2'), await paid('b1,b3'));
  expect(await statuses('b1', 'b2', 'b3')).toEqual(['scheduled', 'scheduled', 'declared']);
  expect(orphaned()).toEqual([['b3', 'already_used']]);
  expect((await pointer())?.bookings?.bookingIds).toEqual(['b1', 'b2']);
});

it('says that a later report names a booking that was not declared', async () => {
  await world.declare('b1');
  await work(await paid('b1'), await paid('b1,b9'));
  expect(await statuses('b1', 'b9')).toEqual(['scheduled', 'none']);
  expect(orphaned()).toEqual([['b9', 'already_used']]);
});

it('stays with the booking that its first report names alone', async () => {
  await declareThree();
  await work(
    await translated(
      'payment_intent.succeeded',
      intent({ metadata: { booking_id: 'b1', user_id: 'user-1' } }),
    ),
  );
  await work(await paid('b1,b2'));
  expect(await statuses('b1', 'b2')).toEqual(['scheduled', 'declared']);
  expect(orphaned()).toEqual([['b2', 'already_used']]);
});

it('ends the hold of each booking when the session expires', async () => {
  for (const id of ['b1', 'b2']) await world.declare(id, { hold: true, heldAt: '2026-01-01T00:00:00Z' });
  await work(requestOf('b1'), requestOf('b2'));
  expect(await statuses('b1', 'b2')).toEqual(['held', 'held']);
  const metadata = { booking_ids: 'b1,b2' };
  await work(
    await translated(
      'checkout.session.expired',
      session({ payment_intent: null, payment_status: 'unpaid', metadata }),
    ),
  );
  expect(await statuses('b1', 'b2')).toEqual(['declared', 'declared']);
  expect(await pointer()).toBeUndefined();
});

it('keeps its facts once, for as long as the last of its bookings may be refunded', async () => {
  await declareThree();
  const last = (await world.booking('b3'))?.appointment?.endsAt ?? 0;
  await work(await paid('b1,b2,b3'), await refunded(3000));
  expect(await pointer()).toMatchObject({
    facts: { amount: 9000, refundedTotal: 3000 },
    expiresAt: last + 2 * 400 * 86_400,
  });
});

it('sends all messages again where the queue took a part only', async () => {
  await declareThree();
  const payment = await paid('b1,b2,b3');
  const sendAll = world.deps.payments.sendAll.bind(world.deps.payments);
  const payments = {
    ...world.deps.payments,
    async sendAll(messages: PaymentReported[]) {
      await sendAll(messages.slice(0, 1));
      throw new Error('The queue refused 2 messages.');
    },
  };
  await expect(syncBooking({ ...world.deps, payments }, payment)).rejects.toThrow('refused 2');
  await work(payment);
  expect(await statuses('b1', 'b2', 'b3')).toEqual(['scheduled', 'scheduled', 'scheduled']);
  expect(world.events()).toHaveLength(3);
});

it('takes bookingIds of a Standard Webhook', async () => {
  await declareThree();
  const timestamp = new Date(world.time.now * 1000).toISOString();
  const data = { paymentId: 'p1', bookingIds: ['b1', 'b3'], userId: 'user-1', amount: 9000 };
  const body = Buffer.from(JSON.stringify({ type: 'payment.confirmed', timestamp, data }));
  const translation = await parseStandardEvent(body, 'msg_1');
  await work((translation as { payment: PaymentReported }).payment);
  expect(await statuses('b1', 'b2', 'b3')).toEqual(['scheduled', 'declared', 'scheduled']);
});
