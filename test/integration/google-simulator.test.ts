import { appendFileSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { calendar, type calendar_v3 } from '@googleapis/calendar';
import { CodeChallengeMethod, OAuth2Client } from 'google-auth-library';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type GoogleSimulator, startGoogleSimulator } from '../../infra/local/google/simulator.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';

const redirectUri = 'http://localhost:3000/google/callback';
const client = { clientId: 'demo-client', clientSecret: 'demo-secret', redirectUris: [redirectUri] };
const ada = 'ada@example.com';
const scopeOf = (name: string) => `https://www.googleapis.com/auth/calendar${name}`;
const eventsScope = scopeOf('.events');
const signInScopes = ['openid', 'https://www.googleapis.com/auth/userinfo.email'];
const asked = ['openid', 'email', eventsScope];
const ten = { dateTime: '2026-11-23T10:00:00+01:00' };
const eleven = { dateTime: '2026-11-23T11:00:00+01:00' };
const appointment = { summary: 'First meeting', start: ten, end: eleven };

let google: GoogleSimulator;
let now: number;

beforeEach(async () => {
  now = Date.now();
  google = await startGoogleSimulator({ clients: [client], now: () => now });
});
afterEach(() => google.close());

/** Google's own OAuth client, pointed at the simulator. */
function oauthClient(secret = client.clientSecret): OAuth2Client {
  return new OAuth2Client({
    clientId: client.clientId,
    clientSecret: secret,
    redirectUri,
    endpoints: {
      oauth2AuthBaseUrl: `${google.url}/o/oauth2/v2/auth`,
      oauth2TokenUrl: `${google.url}/token`,
      oauth2RevokeUrl: `${google.url}/revoke`,
      oauth2FederatedSignonPemCertsUrl: `${google.url}/oauth2/v1/certs`,
      oauth2FederatedSignonJwkCertsUrl: `${google.url}/oauth2/v3/certs`,
    },
  });
}

type ConnectOptions = {
  scope?: string[];
  prompt?: string;
  untick?: string[];
  deny?: boolean;
  account?: string;
};

async function consent(options: ConnectOptions = {}): Promise<URLSearchParams> {
  const { scope = asked, prompt, ...walk } = options;
  const url = oauthClient().generateAuthUrl({
    access_type: 'offline',
    scope,
    state: 'st&te',
    ...(prompt ? { prompt } : {}),
  });
  return new URL(await walkConsent(url, walk)).searchParams;
}

async function connect(options: ConnectOptions = {}) {
  const code = (await consent(options)).get('code') ?? '';
  return (await oauthClient().getToken(code)).tokens;
}

/** Google's own Calendar client with a token for Ada. */
function calendarClient(scopes = [eventsScope], accessToken?: string): calendar_v3.Calendar {
  const auth = oauthClient();
  const granted = google.control.grant({ clientId: client.clientId, email: ada, scopes });
  auth.setCredentials({ access_token: accessToken ?? granted.accessToken });
  return calendar({ version: 'v3', auth, rootUrl: `${google.url}/`, retry: false });
}

/** The error of a request that must fail: its status and the JSON that came with it. */
async function failure(
  request: Promise<unknown>,
): Promise<{ status: number; body: Record<string, never> & { error: never } }> {
  const error = await request.then(
    () => expect.fail('the request succeeded'),
    (reason) => reason,
  );
  return { status: error.response?.status, body: error.response?.data };
}

function tokenRequest(fields: Record<string, string>): Promise<Response> {
  const known = { client_id: client.clientId, client_secret: client.clientSecret };
  return fetch(`${google.url}/token`, { method: 'POST', body: new URLSearchParams({ ...known, ...fields }) });
}

describe('authorization page', () => {
  it('returns code, state and granted scopes, with a slash in the code', async () => {
    const answer = await consent();
    expect(answer.get('code')).toMatch(/^4\//);
    expect(answer.get('state')).toBe('st&te');
    expect(answer.get('scope')?.split(' ').sort()).toEqual([...signInScopes, eventsScope].sort());
  });

  it('sends access_denied and the state back when the user cancels', async () => {
    const answer = await consent({ deny: true });
    expect(Object.fromEntries(answer)).toEqual({ error: 'access_denied', state: 'st&te' });
  });

  it('has no box for a single calendar scope, and one for each of several', async () => {
    const whole = await consent({ untick: ['calendar.events'] });
    expect(whole.get('scope')).toContain(eventsScope);
    const partly = await consent({ scope: [...asked, scopeOf('.freebusy')], untick: ['calendar.events'] });
    expect(partly.get('scope')?.split(' ')).not.toContain(eventsScope);
    expect(partly.get('scope')?.split(' ')).toContain(scopeOf('.freebusy'));
  });

  it('skips the account choice for a hint, by email or sub, but lets the user choose another', async () => {
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

  it('escapes what the request brings, and allows no scripts', async () => {
    const url = oauthClient().generateAuthUrl({ scope: asked, state: '"><script>alert(1)</script>' });
    const response = await fetch(url);
    expect(await response.text()).not.toContain('<script');
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
  });
});

describe('token endpoint', () => {
  it('exchanges a code with PKCE for tokens whose id token the official library accepts', async () => {
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

    expect((await failure(oauth.getToken({ code, codeVerifier: 'wrong' }))).body.error).toBe('invalid_grant');
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

  it('takes a code once, and for ten minutes', async () => {
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

  it('sends a refresh token the first time and after prompt=consent only', async () => {
    expect((await connect()).refresh_token).toBeDefined();
    expect((await connect()).refresh_token).toBeUndefined();
    expect((await connect({ prompt: 'consent' })).refresh_token).toBeDefined();
    google.control.setSwitch('omitRefreshToken', true);
    expect((await connect({ prompt: 'consent' })).refresh_token).toBeUndefined();
  });

  it('refreshes without a new refresh token, unless it rotates', async () => {
    const { refresh_token = '' } = await connect();
    const again = await tokenRequest({ grant_type: 'refresh_token', refresh_token: refresh_token ?? '' });
    const answer = await again.json();
    expect(answer).toMatchObject({
      access_token: expect.any(String),
      expires_in: 3599,
      token_type: 'Bearer',
    });
    expect(answer).not.toHaveProperty('refresh_token');

    google.control.setSwitch('rotateRefreshToken', true);
    const rotated = await tokenRequest({ grant_type: 'refresh_token', refresh_token: refresh_token ?? '' });
    expect(await rotated.json()).toMatchObject({
      refresh_token: expect.not.stringContaining(`${refresh_token}`),
    });
    const old = await tokenRequest({ grant_type: 'refresh_token', refresh_token: refresh_token ?? '' });
    expect([old.status, await old.json()]).toEqual([
      400,
      { error: 'invalid_grant', error_description: 'Token has been expired or revoked.' },
    ]);
  });

  it('lets the official client refresh', async () => {
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

  it('refuses another redirect URI than that of the authorization request', async () => {
    const code = (await consent()).get('code') ?? '';
    const response = await tokenRequest({
      grant_type: 'authorization_code',
      code,
      redirect_uri: `${redirectUri}x`,
    });
    expect(await response.json()).toMatchObject({ error: 'redirect_uri_mismatch' });
  });

  it('tells of sessions to confirm and of administrators when switched to', async () => {
    const { refresh_token = '' } = await connect();
    google.control.setSwitch('refuseRefresh', 'invalid_rapt');
    const rapt = await tokenRequest({ grant_type: 'refresh_token', refresh_token: refresh_token ?? '' });
    expect(await rapt.json()).toMatchObject({ error: 'invalid_grant', error_subtype: 'invalid_rapt' });
    google.control.setSwitch('refuseRefresh', 'admin_policy_enforced');
    const policy = await tokenRequest({ grant_type: 'refresh_token', refresh_token: refresh_token ?? '' });
    expect(await policy.json()).toMatchObject({ error: 'admin_policy_enforced' });
  });

  it('forgets the oldest refresh token of an account and client after a hundred', async () => {
    const grant = { clientId: client.clientId, email: ada, scopes: [eventsScope] };
    const tokens = Array.from({ length: 101 }, () => google.control.grant(grant).refreshToken ?? '');
    const refresh = async (token = '') =>
      (await tokenRequest({ grant_type: 'refresh_token', refresh_token: token })).status;
    expect([await refresh(tokens[0]), await refresh(tokens[1])]).toEqual([400, 200]);
  });

  it('lets unused refresh tokens die after six months, and those of test apps after seven days', async () => {
    const grant = { clientId: client.clientId, email: ada, scopes: [eventsScope] };
    const { refreshToken = '' } = google.control.grant(grant);
    const refresh = async () =>
      (await tokenRequest({ grant_type: 'refresh_token', refresh_token: refreshToken })).status;
    now += 180 * 86_400_000;
    expect(await refresh()).toBe(200);
    google.control.setSwitch('publishingStatus', 'testing');
    expect(await refresh()).toBe(400);
    google.control.setSwitch('publishingStatus', 'production');
    now += 184 * 86_400_000;
    expect(await refresh()).toBe(400);
  });
});

describe('revoke', () => {
  it('kills every token of the grant, and says invalid_token the second time', async () => {
    const oauth = oauthClient();
    const tokens = await connect();
    await oauth.revokeToken(tokens.refresh_token ?? '');
    const read = calendarClient([scopeOf('.readonly')], tokens.access_token ?? '').events.list({
      calendarId: 'primary',
    });
    expect((await failure(read)).status).toBe(401);
    expect(await failure(oauth.revokeToken(tokens.refresh_token ?? ''))).toMatchObject({
      status: 400,
      body: { error: 'invalid_token' },
    });
  });

  it('is not there for GET', async () => {
    expect((await fetch(`${google.url}/revoke?token=x`)).status).toBe(404);
  });
});

describe('events', () => {
  const calendarId = 'primary';
  const id = 'abc123def456';

  it('are inserted and read in the shape of the official typings', async () => {
    const api = calendarClient();
    const { data, status } = await api.events.insert({ calendarId, requestBody: { ...appointment, id } });
    expect(status).toBe(200);
    expect(data).toMatchObject({
      kind: 'calendar#event',
      id,
      status: 'confirmed',
      summary: 'First meeting',
      creator: { email: ada, self: true },
      organizer: { email: ada, self: true },
      iCalUID: `${id}@google.com`,
      sequence: 0,
      reminders: { useDefault: true },
      eventType: 'default',
      etag: expect.stringMatching(/^"\d+"$/),
      htmlLink: expect.stringContaining(google.url),
    });
    expect(Date.parse(data.start?.dateTime ?? '')).toBe(Date.parse(ten.dateTime));
    expect((await api.events.get({ calendarId, eventId: id })).data).toEqual(data);
  });

  it('take the zone of a local time from timeZone', async () => {
    const times = {
      start: { dateTime: '2026-07-01T09:00:00', timeZone: 'America/New_York' },
      end: { dateTime: '2026-07-01T10:00:00', timeZone: 'America/New_York' },
    };
    const { data } = await calendarClient().events.insert({ calendarId, requestBody: times });
    expect(Date.parse(data.start?.dateTime ?? '')).toBe(Date.parse('2026-07-01T13:00:00Z'));
  });

  it.each([
    ['an end at the start', { start: ten, end: ten }, 'timeRangeEmpty'],
    ['no end', { start: ten }, 'required'],
    ['a local time without zone', { start: { dateTime: '2026-11-23T10:00:00' }, end: eleven }, 'required'],
    ['an unknown zone', { start: { ...ten, timeZone: 'Mars/Base' }, end: eleven }, 'invalid'],
    ['date and dateTime mixed', { start: { date: '2026-11-23' }, end: eleven }, 'invalid'],
    ['no such day', { start: { date: '2026-02-30' }, end: { date: '2026-03-02' } }, 'invalid'],
    ['letters beyond v in the id', { ...appointment, id: 'wxyz-1234' }, 'invalid'],
    ['too short an id', { ...appointment, id: 'abcd' }, 'invalid'],
  ])('are refused with 400 for %s', async (_, requestBody, reason) => {
    const refused = await failure(calendarClient().events.insert({ calendarId, requestBody }));
    expect(refused.status).toBe(400);
    expect(refused.body).toMatchObject({ error: { code: 400, errors: [{ reason }] } });
  });

  it('answer an empty time range with the documented envelope', async () => {
    const refused = await failure(
      calendarClient().events.insert({ calendarId, requestBody: { start: ten, end: ten } }),
    );
    expect(refused.body).toEqual({
      error: {
        errors: [
          {
            domain: 'calendar',
            reason: 'timeRangeEmpty',
            message: 'The specified time range is empty.',
            locationType: 'parameter',
            location: 'timeMax',
          },
        ],
        code: 400,
        message: 'The specified time range is empty.',
      },
    });
  });

  it('keep the id of a deleted event: 409 on insert, 410 on delete, cancelled on get', async () => {
    const api = calendarClient();
    await api.events.insert({ calendarId, requestBody: { ...appointment, id } });
    expect((await api.events.delete({ calendarId, eventId: id })).status).toBe(204);
    expect((await failure(api.events.delete({ calendarId, eventId: id }))).body).toMatchObject({
      error: {
        code: 410,
        errors: [{ domain: 'global', reason: 'deleted' }],
        message: 'Resource has been deleted',
      },
    });
    expect((await api.events.get({ calendarId, eventId: id })).data.status).toBe('cancelled');
    const duplicate = await failure(api.events.insert({ calendarId, requestBody: { ...appointment, id } }));
    expect(duplicate.body).toEqual({
      error: {
        errors: [
          { domain: 'global', reason: 'duplicate', message: 'The requested identifier already exists.' },
        ],
        code: 409,
        message: 'The requested identifier already exists.',
      },
    });
    google.control.purgeDeleted(ada);
    expect((await failure(api.events.get({ calendarId, eventId: id }))).status).toBe(404);
    expect(
      (await failure(api.events.insert({ calendarId, requestBody: { ...appointment, id } }))).status,
    ).toBe(409);
  });

  it('are patched in part, updated as a whole, and only under the ETag that is asked for', async () => {
    const api = calendarClient();
    const requestBody = {
      ...appointment,
      id,
      location: 'Room 1',
      extendedProperties: { private: { booking: 'b1' } },
    };
    const { data: first } = await api.events.insert({ calendarId, requestBody });
    const ifMatch = { headers: { 'If-Match': first.etag ?? '' } };
    const patch = { summary: 'Moved', location: null, extendedProperties: { private: { revision: '2' } } };
    const { data: second } = await api.events.patch({ calendarId, eventId: id, requestBody: patch }, ifMatch);
    expect(second).toMatchObject({
      summary: 'Moved',
      extendedProperties: { private: { booking: 'b1', revision: '2' } },
    });
    expect(second).not.toHaveProperty('location');
    expect(second.etag).not.toBe(first.etag);

    const stale = await failure(api.events.patch({ calendarId, eventId: id, requestBody: {} }, ifMatch));
    expect(stale.body).toMatchObject({
      error: {
        code: 412,
        errors: [{ reason: 'conditionNotMet', locationType: 'header', location: 'If-Match' }],
      },
    });
    expect((await failure(api.events.delete({ calendarId, eventId: id }, ifMatch))).status).toBe(412);
    const { data: third } = await api.events.update({ calendarId, eventId: id, requestBody: appointment });
    expect(third).not.toHaveProperty('extendedProperties');
    expect(third.created).toBe(first.created);
  });

  it('come back from cancelled by a patch, unless the switch forbids it', async () => {
    const api = calendarClient();
    await api.events.insert({ calendarId, requestBody: { ...appointment, id } });
    const revive = () => api.events.patch({ calendarId, eventId: id, requestBody: { status: 'confirmed' } });
    google.control.deleteEvent(ada, id);
    expect((await revive()).data).toMatchObject({ status: 'confirmed', summary: 'First meeting' });
    google.control.deleteEvent(ada, id);
    google.control.setSwitch('reviveCancelled', 'forbidden');
    expect((await failure(revive())).status).toBe(403);
  });

  it('lose extended properties with long names and the end of long values, silently', async () => {
    const extendedProperties = { private: { ['n'.repeat(45)]: 'x', ['n'.repeat(44)]: 'v'.repeat(1025) } };
    const { data } = await calendarClient().events.insert({
      calendarId,
      requestBody: { ...appointment, extendedProperties },
    });
    expect(data.extendedProperties).toEqual({ private: { ['n'.repeat(44)]: 'v'.repeat(1024) } });
  });

  it('get a conference in two steps, and none when the version is not given', async () => {
    const api = calendarClient();
    const conferenceData = {
      createRequest: { requestId: 'r1', conferenceSolutionKey: { type: 'hangoutsMeet' } },
    };
    const without = await api.events.insert({ calendarId, requestBody: { ...appointment, conferenceData } });
    expect(without.data).not.toHaveProperty('conferenceData');
    const { data } = await api.events.insert({
      calendarId,
      conferenceDataVersion: 1,
      requestBody: { ...appointment, id, conferenceData },
    });
    expect(data.conferenceData?.createRequest?.status?.statusCode).toBe('pending');
    const { data: later } = await api.events.get({ calendarId, eventId: id });
    expect(later.conferenceData?.createRequest?.status?.statusCode).toBe('success');
    expect(later.hangoutLink).toMatch(/^https:\/\/meet\.google\.com\//);
  });

  it('are listed by time, by private property, with deleted ones on request, and in pages', async () => {
    const api = calendarClient();
    for (const day of [1, 2, 3]) {
      const requestBody = {
        id: `event${day}`,
        start: { date: `2026-12-0${day}` },
        end: { date: `2026-12-0${day + 1}` },
        extendedProperties: { private: { booking: `b${day}` } },
      };
      await api.events.insert({ calendarId, requestBody });
    }
    await api.events.delete({ calendarId, eventId: 'event3' });
    const ids = async (query: calendar_v3.Params$Resource$Events$List) =>
      (await api.events.list({ calendarId, ...query })).data.items?.map((event) => event.id);
    expect(await ids({})).toEqual(['event1', 'event2']);
    expect(await ids({ showDeleted: true })).toEqual(['event1', 'event2', 'event3']);
    expect(await ids({ privateExtendedProperty: ['booking=b2'] })).toEqual(['event2']);
    expect(await ids({ timeMin: '2026-12-02T12:00:00Z', timeMax: '2026-12-10T00:00:00Z' })).toEqual([
      'event2',
    ]);
    const first = await api.events.list({ calendarId, maxResults: 1 });
    expect(first.data.items).toHaveLength(1);
    expect(await ids({ maxResults: 1, pageToken: first.data.nextPageToken ?? '' })).toEqual(['event2']);
  });
});

describe('authorization of the Calendar API', () => {
  it('answers 401 authError for an expired token', async () => {
    const api = calendarClient();
    now += 3600_000;
    const refused = await failure(api.events.list({ calendarId: 'primary' }));
    expect(refused.body).toEqual({
      error: {
        errors: [
          {
            domain: 'global',
            reason: 'authError',
            message: 'Invalid Credentials',
            locationType: 'header',
            location: 'Authorization',
          },
        ],
        code: 401,
        message: 'Invalid Credentials',
      },
    });
  });

  it('answers 401 for tokens that the control expired, while the refresh token lives on', async () => {
    const tokens = await connect();
    google.control.expireAccessTokens(ada);
    const api = calendarClient([eventsScope], tokens.access_token ?? '');
    expect((await failure(api.events.list({ calendarId: 'primary' }))).status).toBe(401);
    const refreshed = await tokenRequest({
      grant_type: 'refresh_token',
      refresh_token: tokens.refresh_token ?? '',
    });
    expect(refreshed.status).toBe(200);
    google.control.revokeGrant(ada);
    const revoked = await tokenRequest({
      grant_type: 'refresh_token',
      refresh_token: tokens.refresh_token ?? '',
    });
    expect(await revoked.json()).toMatchObject({ error: 'invalid_grant' });
  });

  it('answers 403 where the scope is missing: events alone open neither free/busy nor the calendar list', async () => {
    const api = calendarClient([eventsScope]);
    const range = {
      timeMin: '2026-11-23T00:00:00Z',
      timeMax: '2026-11-24T00:00:00Z',
      items: [{ id: 'primary' }],
    };
    for (const request of [api.freebusy.query({ requestBody: range }), api.calendarList.list()]) {
      const refused = await failure(request);
      expect(refused.status).toBe(403);
      expect(JSON.stringify(refused.body)).toContain('insufficientPermissions');
    }
    const reader = calendarClient([scopeOf('.events.readonly')]);
    expect(
      (await failure(reader.events.insert({ calendarId: 'primary', requestBody: appointment }))).status,
    ).toBe(403);
  });

  it('lists calendars, the primary one first, and writes only to those of the account', async () => {
    const api = calendarClient([scopeOf('')]);
    const { data } = await api.calendarList.list();
    expect(data.items?.map(({ accessRole }) => accessRole)).toEqual(['owner', 'owner', 'reader']);
    expect(data.items?.[0]).toMatchObject({ id: ada, primary: true, timeZone: 'Europe/Vienna' });
    const [, own, readable] = data.items?.map(({ id }) => id ?? '') ?? [];
    const insert = (calendarId = '') => api.events.insert({ calendarId, requestBody: appointment });
    expect((await insert(own)).status).toBe(200);
    expect((await failure(insert(readable))).status).toBe(403);
    expect((await failure(insert('ben@example.com'))).body).toMatchObject({
      error: { code: 404, errors: [{ reason: 'notFound', message: 'Not Found' }] },
    });
    expect((await api.calendarList.get({ calendarId: readable ?? '' })).data.accessRole).toBe('reader');
    expect((await api.calendars.get({ calendarId: 'primary' })).data.id).toBe(ada);
  });

  it('tells when an account is busy, and errors of single calendars with 200', async () => {
    const api = calendarClient([scopeOf('')]);
    await api.events.insert({ calendarId: 'primary', requestBody: appointment });
    const { data } = await api.freebusy.query({
      requestBody: {
        timeMin: '2026-11-23T00:00:00Z',
        timeMax: '2026-11-24T00:00:00Z',
        items: [{ id: 'primary' }, { id: 'ben@example.com' }],
      },
    });
    expect(data.calendars?.primary?.busy).toEqual([
      { start: '2026-11-23T09:00:00.000Z', end: '2026-11-23T10:00:00.000Z' },
    ]);
    expect(data.calendars?.['ben@example.com']?.errors).toEqual([{ domain: 'global', reason: 'notFound' }]);
  });

  it('limits requests a minute and account when switched to', async () => {
    const api = calendarClient();
    google.control.setSwitch('requestsPerMinute', 1);
    await api.events.list({ calendarId: 'primary' });
    const refused = await failure(api.events.list({ calendarId: 'primary' }));
    expect(refused.body).toMatchObject({
      error: { code: 403, errors: [{ domain: 'usageLimits', reason: 'userRateLimitExceeded' }] },
    });
  });
});

describe('faults', () => {
  const insert = (id: string) =>
    calendarClient().events.insert({ calendarId: 'primary', requestBody: { ...appointment, id } });

  it('answer errors instead of acting, after and as often as planned', async () => {
    google.control.fail({
      on: 'events.insert',
      after: 1,
      times: 2,
      how: { status: 403, reason: 'quotaExceeded', retryAfter: 7 },
    });
    expect((await insert('fault1')).status).toBe(200);
    const refused = await failure(insert('fault2'));
    expect(refused.body).toMatchObject({
      error: {
        errors: [
          { domain: 'usageLimits', reason: 'quotaExceeded', message: 'Calendar usage limits exceeded.' },
        ],
      },
    });
    expect((await failure(insert('fault2'))).status).toBe(403);
    expect((await insert('fault2')).status).toBe(200);
    expect(google.control.events(ada)).toHaveLength(2);
  });

  it('lose a request before it acts, or its answer afterwards', async () => {
    google.control.fail({ on: 'events.insert', how: { lose: 'request' } });
    google.control.fail({ on: 'events.insert', how: { lose: 'response' } });
    expect((await failure(insert('lost1'))).status).toBeUndefined();
    expect(google.control.events(ada)).toEqual([]);
    expect((await failure(insert('lost2'))).status).toBeUndefined();
    expect(google.control.events(ada)).toMatchObject([{ id: 'lost2' }]);
    expect(google.control.requests().map(({ route, status }) => [route, status])).toEqual([
      ['events.insert', 0],
      ['events.insert', 0],
    ]);
  });

  it('speak OAuth at the token endpoint, and HTML where asked to', async () => {
    google.control.fail({ on: 'token', how: { status: 401, oauthError: 'invalid_client' } });
    google.control.fail({ on: 'token', how: { status: 502, html: true } });
    expect(await (await tokenRequest({})).json()).toMatchObject({ error: 'invalid_client' });
    const page = await tokenRequest({});
    expect([page.status, page.headers.get('content-type')]).toEqual([502, 'text/html; charset=utf-8']);
  });

  it('repeat by probability with the same seed', async () => {
    const run = async () => {
      google.control.clearFaults();
      google.control.fail({ on: 'certs', probability: 0.5, seed: 7, how: { status: 503 } });
      const statuses: number[] = [];
      for (let i = 0; i < 12; i += 1) statuses.push((await fetch(`${google.url}/oauth2/v3/certs`)).status);
      return statuses;
    };
    const first = await run();
    expect(new Set(first)).toEqual(new Set([200, 503]));
    expect(await run()).toEqual(first);
  });

  it('can be planned and watched over HTTP', async () => {
    const post = (path: string, body: unknown) =>
      fetch(`${google.url}/_simulator/${path}`, { method: 'POST', body: JSON.stringify(body) });
    expect((await post('faults', { on: 'events', how: { delayMs: 60 } })).status).toBe(201);
    const began = performance.now();
    await insert('late1');
    expect(performance.now() - began).toBeGreaterThan(55);
    const seen = async (path: string) => (await fetch(`${google.url}/_simulator/${path}`)).json();
    expect(await seen(`events?email=${ada}`)).toMatchObject({ events: [{ id: 'late1' }] });
    expect(await seen('requests')).toMatchObject({
      requests: [{ route: 'events.insert', method: 'POST', status: 200 }],
    });
    expect(await seen('grants')).toMatchObject({ grants: [{ email: ada, refreshTokens: 1 }] });
    expect(JSON.stringify(await seen('grants'))).not.toMatch(/ya29|1\/\//);
    expect((await post('revoke-grant', { email: 'nobody@example.com' })).status).toBe(400);
  });
});

describe('persistence', () => {
  it('keeps calendars, grants and signing key across restarts, whatever cut the last line short', async () => {
    const stateFile = join(mkdtempSync(join(tmpdir(), 'simulated-google-')), 'google.jsonl');
    await google.close();
    google = await startGoogleSimulator({ clients: [client], stateFile });
    const { refresh_token, id_token } = await connect();
    const api = calendarClient();
    await api.events.insert({ calendarId: 'primary', requestBody: { ...appointment, id: 'kept1' } });
    await api.events.insert({ calendarId: 'primary', requestBody: { ...appointment, id: 'kept2' } });
    await api.events.delete({ calendarId: 'primary', eventId: 'kept2' });
    await google.close();
    appendFileSync(stateFile, '["events","half');

    google = await startGoogleSimulator({ clients: [client], stateFile });
    expect(google.control.events(ada).map(({ id, status }) => [id, status])).toEqual([
      ['kept1', 'confirmed'],
      ['kept2', 'cancelled'],
    ]);
    const refreshed = await tokenRequest({ grant_type: 'refresh_token', refresh_token: refresh_token ?? '' });
    expect(refreshed.status).toBe(200);
    await oauthClient().verifyIdToken({ idToken: id_token ?? '', audience: client.clientId });
  });
});
