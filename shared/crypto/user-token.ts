import {
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyOptions,
  jwtVerify,
  SignJWT,
} from 'jose';
import { AppError } from '../lib/app-error.ts';
import type { Audience } from '../lib/names.ts';
import { isIdentifier } from '../lib/schemas.ts';
import { fingerprint, hasOneSpelling } from './fingerprint.ts';
import type { Keys } from './keys.ts';

const algorithm = 'HS256';
/** Maximum lifetime of a token in seconds: it travels in a URL or a header and cannot be revoked. */
export const maxLifetimeSeconds = 600;
/** Seconds by which the backend's clock may be ahead of ours. */
const clockToleranceSeconds = 30;

/** The backend signs links and bearer tokens with different keys. */
type UserTokenKeys = Keys<'link-signing' | 'api-signing'>;

/** Signs a JWT (HS256) for a user, as the backend does. `lifetime` in seconds. */
export async function signUserToken(
  keys: UserTokenKeys,
  token: { userId: string; audience: Audience; now: number; lifetime?: number },
): Promise<string> {
  const kid = keys.current(token.now);
  return new SignJWT()
    .setProtectedHeader({ alg: algorithm, kid })
    .setSubject(token.userId)
    .setAudience(token.audience)
    .setIssuedAt(token.now)
    .setExpirationTime(token.now + (token.lifetime ?? maxLifetimeSeconds))
    .sign(keys.key(kid) as Uint8Array);
}

/** The user of a token, the key that signed it, and a fingerprint of the signed text, constant for one token. */
type VerifiedToken = { userId: string; keyId: string; fingerprint: string };

/**
 * Verifies signature, audience and lifetime of a user token, with or without a key id.
 * Errors: `token_expired`, `token_invalid` (both 401).
 */
export async function verifyUserToken(
  keys: UserTokenKeys,
  token: string,
  check: { audience: Audience; now: number },
): Promise<VerifiedToken> {
  if (!hasOneSpelling(token, 3)) throw invalid('Its form is not right.');
  const { payload, keyId } = await verifySignature(keys, token, {
    algorithms: [algorithm],
    audience: check.audience,
    currentDate: new Date(check.now * 1000),
    clockTolerance: clockToleranceSeconds,
    maxTokenAge: maxLifetimeSeconds,
    requiredClaims: ['sub', 'exp', 'iat'],
  });
  const { sub, exp = 0, iat = 0 } = payload;
  if (exp - iat > maxLifetimeSeconds) throw invalid(`It lives longer than ${maxLifetimeSeconds} seconds.`);
  if (!isIdentifier(sub)) throw invalid('Its "sub" is not a user id.');
  const signed = token.slice(0, token.lastIndexOf('.'));
  return { userId: sub, keyId, fingerprint: fingerprint(signed) };
}

/** Tries the key that the token names, or every key where it names an unknown one or none. */
async function verifySignature(
  keys: UserTokenKeys,
  token: string,
  options: JWTVerifyOptions,
): Promise<{ payload: JWTPayload; keyId: string }> {
  const claimedId = keyIdOf(token);
  const candidates = claimedId !== undefined && keys.ids.includes(claimedId) ? [claimedId] : keys.ids;
  for (const keyId of candidates) {
    try {
      const { payload } = await jwtVerify(token, keys.key(keyId) as Uint8Array, options);
      return { payload, keyId };
    } catch (error) {
      // Another key can only help against a wrong signature.
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw userTokenError(error);
    }
  }
  throw invalid('Its signature is not right: links and bearer tokens are signed with different keys.');
}

function keyIdOf(token: string): string | undefined {
  try {
    return decodeProtectedHeader(token).kid;
  } catch {
    return undefined;
  }
}

function userTokenError(error: unknown): AppError {
  if (error instanceof errors.JWTExpired) {
    return new AppError(
      'token_expired',
      'The token has expired: it is valid for ten minutes. Make a new one.',
      {
        status: 401,
      },
    );
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    return invalid(
      error.claim === 'aud'
        ? 'It was made for another purpose (audience).'
        : `Its claim "${error.claim}" is not valid.`,
    );
  }
  return invalid('Its form is not right.', error);
}

function invalid(why: string, cause?: unknown): AppError {
  return new AppError('token_invalid', `The token is not valid. ${why} Make a new one.`, {
    status: 401,
    cause,
  });
}
