import { createHash } from 'node:crypto';
import { AppError } from '../../shared/app-error.ts';
import type { Clock } from '../../shared/clock.ts';
import type { ConnectionStore } from '../../shared/connection-store.ts';
import type { GoogleClient } from '../../shared/google-client-secret.ts';
import { requestedScopes } from '../../shared/google-oauth.ts';
import { audiences, routes } from '../../shared/names.ts';
import { fingerprint, sealState } from '../../shared/oauth-state.ts';
import { type Secret, useSecret } from '../../shared/secrets.ts';
import type { TokenKeys } from '../../shared/token-keys.ts';
import { verifyUserToken } from '../../shared/user-token.ts';

export type ConnectDeps = {
  tokenKeys: Secret<TokenKeys>;
  googleClient: Secret<GoogleClient>;
  connections: Pick<ConnectionStore, 'get'>;
  clock: Clock;
  randomSecret: () => string;
  /** Google's consent page. */
  authorizationUrl: string;
  publicUrl: string;
  returnOrigins: string[];
};

export type ConnectRequest = {
  token: string | undefined;
  returnTo: string | undefined;
  browser: string | undefined;
};

/**
 * Starts a connection: where to send the browser, and the value that binds it. Stores nothing, so that nobody can
 * fill a table by calling it; what must be known at the callback travels in the encrypted state.
 * Errors: `link_token_missing`, `link_token_invalid`, `link_token_expired`, `return_to_not_allowed`.
 */
export async function startConnection(
  deps: ConnectDeps,
  { token, returnTo, browser }: ConnectRequest,
): Promise<{ location: string; browser: string }> {
  if (!token) throw new AppError('link_token_missing', 'Open this page from LeadsCalendar.', { status: 401 });
  const now = deps.clock();
  const userId = await useSecret(deps.tokenKeys, ['link_token_invalid'], (keys) =>
    verifyUserToken(keys, token, { audience: audiences.connect, now }),
  );
  if (returnTo !== undefined) checkReturnTo(returnTo, deps.returnOrigins);

  const [{ clientId }, known] = await Promise.all([deps.googleClient.get(), deps.connections.get(userId)]);
  // Kept where the browser has one already, so that two tabs do not get into each other's way.
  const binding = browser ?? deps.randomSecret();
  const verifier = deps.randomSecret();
  const nonce = deps.randomSecret();
  const state = {
    userId,
    link: fingerprint(token),
    verifier,
    nonce,
    browser: fingerprint(binding),
    ...(returnTo === undefined ? {} : { returnTo }),
  };
  const query = new URLSearchParams({
    client_id: clientId,
    redirect_uri: `${deps.publicUrl}${routes.callback}`,
    response_type: 'code',
    scope: requestedScopes.join(' '),
    // Both, always: without them Google gives a refresh token at the first consent only.
    access_type: 'offline',
    prompt: 'consent',
    state: await sealState(await deps.tokenKeys.get(), state, now),
    nonce,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...(known?.googleSub ? { login_hint: known.googleSub } : {}),
  });
  return { location: `${deps.authorizationUrl}?${query}`, browser: binding };
}

function checkReturnTo(returnTo: string, allowed: string[]): void {
  const url = URL.parse(returnTo);
  if (url && allowed.includes(url.origin) && !url.username && !url.password) return;
  throw new AppError(
    'return_to_not_allowed',
    'The address to return to is not one of LeadsCalendar. The operator lists the allowed origins at deployment.',
    { status: 400 },
  );
}
