import type { PaymentProvider } from '../payment-provider.ts';
import { parseStandardEvent } from './events.ts';
import { standardHeaders, verifyStandardSignature } from './signature.ts';

/** Any other provider, and the backend itself, by the specification of Standard Webhooks. */
export const standard: PaymentProvider<'standard'> = {
  name: 'standard',
  secretFormat: { pattern: /^whsec_[A-Za-z0-9+/]{22,}={0,2}$/, is: 'whsec_ and at least 16 bytes in base64' },
  verify: ({ body, headers }, secrets, now) =>
    verifyStandardSignature(body, standardHeaders(headers), secrets, now),
  parse: ({ body, headers }) => parseStandardEvent(body, standardHeaders(headers).id ?? ''),
};
