import { type CachedSecret, withSecret } from '../aws/secrets.ts';
import type { Keys } from '../crypto/keys.ts';
import { verifyUserToken } from '../crypto/user-token.ts';
import { AppError } from '../lib/app-error.ts';
import type { Clock } from '../lib/clock.ts';
import { audiences } from '../lib/names.ts';
import { metric } from '../lib/observability.ts';
import type { HttpRequest } from './http.ts';

/**
 * The user on whose behalf the backend calls, from `Authorization: Bearer …`.
 * Errors (401): `token_missing`, `token_invalid`, `token_expired`.
 */
export async function authenticate(
  deps: { apiKeys: CachedSecret<Keys<'api-signing'>>; clock: Clock },
  request: HttpRequest,
): Promise<string> {
  const token = /^Bearer ([\w.-]+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (!token) {
    throw new AppError(
      'token_missing',
      'The request has no token. Send that of a user: "Authorization: Bearer <token>".',
      {
        status: 401,
      },
    );
  }
  const { userId, keyId } = await withSecret(deps.apiKeys, ['token_invalid'], (keys) =>
    verifyUserToken(keys, token, { audience: audiences.api, now: deps.clock() }),
  );
  metric('UserTokenVerified', 1, { purpose: 'api-signing', key: keyId });
  return userId;
}
