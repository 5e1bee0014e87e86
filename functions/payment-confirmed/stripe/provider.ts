import { withSecret } from '../../../shared/aws/secrets.ts';
import { AppError, hasCode } from '../../../shared/lib/app-error.ts';
import { reportOperatorError } from '../../../shared/lib/observability.ts';
import { fetchStripeObject } from '../../../shared/payments/stripe/api.ts';
import { parseStripeEvent, type ThinEvent } from '../../../shared/payments/stripe/events.ts';
import type { PaymentProvider, WebhookDeps } from '../payment-provider.ts';
import { verifyStripeSignature } from './signature.ts';

/** Stripe, with snapshot events; with an API key in the secret, also with thin ones and invoices. */
export const stripe: PaymentProvider<'stripe'> = {
  name: 'stripe',
  secretFormats: {
    stripe: { pattern: /^whsec_[\x21-\x7e]{8,}$/, is: 'whsec_ and at least 8 characters without spaces' },
    // It only reads what events reference: a restricted key will do.
    stripeApiKey: {
      pattern: /^[rs]k_[\x21-\x7e]{8,}$/,
      is: 'rk_ or sk_ and at least 8 characters without spaces',
    },
  },
  verify: ({ body, headers }, secrets, now) =>
    verifyStripeSignature(body, headers['stripe-signature'], secrets, now),
  parse: ({ body }, deps) =>
    parseStripeEvent(
      body,
      deps.stripeMode,
      (event) => fetchEventObject(deps, event),
      deps.invoicesPaidOutOfBand,
    ),
};

/** What an event references. Without a key to fetch it, the operator gets an alarm. */
async function fetchEventObject(deps: WebhookDeps, event: ThinEvent): Promise<unknown> {
  try {
    return await withSecret(deps.secrets, ['unsupported_event_format', 'not_configured'], (secrets) => {
      const [key] = secrets.stripeApiKey ?? [];
      if (key) return fetchStripeObject(deps.stripeApi, key, event);
      throw new AppError(
        'unsupported_event_format',
        'This event does not carry its payment. If it is a thin event, set the event destination to snapshot payloads; or put an API key that may read payments into the secret webhook-signing, as "stripeApiKey".',
        { status: 400 },
      );
    });
  } catch (error) {
    if (hasCode(error, 'unsupported_event_format')) reportOperatorError('An event needs an API key', error);
    throw error;
  }
}
