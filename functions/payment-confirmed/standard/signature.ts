import { createHmac } from 'node:crypto';
import { findMatchingSecret, parseTimestamp, signatureError } from '../signature.ts';

/** The headers `webhook-id`, `webhook-timestamp` and `webhook-signature`. */
type StandardHeaders = {
  id: string | undefined;
  timestamp: string | undefined;
  signature: string | undefined;
};

/** The headers of Standard Webhooks, or those of Svix if only they exist: the same under an older name. */
export function standardHeaders(headers: Record<string, string | undefined>): StandardHeaders {
  const of = (prefix: string): StandardHeaders => ({
    id: headers[`${prefix}-id`],
    timestamp: headers[`${prefix}-timestamp`],
    signature: headers[`${prefix}-signature`],
  });
  const standard = of('webhook');
  return standard.signature === undefined && headers['svix-signature'] !== undefined ? of('svix') : standard;
}

/**
 * Verifies the headers of Standard Webhooks over the raw bytes of a body and answers the index of the secret that
 * matched. The key is the text after `whsec_`, decoded from base64, unlike that of Stripe, which has the same prefix. Source: github.com/standard-webhooks/standard-webhooks.
 * Errors (400): `signature_missing`, `signature_malformed`, `signature_mismatch`, `timestamp_out_of_tolerance`.
 */
export function verifyStandardSignature(
  body: Buffer,
  { id, timestamp: stamp, signature }: StandardHeaders,
  secrets: string[],
  now: number,
): number {
  if (!id || !stamp || !signature) {
    throw signatureError(
      'signature_missing',
      'The headers webhook-id, webhook-timestamp and webhook-signature must all be there, or the same with svix- before them.',
    );
  }
  const timestamp = parseTimestamp(stamp);
  // The list may also hold other versions: asymmetric and future ones.
  const signatures = signature
    .split(' ')
    .filter((each) => /^v1,[A-Za-z0-9+/]{43}=$/.test(each))
    .map((each) => Buffer.from(each.slice('v1,'.length), 'base64'));
  if (timestamp === undefined || signatures.length === 0) {
    throw signatureError(
      'signature_malformed',
      'webhook-timestamp must be in seconds, and webhook-signature must read v1,<base64>.',
    );
  }
  return findMatchingSecret(secrets, signatures, timestamp, now, (secret) =>
    createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
      .update(`${id}.${stamp}.`)
      .update(body)
      .digest(),
  );
}
