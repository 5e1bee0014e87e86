import { createHash } from 'node:crypto';

/** Short SHA-256 of a secret value, which can be compared later without storing the value. */
export function fingerprint(value: string): string {
  return createHash('sha256').update(value).digest('base64url').slice(0, 32);
}

/**
 * Whether a JWT or JWE of `count` parts is written in canonical base64url. Decoders also accept unused bits, padding,
 * whitespace and the other alphabet: without this check, one token would have many texts and fingerprints.
 */
export function hasOneSpelling(token: string, count: number): boolean {
  const parts = token.split('.');
  return (
    parts.length === count &&
    parts.every((part) => Buffer.from(part, 'base64url').toString('base64url') === part)
  );
}
