import { createHash } from 'node:crypto';
import { type CachedSecret, withSecret } from '../../shared/aws/secrets.ts';
import { fingerprint } from '../../shared/crypto/fingerprint.ts';
import type { Keys } from '../../shared/crypto/keys.ts';
import {
  encryptState,
  type OAuthState,
  stateLifetimeSeconds,
  verifyState,
} from '../../shared/crypto/oauth-state.ts';
import { verifyUserToken } from '../../shared/crypto/user-token.ts';
import type { GoogleClient } from '../../shared/google/client-secret.ts';
import { type CalendarScope, requestedScopes } from '../../shared/google/token-endpoint.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import { audiences, routes } from '../../shared/lib/names.ts';
import { metric } from '../../shared/lib/observability.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';

export type ConnectDeps = {
  linkKeys: CachedSecret<Keys<'link-signing'>>;
  stateKeys: CachedSecret<Keys<'state-encryption'>>;
  googleClient: CachedSecret<GoogleClient>;
  clock: Clock;
  randomSecret: () => string;
  /** Google's consent page. */
  authorizationUrl: string;
  publicUrl: string;
  returnOrigins: string[];
  /** The calendars in which events can be created. */
  calendarScope: CalendarScope;
  /** Scopes requested in addition to those that a connection needs. */
  optionalScopes: string[];
};

type ConnectRequest = {
  /** The link token; for a retry, the state of the failed attempt instead. */
  token: string | undefined;
  retry: string | undefined;
  returnTo: string | undefined;
  /** The value that binds this browser, if it has one. */
  browser: string | undefined;
};

/** An attempt to connect: the first one of its link, or a retry. */
type AuthorizationAttempt = Pick<OAuthState, 'userId' | 'linkTokenHash' | 'returnTo'> & {
  browser: string;
  expiresAt: number;
};

/**
 * Starts a connection: answers Google's consent page and the value that binds the browser. Stores nothing, since the
 * encrypted state carries what the callback needs; reads nothing, so that a link reveals nothing about its user.
 * Errors: `token_missing`, `token_invalid`, `token_expired`, `return_to_not_allowed`; for a retry those of the state.
 */
export async function startConnection(
  deps: ConnectDeps,
  request: ConnectRequest,
): Promise<{ location: string; browser: string }> {
  const { browser, expiresAt, ...attempt } =
    request.retry === undefined
      ? await fromLinkToken(deps, request)
      : await fromRetryState(deps, request.retry, request);
  const [keys, { clientId }] = await Promise.all([deps.stateKeys.get(), deps.googleClient.get()]);
  const verifier = deps.randomSecret();
  const nonce = deps.randomSecret();
  const state = { ...attempt, verifier, nonce, browserSecretHash: fingerprint(browser) };
  const query = new URLSearchParams({
    client_id: clientId,
    redirect_uri: `${deps.publicUrl}${routes.callback}`,
    response_type: 'code',
    scope: [...requestedScopes(deps.calendarScope), ...deps.optionalScopes].join(' '),
    // Together with `prompt=consent`: without both, Google issues a refresh token at the first consent only.
    access_type: 'offline',
    // The user chooses the account each time. A login hint would reveal the user to a finder of the link.
    prompt: 'consent select_account',
    state: await encryptState(keys, state, deps.clock(), expiresAt),
    nonce,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  });
  return { location: `${deps.authorizationUrl}?${query}`, browser };
}

async function fromLinkToken(
  deps: ConnectDeps,
  { token, returnTo, browser }: ConnectRequest,
): Promise<AuthorizationAttempt> {
  if (!token) throw new AppError('token_missing', 'Open this page from LeadsCalendar.', { status: 401 });
  const now = deps.clock();
  const {
    userId,
    keyId,
    fingerprint: linkTokenHash,
  } = await withSecret(deps.linkKeys, ['token_invalid'], (keys) =>
    verifyUserToken(keys, token, { audience: audiences.connect, now }),
  );
  metric('UserTokenVerified', 1, { purpose: 'link-signing', key: keyId });
  if (returnTo !== undefined) checkReturnTo(returnTo, deps.returnOrigins);
  return omitUndefined({
    userId,
    linkTokenHash,
    returnTo,
    // An existing value is kept, so that two tabs can connect at the same time.
    browser: browser ?? deps.randomSecret(),
    expiresAt: now + stateLifetimeSeconds,
  });
}

/** A retry of the same link in the same browser, with the expiry of the first attempt. */
async function fromRetryState(
  deps: ConnectDeps,
  retry: string,
  { browser }: ConnectRequest,
): Promise<AuthorizationAttempt> {
  const { userId, linkTokenHash, returnTo, exp } = await verifyState(deps, retry, browser);
  return omitUndefined({ userId, linkTokenHash, returnTo, browser: browser as string, expiresAt: exp });
}

function checkReturnTo(returnTo: string, allowed: string[]): void {
  const url = URL.parse(returnTo);
  // The `origin` of a blob: URL would be that of the URL inside.
  if (url && allowed.includes(`${url.protocol}//${url.host}`) && !url.username && !url.password) return;
  throw new AppError(
    'return_to_not_allowed',
    'The address to return to is not allowed. The operator lists the allowed origins at deployment.',
    { status: 400 },
  );
}
