import type { PaymentProvider } from './payment-provider.ts';
import { standard } from './standard/provider.ts';
import { stripe } from './stripe/provider.ts';

/** The payment providers that are served: read by the handler, the stack and the fuzzer. */
export const providers = [stripe, standard] as const satisfies PaymentProvider[];
export type ProviderName = (typeof providers)[number]['name'];
