import { AppError } from '../../lib/app-error.ts';
import type { ThinEvent } from './events.ts';

/** How Stripe's API is reached. `baseUrl` has no trailing slash. */
export type StripeApi = { fetch: typeof fetch; baseUrl: string };

/** The API version that the tests cover; without it, the account's own would apply. */
export const apiVersion = '2026-10-28.endive';

/** Milliseconds: well before the function's own end, so that Stripe gets an answer. */
const timeoutMs = 8_000;

/**
 * Fetches what an event references. Without Stripe's package, which would make the bundle a quarter larger
 * and every cold start 10 ms longer.
 * Errors: `not_configured` if Stripe refuses the key, `stripe_unreachable` (503) if it cannot answer now.
 */
export async function fetchStripeObject(api: StripeApi, apiKey: string, event: ThinEvent): Promise<unknown> {
  const response = await api
    .fetch(`${api.baseUrl}${event.related_object.url}`, {
      headers: {
        authorization: `Bearer ${apiKey}`,
        'stripe-version': apiVersion,
        'stripe-request-trigger': `event=${event.id}`,
        ...(event.account === undefined ? {} : { 'stripe-account': event.account }),
      },
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    })
    .catch((cause: unknown) => {
      throw unreachable('Stripe could not be reached.', cause);
    });
  if (response.ok) {
    return response.json().catch((cause: unknown) => {
      throw unreachable('Stripe answered no JSON.', cause);
    });
  }
  if (response.status === 409 || response.status === 429 || response.status >= 500) {
    throw unreachable(`Stripe answered ${response.status}.`);
  }
  throw new AppError(
    'not_configured',
    `Stripe answered ${response.status} to ${event.related_object.url}. The API key in the secret stripe-api must be of the account and mode that sends the event, and may read Checkout Sessions, PaymentIntents, Charges, Refunds, Disputes and Invoices.`,
  );
}

function unreachable(what: string, cause?: unknown): AppError {
  return new AppError('stripe_unreachable', `${what} Nothing was changed; deliver the event again.`, {
    status: 503,
    retryable: true,
    cause,
  });
}
