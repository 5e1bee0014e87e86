import { timingSafeEqual } from 'node:crypto';
import { AppError } from '../../shared/lib/app-error.ts';

/** How far a signature's time may be from our clock: the default of Stripe and of Standard Webhooks. */
export const timestampToleranceSeconds = 300;

/** Why a signature is rejected, in every scheme. */
export type SignatureErrorCode =
  | 'signature_missing'
  | 'signature_malformed'
  | 'signature_mismatch'
  | 'timestamp_out_of_tolerance';

/** Seconds of a timestamp as both schemes write it. Undefined where it is none. */
export function parseTimestamp(text: string): number | undefined {
  return /^\d{1,12}$/.test(text) ? Number(text) : undefined;
}

/**
 * The index of the secret that made one of `signatures` at `timestamp`. `sign` computes the signature for a secret.
 * Several secrets and several signatures are allowed, so that a roll can overlap.
 * Errors (400): `signature_mismatch`, `timestamp_out_of_tolerance`.
 */
export function findMatchingSecret(
  secrets: string[],
  signatures: Buffer[],
  timestamp: number,
  now: number,
  sign: (secret: string) => Buffer,
): number {
  const matching = secrets.findIndex((secret) => {
    const expected = sign(secret);
    return signatures.some((it) => it.length === expected.length && timingSafeEqual(it, expected));
  });
  if (matching < 0) {
    throw signatureError(
      'signature_mismatch',
      'No signature matches. Check that the signing secret is of this endpoint and that the body arrives unchanged.',
    );
  }
  // After the signature: an unsigned timestamp proves nothing, and its answer should not guide a guesser.
  if (Math.abs(now - timestamp) > timestampToleranceSeconds) {
    throw signatureError(
      'timestamp_out_of_tolerance',
      `The signature is more than ${timestampToleranceSeconds} seconds away from our clock.`,
    );
  }
  return matching;
}

/** The error of a rejected webhook. */
export function signatureError(code: SignatureErrorCode, message: string): AppError {
  return new AppError(code, message, { status: 400 });
}
