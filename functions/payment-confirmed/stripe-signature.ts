import { createHmac, timingSafeEqual } from 'node:crypto';
import { AppError } from '../../shared/app-error.ts';

/** Seconds that a signature may be old, or ahead of our clock. Stripe's own default, in both directions. */
export const tolerance = 300;

/**
 * Verifies a `Stripe-Signature` header over the raw bytes of a body and answers the index of the secret that
 * matched. Several secrets and several `v1` signatures may be given: a roll overlaps. The key is the whole secret
 * as text, `whsec_` included. Source: docs.stripe.com/webhooks.
 * Errors (400): `signature_missing`, `signature_malformed`, `signature_mismatch`, `timestamp_out_of_tolerance`.
 */
export function verifyStripeSignature(
  body: Buffer,
  header: string | undefined,
  secrets: string[],
  now: number,
): number {
  if (!header) throw refuse('signature_missing', 'The header Stripe-Signature is missing.');
  const { timestamp, signatures } = parseHeader(header);
  const matching = secrets.findIndex((secret) => {
    const expected = createHmac('sha256', secret).update(`${timestamp}.`).update(body).digest();
    return signatures.some(
      (signature) => signature.length === expected.length && timingSafeEqual(signature, expected),
    );
  });
  if (matching < 0) {
    throw refuse(
      'signature_mismatch',
      'No signature matches. Check that the signing secret is of this endpoint and that the body arrives unchanged.',
    );
  }
  // After the signature: an unsigned timestamp proves nothing, and its answer should not guide a guesser.
  if (Math.abs(now - timestamp) > tolerance) {
    throw refuse(
      'timestamp_out_of_tolerance',
      `The signature is more than ${tolerance} seconds away from our clock.`,
    );
  }
  return matching;
}

function parseHeader(header: string): { timestamp: number; signatures: Buffer[] } {
  const pairs = header.split(',').map((pair) => pair.trim().split('=', 2) as [string, string?]);
  const stamp = pairs.findLast(([name]) => name === 't')?.[1] ?? '';
  const signatures = pairs
    .filter(([name, value]) => name === 'v1' && /^[0-9a-f]{64}$/.test(value ?? ''))
    .map(([, value]) => Buffer.from(value as string, 'hex'));
  if (!/^\d{1,12}$/.test(stamp) || signatures.length === 0) {
    throw refuse('signature_malformed', 'The header Stripe-Signature must read t=<seconds>,v1=<hex>.');
  }
  return { timestamp: Number(stamp), signatures };
}

function refuse(
  code: 'signature_missing' | 'signature_malformed' | 'signature_mismatch' | 'timestamp_out_of_tolerance',
  message: string,
): AppError {
  return new AppError(code, message, { status: 400 });
}
