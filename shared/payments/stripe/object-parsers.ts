import * as v from 'valibot';
import {
  type DisputeState,
  type PaymentFacts,
  type RefundState,
  withoutUncaptured,
} from '../../booking/payment.ts';
import { anyObject } from '../../lib/schemas.ts';
import { type Ignored, parsePart } from '../parse-event.ts';

/**
 * A payment as an object of Stripe reports it. Metadata without a booking makes it irrelevant; without metadata, as in
 * refunds and disputes, the payment pointer references the booking.
 */
export type StripeReport = {
  paymentId: string;
  facts: PaymentFacts;
  metadata?: Record<string, string>;
  /** `client_reference_id` of a paid session: it may point to a declared booking. */
  reference?: string;
  /** A paid invoice: `paymentId` is its own id, until its payment is found. */
  invoice?: Invoice;
};

/**
 * What an event says about its object.
 * - `at`: when it happened, RFC 3339 in UTC
 * - `apiVersion`: in which the object is written; undefined where that is not known
 */
type About = { at: string; apiVersion?: string | undefined };

/** Errors (400): `unsupported_event_format`. */
type ObjectParser = (object: unknown, about: About) => StripeReport | Ignored;

// Ids become keys of objects, which lose `__proto__` when they are stored.
export const stripeId = v.pipe(v.string(), v.regex(/^[\w-]{1,100}$/), v.notValue('__proto__'));
export const amount = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const metadata = v.fallback(v.record(v.string(), v.string()), {});

const session = v.object({
  id: stripeId,
  mode: v.nullish(v.string()),
  payment_intent: v.nullish(stripeId),
  payment_status: v.string(),
  amount_total: v.nullish(amount),
  client_reference_id: v.fallback(v.optional(v.string()), undefined),
  metadata,
});
const paymentIntent = v.object({
  id: stripeId,
  amount: v.nullish(amount),
  amount_received: v.nullish(amount),
  metadata,
});
const expiredCharge = v.object({ id: stripeId, payment_intent: v.nullish(stripeId), metadata });
const charge = v.object({
  id: stripeId,
  payment_intent: v.nullish(stripeId),
  amount,
  amount_captured: v.nullish(amount),
  amount_refunded: amount,
  refunded: v.fallback(v.optional(v.boolean()), undefined),
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
  amount: v.nullish(amount),
  status: v.string(),
});
const invoice = v.object({
  id: stripeId,
  billing_reason: v.nullish(v.string()),
  parent: v.nullish(v.object({ subscription_details: v.nullish(anyObject) })),
  amount_due: v.nullish(amount),
  amount_paid: v.nullish(amount),
  // Only before API version 2025-03-31.
  subscription: v.nullish(v.string()),
  payment_intent: v.nullish(stripeId),
  charge: v.nullish(stripeId),
  paid_out_of_band: v.nullish(v.boolean()),
  metadata,
});
export type Invoice = v.InferOutput<typeof invoice>;

// Future words of Stripe mean the least harmful state: still open.
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

/** Sessions that are not payments for a booking, by their mode. */
const ignoredModes = new Map<string, Ignored>([
  [
    'setup',
    { ignored: 'a session of mode setup saves a payment method and takes no money', reason: 'setup_session' },
  ],
  [
    'subscription',
    {
      ignored:
        'a session of mode subscription: refunds of its invoices would not reach the booking. Use mode payment, or report each payment as a Standard Webhook',
      reason: 'subscription',
    },
  ],
]);

type Session = v.InferOutput<typeof session>;

/** Reads sessions that may be payments for a booking. */
const ofPayment =
  (read: (session: Session, at: string) => StripeReport | Ignored): ObjectParser =>
  (object, { at }) => {
    const it = parseObject(session, object);
    return ignoredModes.get(it.mode ?? '') ?? read(it, at);
  };

const paidReport = (
  { id, payment_intent, amount_total, client_reference_id, metadata }: Session,
  at: string,
): StripeReport => ({
  paymentId: payment_intent ?? id,
  facts: { confirmedAt: at, ...omitUndefined({ amount: amount_total }) },
  metadata,
  ...omitUndefined({ reference: client_reference_id }),
});

const paidSession = ofPayment(paidReport);

const completedSession = ofPayment((it, at) => {
  const { payment_status, mode } = it;
  // With a slow payment method the money comes later, and so does the event. The meaning of
  // "no payment required" in future modes of Stripe is unknown.
  const isPaid = payment_status === 'no_payment_required' ? isPaymentMode(mode) : payment_status !== 'unpaid';
  return isPaid ? paidReport(it, at) : { ignored: 'not paid yet', reason: 'not_paid_yet' };
});

// Without `client_reference_id`: the payer of a Payment Link may set it, and could end another customer's hold.
const failedSession = ofPayment(({ id, payment_intent, metadata }, at) => ({
  paymentId: payment_intent ?? id,
  facts: { failedAt: at },
  metadata,
}));

const succeededIntent: ObjectParser = (object, { at }) => {
  const { id, amount, amount_received, metadata } = parseObject(paymentIntent, object);
  return {
    paymentId: id,
    facts: { confirmedAt: at, ...omitUndefined({ amount, captured: amount_received || undefined }) },
    metadata,
  };
};

const canceledIntent: ObjectParser = (object, { at }) => {
  const { id, metadata } = parseObject(paymentIntent, object);
  return { paymentId: id, facts: { failedAt: at }, metadata };
};

/** An authorization that was not captured in time. */
const expiredAuthorization: ObjectParser = (object, { at }) => {
  const { id, payment_intent, metadata } = parseObject(expiredCharge, object);
  return { paymentId: payment_intent ?? id, facts: { failedAt: at }, metadata };
};

const refundedCharge: ObjectParser = (object, { apiVersion }) => {
  const it = parseObject(charge, object);
  const { id, payment_intent, amount, amount_captured } = it;
  return {
    paymentId: payment_intent ?? id,
    facts: {
      amount,
      ...omitUndefined({ captured: amount_captured }),
      refundedTotal: refundedOfCaptured(it, apiVersion),
    },
  };
};

/** Before this version, a partial capture refunded the remainder of the authorization. */
const withoutRemainder = '2025-03-31';
const mayIncludeRemainder = (apiVersion: string | undefined): boolean =>
  apiVersion !== undefined && apiVersion < withoutRemainder;

/** The refunded part of the captured amount, without a remainder that was never captured. */
function refundedOfCaptured(
  { amount, amount_captured, amount_refunded, refunded }: v.InferOutput<typeof charge>,
  apiVersion: string | undefined,
): number {
  const captured = amount_captured ?? amount;
  if (refunded) return captured;
  const remainder = Math.max(amount - captured, 0);
  return withoutUncaptured(amount_refunded, { captured, remainder }, mayIncludeRemainder(apiVersion));
}

const changedRefund: ObjectParser = (object, { apiVersion }) => {
  const { id, payment_intent, charge, amount, status } = parseObject(refund, object);
  const paymentId = payment_intent ?? charge;
  if (!paymentId) return { ignored: 'a refund of no payment', reason: 'refund_without_payment' };
  const state = refundStates.get(status ?? '') ?? 'open';
  return {
    paymentId,
    facts: {
      refunds: { [id]: { amount, state } },
      ...(mayIncludeRemainder(apiVersion) ? { refundsIncludeRemainder: true } : {}),
    },
  };
};

const changedDispute: ObjectParser = (object) => {
  const { id, payment_intent, charge, amount, status } = parseObject(dispute, object);
  const state = disputeStates.get(status) ?? 'open';
  return {
    paymentId: payment_intent ?? charge,
    facts: { disputes: { [id]: { ...omitUndefined({ amount }), state } } },
  };
};

const invoiceOfSubscription: Ignored = {
  ignored:
    'an invoice of a subscription: it comes again each period and pays for no single booking. Send an invoice of its own, or report each payment as a Standard Webhook',
  reason: 'subscription',
};

/** Reads invoices that may be payments for a booking. */
const ofOneInvoice =
  (read: (invoice: Invoice, at: string) => StripeReport): ObjectParser =>
  (object, { at }) => {
    const it = parseObject(invoice, object);
    const isOfSubscription =
      it.billing_reason?.startsWith('subscription') || it.parent?.subscription_details || it.subscription;
    return isOfSubscription ? invoiceOfSubscription : read(it, at);
  };

const paidInvoice = ofOneInvoice((invoice, at) => ({
  paymentId: invoice.id,
  facts: { confirmedAt: at },
  metadata: invoice.metadata,
  invoice,
}));

/** An invoice that is not expected to be paid. If it is all the same, the confirmation counts. */
const failedInvoice = ofOneInvoice(({ id, metadata }, at) => ({
  paymentId: id,
  facts: { failedAt: at },
  metadata,
}));

/** Event types about payments, each with the parser of its object. */
export const objectParsers: ReadonlyMap<string, ObjectParser> = new Map([
  ['checkout.session.completed', completedSession],
  ['checkout.session.async_payment_succeeded', paidSession],
  ['checkout.session.async_payment_failed', failedSession],
  ['checkout.session.expired', failedSession],
  ['payment_intent.succeeded', succeededIntent],
  ['payment_intent.canceled', canceledIntent],
  ['charge.expired', expiredAuthorization],
  ['charge.refunded', refundedCharge],
  ['refund.created', changedRefund],
  ['refund.updated', changedRefund],
  ['refund.failed', changedRefund],
  // The older name of refund.updated.
  ['charge.refund.updated', changedRefund],
  ['charge.dispute.created', changedDispute],
  ['charge.dispute.closed', changedDispute],
  ['invoice.paid', paidInvoice],
  ['invoice.voided', failedInvoice],
  ['invoice.marked_uncollectible', failedInvoice],
]);

function isPaymentMode(mode: string | null | undefined): boolean {
  return mode == null || mode === 'payment';
}

/** The fields that have a value: a missing amount must not reject a payment. */
function omitUndefined<Fields extends Record<string, unknown>>(
  fields: Fields,
): { [Name in keyof Fields]?: NonNullable<Fields[Name]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null)) as never;
}

export function parseObject<Schema extends v.GenericSchema>(
  schema: Schema,
  object: unknown,
): v.InferOutput<Schema> {
  return parsePart(schema, object, 'The object in the event does not have the form that Stripe documents.');
}
