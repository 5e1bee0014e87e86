/** Invoices of Stripe, from their webhooks to the calendar, with Stripe's API as a local server. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Stripe } from 'stripe';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { declareBooking } from '../../functions/bookings/change-booking.ts';
import { acceptWebhook } from '../../functions/payment-confirmed/accept-webhook.ts';
import { stripe } from '../../functions/payment-confirmed/stripe/provider.ts';
import type { SyncRequested } from '../../shared/booking/queue.ts';
import type { InvoicesPaidOutOfBand } from '../../shared/lib/config.ts';
import { cachedSecret } from '../fakes/secret.ts';
import { charge, dispute, intent, invoice, invoicePayments, refund, snapshot, thin } from '../unit/stripe.ts';
import { startWorld, type World } from './world.ts';

const secret = 'whsec_of_stripe_0123456789abcdef';
const userId = 'user-1';
let world: World;
let api: Server;
let number = 0;
/** What Stripe answers, by path. */
let answers: Record<string, object>;

beforeAll(async () => {
  world = await startWorld();
  await world.connect(userId);
  api = createServer(({ url = '' }, response) => {
    const [path = ''] = url.split('?');
    const found = answers[path];
    response.writeHead(found ? 200 : 404, { connection: 'close' }).end(JSON.stringify(found ?? {}));
  });
  await new Promise<void>((resolve) => api.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  await world?.close();
  api?.close();
});
beforeEach(() => {
  number += 1;
  answers = { '/v1/invoice_payments': invoicePayments({ payment: paidBy }) };
});

const bookingId = () => `booking-${number}`;
const paymentId = () => `pi_${number}`;
const paidBy = {
  type: 'payment_intent',
  get payment_intent() {
    return paymentId();
  },
};
const iso = (seconds: number) => `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`;
const times = () => {
  // Each booking has a time of its own.
  const start = world.time.now + 86_400 + number * 7200;
  return { start: iso(start), end: iso(start + 3600) };
};
const metadata = () => ({
  booking_id: bookingId(),
  user_id: userId,
  summary: `Meeting ${bookingId()}`,
  ...times(),
});
const ofInvoice = (change: object = {}) => invoice({ id: `in_${number}`, metadata: metadata(), ...change });
const ofPayment = () => ({ payment_intent: paymentId() });

async function drain(): Promise<void> {
  for (const message of world.queue.messages.splice(0))
    await syncBooking(world.deps, message as SyncRequested);
}

/** Delivers a signed event, and syncs what it queues. */
async function deliver(event: object, invoicesPaidOutOfBand: InvoicesPaidOutOfBand = 'ignore') {
  const created = 'related_object' in event ? iso(world.time.now) : world.time.now;
  const payload = JSON.stringify({ ...event, id: `evt_${number}`, created });
  const { port } = api.address() as AddressInfo;
  const deps = {
    ...world.deps,
    secrets: cachedSecret({ stripe: [secret], standard: [] }),
    stripeKeys: cachedSecret({ test: 'rk_test_0123456789abcdef' }),
    stripeMode: 'both' as const,
    invoicesPaidOutOfBand,
    stripeApi: { fetch, baseUrl: `http://127.0.0.1:${port}` },
  };
  const timestamp = world.time.now;
  const signature = Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp });
  const headers = { 'stripe-signature': signature };
  const receipt = await acceptWebhook(deps, stripe, { body: Buffer.from(payload), headers });
  await drain();
  return receipt;
}

const event = () => world.events().find(({ summary }) => summary === `Meeting ${bookingId()}`);
const booking = () => world.booking(bookingId());

const older = { api_version: '2024-06-20' };
/** `invoice.paid` as each API version, and a thin destination, sends it. */
const confirmations: [string, () => object][] = [
  ['of the current API version', () => snapshot('invoice.paid', ofInvoice())],
  [
    'of an older API version',
    () => snapshot('invoice.paid', ofInvoice({ ...ofPayment(), paid_out_of_band: false }), older),
  ],
  [
    'as a thin event',
    () => {
      answers[`/v1/invoices/in_${number}`] = ofInvoice();
      return thin('v1.invoice.paid', `/v1/invoices/in_${number}`);
    },
  ],
];
/** The other events about the same money. */
const companions = () => [
  snapshot('payment_intent.succeeded', intent({ id: paymentId(), metadata: {} })),
  snapshot('charge.succeeded', charge({ ...ofPayment(), amount_refunded: 0 })),
  snapshot('invoice_payment.paid', invoicePayments({ payment: paidBy }).data[0]),
  snapshot('invoice.payment_succeeded', ofInvoice()),
];
const endings: [string, () => object][] = [
  ['refund', () => snapshot('refund.created', refund({ ...ofPayment(), amount: 9000, status: 'succeeded' }))],
  ['refunded charge', () => snapshot('charge.refunded', charge(ofPayment()))],
  ['lost dispute', () => snapshot('charge.dispute.closed', dispute({ ...ofPayment(), status: 'lost' }))],
];

describe.each(confirmations)('a paid invoice %s', (_, confirmation) => {
  it('creates one event from all events about its money, each delivered twice', async () => {
    const events = [...companions(), confirmation()];
    for (const each of [...events, ...events.toReversed()]) await deliver(each);
    expect(event()).toBeDefined();
    expect(await booking()).toMatchObject({ status: 'scheduled', problems: [] });
    expect(Object.keys((await booking())?.payments ?? {})).toEqual([paymentId()]);
    expect(await booking()).not.toHaveProperty('orphaned');
  });

  it.each(endings)('cancels its booking by a %s, before and after the confirmation', async (_, ending) => {
    for (const inOrder of [true, false]) {
      number += 1;
      const events = [confirmation(), ...companions(), ending()];
      for (const each of inOrder ? events : events.toReversed()) await deliver(each);
      expect(event()).toBeUndefined();
      expect(await booking()).toMatchObject({ status: 'cancelled' });
    }
  });
});

describe('an invoice that is not paid', () => {
  it.each(['invoice.voided', 'invoice.marked_uncollectible'])(
    'ends a hold by %s, and creates the event if it is paid later',
    async (type) => {
      const held = { summary: `Meeting ${bookingId()}`, ...times(), hold: true };
      await declareBooking(world.deps, { userId, bookingId: bookingId() }, held);
      await drain();
      expect(event()).toMatchObject({ status: 'tentative' });
      await deliver(snapshot('invoice.payment_failed', ofInvoice()));
      expect(event()).toBeDefined();

      await deliver(snapshot(type, ofInvoice({ amount_paid: 0 })));
      expect(event()).toBeUndefined();
      await deliver(snapshot('invoice.paid', ofInvoice()));
      expect(event()).toMatchObject({ status: 'confirmed' });
    },
  );
});

describe('an invoice without money through Stripe', () => {
  it('creates an event under its own id if nothing was due', async () => {
    await deliver(snapshot('invoice.paid', ofInvoice({ amount_due: 0, amount_paid: 0 })));
    expect(event()).toBeDefined();
    expect((await booking())?.payments).toMatchObject({ [`in_${number}`]: { amount: 0 } });
  });

  it('creates an event only with the option if it was paid out of band', async () => {
    answers['/v1/invoice_payments'] = invoicePayments();
    const paid = snapshot('invoice.paid', ofInvoice());
    expect(await deliver(paid)).toMatchObject({ reason: 'paid_out_of_band' });
    expect(await booking()).toBeUndefined();
    expect(await deliver(paid, 'count')).toMatchObject({ payment_id: `in_${number}` });
    expect(event()).toBeDefined();
  });
});
