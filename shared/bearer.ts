import { AppError } from './app-error.ts';
import type { Clock } from './clock.ts';
import type { HttpRequest } from './http.ts';
import { audiences } from './names.ts';
import { metric } from './observability.ts';
import { type Secret, useSecret } from './secrets.ts';
import type { TokenKeys } from './token-keys.ts';
import { verifyUserToken } from './user-token.ts';

/**
 * The user in whose name LeadsCalendar's backend calls, from `Authorization: Bearer …`.
 * Errors (401): `token_missing`, `token_invalid`, `token_expired`.
 */
export async function authenticate(
  deps: { tokenKeys: Secret<TokenKeys>; clock: Clock },
  request: HttpRequest,
): Promise<string> {
  const token = /^Bearer ([\w.-]+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (!token) {
    throw new AppError('token_missing', 'Send the token of a user: "Authorization: Bearer <token>".', {
      status: 401,
    });
  }
  const { userId, keyId } = await useSecret(deps.tokenKeys, ['token_invalid'], (keys) =>
    verifyUserToken(keys, token, { audience: audiences.api, now: deps.clock() }),
  );
  metric('UserTokenVerified', 1, { key: keyId });
  return userId;
}
