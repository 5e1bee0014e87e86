import { AppError } from '../lib/app-error.ts';
import { log, metric } from '../lib/observability.ts';
import { parseJson } from '../lib/schemas.ts';
import type { GoogleClient } from './client-secret.ts';
import type { GoogleEndpoints } from './endpoints.ts';
import { lightFetch } from './light-fetch.ts';

/** The scope that a connection needs: for calendars that the user owns, or for shared ones too. */
export const calendarScopes = {
  owned: 'https://www.googleapis.com/auth/calendar.events.owned',
  shared: 'https://www.googleapis.com/auth/calendar.events',
} as const;
export type CalendarScope = keyof typeof calendarScopes;

/** Scopes to request of every user. */
export function requestedScopes(calendars: CalendarScope): string[] {
  return ['openid', 'email', calendarScopes[calendars]];
}

/** The granted scopes to store. Those for signing in are used once, and would take each item over a kilobyte. */
export function scopesToKeep(scopes: string[]): string[] {
  return scopes.filter((scope) => scope.startsWith('https://www.googleapis.com/auth/calendar'));
}

/** The calendars that granted scopes cover; `none` where the user has not allowed events. */
export function coveredCalendars(scopes: string[]): CalendarScope | 'none' {
  if (scopes.includes(calendarScopes.shared)) return 'shared';
  return scopes.includes(calendarScopes.owned) ? 'owned' : 'none';
}

/** A success of Google's token endpoint. `expiresIn` in seconds; `refreshToken` only when Google issued one. */
export type TokenResponse = {
  accessToken: string;
  expiresIn: number;
  refreshToken?: string;
  scopes: string[];
};

/** Who consented, from a verified id token. `sub` identifies the Google account; the email may change. */
export type GoogleIdentity = { sub: string; email: string; nonce?: string };

/**
 * Google's token endpoint. The codes of its failures:
 * - `google_unreachable`: no answer (retryable)
 * - `google_unexpected_status`: an answer that is no OAuth error in JSON, such as a page of a proxy (retryable)
 * - `google_unexpected_body`: success without tokens
 * - `google_grant_invalid`: the code or refresh token is no longer valid; `details.reason` says why
 * - `google_client_misconfigured`: the OAuth client, its project or its request is wrong
 * - `google_oauth_error`: any other OAuth error
 */
export type GoogleOAuth = {
  /** Redeems an authorization code. Sent once: Google invalidates a code that is posted twice. */
  exchangeCode(
    client: GoogleClient,
    request: CodeExchange,
  ): Promise<TokenResponse & { identity: GoogleIdentity }>;
  refresh(client: GoogleClient, refreshToken: string): Promise<TokenResponse>;
  /** Revokes a grant: all tokens of this account for this client. A grant that was revoked before is a success. */
  revoke(refreshToken: string): Promise<void>;
};

/** The part that an existing connection needs. */
export type GoogleTokens = Pick<GoogleOAuth, 'refresh' | 'revoke'>;

type CodeExchange = { code: string; verifier: string; redirectUri: string };

/** Milliseconds to wait for the token endpoint; the refresh lease is longer. */
export const tokenTimeoutMs = 8_000;

/**
 * Google's token endpoint, without google-auth-library: it loads another HTTP client (30 ms of a cold start). It also
 * repeats the POST of a single-use code, and hides a new refresh token.
 */
export function googleTokens(endpoints: GoogleEndpoints): GoogleTokens {
  return {
    async refresh(client, refreshToken) {
      const fields = { grant_type: 'refresh_token', refresh_token: refreshToken };
      return (await requestTokens(endpoints, client, fields)).granted;
    },

    async revoke(refreshToken) {
      const { status, body } = await postForm(endpoints.revoke, { token: refreshToken });
      // Google answers 400 with an OAuth error for a token that is revoked already.
      if (status !== 200 && !(status === 400 && typeof body.error === 'string'))
        throw unexpectedStatus(status);
    },
  };
}

/** Requests tokens, without a retry. `idToken` is as Google sent it, not verified. */
export async function requestTokens(
  endpoints: GoogleEndpoints,
  { clientId, clientSecret }: GoogleClient,
  fields: Record<string, string>,
): Promise<{ granted: TokenResponse; idToken: unknown }> {
  const form = { client_id: clientId, client_secret: clientSecret, ...fields };
  const { status, body } = await postForm(endpoints.token, form);
  if (status !== 200) throw tokenEndpointError(status, body);
  return { granted: parseTokens(body), idToken: body.id_token };
}

/** The fields of Google's JSON object, of any type; empty for any other body. */
type RawTokenResponse = Record<string, unknown>;

/** Posts a form; secrets are in the body, never in the URL. Errors: `google_unreachable`. */
async function postForm(
  url: string,
  fields: Record<string, string>,
): Promise<{ status: number; body: RawTokenResponse }> {
  try {
    const response = await lightFetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams(fields).toString(),
      redirect: 'error',
      signal: AbortSignal.timeout(tokenTimeoutMs),
    });
    const { status } = response;
    const isJson = /\bjson\b/i.test(response.headers.get('content-type') ?? '');
    return {
      status,
      body: status === 200 || isJson ? { ...(parseJson(await response.text()) as object) } : {},
    };
  } catch (error) {
    // The code of a timeout is a number without meaning: its name is reported.
    const { name, code } = error as NodeJS.ErrnoException;
    throw new AppError('google_unreachable', "Google's token endpoint could not be reached.", {
      status: 503,
      retryable: true,
      details: { network: typeof code === 'string' ? code : name },
    });
  }
}

function parseTokens({ access_token, expires_in, refresh_token, scope }: RawTokenResponse): TokenResponse {
  if (typeof access_token !== 'string' || !access_token || typeof expires_in !== 'number') {
    throw new AppError(
      'google_unexpected_body',
      'Google answered the token request without an access token.',
      {
        status: 502,
        retryable: true,
      },
    );
  }
  return {
    accessToken: access_token,
    expiresIn: expires_in,
    ...(typeof refresh_token === 'string' && refresh_token ? { refreshToken: refresh_token } : {}),
    scopes: typeof scope === 'string' ? scope.split(' ').filter(Boolean) : [],
  };
}

function unexpectedStatus(status: number): AppError {
  return new AppError('google_unexpected_status', `Google's token endpoint answered ${status}.`, {
    status: 503,
    retryable: true,
    details: { status: String(status) },
  });
}

/**
 * OAuth errors of Google, at its consent page or its token endpoint, about this service's client, its project or its
 * request: only the operator can fix them.
 */
export const operatorOAuthErrors: ReadonlySet<string> = new Set([
  'invalid_client',
  'unauthorized_client',
  'redirect_uri_mismatch',
  'deleted_client',
  'disabled_client',
  'restricted_client',
  'org_internal',
  'invalid_scope',
  'invalid_request',
  'unsupported_grant_type',
  'unsupported_response_type',
  'access_not_configured',
]);
const grantErrors = new Set(['invalid_grant', 'admin_policy_enforced', 'invalid_rapt']);

/** The error of a failed token request. */
function tokenEndpointError(status: number, { error, error_subtype: subtype }: RawTokenResponse): AppError {
  if (typeof error !== 'string' || status < 400 || status >= 500) return unexpectedStatus(status);
  const details = { status: String(status), error: /^[\w.-]{1,60}$/.test(error) ? error : 'other' };
  if (grantErrors.has(error)) {
    const reason = typeof subtype === 'string' ? subtype : error;
    return new AppError('google_grant_invalid', `Google no longer accepts this grant (${reason}).`, {
      status: 502,
      details: { ...details, reason },
    });
  }
  if (operatorOAuthErrors.has(error)) {
    return new AppError(
      'google_client_misconfigured',
      `Google refuses this service's OAuth client (${error}). Compare the secret google-oauth-client and the redirect URI with Google's console.`,
      { status: 503, retryable: true, details },
    );
  }
  // Counted, since the cause is unknown: many of them in one sweep are reported to the operator.
  metric('UnknownOAuthError', 1);
  log.warn('Google answered an unknown OAuth error', details);
  return new AppError('google_oauth_error', `Google refused the token request (${details.error}).`, {
    status: 502,
    retryable: status === 429,
    details,
  });
}
