import type { Ignored } from '../parse-event.ts';

const otherType: Ignored['reason'] = 'event_type';

/** Event types that are ignored on purpose, by reason. */
const ignoredTypes: ReadonlyMap<string, Ignored['reason']> = new Map([
  // Its payment intent succeeds too, and carries the metadata.
  ['charge.succeeded', otherType],
  ['charge.captured', otherType],
  ['charge.updated', otherType],
  // The customer may try again, until the session expires or the payment intent is canceled.
  ['charge.failed', otherType],
  ['charge.pending', otherType],
  ['payment_intent.payment_failed', otherType],
  ['payment_intent.created', otherType],
  ['payment_intent.processing', otherType],
  ['payment_intent.requires_action', otherType],
  ['payment_intent.amount_capturable_updated', otherType],
  ['payment_intent.partially_funded', otherType],
  // `invoice.paid` says the same with the metadata, and also comes for an invoice without a payment.
  ['invoice.payment_succeeded', otherType],
  ['invoice_payment.paid', otherType],
  // The customer may try again, until the invoice is voided or marked as uncollectible.
  ['invoice.payment_failed', otherType],
  // The states of a dispute in between: created and closed are read.
  ['charge.dispute.updated', otherType],
  ['charge.dispute.funds_withdrawn', otherType],
  ['charge.dispute.funds_reinstated', otherType],
  ['customer.created', otherType],
  ['customer.updated', otherType],
  ['payment_method.attached', otherType],
]);

export const ignoredTypeNames: readonly string[] = [...ignoredTypes.keys()];

/** Why an event of another type is ignored. `object`: of a snapshot event. */
export function ignoredType(type: string, object: unknown): Ignored {
  const reason = ignoredTypes.get(type);
  if (!reason) return { ignored: `unknown event type ${type.slice(0, 100)}`, reason: 'unknown_event_type' };
  if (type === 'charge.succeeded' && isWithoutIntent(object)) {
    return {
      ignored:
        'a charge without a payment intent: take the payment with a PaymentIntent or a Checkout Session',
      reason: 'charge_without_intent',
    };
  }
  return { ignored: `event type ${type}`, reason };
}

function isWithoutIntent(object: unknown): boolean {
  return (
    typeof object === 'object' &&
    object !== null &&
    'payment_intent' in object &&
    object.payment_intent === null
  );
}
