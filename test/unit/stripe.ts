/** Events of Stripe in their real shapes, with variable details. */
import { readFileSync } from 'node:fs';

export const created = 1_790_000_000;
export const createdAt = '2026-09-21T14:13:20Z';

/** An object as Stripe publishes it, with changes. */
function example(name: string): (change?: object) => Record<string, unknown> {
  const { _source, ...object } = JSON.parse(
    readFileSync(new URL(`../fixtures/stripe/${name}.json`, import.meta.url), 'utf8'),
  );
  return (change = {}) => ({ ...object, ...change });
}

export const metadata = {
  booking_id: 'booking-1',
  user_id: 'user-1',
  summary: 'First meeting',
  start: '2026-12-01T10:00:00+01:00',
  end: '2026-12-01T11:00:00+01:00',
};

const ofPayment = { payment_intent: 'pi_1' };
const exampleSession = example('checkout-session');
const exampleIntent = example('payment-intent');
const exampleCharge = example('charge');
const exampleRefund = example('refund');
const exampleDispute = example('dispute');
const exampleInvoice = example('invoice');
const exampleInvoicePayment = example('invoice-payment');

export const session = (change: object = {}) =>
  exampleSession({
    ...ofPayment,
    id: 'cs_1',
    payment_status: 'paid',
    amount_total: 9000,
    metadata,
    ...change,
  });
export const intent = (change: object = {}) =>
  exampleIntent({ id: 'pi_1', amount: 9000, amount_received: 9000, metadata, ...change });
export const charge = (change: Record<string, unknown> = {}) => {
  const amounts = { amount: 9000, amount_captured: 9000, amount_refunded: 9000, ...change };
  const refunded = amounts.amount_refunded === amounts.amount_captured;
  return exampleCharge({ ...ofPayment, id: 'ch_1', refunded, ...amounts });
};
export const refund = (change: object = {}) =>
  exampleRefund({ ...ofPayment, id: 're_1', charge: 'ch_1', amount: 4000, ...change });
export const dispute = (change: object = {}) =>
  exampleDispute({ ...ofPayment, id: 'dp_1', charge: 'ch_1', amount: 9000, ...change });
/** A paid invoice of the current API version, which does not name its payment. */
export const invoice = (change: object = {}) =>
  exampleInvoice({ id: 'in_1', amount_due: 9000, amount_paid: 9000, metadata, ...change });
/** The list that Stripe answers for an invoice's payments. */
export const invoicePayments = (...changes: object[]) => ({
  object: 'list',
  url: '/v1/invoice_payments',
  has_more: false,
  data: changes.map((change) =>
    exampleInvoicePayment({ amount_paid: 9000, amount_requested: 9000, ...change }),
  ),
});

/** A snapshot event. */
export const snapshot = (type: string, object: unknown, change: object = {}) => ({
  id: 'evt_1',
  object: 'event',
  api_version: '2026-10-28.endive',
  created,
  data: { object },
  livemode: false,
  pending_webhooks: 1,
  request: { id: null, idempotency_key: null },
  type,
  ...change,
});

/** A thin event. */
export const thin = (type: string, url: string | undefined, change: object = {}) => ({
  id: 'evt_thin_1',
  object: 'v2.core.event',
  created: '2026-09-21T14:13:20.123Z',
  livemode: false,
  reason: null,
  type,
  related_object: url ? { id: url.split('/').at(-1), type: 'object', url } : null,
  ...change,
});
