import { withSecret } from '../../shared/aws/secrets.ts';
import type { IgnoredReason } from '../../shared/http/api-schemas.ts';
import { AppError, type ErrorCode, hasCode, type Problem } from '../../shared/lib/app-error.ts';
import { metric } from '../../shared/lib/observability.ts';
import { acceptPayment } from '../../shared/payments/accept-payment.ts';
import type { ParsedEvent } from '../../shared/payments/parse-event.ts';
import type { PaymentProvider, Webhook, WebhookDeps } from './payment-provider.ts';
import { signingSecrets } from './webhook-secrets.ts';

/** The body of a 200. Providers read the status only; the rest is for people, and for programs that search logs. */
type Receipt = { received: true } & (
  | { payment_id: string; booking_id?: string; booking_ids?: string[]; problems?: Problem[] }
  | { ignored: string; reason: IgnoredReason }
);

/** Stripe's largest events are far below; SQS takes no more in one message. */
const maxBodyBytes = 1024 * 1024;

/**
 * Accepts a webhook: verifies it, parses it and puts one message on the queue. When this returns, the payment is
 * durable; when it throws, nothing has changed and the provider delivers again.
 */
export async function acceptWebhook(
  deps: WebhookDeps,
  provider: PaymentProvider,
  webhook: Webhook,
): Promise<Receipt> {
  await verify(deps, provider, webhook);
  const parsed = await countRejected(provider, () => provider.parse(webhook, deps));
  await acceptPayment(deps.queue, parsed, provider.name);
  return receiptOf(parsed);
}

async function verify(deps: WebhookDeps, provider: PaymentProvider, webhook: Webhook): Promise<void> {
  if (webhook.body.length > maxBodyBytes) {
    throw new AppError('payload_too_large', `The body is larger than ${maxBodyBytes} bytes.`, {
      status: 413,
    });
  }
  const verifying = countRejected(provider, () =>
    withSecret(deps.secrets, ['signature_mismatch', 'provider_not_configured'], (secrets) =>
      provider.verify(webhook, signingSecrets(secrets, provider.name), deps.clock()),
    ),
  );
  // A new environment reads both secrets at once. It waits for both, or a read that Lambda freezes could hang later on.
  const [verified] = await Promise.allSettled([verifying, deps.queue.prepare()]);
  if (verified.status === 'rejected') throw verified.reason;
  const secretIndex = verified.value;
  // By position, so that an old secret can be seen to be out of use before it is removed.
  metric('WebhookVerified', 1, { provider: provider.name, secret: String(secretIndex) });
}

/** Codes of webhooks that are answered 400. */
export const rejections: ErrorCode[] = [
  'signature_missing',
  'signature_malformed',
  'signature_mismatch',
  'timestamp_out_of_tolerance',
  'invalid_json',
  'unsupported_event_format',
];

/** Counts rejected webhooks by provider and code, for an alarm: only the provider sees our answer. */
async function countRejected<T>(provider: PaymentProvider, accept: () => Promise<T>): Promise<T> {
  try {
    return await accept();
  } catch (error) {
    if (hasCode(error, ...rejections))
      metric('WebhookRejected', 1, { provider: provider.name, code: error.code });
    throw error;
  }
}

function receiptOf(parsed: ParsedEvent): Receipt {
  if ('ignored' in parsed) {
    const { ignored, reason } = parsed;
    return { received: true, ignored, reason };
  }
  const { paymentId, booking, bookings } = parsed.payment;
  if (bookings) {
    const { bookingIds, unusableUser, problems } = bookings;
    return { received: true, payment_id: paymentId, booking_ids: unusableUser ? [] : bookingIds, problems };
  }
  // Only sync knows whether a declared booking exists, and which booking an unusable user's payment goes to.
  const isKnown = booking !== undefined && !booking.mustExist && !booking.unusableUser;
  return { received: true, payment_id: paymentId, ...(isKnown ? { booking_id: booking.bookingId } : {}) };
}
