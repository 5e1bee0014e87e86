import { parseJsonBody } from '../../../shared/http/http.ts';
import type { ExpectedAccounts } from '../../../shared/payments/stripe/recipient.ts';
import { translateStripeEvent } from '../../../shared/payments/stripe/translate.ts';
import type { PaymentProvider } from '../payment-provider.ts';
import { verifyStripeSignature } from './signature.ts';

/** Stripe, with snapshot events; with an API key, also with thin ones and invoices. */
export const stripe = stripeProvider('stripe', 'own');

/** The accounts that are connected to a platform. Stripe gives them an endpoint of its own, with its own secret. */
export const stripeConnected = stripeProvider('stripe-connect', 'connected');

function stripeProvider<Name extends string>(name: Name, accounts: ExpectedAccounts): PaymentProvider<Name> {
  return {
    name,
    secretFormat: {
      pattern: /^whsec_[\x21-\x7e]{8,}$/,
      is: 'whsec_ and at least 8 characters without spaces',
    },
    verify: ({ body, headers }, secrets, now) =>
      verifyStripeSignature(body, headers['stripe-signature'], secrets, now),
    parse: ({ body }, deps) => translateStripeEvent(deps, parseJsonBody(body), accounts),
  };
}
