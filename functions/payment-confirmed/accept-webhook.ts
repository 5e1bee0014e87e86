import type { IgnoredReason } from '../../shared/api-answers.ts';
import { AppError, type ErrorCode, hasCode } from '../../shared/app-error.ts';
import type { PaymentQueue } from '../../shared/booking-queue.ts';
import type { Clock } from '../../shared/clock.ts';
import type { StripeMode } from '../../shared/config.ts';
import { log, metric, reportOperatorError } from '../../shared/observability.ts';
import { type Secret, useSecret } from '../../shared/secrets.ts';
import type { Translation } from './event-body.ts';
import { translateStandardEvent } from './standard-events.ts';
import { type StandardHeaders, verifyStandardSignature } from './standard-signature.ts';
import { type ThinEvent, translateStripeEvent } from './stripe-events.ts';
import { fetchStripeObject, type StripeApi } from './stripe-objects.ts';
import { verifyStripeSignature } from './stripe-signature.ts';
import { type Provider, secretsOf, type WebhookSecrets } from './webhook-secrets.ts';

export type WebhookDeps = {
  secrets: Secret<WebhookSecrets>;
  queue: PaymentQueue;
  clock: Clock;
  /** The mode of Stripe whose payments count. */
  stripeMode: StripeMode;
  stripeApi: StripeApi;
};

/** The body of a 200. Providers read the status only; the rest is for people and programs that search. */
export type Receipt = { received: true } & (
  | { payment_id: string; booking_id?: string }
  | { ignored: string; reason: IgnoredReason }
);

/** Bytes. Stripe's largest events are far below; SQS takes no more in one message. */
const largestBody = 1024 * 1024;

/**
 * Accepts a Stripe webhook: verifies, translates and puts one message on the queue. When this returns, the payment
 * is durable; when it throws, nothing has changed and Stripe will deliver again.
 */
export async function acceptStripeWebhook(
  deps: WebhookDeps,
  { body, signature }: { body: Buffer; signature: string | undefined },
): Promise<Receipt> {
  await verify(deps, 'stripe', body, (secrets) =>
    verifyStripeSignature(body, signature, secrets, deps.clock()),
  );
  const translation = await countRejected('stripe', () =>
    translateStripeEvent(body, deps.stripeMode, (event) => objectOf(deps, event)),
  );
  return enqueue(deps, 'stripe', translation);
}

/** Accepts a Standard Webhook in the same way. */
export async function acceptStandardWebhook(
  deps: WebhookDeps,
  { body, headers }: { body: Buffer; headers: StandardHeaders },
): Promise<Receipt> {
  await verify(deps, 'standard', body, (secrets) =>
    verifyStandardSignature(body, headers, secrets, deps.clock()),
  );
  const translation = await countRejected('standard', () => translateStandardEvent(body, headers.id ?? ''));
  return enqueue(deps, 'standard', translation);
}

async function verify(
  deps: WebhookDeps,
  provider: Provider,
  body: Buffer,
  match: (secrets: string[]) => number,
): Promise<void> {
  if (body.length > largestBody) {
    throw new AppError('payload_too_large', `The body is larger than ${largestBody} bytes.`, { status: 413 });
  }
  const verifying = countRejected(provider, () =>
    useSecret(deps.secrets, ['signature_mismatch', 'provider_not_configured'], (secrets) =>
      match(secretsOf(secrets, provider)),
    ),
  );
  // A new environment reads both secrets at once. It waits for both, or a read that Lambda freezes could hang later on.
  const [verified] = await Promise.allSettled([verifying, deps.queue.prepare()]);
  if (verified.status === 'rejected') throw verified.reason;
  const matched = verified.value;
  // By position, so that an old secret can be seen to be out of use before it is removed.
  metric('WebhookVerified', 1, { provider, secret: String(matched) });
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

/** Counts rejected webhooks by provider and code, for an alarm: the provider sees our answer, the operator does not. */
async function countRejected<T>(provider: Provider, accept: () => Promise<T>): Promise<T> {
  try {
    return await accept();
  } catch (error) {
    if (hasCode(error, ...rejections)) metric('WebhookRejected', 1, { provider, code: error.code });
    throw error;
  }
}

async function enqueue(deps: WebhookDeps, provider: Provider, translation: Translation): Promise<Receipt> {
  if ('ignored' in translation) {
    const { ignored, reason, event } = translation;
    log.info('Webhook ignored', { provider, event: event.id, type: event.type, reason });
    metric('WebhookIgnored', 1, { reason });
    return { received: true, ignored, reason };
  }
  const { payment } = translation;
  await deps.queue.send(payment);
  const { paymentId, eventId, booking } = payment;
  log.info('Payment accepted', {
    paymentId,
    event: eventId,
    ...(booking ? { bookingId: booking.bookingId, problems: booking.problems.length } : {}),
  });
  // Only sync finds out whether a declared booking exists, and which booking an unusable user's payment goes to.
  const isKnown = booking !== undefined && !booking.mustExist && !booking.unusableUser;
  return { received: true, payment_id: paymentId, ...(isKnown ? { booking_id: booking.bookingId } : {}) };
}

/** The object that a thin event names. Without a key to fetch it, Stripe shows our answer, and the operator gets an alarm. */
async function objectOf(deps: WebhookDeps, event: ThinEvent): Promise<unknown> {
  try {
    return await useSecret(deps.secrets, ['unsupported_event_format', 'not_configured'], (secrets) => {
      if (secrets.stripeApiKey) return fetchStripeObject(deps.stripeApi, secrets.stripeApiKey, event);
      throw new AppError(
        'unsupported_event_format',
        'This is a thin event, which only names its payment. Set the event destination to snapshot payloads, or put an API key that may read payments into the secret webhook-signing, as "stripeApiKey".',
        { status: 400 },
      );
    });
  } catch (error) {
    if (hasCode(error, 'unsupported_event_format')) reportOperatorError('A thin event cannot be used', error);
    throw error;
  }
}
