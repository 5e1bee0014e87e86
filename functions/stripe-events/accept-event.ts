import * as v from 'valibot';
import type { PaymentQueue } from '../../shared/booking/queue.ts';
import { AppError, hasCode, isOperatorError } from '../../shared/lib/app-error.ts';
import { reportOperatorError } from '../../shared/lib/observability.ts';
import { anyObject, parseJson } from '../../shared/lib/schemas.ts';
import { acceptPayment } from '../../shared/payments/accept-payment.ts';
import { type StripeDeps, translateStripeEvent } from '../../shared/payments/stripe/translate.ts';

export type StripeEventDeps = StripeDeps & {
  /** Name of the partner event source, to which only Stripe can publish. */
  source: string;
  queue: Pick<PaymentQueue, 'send'>;
  /** Whether payments of connected accounts count. */
  stripeConnect: boolean;
};

/** What EventBridge adds to an event of Stripe, which is its `detail`. */
const envelope = v.object({ source: v.string(), detail: anyObject });

/**
 * Accepts an event of Stripe as EventBridge delivers it: parses it and puts one message on the queue of bookings. When
 * this returns, the payment is durable; when it throws, the event comes again, and at last is a dead letter.
 * Errors: `unsupported_event_format`; those of translateStripeEvent and of the queue.
 */
export async function acceptStripeEvent(deps: StripeEventDeps, body: string): Promise<void> {
  try {
    const event = detailOf(deps.source, body);
    const parsed = await translateStripeEvent(deps, event, deps.stripeConnect ? 'both' : 'own');
    await acceptPayment(deps.queue, parsed, 'eventbridge');
  } catch (error) {
    if (isOperatorError(error) || hasCode(error, 'unsupported_event_format'))
      reportOperatorError('Stripe event cannot be used', error);
    throw error;
  }
}

/** The event of Stripe, which has no signature: its proof is the source, which EventBridge sets. */
function detailOf(source: string, body: string): unknown {
  const parsed = v.safeParse(envelope, parseJson(body));
  if (parsed.success && parsed.output.source === source) return parsed.output.detail;
  throw new AppError(
    'unsupported_event_format',
    'This is no event of the partner event source in the option stripeEventSource. Check who sent it.',
  );
}
