import { errors, jwtVerify, SignJWT } from 'jose';
import { AppError } from './app-error.ts';
import { isIdentifier } from './identifier.ts';
import type { Audience } from './names.ts';
import type { TokenKeys } from './token-keys.ts';

const algorithm = 'HS256';
/** Longest life of a token, in seconds: it travels in a URL or a header and cannot be called back. */
const maxLifetime = 600;
/** How far LeadsCalendar's clock may be ahead of ours, in seconds. */
const clockTolerance = 30;

/** A JWT (HS256) that names a user, as LeadsCalendar's backend makes it. `lifetime` in seconds. */
export async function signUserToken(
  keys: TokenKeys,
  token: { userId: string; audience: Audience; now: number; lifetime?: number },
): Promise<string> {
  return new SignJWT()
    .setProtectedHeader({ alg: algorithm, kid: keys.current })
    .setSubject(token.userId)
    .setAudience(token.audience)
    .setIssuedAt(token.now)
    .setExpirationTime(token.now + (token.lifetime ?? maxLifetime))
    .sign(keys.key(keys.current, 'link') as Uint8Array);
}

/**
 * Checks signature, audience and life of a user token and returns its user id.
 * Errors: `link_token_expired`, `link_token_invalid` (both 401).
 */
export async function verifyUserToken(
  keys: TokenKeys,
  token: string,
  check: { audience: Audience; now: number },
): Promise<string> {
  const options = {
    algorithms: [algorithm],
    audience: check.audience,
    currentDate: new Date(check.now * 1000),
    clockTolerance,
    maxTokenAge: maxLifetime,
    requiredClaims: ['sub', 'exp', 'iat'],
  };
  let failure: unknown;
  for (const key of candidateKeys(keys, token)) {
    try {
      const { payload } = await jwtVerify(token, key, options);
      if ((payload.exp as number) - (payload.iat as number) > maxLifetime) {
        throw invalid(`It lives longer than ${maxLifetime} seconds.`);
      }
      if (!isIdentifier(payload.sub)) throw invalid('Its "sub" is not a user id.');
      return payload.sub;
    } catch (error) {
      // Only a wrong signature leaves hope for another key.
      failure = error;
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) break;
    }
  }
  if (failure instanceof AppError) throw failure;
  if (failure instanceof errors.JWTExpired) {
    throw new AppError(
      'link_token_expired',
      'The link has expired: it is valid for ten minutes. Ask for a new one.',
      {
        status: 401,
      },
    );
  }
  throw invalid(reason(failure), failure);
}

/** The key the token names, or all keys where it names none of ours: backends need not know our key ids. */
function candidateKeys(keys: TokenKeys, token: string): Uint8Array[] {
  const named = keys.key(keyId(token) ?? '', 'link');
  return named ? [named] : keys.ids.map((id) => keys.key(id, 'link')).filter((key) => key !== undefined);
}

function keyId(token: string): string | undefined {
  try {
    const header: unknown = JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString());
    const kid = (header as { kid?: unknown }).kid;
    return typeof kid === 'string' ? kid : undefined;
  } catch {
    return undefined;
  }
}

function reason(failure: unknown): string {
  if (failure instanceof errors.JWTClaimValidationFailed) {
    return failure.claim === 'aud'
      ? 'It was made for another purpose (audience).'
      : `Its claim "${failure.claim}" is not valid.`;
  }
  return 'Its signature or form is not right.';
}

function invalid(why: string, cause?: unknown): AppError {
  return new AppError('link_token_invalid', `The token is not valid. ${why} Ask for a new link.`, {
    status: 401,
    cause,
  });
}
