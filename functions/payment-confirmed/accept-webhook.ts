import { AppError } from '../../shared/app-error.ts';
import type { BookingQueue } from '../../shared/booking-queue.ts';
import type { Clock } from '../../shared/clock.ts';
import { log, metric } from '../../shared/observability.ts';
import { type Secret, useSecret } from '../../shared/secrets.ts';
import { translateStripeEvent } from './stripe-events.ts';
import { verifyStripeSignature } from './stripe-signature.ts';
import type { WebhookSecrets } from './webhook-secrets.ts';

export type WebhookDeps = { secrets: Secret<WebhookSecrets>; queue: BookingQueue; clock: Clock };

/** What the provider is told; it only looks at the status. */
export type Receipt = { received: true; booking_id?: string; ignored?: string };

/** Bytes. Stripe's largest events are far below; SQS takes no more in one message. */
const largestBody = 1024 * 1024;

/**
 * Accepts a Stripe webhook: verifies, translates and puts one message on the queue. When this returns, the payment
 * is durable; when it throws, nothing has changed and Stripe will deliver again.
 */
export async function acceptStripeWebhook(
  deps: WebhookDeps,
  webhook: { body: Buffer; signature: string | undefined },
): Promise<Receipt> {
  if (webhook.body.length > largestBody) {
    throw new AppError('payload_too_large', `The body is larger than ${largestBody} bytes.`, { status: 413 });
  }
  const matched = await useSecret(deps.secrets, ['signature_mismatch'], ({ stripe }) =>
    verifyStripeSignature(webhook.body, webhook.signature, stripe, deps.clock()),
  );
  metric('WebhookVerified', 1, { secret: String(matched) });

  const translation = await translateStripeEvent(webhook.body);
  if ('ignored' in translation) return { received: true, ignored: translation.ignored };

  const { payment } = translation;
  await deps.queue.send(payment);
  log.info('Payment accepted', {
    bookingId: payment.bookingId,
    event: payment.payment.eventId,
    problems: payment.problems.length,
  });
  return { received: true, booking_id: payment.bookingId };
}
