import { createHash } from 'node:crypto';
import { EncryptJWT, errors, jwtDecrypt } from 'jose';
import { AppError } from './app-error.ts';
import type { TokenKeys } from './token-keys.ts';

/** All that must be known at the callback. It travels through Google encrypted, so that connect stores nothing. */
export type OAuthState = {
  userId: string;
  /** Fingerprint of the link token that started this: one link completes at most one connection. */
  link: string;
  /** PKCE code verifier. */
  verifier: string;
  /** Echoed by Google in the id token. */
  nonce: string;
  /** Fingerprint of the cookie of the browser that started this. */
  browser: string;
  /** Where to send the browser afterwards; the result page when absent. */
  returnTo?: string;
};

/** Seconds that a user has for Google's pages. */
export const stateLifetime = 600;

/** Encrypts the state (JWE, dir, A256GCM) with its expiry. */
export async function sealState(keys: TokenKeys, state: OAuthState, now: number): Promise<string> {
  return new EncryptJWT(state)
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: keys.current })
    .setIssuedAt(now)
    .setExpirationTime(now + stateLifetime)
    .encrypt(keys.key(keys.current, 'state') as Uint8Array);
}

/** Opens a state. Errors: `state_expired`, `state_invalid` (both 400). */
export async function openState(keys: TokenKeys, sealed: string, now: number): Promise<OAuthState> {
  try {
    const { payload } = await jwtDecrypt<OAuthState>(
      sealed,
      ({ kid }) => keys.key(kid ?? '', 'state') ?? Promise.reject(new Error('unknown key id')),
      {
        keyManagementAlgorithms: ['dir'],
        contentEncryptionAlgorithms: ['A256GCM'],
        currentDate: new Date(now * 1000),
        requiredClaims: ['exp'],
      },
    );
    return payload;
  } catch (error) {
    if (error instanceof errors.JWTExpired) {
      throw new AppError(
        'state_expired',
        'You took longer than ten minutes. Please start again from LeadsCalendar.',
        {
          status: 400,
        },
      );
    }
    throw new AppError(
      'state_invalid',
      'This answer does not belong to a connection that was started here. Please start again from LeadsCalendar.',
      { status: 400, cause: error },
    );
  }
}

/** Short SHA-256 of a secret value, for comparing it later without keeping it. */
export function fingerprint(value: string): string {
  return createHash('sha256').update(value).digest('base64url').slice(0, 32);
}
