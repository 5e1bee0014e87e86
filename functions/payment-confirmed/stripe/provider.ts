import { parseJsonBody } from '../../../shared/http/http.ts';
import { hasCode } from '../../../shared/lib/app-error.ts';
import { reportOperatorError } from '../../../shared/lib/observability.ts';
import { parseStripeEvent, type ThinEvent } from '../../../shared/payments/stripe/events.ts';
import { fetchEventObject } from '../../../shared/payments/stripe/fetch-event-object.ts';
import type { PaymentProvider, WebhookDeps } from '../payment-provider.ts';
import { verifyStripeSignature } from './signature.ts';

/** Stripe, with snapshot events; with an API key, also with thin ones and invoices. */
export const stripe: PaymentProvider<'stripe'> = {
  name: 'stripe',
  secretFormat: { pattern: /^whsec_[\x21-\x7e]{8,}$/, is: 'whsec_ and at least 8 characters without spaces' },
  verify: ({ body, headers }, secrets, now) =>
    verifyStripeSignature(body, headers['stripe-signature'], secrets, now),
  parse: ({ body }, deps) =>
    parseStripeEvent(
      parseJsonBody(body),
      deps.stripeMode,
      (event) => fetchObject(deps, event),
      deps.invoicesPaidOutOfBand,
    ),
};

/** What an event references. Without a key to fetch it, the operator gets an alarm. */
async function fetchObject(deps: WebhookDeps, event: ThinEvent): Promise<unknown> {
  try {
    return await fetchEventObject(deps, event);
  } catch (error) {
    if (hasCode(error, 'unsupported_event_format')) reportOperatorError('An event needs an API key', error);
    throw error;
  }
}
