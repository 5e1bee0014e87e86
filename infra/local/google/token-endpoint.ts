import { createHash } from 'node:crypto';
import { type Context, Hono } from 'hono';
import type { Faults, SimulatorEnv } from './faults.ts';
import { oauthError } from './google-errors.ts';
import type { IdTokenSigner } from './id-tokens.ts';
import { isSignInScope } from './scopes.ts';
import {
  findAccount,
  type GoogleState,
  type Grant,
  grantKey,
  grantOf,
  type RefreshToken,
  randomText,
  type SimulatedClient,
} from './state.ts';

const day = 86_400_000;
/** Google keeps this many refresh tokens per account and client; another one silently ends the oldest. */
const maxRefreshTokens = 100;
const idleDays = 183;
const testingDays = 7;

/** `POST /token` and `POST /revoke`: form-encoded requests, errors as in RFC 6749. */
export function tokenEndpoint(state: GoogleState, faults: Faults, signer: IdTokenSigner): Hono<SimulatorEnv> {
  const app = new Hono<SimulatorEnv>();
  app.post('/token', faults.around('token'), async (c) => {
    const form = await readForm(c);
    const client = authenticateClient(state, c.req.header('authorization'), form);
    const answer = await answerGrant(state, signer, client, form);
    return c.json(answer, 200, { 'cache-control': 'no-cache, no-store, max-age=0, must-revalidate' });
  });
  // Revoking is a POST. Other methods answer 404, as at Google.
  app.post('/revoke', faults.around('revoke'), async (c) => {
    // Documented in the body; Google's own library sends it in the query.
    revoke(state, c.req.query('token') ?? (await readForm(c)).get('token') ?? '');
    return c.json({});
  });
  return app;
}

/**
 * Makes tokens for a grant without a browser or a code, for tests that need many connections. `refreshToken`
 * requests a refresh token; scopes are full names.
 */
export function issueTokens(
  state: GoogleState,
  wanted: { clientId: string; sub: string; scopes: string[]; refreshToken: boolean },
): { accessToken: string; refreshToken?: string } {
  const { clientId, sub, scopes } = wanted;
  const known = state.grants.get(grantKey(clientId, sub));
  const grant: Grant = known
    ? { ...known, scopes: [...new Set([...known.scopes, ...scopes])] }
    : { id: randomText(state, 16), clientId, sub, scopes, refreshTokens: [] };
  state.grants.set(grantKey(clientId, sub), grant);
  const accessToken = issueAccessToken(state, grant, scopes);
  return wanted.refreshToken
    ? { accessToken, refreshToken: issueRefreshToken(state, grant, scopes) }
    : { accessToken };
}

/** Ends the grant of a token, with all its tokens. Throws if the token is invalid already. */
export function revoke(state: GoogleState, token: string): void {
  const known = state.refreshTokens.get(token) ?? state.accessTokens.get(token);
  // The wording is UNVERIFIED; clients must read the code only.
  if (!known || !grantOf(state, known)) throw oauthError(400, 'invalid_token', 'Token expired or revoked');
  state.grants.delete(grantKey(known.clientId, known.sub));
}

async function readForm(c: Context): Promise<URLSearchParams> {
  const type = c.req.header('content-type') ?? '';
  if (!type.startsWith('application/x-www-form-urlencoded')) {
    throw oauthError(400, 'invalid_request', 'The request must be application/x-www-form-urlencoded.');
  }
  return new URLSearchParams(await c.req.text());
}

export function authenticateClient(
  state: GoogleState,
  authorization: string | undefined,
  form: URLSearchParams,
): SimulatedClient {
  const basic = /^Basic (.+)$/.exec(authorization ?? '')?.[1];
  const [id, secret] = basic
    ? Buffer.from(basic, 'base64').toString().split(':', 2)
    : [form.get('client_id'), form.get('client_secret')];
  const client = state.clients.find(({ clientId }) => clientId === id);
  if (!client) throw oauthError(401, 'invalid_client', 'The OAuth client was not found.');
  if (client.clientSecret !== secret) throw oauthError(401, 'invalid_client', 'Unauthorized');
  return client;
}

async function answerGrant(
  state: GoogleState,
  signer: IdTokenSigner,
  client: SimulatedClient,
  form: URLSearchParams,
) {
  return tokenAnswer(state, signer, redeem(state, client, form));
}

/** The grant of a token request, before an ID token is made for it. */
export type Granted = {
  clientId: string;
  sub: string;
  scopes: string[];
  accessToken: string;
  refreshToken?: string;
  nonce?: string | undefined;
};

/** Handles a token request of an authenticated client. Throws Google's OAuth errors. */
export function redeem(state: GoogleState, client: SimulatedClient, form: URLSearchParams): Granted {
  const grantType = form.get('grant_type');
  if (grantType === 'authorization_code') return exchangeCode(state, client, form);
  if (grantType === 'refresh_token') return refresh(state, client, form);
  if (!grantType) throw oauthError(400, 'invalid_request', 'Missing required parameter: grant_type');
  throw oauthError(400, 'unsupported_grant_type', `Invalid grant_type: ${grantType}`);
}

function exchangeCode(state: GoogleState, client: SimulatedClient, form: URLSearchParams): Granted {
  const code = form.get('code');
  if (!code) throw oauthError(400, 'invalid_request', 'Missing required parameter: code');
  const known = state.codes.get(code);
  // Google's descriptions of invalid_grant are UNVERIFIED, so clients must not branch on them.
  if (!known) throw oauthError(400, 'invalid_grant', 'Malformed auth code.');
  if (known.clientId !== client.clientId || known.used || known.expiresAt <= state.now()) {
    throw oauthError(400, 'invalid_grant', 'Bad Request');
  }
  if (known.redirectUri !== form.get('redirect_uri'))
    throw oauthError(400, 'redirect_uri_mismatch', 'Bad Request');
  if (!verifierMatches(known.codeChallenge, known.codeChallengeMethod, form.get('code_verifier'))) {
    throw oauthError(400, 'invalid_grant', 'Invalid code verifier.');
  }
  state.codes.set(code, { ...known, used: true });

  const { sub, scopes, nonce } = known;
  const wanted = known.refreshToken && !state.switches.omitRefreshToken;
  const tokens = issueTokens(state, { clientId: client.clientId, sub, scopes, refreshToken: wanted });
  return { clientId: client.clientId, sub, scopes, nonce, ...tokens };
}

function verifierMatches(
  challenge: string | undefined,
  method: string | undefined,
  verifier: string | null,
): boolean {
  if (challenge === undefined) return true;
  if (!verifier) return false;
  if (method === 'S256') return createHash('sha256').update(verifier).digest('base64url') === challenge;
  return verifier === challenge;
}

function refresh(state: GoogleState, client: SimulatedClient, form: URLSearchParams): Granted {
  const token = form.get('refresh_token');
  if (!token) throw oauthError(400, 'invalid_request', 'Missing required parameter: refresh_token');
  const known = state.refreshTokens.get(token);
  const grant = grantOf(state, known);
  if (!known || !grant || isDead(state, known))
    throw oauthError(400, 'invalid_grant', 'Token has been expired or revoked.');
  // The status is UNVERIFIED.
  if (known.clientId !== client.clientId) throw oauthError(401, 'unauthorized_client', 'Unauthorized');
  if (state.switches.refuseRefresh === 'invalid_rapt') {
    throw oauthError(400, 'invalid_grant', 'reauth related error (invalid_rapt)', 'invalid_rapt');
  }
  if (state.switches.refuseRefresh === 'admin_policy_enforced') {
    throw oauthError(400, 'admin_policy_enforced', 'The administrator of this account restricts this app.');
  }

  const { clientId, sub, scopes } = known;
  const rotated = state.switches.rotateRefreshToken;
  if (rotated) state.refreshTokens.delete(token);
  else state.refreshTokens.set(token, { ...known, usedAt: state.now() });
  const accessToken = issueAccessToken(state, grant, scopes);
  const refreshToken = rotated ? { refreshToken: issueRefreshToken(state, grant, scopes) } : {};
  return { clientId, sub, scopes, accessToken, ...refreshToken };
}

function isDead(state: GoogleState, { issuedAt, usedAt, scopes }: RefreshToken): boolean {
  const now = state.now();
  const testing = state.switches.publishingStatus === 'testing' && !scopes.every(isSignInScope);
  return now - usedAt > idleDays * day || (testing && now - issuedAt > testingDays * day);
}

async function tokenAnswer(state: GoogleState, signer: IdTokenSigner, granted: Granted) {
  const { clientId, sub, scopes, accessToken, refreshToken, nonce } = granted;
  const account = findAccount(state, sub);
  if (!account) throw oauthError(400, 'invalid_grant', 'Account has been deleted');
  const idToken = scopes.includes('openid')
    ? { id_token: await signer.sign({ account, clientId, scopes, accessToken, nonce }) }
    : {};
  return {
    access_token: accessToken,
    expires_in: state.switches.accessTokenSeconds,
    ...(refreshToken ? { refresh_token: refreshToken } : {}),
    scope: shuffled(state, scopes).join(' '),
    token_type: 'Bearer',
    ...idToken,
  };
}

/** About as long as real tokens, so that items here have realistic sizes. Google's limits are 2048 and 512. */
const typicalLength = { access: 220, refresh: 103 };

function issueAccessToken(state: GoogleState, grant: Grant, scopes: string[]): string {
  const token = `ya29.${randomText(state, 120)}`.padEnd(typicalLength.access, '0');
  const { id, clientId, sub } = grant;
  const expiresAt = state.now() + state.switches.accessTokenSeconds * 1000;
  state.accessTokens.set(token, { token, grantId: id, clientId, sub, scopes, expiresAt });
  return token;
}

function issueRefreshToken(state: GoogleState, grant: Grant, scopes: string[]): string {
  const token = `1//${randomText(state, 80)}`.padEnd(typicalLength.refresh, '0');
  const { id, clientId, sub } = grant;
  const now = state.now();
  state.refreshTokens.set(token, { token, grantId: id, clientId, sub, scopes, issuedAt: now, usedAt: now });
  const tokens = [...grant.refreshTokens.filter((it) => state.refreshTokens.get(it)), token];
  for (const oldest of tokens.slice(0, -maxRefreshTokens)) state.refreshTokens.delete(oldest);
  state.grants.set(grantKey(clientId, sub), { ...grant, refreshTokens: tokens.slice(-maxRefreshTokens) });
  return token;
}

/** Google guarantees no order of scopes, so the simulator shuffles them. */
function shuffled(state: GoogleState, scopes: string[]): string[] {
  return scopes
    .map((scope) => ({ scope, place: state.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ scope }) => scope);
}
