import * as v from 'valibot';
import type { DisputeState, PaymentFacts, RefundState } from '../../shared/payment.ts';
import { type Ignored, readPart } from './event-body.ts';

/**
 * What an object of Stripe says of a payment. With metadata it is of interest only where that names a booking;
 * without, as in refunds and disputes, the payment leads to the booking.
 */
export type StripeReport = { paymentId: string; facts: PaymentFacts; metadata?: Record<string, string> };

/** `at`: when the event happened, RFC 3339 in UTC. Errors (400): `unsupported_event_format`. */
type Reader = (object: unknown, at: string) => StripeReport | Ignored;

export const stripeId = v.pipe(v.string(), v.regex(/^[\w-]{1,100}$/));
const amount = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const metadata = v.fallback(v.record(v.string(), v.string()), {});

const session = v.object({
  id: stripeId,
  payment_intent: v.nullish(stripeId),
  payment_status: v.string(),
  amount_total: v.nullish(amount),
  metadata,
});
const paymentIntent = v.object({
  id: stripeId,
  amount: v.nullish(amount),
  amount_received: v.nullish(amount),
  metadata,
});
const charge = v.object({
  id: stripeId,
  payment_intent: v.nullish(stripeId),
  amount,
  amount_refunded: amount,
});
const refund = v.object({
  id: stripeId,
  payment_intent: v.nullish(stripeId),
  charge: v.nullish(stripeId),
  amount,
  status: v.nullish(v.string()),
});
const dispute = v.object({
  id: stripeId,
  payment_intent: v.nullish(stripeId),
  charge: stripeId,
  status: v.string(),
});

// Words that Stripe may yet add mean what the least harm comes from: still open.
const refundStates = new Map<string, RefundState>([
  ['succeeded', 'done'],
  ['failed', 'failed'],
  ['canceled', 'failed'],
]);
const disputeStates = new Map<string, DisputeState>([
  ['won', 'won'],
  // An inquiry that never became a dispute.
  ['warning_closed', 'won'],
  ['lost', 'lost'],
]);

const completedSession: Reader = (object, at) => {
  // It completes before the money has come when the method is a slow one; a later event tells. A session that
  // needed no payment is as good as paid.
  if (readObject(session, object).payment_status === 'unpaid') return { ignored: 'not paid yet' };
  return paidSession(object, at);
};

const paidSession: Reader = (object, at) => {
  const { id, payment_intent, amount_total, metadata } = readObject(session, object);
  return { paymentId: payment_intent ?? id, facts: paid(at, amount_total), metadata };
};

const failedSession: Reader = (object, at) => {
  const { id, payment_intent, metadata } = readObject(session, object);
  return { paymentId: payment_intent ?? id, facts: { failedAt: at }, metadata };
};

const succeededIntent: Reader = (object, at) => {
  const { id, amount, amount_received, metadata } = readObject(paymentIntent, object);
  return { paymentId: id, facts: paid(at, amount_received || amount), metadata };
};

const refundedCharge: Reader = (object) => {
  const { id, payment_intent, amount, amount_refunded } = readObject(charge, object);
  return { paymentId: payment_intent ?? id, facts: { amount, refundedTotal: amount_refunded } };
};

const changedRefund: Reader = (object) => {
  const { id, payment_intent, charge, amount, status } = readObject(refund, object);
  const paymentId = payment_intent ?? charge;
  if (!paymentId) return { ignored: 'a refund of no payment' };
  const state = refundStates.get(status ?? '') ?? 'open';
  return { paymentId, facts: { refunds: { [id]: { amount, state } } } };
};

const changedDispute: Reader = (object) => {
  const { id, payment_intent, charge, status } = readObject(dispute, object);
  const state = disputeStates.get(status) ?? 'open';
  return { paymentId: payment_intent ?? charge, facts: { disputes: { [id]: state } } };
};

/** Event types that say something of a payment, and who reads their objects. */
export const readers: ReadonlyMap<string, Reader> = new Map([
  ['checkout.session.completed', completedSession],
  ['checkout.session.async_payment_succeeded', paidSession],
  ['checkout.session.async_payment_failed', failedSession],
  ['checkout.session.expired', failedSession],
  ['payment_intent.succeeded', succeededIntent],
  ['charge.refunded', refundedCharge],
  ['refund.created', changedRefund],
  ['refund.updated', changedRefund],
  ['refund.failed', changedRefund],
  // The older name of refund.updated.
  ['charge.refund.updated', changedRefund],
  ['charge.dispute.created', changedDispute],
  ['charge.dispute.closed', changedDispute],
]);

/** Event types that come beside those and are left alone on purpose. */
export const ignoredTypes: ReadonlySet<string> = new Set([
  // Its payment intent succeeds too, and carries the metadata.
  'charge.succeeded',
  'charge.captured',
  'charge.updated',
  // An attempt that did not work: the customer may try again, until the session expires.
  'charge.failed',
  'charge.pending',
  'payment_intent.payment_failed',
  // On the way: neither paid nor lost.
  'payment_intent.created',
  'payment_intent.processing',
  'payment_intent.requires_action',
  'payment_intent.amount_capturable_updated',
  'payment_intent.partially_funded',
  // Never paid, so no event stands.
  'payment_intent.canceled',
  'charge.expired',
  // An invoice may be marked as paid by hand, or be for a subscription: appointments are paid for one by one.
  'invoice.paid',
  'invoice.payment_succeeded',
  'invoice.payment_failed',
  // Where a dispute stands in between; created and closed tell.
  'charge.dispute.updated',
  'charge.dispute.funds_withdrawn',
  'charge.dispute.funds_reinstated',
  // Of the customer, not of the payment.
  'customer.created',
  'customer.updated',
  'payment_method.attached',
]);

/** An amount that is not told is no reason to refuse who has paid: without it, no refund counts as a full one. */
function paid(at: string, amount: number | null | undefined): PaymentFacts {
  return { confirmedAt: at, ...(amount == null ? {} : { amount }) };
}

function readObject<Schema extends v.GenericSchema>(schema: Schema, object: unknown): v.InferOutput<Schema> {
  return readPart(schema, object, 'The object in the event does not have the form that Stripe documents.');
}
