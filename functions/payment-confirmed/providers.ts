import type { PaymentProvider } from './payment-provider.ts';
import { standard } from './standard/provider.ts';
import { stripe, stripeConnected } from './stripe/provider.ts';

/** The payment providers that can be served: read by the handler, the stack and the fuzzer. */
export const providers = [stripe, standard, stripeConnected] as const satisfies PaymentProvider[];
export type ProviderName = (typeof providers)[number]['name'];
