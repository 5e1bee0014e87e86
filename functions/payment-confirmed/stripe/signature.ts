import { createHmac } from 'node:crypto';
import { findMatchingSecret, parseTimestamp, signatureError } from '../signature.ts';

/**
 * Verifies a `Stripe-Signature` header over the raw bytes of a body and answers the index of the secret that
 * matched. The key is the whole secret as text, `whsec_` included. Source: docs.stripe.com/webhooks.
 * Errors (400): `signature_missing`, `signature_malformed`, `signature_mismatch`, `timestamp_out_of_tolerance`.
 */
export function verifyStripeSignature(
  body: Buffer,
  header: string | undefined,
  secrets: string[],
  now: number,
): number {
  if (!header) throw signatureError('signature_missing', 'The header Stripe-Signature is missing.');
  const { timestamp, signatures } = parseHeader(header);
  return findMatchingSecret(secrets, signatures, timestamp, now, (secret) =>
    createHmac('sha256', secret).update(`${timestamp}.`).update(body).digest(),
  );
}

function parseHeader(header: string): { timestamp: number; signatures: Buffer[] } {
  const pairs = header.split(',').map((pair) => pair.trim().split('=', 2) as [string, string?]);
  const timestamp = parseTimestamp(pairs.findLast(([name]) => name === 't')?.[1] ?? '');
  const signatures = pairs
    .filter(([name, value]) => name === 'v1' && /^[0-9a-f]{64}$/.test(value ?? ''))
    .map(([, value]) => Buffer.from(value as string, 'hex'));
  if (timestamp === undefined || signatures.length === 0) {
    throw signatureError(
      'signature_malformed',
      'The header Stripe-Signature must read t=<seconds>,v1=<hex>.',
    );
  }
  return { timestamp, signatures };
}
