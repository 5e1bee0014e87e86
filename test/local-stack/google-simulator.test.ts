import { CodeChallengeMethod, type OAuth2Client } from 'google-auth-library';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type GoogleSimulator, startGoogleSimulator } from '../../infra/local/google/simulator.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';
import {
  ada,
  asked,
  client,
  eventsScope,
  failure,
  officialClients,
  redirectUri,
  scopeOf,
  signInScopes,
} from './google-clients.ts';

let google: GoogleSimulator;
let now: number;
const { oauthClient, consent, connect, calendarClient, tokenRequest, refreshRequest } = officialClients(
  () => google,
);

beforeEach(async () => {
  now = Date.now();
  google = await startGoogleSimulator({ clients: [client], now: () => now });
});
afterEach(() => google.close());

describe('authorization page', () => {
  it('consent returns code, state and granted scopes, with a slash in the code', async () => {
    const answer = await consent();
    expect(answer.get('code')).toMatch(/^4\//);
    expect(answer.get('state')).toBe('st&te');
    expect(answer.get('scope')?.split(' ').sort()).toEqual([...signInScopes, eventsScope].sort());
  });

  it('returns access_denied and the state when the user cancels', async () => {
    const answer = await consent({ deny: true });
    expect(Object.fromEntries(answer)).toEqual({ error: 'access_denied', state: 'st&te' });
  });

  it('shows no box for a single calendar scope, and one for each of several', async () => {
    const whole = await consent({ untick: ['calendar.events'] });
    expect(whole.get('scope')).toContain(eventsScope);
    const partly = await consent({ scope: [...asked, scopeOf('.freebusy')], untick: ['calendar.events'] });
    expect(partly.get('scope')?.split(' ')).not.toContain(eventsScope);
    expect(partly.get('scope')?.split(' ')).toContain(scopeOf('.freebusy'));
  });

  it('a login hint skips the account choice, and the user can still choose another', async () => {
    for (const login_hint of ['ben@example.com', '100000000000000000002']) {
      const url = oauthClient().generateAuthUrl({ scope: asked, login_hint });
      const page = await (await fetch(url)).text();
      expect(page).toContain('wants access');
      expect(page).toContain('ben@example.com');
    }
    const url = oauthClient().generateAuthUrl({ scope: asked, login_hint: 'ben@example.com' });
    const code = new URL(await walkConsent(url, { account: ada })).searchParams.get('code') ?? '';
    const { tokens } = await oauthClient().getToken(code);
    const ticket = await oauthClient().verifyIdToken({
      idToken: tokens.id_token ?? '',
      audience: client.clientId,
    });
    expect(ticket.getPayload()?.email).toBe(ada);
  });

  it.each([
    ['redirect_uri', `${redirectUri}/`, 'redirect_uri_mismatch'],
    ['client_id', 'someone-else', 'invalid_client'],
    ['response_type', 'token', 'unsupported_response_type'],
    ['scope', 'https://www.googleapis.com/auth/nothing', 'invalid_scope'],
    ['prompt', 'none consent', 'invalid_request'],
    ['code_challenge_method', 'S512', 'invalid_request'],
  ])('shows an error page instead of redirecting when %s is wrong', async (name, value, error) => {
    const url = new URL(oauthClient().generateAuthUrl({ scope: asked }));
    url.searchParams.set(name, value);
    const response = await fetch(url, { redirect: 'manual' });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain(error);
  });

  it('prompt=none returns a code if all is granted, otherwise interaction_required', async () => {
    const url = oauthClient().generateAuthUrl({ scope: asked, prompt: 'none', login_hint: ada });
    expect(await walkConsent(url)).toContain('error=interaction_required');
    await connect();
    expect(await walkConsent(url)).toContain('code=4%2F');
  });

  it('skips consent for scopes granted before, unless it is requested', async () => {
    await connect();
    const url = oauthClient().generateAuthUrl({ scope: asked, login_hint: ada });
    const page = await fetch(`${url}`, { redirect: 'manual' });
    const next = await fetch(new URL(page.headers.get('location') ?? '', google.url), { redirect: 'manual' });
    expect(next.headers.get('location')).toContain(`${redirectUri}?`);
  });

  it('the consent page escapes request parameters and allows no scripts', async () => {
    const url = oauthClient().generateAuthUrl({ scope: asked, state: '"><script>alert(1)</script>' });
    const response = await fetch(url);
    expect(await response.text()).not.toContain('<script');
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
  });
});

describe('token endpoint', () => {
  it('exchanges a code with PKCE for tokens whose ID token the official library accepts', async () => {
    const oauth = oauthClient();
    const { codeVerifier, codeChallenge = '' } = await oauth.generateCodeVerifierAsync();
    const url = oauth.generateAuthUrl({
      access_type: 'offline',
      prompt: 'consent',
      scope: asked,
      nonce: 'n-1',
      code_challenge: codeChallenge,
      code_challenge_method: CodeChallengeMethod.S256,
    } as Parameters<OAuth2Client['generateAuthUrl']>[0]);
    const code = new URL(await walkConsent(url)).searchParams.get('code') ?? '';

    expect(await failure(oauth.getToken({ code, codeVerifier: 'wrong' }))).toMatchObject({
      body: { error: 'invalid_grant' },
    });
    const { tokens } = await oauth.getToken({ code, codeVerifier });
    expect(tokens).toMatchObject({ token_type: 'Bearer', refresh_token: expect.stringMatching(/^1\/\//) });
    expect(tokens.scope?.split(' ').sort()).toEqual([...signInScopes, eventsScope].sort());

    const ticket = await oauth.verifyIdToken({ idToken: tokens.id_token ?? '', audience: client.clientId });
    expect(ticket.getPayload()).toMatchObject({
      iss: 'https://accounts.google.com',
      sub: '100000000000000000001',
      email: ada,
      email_verified: true,
      nonce: 'n-1',
    });
  });

  it('accepts a code once, within ten minutes', async () => {
    const code = (await consent()).get('code') ?? '';
    await oauthClient().getToken(code);
    expect(await failure(oauthClient().getToken(code))).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    });
    const late = (await consent({ prompt: 'consent' })).get('code') ?? '';
    now += 10 * 60_000;
    expect(await failure(oauthClient().getToken(late))).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    });
  });

  it('sends a refresh token only the first time and after prompt=consent', async () => {
    expect((await connect()).refresh_token).toBeDefined();
    expect((await connect()).refresh_token).toBeUndefined();
    expect((await connect({ prompt: 'consent' })).refresh_token).toBeDefined();
    google.control.setSwitch('omitRefreshToken', true);
    expect((await connect({ prompt: 'consent' })).refresh_token).toBeUndefined();
  });

  it('a refresh returns no new refresh token, unless rotation is on', async () => {
    const { refreshToken } = await connect();
    const again = await refreshRequest(refreshToken);
    const answer = await again.json();
    expect(answer).toMatchObject({
      access_token: expect.any(String),
      expires_in: 3599,
      token_type: 'Bearer',
    });
    expect(answer).not.toHaveProperty('refresh_token');

    google.control.setSwitch('rotateRefreshToken', true);
    const rotated = await refreshRequest(refreshToken);
    expect(await rotated.json()).toMatchObject({
      refresh_token: expect.not.stringContaining(`${refreshToken}`),
    });
    const old = await refreshRequest(refreshToken);
    expect([old.status, await old.json()]).toEqual([
      400,
      { error: 'invalid_grant', error_description: 'Token has been expired or revoked.' },
    ]);
  });

  it('the official client refreshes a token', async () => {
    const oauth = oauthClient();
    oauth.setCredentials(await connect());
    const { credentials } = await oauth.refreshAccessToken();
    expect(credentials.access_token).toMatch(/^ya29\./);
  });

  it.each([
    ['a wrong secret', { client_secret: 'wrong' }, 401, 'invalid_client'],
    ['an unknown client', { client_id: 'nobody' }, 401, 'invalid_client'],
    ['an unknown grant type', { grant_type: 'password' }, 400, 'unsupported_grant_type'],
    ['no code', { grant_type: 'authorization_code' }, 400, 'invalid_request'],
    [
      'an unknown code',
      { grant_type: 'authorization_code', code: '4/0x', redirect_uri: redirectUri },
      400,
      'invalid_grant',
    ],
    [
      'an unknown refresh token',
      { grant_type: 'refresh_token', refresh_token: '1//x' },
      400,
      'invalid_grant',
    ],
  ])('refuses %s with the OAuth envelope', async (_, fields, status, error) => {
    const response = await tokenRequest(fields as Record<string, string>);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ error });
  });

  it('refuses a redirect URI other than that of the authorization request', async () => {
    const code = (await consent()).get('code') ?? '';
    const response = await tokenRequest({
      grant_type: 'authorization_code',
      code,
      redirect_uri: `${redirectUri}x`,
    });
    expect(await response.json()).toMatchObject({ error: 'redirect_uri_mismatch' });
  });

  it('switches answer invalid_rapt and admin_policy_enforced to a refresh', async () => {
    const { refreshToken } = await connect();
    google.control.setSwitch('refuseRefresh', 'invalid_rapt');
    const rapt = await refreshRequest(refreshToken);
    expect(await rapt.json()).toMatchObject({ error: 'invalid_grant', error_subtype: 'invalid_rapt' });
    google.control.setSwitch('refuseRefresh', 'admin_policy_enforced');
    const policy = await refreshRequest(refreshToken);
    expect(await policy.json()).toMatchObject({ error: 'admin_policy_enforced' });
  });

  it('drops the oldest of more than a hundred refresh tokens per account and client', async () => {
    const grant = { clientId: client.clientId, email: ada, scopes: [eventsScope] };
    const tokens = Array.from({ length: 101 }, () => google.control.grant(grant).refreshToken ?? '');
    const refresh = async (token = '') => (await refreshRequest(token)).status;
    expect([await refresh(tokens[0]), await refresh(tokens[1])]).toEqual([400, 200]);
  });

  it('unused refresh tokens expire after six months, those of test apps after seven days', async () => {
    const grant = { clientId: client.clientId, email: ada, scopes: [eventsScope] };
    const { refreshToken = '' } = google.control.grant(grant);
    const refresh = async () => (await refreshRequest(refreshToken)).status;
    now += 180 * 86_400_000;
    expect(await refresh()).toBe(200);
    google.control.setSwitch('publishingStatus', 'testing');
    expect(await refresh()).toBe(400);
    google.control.setSwitch('publishingStatus', 'production');
    now += 184 * 86_400_000;
    expect(await refresh()).toBe(400);
  });
});

describe('switches', () => {
  it('switches change access token lifetime, issuer and sign-in scope names', async () => {
    google.control.setSwitch('accessTokenSeconds', 60);
    google.control.setSwitch('issuer', 'accounts.google.com');
    google.control.setSwitch('expandSignInScopes', false);
    const code = (await consent()).get('code') ?? '';
    const answer = await tokenRequest({ grant_type: 'authorization_code', code, redirect_uri: redirectUri });
    const { expires_in, id_token, scope } = (await answer.json()) as Record<string, string>;
    expect(expires_in).toBe(60);
    expect(scope?.split(' ').sort()).toEqual([...asked].sort());
    const ticket = await oauthClient().verifyIdToken({ idToken: id_token ?? '', audience: client.clientId });
    expect(ticket.getPayload()).toMatchObject({ iss: 'accounts.google.com', email: ada });
  });

  it('adds scopes granted earlier when the request includes them', async () => {
    await connect();
    const url = oauthClient().generateAuthUrl({
      scope: ['openid'],
      prompt: 'consent',
      include_granted_scopes: true,
    });
    expect(new URL(await walkConsent(url)).searchParams.get('scope')).toContain(eventsScope);
  });

  it('refuses an unknown switch', () => {
    expect(() => google.control.setSwitch('typo' as 'issuer', 'accounts.google.com')).toThrow(
      'no switch typo',
    );
  });
});

describe('revoke', () => {
  it('revoking ends every token of the grant, and answers invalid_token the second time', async () => {
    const oauth = oauthClient();
    const tokens = await connect();
    await oauth.revokeToken(tokens.refreshToken);
    const read = calendarClient([scopeOf('.readonly')], tokens.accessToken).events.list({
      calendarId: 'primary',
    });
    expect((await failure(read)).status).toBe(401);
    expect(await failure(oauth.revokeToken(tokens.refreshToken))).toMatchObject({
      status: 400,
      body: { error: 'invalid_token' },
    });
  });

  it('answers 404 to GET /revoke', async () => {
    expect((await fetch(`${google.url}/revoke?token=x`)).status).toBe(404);
  });
});
