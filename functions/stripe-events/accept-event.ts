import * as v from 'valibot';
import type { PaymentQueue } from '../../shared/booking/queue.ts';
import { AppError, hasCode, isOperatorError } from '../../shared/lib/app-error.ts';
import type { InvoicesPaidOutOfBand, StripeMode } from '../../shared/lib/config.ts';
import { log, metric, reportOperatorError } from '../../shared/lib/observability.ts';
import { anyObject, parseJson } from '../../shared/lib/schemas.ts';
import { parseStripeEvent } from '../../shared/payments/stripe/events.ts';
import { type FetchDeps, fetchEventObject } from '../../shared/payments/stripe/fetch-event-object.ts';

export type StripeEventDeps = FetchDeps & {
  /** Name of the partner event source, to which only Stripe can publish. */
  source: string;
  queue: PaymentQueue;
  /** The mode of Stripe whose payments count. */
  stripeMode: StripeMode;
  invoicesPaidOutOfBand: InvoicesPaidOutOfBand;
};

/** What EventBridge adds to an event of Stripe, which is its `detail`. */
const envelope = v.object({ source: v.string(), detail: anyObject });

/**
 * Accepts an event of Stripe as EventBridge delivers it: parses it and puts one message on the queue of bookings. When
 * this returns, the payment is durable; when it throws, the event comes again, and at last is a dead letter.
 * Errors: `unsupported_event_format`; those of fetchEventObject and of the queue.
 */
export async function acceptStripeEvent(deps: StripeEventDeps, body: string): Promise<void> {
  try {
    const parsed = await parseStripeEvent(
      detailOf(deps.source, body),
      deps.stripeMode,
      (event) => fetchEventObject(deps, event),
      deps.invoicesPaidOutOfBand,
    );
    if ('ignored' in parsed) {
      const { event, reason } = parsed;
      log.info('Stripe event ignored', { event: event.id, type: event.type, reason });
      metric('WebhookIgnored', 1, { reason });
      return;
    }
    const { payment } = parsed;
    await deps.queue.send(payment);
    const { paymentId, eventId, booking } = payment;
    log.info('Payment accepted', {
      paymentId,
      event: eventId,
      ...(booking ? { bookingId: booking.bookingId, problems: booking.problems.length } : {}),
    });
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
