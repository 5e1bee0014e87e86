import type { GaxiosError } from 'gaxios';
import type { Credentials, OAuth2Client } from 'google-auth-library';
import { AppError } from './app-error.ts';
import { systemMilliseconds } from './clock.ts';
import type { GoogleEndpoints } from './config.ts';
import type { GoogleClient } from './google-client-secret.ts';

/** Scopes every connection needs. The calendar one is what the user must tick. */
export const calendarScope = 'https://www.googleapis.com/auth/calendar.events';
export const requestedScopes = ['openid', 'email', calendarScope];
/** What Google's token endpoint gives. `expiresIn` in seconds; `refreshToken` only when Google issued one. */
export type GrantedTokens = {
  accessToken: string;
  expiresIn: number;
  refreshToken?: string;
  scopes: string[];
};

/** Who consented, from a verified id token. `sub` identifies the Google account; the email may change. */
export type GoogleIdentity = { sub: string; email: string; nonce?: string };

/**
 * Google's token endpoint. Failures are told apart by code:
 * - `google_unreachable`: no answer (retryable)
 * - `google_unexpected_status`: an answer that is no OAuth error (retryable for 429 and 5xx)
 * - `google_unexpected_body`: success without tokens
 * - `google_grant_invalid`: the code or refresh token is no longer good; `details.reason` says why
 * - `google_client_misconfigured`: the operator's client id, secret or redirect URI is wrong
 * - `google_oauth_error`: any other OAuth error
 */
export type GoogleOAuth = {
  /** Redeems an authorization code. Sent once: a code that was posted twice is dead. */
  exchangeCode(
    client: GoogleClient,
    request: CodeExchange,
  ): Promise<GrantedTokens & { identity: GoogleIdentity }>;
  refresh(client: GoogleClient, refreshToken: string): Promise<GrantedTokens>;
  /** Takes a grant back, all of it: every token that this account has given to this client. A dead one counts as done. */
  revoke(refreshToken: string): Promise<void>;
};

export type CodeExchange = { code: string; verifier: string; redirectUri: string };

/** Milliseconds to wait for the token endpoint; the refresh lease is longer. */
const tokenTimeout = 8_000;

/** Google's token endpoint through google-auth-library, which is loaded when first needed. */
export function googleOAuth(endpoints: GoogleEndpoints): GoogleOAuth {
  // Kept, since it holds Google's signing certificates until they expire.
  let verifier: OAuth2Client | undefined;

  async function open(client: GoogleClient, redirectUri?: string): Promise<OAuth2Client> {
    const { OAuth2Client } = await import('google-auth-library');
    const oauth = new OAuth2Client({
      ...client,
      ...(redirectUri === undefined ? {} : { redirectUri }),
      endpoints: {
        oauth2TokenUrl: endpoints.token,
        oauth2RevokeUrl: endpoints.revoke,
        oauth2FederatedSignonPemCertsUrl: endpoints.certificates,
      },
      transporterOptions: { timeout: tokenTimeout, fetchImplementation: fetch },
    });
    // The library repeats POSTs after a lost answer, which would kill a single-use code. We decide about retries.
    oauth.transporter.interceptors.request.add({
      resolved: async (options) => Object.assign(options, { retry: false, retryConfig: { retry: 0 } }),
    });
    return oauth;
  }

  return {
    async exchangeCode(client, { code, verifier: codeVerifier, redirectUri }) {
      const oauth = await open(client, redirectUri);
      const { tokens } = await oauth.getToken({ code, codeVerifier }).catch(rethrow);
      const granted = readTokens(tokens);
      verifier ??= oauth;
      return { ...granted, identity: await verifyIdentity(verifier, client, tokens.id_token) };
    },

    async refresh(client, refreshToken) {
      const oauth = await open(client);
      oauth.setCredentials({ refresh_token: refreshToken });
      // The library puts the old refresh token back into its credentials; a new one is seen only in this event.
      let issued: Credentials | undefined;
      oauth.on('tokens', (tokens) => {
        issued = { ...tokens };
      });
      await oauth.refreshAccessToken().catch(rethrow);
      return readTokens(issued ?? {});
    },

    // Not through the library, which would send the token in the URL.
    async revoke(refreshToken) {
      const response = await fetch(endpoints.revoke, {
        method: 'POST',
        body: new URLSearchParams({ token: refreshToken }),
        redirect: 'error',
        signal: AbortSignal.timeout(tokenTimeout),
      }).catch(rethrow);
      // 400 is Google's answer to a token that is dead already, which is what was wanted.
      if (response.ok || response.status === 400) return;
      throw unexpectedStatus(response.status);
    },
  };
}

function readTokens(tokens: Credentials): GrantedTokens {
  const { access_token, expiry_date, refresh_token, scope } = tokens;
  if (!access_token || !expiry_date) {
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
    // The library turned `expires_in` into an instant of this machine's clock; this turns it back.
    expiresIn: Math.round((expiry_date - systemMilliseconds()) / 1000),
    ...(refresh_token ? { refreshToken: refresh_token } : {}),
    scopes: (scope ?? '').split(' ').filter(Boolean),
  };
}

/** Signature, issuer, audience and expiry are checked by the library; the nonce by who knows it. */
async function verifyIdentity(
  verifier: OAuth2Client,
  client: GoogleClient,
  idToken: string | null | undefined,
): Promise<GoogleIdentity> {
  try {
    const ticket = await verifier.verifyIdToken({ idToken: idToken ?? '', audience: client.clientId });
    const payload = ticket.getPayload();
    if (payload?.sub) {
      const { sub, email, nonce } = payload;
      return { sub, email: email ?? '', ...(nonce === undefined ? {} : { nonce }) };
    }
  } catch (error) {
    throw idTokenInvalid(error);
  }
  throw idTokenInvalid();
}

function idTokenInvalid(cause?: unknown): AppError {
  return new AppError(
    'id_token_invalid',
    "Google's proof of who consented could not be verified. Nothing was stored.",
    {
      status: 502,
      cause: cause instanceof Error ? new Error(withoutTokens(cause.message)) : undefined,
    },
  );
}

/** The library quotes the whole id token in its messages. */
function withoutTokens(message: string): string {
  return message.replace(/[\w-]{10,}\.[\w-]{10,}\.[\w-]*/g, '(token)').slice(0, 200);
}

function unexpectedStatus(status: number): AppError {
  return new AppError('google_unexpected_status', `Google's token endpoint answered ${status}.`, {
    status: 503,
    retryable: status === 429 || status >= 500,
    details: { status: String(status) },
  });
}

const misconfigured = new Set([
  'invalid_client',
  'unauthorized_client',
  'redirect_uri_mismatch',
  'deleted_client',
]);
const grantErrors = new Set(['invalid_grant', 'admin_policy_enforced', 'invalid_rapt']);

/** Turns what the library throws into our codes. Its error is not kept as the cause: it carries the request. */
function rethrow(error: unknown): never {
  const response = (error as Partial<GaxiosError>).response;
  if (!response) {
    throw new AppError('google_unreachable', "Google's token endpoint could not be reached.", {
      status: 503,
      retryable: true,
      details: { network: String((error as Partial<GaxiosError>).code ?? 'unknown') },
    });
  }
  const status = response.status;
  const body: unknown = response.data;
  const { error: oauthError, error_subtype: subtype } = (
    typeof body === 'object' && body !== null ? body : {}
  ) as Record<string, unknown>;
  if (typeof oauthError !== 'string') {
    throw unexpectedStatus(status);
  }
  const details = { status: String(status), error: oauthError };
  if (grantErrors.has(oauthError)) {
    const reason = typeof subtype === 'string' ? subtype : oauthError;
    throw new AppError('google_grant_invalid', `Google no longer accepts this grant (${reason}).`, {
      status: 502,
      details: { ...details, reason },
    });
  }
  if (misconfigured.has(oauthError)) {
    throw new AppError(
      'google_client_misconfigured',
      `Google refuses this service's OAuth client (${oauthError}). Compare the secret google-oauth-client and the redirect URI with Google's console.`,
      { status: 503, retryable: true, details },
    );
  }
  throw new AppError('google_oauth_error', `Google refused the token request (${oauthError}).`, {
    status: 502,
    retryable: status === 429 || status >= 500,
    details,
  });
}
