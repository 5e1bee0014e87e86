import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey, jwtVerify } from 'jose';
import { AppError } from './app-error.ts';
import { systemMilliseconds } from './clock.ts';
import type { GoogleEndpoints } from './config.ts';
import type { GoogleClient } from './google-client-secret.ts';
import { lightFetch } from './light-fetch.ts';

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

/**
 * Google's token endpoint, by hand: what is sent to it are two forms. google-auth-library would load an HTTP client of
 * its own (30 ms of a cold start), repeats POSTs after a lost answer, which kills a single-use code, and hides a new
 * refresh token behind the old one. In our tests it is the judge of what Google's simulator answers.
 */
export function googleOAuth(endpoints: GoogleEndpoints): GoogleOAuth {
  const signingKey = googleSigningKey(endpoints.signingKeys);

  /** Sent once: we decide about retries. */
  async function requestTokens(client: GoogleClient, fields: Record<string, string>): Promise<TokenAnswer> {
    const { clientId: client_id, clientSecret: client_secret } = client;
    const { status, body } = await postForm(endpoints.token, { client_id, client_secret, ...fields });
    if (status === 200) return body;
    throw refusal(status, body);
  }

  return {
    async exchangeCode(client, { code, verifier, redirectUri }) {
      const answer = await requestTokens(client, {
        grant_type: 'authorization_code',
        code,
        code_verifier: verifier,
        redirect_uri: redirectUri,
      });
      const granted = readTokens(answer);
      return { ...granted, identity: await verifyIdentity(signingKey, client, answer.id_token) };
    },

    async refresh(client, refreshToken) {
      return readTokens(
        await requestTokens(client, { grant_type: 'refresh_token', refresh_token: refreshToken }),
      );
    },

    async revoke(refreshToken) {
      const { status } = await postForm(endpoints.revoke, { token: refreshToken });
      // 400 is Google's answer to a token that is dead already, which is what was wanted.
      if (status !== 200 && status !== 400) throw unexpectedStatus(status);
    },
  };
}

/** The fields of a JSON object that Google answered; none where it was something else. Each may be of any type. */
type TokenAnswer = Record<string, unknown>;

/** Posts a form; secrets are in the body, never in the URL. Errors: `google_unreachable`. */
async function postForm(
  url: string,
  fields: Record<string, string>,
): Promise<{ status: number; body: TokenAnswer }> {
  try {
    const response = await lightFetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams(fields).toString(),
      redirect: 'error',
      signal: AbortSignal.timeout(tokenTimeout),
    });
    return { status: response.status, body: parseObject(await response.text()) };
  } catch (error) {
    const { name, code = name } = error as NodeJS.ErrnoException;
    throw new AppError('google_unreachable', "Google's token endpoint could not be reached.", {
      status: 503,
      retryable: true,
      details: { network: String(code) },
    });
  }
}

function parseObject(text: string): Record<string, unknown> {
  try {
    return { ...JSON.parse(text) };
  } catch {
    return {};
  }
}

function readTokens({ access_token, expires_in, refresh_token, scope }: TokenAnswer): GrantedTokens {
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

/** Google writes its name in both ways. */
const issuers = ['https://accounts.google.com', 'accounts.google.com'];
/** Seconds by which Google's clock may differ from ours. */
const clockTolerance = 300;
/** Seconds: Google's id tokens live for an hour, and this one was made a moment ago. */
const oldestIdToken = 3600;

/** Signature, issuer, audience and times are checked here; the nonce by who knows it. */
async function verifyIdentity(
  signingKey: JWTVerifyGetKey,
  client: GoogleClient,
  idToken: unknown,
): Promise<GoogleIdentity> {
  try {
    const { payload } = await jwtVerify(String(idToken), signingKey, {
      algorithms: ['RS256'],
      issuer: issuers,
      audience: client.clientId,
      clockTolerance,
      maxTokenAge: oldestIdToken,
      requiredClaims: ['sub', 'exp'],
    });
    const { sub, email, nonce } = payload;
    if (typeof sub === 'string' && sub) {
      return {
        sub,
        email: typeof email === 'string' ? email : '',
        ...(typeof nonce === 'string' ? { nonce } : {}),
      };
    }
  } catch (error) {
    throw idTokenInvalid(error);
  }
  throw idTokenInvalid();
}

/**
 * Finds the key that signed a token among those Google publishes. They are kept for as long as Google says, and read
 * anew where none fits: Google may have begun to use another one.
 */
function googleSigningKey(url: string): JWTVerifyGetKey {
  let kept: { find: JWTVerifyGetKey; until: number } | undefined;

  async function read(): Promise<JWTVerifyGetKey> {
    const { status, headers, text } = await lightFetch(url, {
      method: 'GET',
      headers: {},
      redirect: 'error',
      signal: AbortSignal.timeout(tokenTimeout),
    });
    if (status !== 200) throw new Error(`Google answered ${status} to a request for its signing keys.`);
    const find = createLocalJWKSet(JSON.parse(await text()) as JSONWebKeySet);
    const seconds = /max-age=(\d+)/.exec(headers.get('cache-control') ?? '')?.[1] ?? 0;
    kept = { find, until: systemMilliseconds() + Number(seconds) * 1000 };
    return find;
  }

  return async (header, token) => {
    if (!kept || systemMilliseconds() >= kept.until) return (await read())(header, token);
    try {
      return await kept.find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      return (await read())(header, token);
    }
  };
}

function idTokenInvalid(cause?: unknown): AppError {
  return new AppError(
    'id_token_invalid',
    "Google's proof of who consented could not be verified. Nothing was stored.",
    { status: 502, cause },
  );
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

/** What a refused token request means. */
function refusal(status: number, { error, error_subtype: subtype }: TokenAnswer): AppError {
  if (typeof error !== 'string') return unexpectedStatus(status);
  const details = { status: String(status), error };
  if (grantErrors.has(error)) {
    const reason = typeof subtype === 'string' ? subtype : error;
    return new AppError('google_grant_invalid', `Google no longer accepts this grant (${reason}).`, {
      status: 502,
      details: { ...details, reason },
    });
  }
  if (misconfigured.has(error)) {
    return new AppError(
      'google_client_misconfigured',
      `Google refuses this service's OAuth client (${error}). Compare the secret google-oauth-client and the redirect URI with Google's console.`,
      { status: 503, retryable: true, details },
    );
  }
  return new AppError('google_oauth_error', `Google refused the token request (${error}).`, {
    status: 502,
    retryable: status === 429 || status >= 500,
    details,
  });
}
