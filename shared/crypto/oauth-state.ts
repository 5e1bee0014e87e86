import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { EncryptJWT, errors, jwtDecrypt } from 'jose';
import { type CachedSecret, withSecret } from '../aws/secrets.ts';
import { AppError } from '../lib/app-error.ts';
import type { Clock } from '../lib/clock.ts';
import { fingerprint, hasOneSpelling } from './fingerprint.ts';
import type { Keys } from './keys.ts';

/** The data that the callback needs. It travels through Google encrypted, so that connect stores nothing. */
export type OAuthState = {
  userId: string;
  /** Fingerprint of the link token: a link connects once. */
  linkTokenHash: string;
  /** PKCE code verifier. */
  verifier: string;
  /** Echoed by Google in the id token. */
  nonce: string;
  /** Fingerprint of the cookie of the browser that started the attempt. */
  browserSecretHash: string;
  /** URL to which the browser returns; absent: our result page. */
  returnTo?: string;
};

/** Seconds that a user has for Google's pages. */
export const stateLifetimeSeconds = 600;

/** Encrypts the state (JWE, dir, A256GCM). `now` and `expiresAt` in epoch seconds. */
export async function encryptState(
  keys: Keys<'state-encryption'>,
  state: OAuthState,
  now: number,
  expiresAt: number,
): Promise<string> {
  const kid = keys.current(now);
  return new EncryptJWT(state)
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid })
    .setIssuedAt(now)
    .setExpirationTime(expiresAt)
    .encrypt(keys.key(kid) as Uint8Array);
}

/** Decrypts a state. Errors: `state_expired`, `state_invalid` (both 400). */
export async function decryptState(
  keys: Keys<'state-encryption'>,
  encrypted: string,
  now: number,
): Promise<OAuthState & { exp: number }> {
  try {
    if (!hasOneSpelling(encrypted, 5)) throw new Error('not the one spelling of a JWE');
    const { payload } = await jwtDecrypt<OAuthState>(
      encrypted,
      ({ kid }) => keys.key(kid ?? '') ?? Promise.reject(new Error('unknown key id')),
      {
        keyManagementAlgorithms: ['dir'],
        contentEncryptionAlgorithms: ['A256GCM'],
        currentDate: new Date(now * 1000),
        requiredClaims: ['exp'],
      },
    );
    return payload as OAuthState & { exp: number };
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

/**
 * Decrypts a state, and checks that it comes from the browser it is bound to.
 * Errors: those of `decryptState`, and `wrong_browser` (403).
 */
export async function verifyState(
  deps: { stateKeys: CachedSecret<Keys<'state-encryption'>>; clock: Clock },
  encrypted: string,
  browser: string | undefined,
): Promise<OAuthState & { exp: number }> {
  const state = await withSecret(deps.stateKeys, ['state_invalid'], (keys) =>
    decryptState(keys, encrypted, deps.clock()),
  );
  if (browser && constantTimeEqual(fingerprint(browser), state.browserSecretHash)) return state;
  throw new AppError(
    'wrong_browser',
    'This connection was started in another browser, or cookies are blocked. Please start again from LeadsCalendar in this browser.',
    { status: 403 },
  );
}

/** Compares two secrets in constant time. */
export function constantTimeEqual(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}

/**
 * The cookie that binds an attempt to connect to the browser that started it. With the `__Host-` prefix no other host
 * can set it; plain HTTP, used only on the developer's machine, does not allow that prefix.
 */
type BrowserBinding = {
  /** The value that this browser sent, if its form is valid. */
  read(cookies: string[] | undefined): string | undefined;
  /** A Set-Cookie header for `value`. `maxAge` in seconds. */
  cookie(value: string, maxAge: number): string;
};

export function browserBinding(publicUrl: string): BrowserBinding {
  const secure = publicUrl.startsWith('https:');
  const name = secure ? '__Host-leadscalendar-connect' : 'leadscalendar-connect';
  return {
    read(cookies = []) {
      const value = cookies.find((cookie) => cookie.startsWith(`${name}=`))?.slice(name.length + 1);
      return value && /^[\w-]{43}$/.test(value) ? value : undefined;
    },
    cookie(value, maxAge) {
      return `${name}=${value}; Path=/; Max-Age=${maxAge}; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
    },
  };
}

/** 256 random bits as 43 characters that are safe in URLs, cookies and as a PKCE verifier. */
export function randomSecret(): string {
  return randomBytes(32).toString('base64url');
}
