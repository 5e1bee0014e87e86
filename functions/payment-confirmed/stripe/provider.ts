import { withSecret } from '../../../shared/aws/secrets.ts';
import { AppError, hasCode } from '../../../shared/lib/app-error.ts';
import { reportOperatorError } from '../../../shared/lib/observability.ts';
import { fetchStripeObject } from '../../../shared/payments/stripe/api.ts';
import { parseStripeEvent, type ThinEvent } from '../../../shared/payments/stripe/events.ts';
import type { PaymentProvider, WebhookDeps } from '../payment-provider.ts';
import { verifyStripeSignature } from './signature.ts';

/** Stripe, with snapshot events, and with thin ones if the secret has an API key. */
export const stripe: PaymentProvider<'stripe'> = {
  name: 'stripe',
  secretFormats: {
    stripe: { pattern: /^whsec_[\x21-\x7e]{8,}$/, is: 'whsec_ and at least 8 characters without spaces' },
    // It only fetches the objects of thin events: a restricted key will do.
    stripeApiKey: {
      pattern: /^[rs]k_[\x21-\x7e]{8,}$/,
      is: 'rk_ or sk_ and at least 8 characters without spaces',
    },
  },
  verify: ({ body, headers }, secrets, now) =>
    verifyStripeSignature(body, headers['stripe-signature'], secrets, now),
  parse: ({ body }, deps) =>
    parseStripeEvent(body, deps.stripeMode, (event) => fetchEventObject(deps, event)),
};

/** The object that a thin event references. Without a key to fetch it, Stripe shows our answer and the operator gets an alarm. */
async function fetchEventObject(deps: WebhookDeps, event: ThinEvent): Promise<unknown> {
  try {
    return await withSecret(deps.secrets, ['unsupported_event_format', 'not_configured'], (secrets) => {
      const [key] = secrets.stripeApiKey ?? [];
      if (key) return fetchStripeObject(deps.stripeApi, key, event);
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
