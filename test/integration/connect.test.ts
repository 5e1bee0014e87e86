import { createHash, randomBytes } from 'node:crypto';
import { decodeProtectedHeader } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ConnectDeps, startConnection } from '../../functions/connect/start-connection.ts';
import { disconnect } from '../../functions/connections/manage-connection.ts';
import { type Connected, completeConnection } from '../../functions/oauth-callback/complete-connection.ts';
import type { FaultEffect } from '../../infra/local/google/faults.ts';
import type { Switches } from '../../infra/local/google/state.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';
import type { Connection, GrantedConnection } from '../../shared/connection/connection.ts';
import { revokeGrant } from '../../shared/connection/revocation.ts';
import { parseKeys } from '../../shared/crypto/keys.ts';
import { randomSecret } from '../../shared/crypto/oauth-state.ts';
import { decryptTokens } from '../../shared/crypto/token-encryption.ts';
import { signUserToken } from '../../shared/crypto/user-token.ts';
import { calendarScopes } from '../../shared/google/token-endpoint.ts';
import { errorPage } from '../../shared/http/error-page.ts';
import type { HttpRequest } from '../../shared/http/http.ts';
import { type AppError, isOperatorError } from '../../shared/lib/app-error.ts';
import { audiences, optionalScopes } from '../../shared/lib/names.ts';
import { logged } from '../support/setup.ts';
import { otherSpellings } from '../support/spellings.ts';
import { ada, ben, startWorld, type World } from './world.ts';

const publicUrl = 'http://localhost:3000';
/** "Appointments" of Ada in the simulated Google. */
const secondCalendar = `c_${createHash('sha256').update('100000000000000000001').digest('hex')}@group.calendar.google.com`;

let world: World;
beforeEach(async () => {
  world = await startWorld();
});
afterEach(() => world.close());

const coded = (code: string) => expect.objectContaining({ code });
const set = <Name extends keyof Switches>(name: Name, value: Switches[Name]) =>
  world.google.control.setSwitch(name, value);
const calls = (route: string) => world.calls().filter((each) => each === route).length;

function connectDeps(change: Partial<ConnectDeps> = {}): ConnectDeps {
  return {
    ...world.deps,
    randomSecret,
    authorizationUrl: `${world.google.url}/o/oauth2/v2/auth`,
    publicUrl,
    returnOrigins: ['https://app.example.com'],
    calendarScope: 'owned',
    optionalScopes: [],
    ...change,
  };
}
const linkToken = (userId: string) =>
  signUserToken(world.deps.linkKeys.value, { userId, audience: audiences.connect, now: world.time.now });

async function begin(userId: string, change: Partial<ConnectDeps> = {}) {
  const token = await linkToken(userId);
  return startConnection(connectDeps(change), {
    token,
    retry: undefined,
    returnTo: undefined,
    browser: undefined,
  });
}
const finish = (callback: string, browser: string | undefined): Promise<Connected> =>
  completeConnection({ ...world.deps, publicUrl }, { query: new URL(callback).searchParams, browser });

type Walk = Parameters<typeof walkConsent>[1];
async function connect(userId: string, walk?: Walk, change?: Partial<ConnectDeps>): Promise<Connected> {
  const { location, browser } = await begin(userId, change);
  return finish(await walkConsent(location, walk), browser);
}
const refreshTokenOf = async (userId: string): Promise<string> => {
  const { tokens } = (await world.connection(userId)) as GrantedConnection;
  return (await decryptTokens(world.tokenKeys.value, userId, tokens)).refreshToken;
};

describe('a connection', () => {
  it('stores encrypted tokens, publishes the connection and requeues waiting bookings', async () => {
    const { connection } = await connect('user-1');
    expect(await world.connection('user-1')).toEqual({
      ...connection,
      schemaVersion: 1,
      refreshShard: expect.any(String),
    });
    expect(connection).toMatchObject({
      status: 'active',
      email: ada,
      calendarId: 'primary',
      keyId: 'k1',
      tokenVersion: 1,
    });
    expect(world.bus.types()).toEqual(['connection.activated']);
    expect(world.queue.messages).toEqual([
      { type: 'connection.activated', userId: 'user-1', tokenVersion: 1, page: 0 },
    ]);
    expect(calls('token')).toBe(1);
  });

  it('connects when waiting bookings cannot be requeued at once: they come due', async () => {
    world.queue.unavailable = true;
    await connect('user-1');
    expect(await world.connection('user-1')).toMatchObject({ status: 'active' });
  });

  it('does not connect when the bus is unavailable', async () => {
    world.bus.unavailable = true;
    await expect(connect('user-1')).rejects.toThrow('The bus is away.');
    expect(await world.connection('user-1')).toBeUndefined();
  });

  it('a reconnect wins over a concurrent refresh', async () => {
    await connect('user-1');
    world.time.now += 60;
    const { location, browser } = await begin('user-1');
    const callback = await walkConsent(location);
    const get = world.deps.connections.get;
    let overtaken = false;
    const connections = {
      ...world.deps.connections,
      get: async (userId: string) => {
        const seen = await get(userId);
        if (!overtaken && seen) {
          overtaken = true;
          await world.deps.connections.put({ ...seen, tokenVersion: 2 } as Connection, { tokenVersion: 1 });
        }
        return seen;
      },
    };
    await completeConnection(
      { ...world.deps, connections, publicUrl },
      { query: new URL(callback).searchParams, browser },
    );
    expect((await world.connection('user-1'))?.tokenVersion).toBe(3);
  });

  it('a reconnect to the same account keeps the chosen calendar', async () => {
    await connect('user-1');
    await world.deps.connections.updateSettings(
      'user-1',
      { tokenVersion: 1 },
      {
        calendarId: secondCalendar,
        updatedAt: 0,
      },
    );
    world.time.now += 60;
    const { connection } = await connect('user-1');
    expect(connection).toMatchObject({ calendarId: secondCalendar, timeZone: 'Europe/Vienna' });
    expect(connection).not.toHaveProperty('accountChangedAt');
    expect(world.bus.types()).toEqual(['connection.activated', 'connection.activated']);
  });

  it('a reconnect keeps a calendar that is chosen concurrently', async () => {
    await connect('user-1');
    world.time.now += 60;
    const { location, browser } = await begin('user-1');
    const callback = await walkConsent(location);
    const { get, updateSettings } = world.deps.connections;
    let chosen = false;
    const connections = {
      ...world.deps.connections,
      get: async (userId: string) => {
        const seen = await get(userId);
        if (!chosen) {
          chosen = true;
          await updateSettings(userId, { tokenVersion: 1 }, { calendarId: 'team', updatedAt: 0 });
        }
        return seen;
      },
    };
    await completeConnection(
      { ...world.deps, connections, publicUrl },
      { query: new URL(callback).searchParams, browser },
    );
    expect(await world.connection('user-1')).toMatchObject({ tokenVersion: 2, calendarId: 'team' });
  });

  it('a change of account is recorded and published, and the old grant is revoked', async () => {
    await connect('user-1');
    const old = await refreshTokenOf('user-1');
    world.time.now += 60;
    const { connection } = await connect('user-1', { account: ben });
    expect(connection).toMatchObject({ email: ben, calendarId: 'primary', accountChangedAt: world.time.now });
    expect(world.bus.types().slice(1)).toEqual(['connection.activated', 'connection.account_changed']);
    const { revocation } = connection;
    if (!revocation) throw new Error('nothing to take back');
    expect((await decryptTokens(world.tokenKeys.value, 'user-1', revocation.tokens)).refreshToken).toBe(old);
    expect(await revokeGrant(world.deps, { ...connection, revocation })).toBe('done');
    expect(world.google.control.grants().map(({ email }) => email)).toEqual([ben]);
    expect(await world.connection('user-1')).not.toHaveProperty('revocation');
  });

  it('a change of account after a rotation leaves nothing encrypted with the old key', async () => {
    await connect('user-1');
    const { value: old } = world.tokenKeys;
    const added = parseKeys(
      'token-encryption',
      JSON.stringify({ current: 'k2', k2: randomBytes(32).toString('hex') }),
    );
    world.tokenKeys.value = {
      ...added,
      key: (id) => added.key(id) ?? old.key(id),
    };
    world.time.now += 60;
    const { connection } = await connect('user-1', { account: ben });
    const sealed = [connection.tokens, connection.revocation?.tokens ?? ''];
    expect(sealed.map((each) => decodeProtectedHeader(each).kid)).toEqual(['k2', 'k2']);
    expect(connection.keyId).toBe('k2');
  });

  it('a change of account succeeds when the old token cannot be decrypted any more', async () => {
    await connect('user-1');
    // Its key was removed too early.
    const masters = JSON.stringify({ current: 'k2', k2: randomBytes(32).toString('hex') });
    world.tokenKeys.value = parseKeys('token-encryption', masters);
    world.time.now += 60;
    const { connection } = await connect('user-1', { account: ben });
    expect(connection).toMatchObject({ status: 'active', email: ben, keyId: 'k2' });
    const { revocation } = connection;
    if (!revocation) throw new Error('nothing to take back');
    expect(await revokeGrant(world.deps, { ...connection, revocation })).toBe('pending');
  });

  it('a return to an account cancels its pending revocation, which would end the new grant', async () => {
    await connect('user-1');
    world.time.now += 60;
    await connect('user-1', { account: ben });
    world.time.now += 60;
    const { connection } = await connect('user-1');
    // Now it is Ben's grant that is unused.
    expect(connection.revocation?.googleSub).not.toBe(connection.googleSub);
  });
});

describe('the refresh token', () => {
  it('keeps the stored refresh token when Google sends none for the same account', async () => {
    await connect('user-1');
    const before = await refreshTokenOf('user-1');
    set('omitRefreshToken', true);
    world.time.now += 60;
    await connect('user-1');
    expect(await refreshTokenOf('user-1')).toBe(before);
  });

  it('asks for consent again when Google sends no refresh token and the stored one is dead', async () => {
    await connect('user-1');
    const before = await world.connection('user-1');
    set('omitRefreshToken', true);
    world.google.control.fail({ on: 'token', after: 1, how: { status: 400, oauthError: 'invalid_grant' } });
    world.time.now += 60;
    await expect(connect('user-1')).rejects.toThrow(coded('refresh_token_missing'));
    expect(await world.connection('user-1')).toEqual(before);
  });

  it('never keeps the refresh token of one account for another', async () => {
    await connect('user-1');
    set('omitRefreshToken', true);
    world.time.now += 60;
    await expect(connect('user-1', { account: ben })).rejects.toThrow(coded('refresh_token_missing'));
  });

  it('asks for consent again when Google never sent a refresh token', async () => {
    set('omitRefreshToken', true);
    await expect(connect('user-1')).rejects.toThrow(coded('refresh_token_missing'));
    expect(await world.connection('user-1')).toBeUndefined();
  });
});

describe('granted permissions', () => {
  const everything = { optionalScopes: Object.values(optionalScopes) };

  it('compares granted scopes as a set, in any order', async () => {
    const { connection } = await connect('user-1', {}, everything);
    expect(new Set(connection.scopes)).toEqual(new Set([calendarScopes.owned, ...everything.optionalScopes]));
  });

  it('without the box for events makes no connection', async () => {
    await expect(connect('user-1', { untick: ['calendar.events.owned'] }, everything)).rejects.toThrow(
      coded('calendar_permission_missing'),
    );
    expect(await world.connection('user-1')).toBeUndefined();
  });

  it('connects without the optional permissions', async () => {
    const { connection } = await connect('user-1', { untick: everything.optionalScopes }, everything);
    expect(connection.status).toBe('active');
    expect(connection.scopes).not.toContain(optionalScopes.calendarList);
  });
});

describe('the exchange of the code', () => {
  it.each<[string, FaultEffect, string]>([
    ['no answer comes', { lose: 'response' as const }, 'google_unreachable'],
    ['the answer is a page', { status: 502, html: true as const }, 'google_unexpected_status'],
    ['the answer has no token', { status: 200, body: '{}' }, 'google_unexpected_body'],
    ['the answer is an OAuth error', { status: 400, oauthError: 'something_new' }, 'google_oauth_error'],
    ['the code is refused', { status: 400, oauthError: 'invalid_grant' }, 'authorization_failed'],
    [
      'an administrator refuses',
      { status: 400, oauthError: 'admin_policy_enforced' },
      'administrator_denied',
    ],
    ...[
      'invalid_client',
      'unauthorized_client',
      'deleted_client',
      'disabled_client',
      'restricted_client',
      'org_internal',
      'invalid_scope',
      'invalid_request',
      'unsupported_grant_type',
      'access_not_configured',
    ].map(
      (oauthError) =>
        [
          `our client is refused with ${oauthError}`,
          { status: 403, oauthError },
          'google_client_misconfigured',
        ] satisfies [string, FaultEffect, string],
    ),
    [
      'our redirect URI is refused',
      { status: 400, oauthError: 'redirect_uri_mismatch' },
      'google_client_misconfigured',
    ],
  ])('sends a code once and answers the right error when %s', async (_, how, code) => {
    world.google.control.fail({ on: 'token', times: 9, how });
    await expect(connect('user-1')).rejects.toThrow(coded(code));
    expect(calls('token')).toBe(1);
    expect(await world.connection('user-1')).toBeUndefined();
    expect(world.bus.events).toEqual([]);
  });

  it('is refused with another PKCE verifier: a stolen code is worth nothing', async () => {
    const mine = await begin('user-1');
    const theirs = await begin('attacker');
    const stolen = new URL(await walkConsent(mine.location)).searchParams.get('code') ?? '';
    const callback = new URL(await walkConsent(theirs.location));
    callback.searchParams.set('code', stolen);
    await expect(finish(callback.href, theirs.browser)).rejects.toThrow(coded('authorization_failed'));
  });

  it('refuses a callback whose ID token has another nonce', async () => {
    const { location, browser } = await begin('user-1');
    const url = new URL(location);
    url.searchParams.set('nonce', 'x'.repeat(43));
    await expect(finish(await walkConsent(url.href), browser)).rejects.toThrow(coded('id_token_invalid'));
    expect(await world.connection('user-1')).toBeUndefined();
  });

  it("accepts both of Google's issuer names", async () => {
    set('issuer', 'accounts.google.com');
    await connect('user-1');
    expect(await world.connection('user-1')).toMatchObject({ status: 'active' });
  });

  it('ignores unknown query parameters of a callback', async () => {
    const { location, browser } = await begin('user-1');
    const callback = await walkConsent(location);
    await finish(
      `${callback}&iss=https%3A%2F%2Faccounts.google.com&hd=example.com&authuser=7&new=1`,
      browser,
    );
    expect(await world.connection('user-1')).toMatchObject({ status: 'active' });
  });
});

describe('another try', () => {
  const retry = (state: string, browser: string | undefined) =>
    startConnection(connectDeps(), { token: undefined, retry: state, returnTo: undefined, browser });

  it('a retry after a refusal works in the same browser, with fresh secrets', async () => {
    const { location, browser } = await begin('user-1');
    const denied = await walkConsent(location, { deny: true });
    await expect(finish(denied, browser)).rejects.toThrow(coded('access_denied'));
    const state = new URL(denied).searchParams.get('state') ?? '';
    const again = await retry(state, browser);
    expect(new URL(again.location).searchParams.get('nonce')).not.toBe(
      new URL(location).searchParams.get('nonce'),
    );
    await finish(await walkConsent(again.location), again.browser);
    expect(await world.connection('user-1')).toMatchObject({ status: 'active' });
  });

  it('a retry works only in the same browser and until the first link expires', async () => {
    const { location, browser } = await begin('user-1');
    const state = new URL(location).searchParams.get('state') ?? '';
    await expect(retry(state, randomSecret())).rejects.toThrow(coded('wrong_browser'));
    await expect(retry(state, undefined)).rejects.toThrow(coded('wrong_browser'));
    world.time.now += 599;
    const again = await retry(state, browser);
    world.time.now += 2;
    await expect(retry(state, browser)).rejects.toThrow(coded('state_expired'));
    await expect(retry(new URL(again.location).searchParams.get('state') ?? '', browser)).rejects.toThrow(
      coded('state_expired'),
    );
  });

  it('a retry makes no second connection of one link', async () => {
    const { location, browser } = await begin('user-1');
    await finish(await walkConsent(location), browser);
    const again = await retry(new URL(location).searchParams.get('state') ?? '', browser);
    await expect(finish(await walkConsent(again.location), browser)).rejects.toThrow(coded('state_used'));
  });
});

describe('the calendar of a connection', () => {
  /** Connects, chooses a calendar, and connects again. */
  async function again(calendarId: string, prepare: () => void, walk?: Walk): Promise<GrantedConnection> {
    await connect('user-1');
    await world.deps.connections.updateSettings(
      'user-1',
      { tokenVersion: 1 },
      { calendarId, timeZone: 'Asia/Tokyo', updatedAt: world.time.now },
    );
    world.time.now += 60;
    prepare();
    return (await connect('user-1', walk)).connection;
  }
  const fail =
    (how: FaultEffect, times = 1) =>
    () =>
      world.google.control.fail({ on: 'events.list', times, how });
  const gone = { status: 404, reason: 'notFound' };

  it('a new connection uses the primary calendar and the zone that Google answers', async () => {
    const { connection } = await connect('user-1');
    expect(connection).toMatchObject({ calendarId: 'primary', timeZone: 'Europe/Vienna' });
    expect(calls('events.list')).toBe(1);
    expect((await connect('user-2', { account: ben })).connection.timeZone).toBe('America/New_York');
  });

  it.each<FaultEffect>([
    { status: 503, reason: 'backendError' },
    { lose: 'response' },
    { status: 403, reason: 'notACalendarUser', domain: 'calendar' },
    { status: 403, reason: 'insufficientPermissions' },
    { status: 404, html: true },
    gone,
    { status: 200, body: '{"accessRole":"owner"}' },
    { status: 200, body: '{"accessRole":"owner","timeZone":"Mars/Olympus"}' },
  ])('connects without a time zone when the read fails with %o', async (how) => {
    world.google.control.fail({ on: 'events.list', times: 9, how });
    const { connection } = await connect('user-1');
    expect(connection).toMatchObject({ status: 'active', calendarId: 'primary' });
    expect(connection).not.toHaveProperty('timeZone');
  });

  it('raises an operator alarm when the Calendar API is not enabled', async () => {
    world.google.control.fail({ on: 'events.list', how: { status: 403, reason: 'accessNotConfigured' } });
    await connect('user-1');
    expect(logged.join('')).toContain('"OperatorError":1');
  });

  it('a reconnect keeps the chosen calendar and reads its time zone again', async () => {
    const calendarId = secondCalendar;
    const connection = await again(calendarId, () => {});
    expect(connection).toMatchObject({ calendarId, timeZone: 'Europe/Vienna' });
    expect(calls('events.list')).toBe(2);
  });

  it('a reconnect returns to the primary calendar when the chosen one is gone', async () => {
    const calendarId = secondCalendar;
    const connection = await again(calendarId, () => world.google.control.deleteCalendar(ada, calendarId));
    expect(connection).toMatchObject({ calendarId: 'primary', timeZone: 'Europe/Vienna' });
  });

  it.each<[string, FaultEffect, number]>([
    ['once', gone, 1],
    ['as long as the account answers nothing else', gone, 9],
    ['from a proxy', { status: 404, html: true }, 9],
  ])('a reconnect keeps the chosen calendar when a 404 comes %s', async (_, how, times) => {
    const calendarId = secondCalendar;
    expect(await again(calendarId, fail(how, times))).toMatchObject({ calendarId });
  });

  it.each<[string, FaultEffect]>([
    ['Google shows that it is of another account', { status: 200, body: '{"accessRole":"writer"}' }],
    ['Google finds the scope too narrow', { status: 403, reason: 'insufficientPermissions' }],
  ])('a reconnect for owned calendars returns to the primary one when %s', async (_, how) => {
    expect(await again(secondCalendar, fail(how))).toMatchObject({
      calendarId: 'primary',
      timeZone: 'Europe/Vienna',
    });
  });

  it.each([
    ['returns to the primary calendar', 'twice, but not to the primary one', [0, 1], 'primary'],
    ['keeps the chosen calendar', 'once', [0], secondCalendar],
    ['keeps the chosen calendar', 'like access to every one', [0, 0, 0], secondCalendar],
  ])('a reconnect %s when access to the chosen one is refused %s', async (_, __, passed, expected) => {
    const permission = { calendarScope: 'shared' } as const;
    await connect('user-1', {}, permission);
    await world.deps.connections.updateSettings(
      'user-1',
      { tokenVersion: 1 },
      { calendarId: secondCalendar, updatedAt: world.time.now },
    );
    world.time.now += 60;
    const how = { status: 403, reason: 'insufficientPermissions' };
    for (const after of passed) world.google.control.fail({ on: 'events.list', after, how });
    const { connection } = await connect('user-1', {}, permission);
    expect(connection.calendarId).toBe(expected);
    // A crashed run may have left an event in the calendar that is used no more.
    const former = expected === 'primary' ? [secondCalendar] : undefined;
    expect(connection.formerCalendars?.map((each) => each.calendarId)).toEqual(former);
  });

  it('a reconnect keeps the known time zone of a calendar that cannot be read', async () => {
    const calendarId = secondCalendar;
    expect(await again(calendarId, fail({ status: 503, reason: 'backendError' }))).toMatchObject({
      calendarId,
      timeZone: 'Asia/Tokyo',
    });
  });

  it('a reconnect after a disconnect checks the former calendar again, also one named by address', async () => {
    const former = [secondCalendar, ada, 'ben@example.com', 'primary'];
    for (const [index, calendarId] of former.entries()) {
      const userId = `user-${index}`;
      await connect(userId);
      await world.deps.connections.updateSettings(userId, { tokenVersion: 1 }, { calendarId, updatedAt: 0 });
      await disconnect(world.deps, userId);
      world.time.now += 60;
      const { connection } = await connect(userId);
      // The address of another person is not recognized.
      const expected = calendarId === 'ben@example.com' ? undefined : [calendarId];
      expect(connection.formerCalendars?.map((each) => each.calendarId)).toEqual(expected);
      expect(connection).not.toHaveProperty('hashedCalendars');
    }
  });

  it('a connection to another account starts with its primary calendar', async () => {
    expect(await again(secondCalendar, () => {}, { account: ben })).toMatchObject({
      calendarId: 'primary',
      timeZone: 'America/New_York',
    });
  });
});

describe('the attempts of one link', () => {
  it('one link asks Google at most five times, over all its states and retries', async () => {
    const token = await linkToken('user-1');
    const browser = randomSecret();
    const attempt = async () => {
      const { location } = await startConnection(connectDeps(), {
        token,
        retry: undefined,
        returnTo: undefined,
        browser,
      });
      const state = new URL(location).searchParams.get('state');
      return finish(`http://localhost/?${new URLSearchParams({ code: 'x', state: state ?? '' })}`, browser);
    };
    for (let time = 0; time < 5; time++) {
      await expect(attempt()).rejects.toThrow(coded('authorization_failed'));
    }
    for (let time = 0; time < 3; time++) await expect(attempt()).rejects.toThrow(coded('state_used'));
    expect(calls('token')).toBe(5);
    expect(await world.connection('user-1')).toBeUndefined();
    // Another link of the same user works.
    world.time.now += 1;
    await connect('user-1');
  });

  it('counts concurrent attempts of one link', async () => {
    const { location, browser } = await begin('user-1');
    const state = new URL(location).searchParams.get('state') ?? '';
    const callback = (code: number) =>
      finish(`http://localhost/?${new URLSearchParams({ code: `x${code}`, state })}`, browser).catch(
        ({ code }: { code: string }) => code,
      );
    const outcomes = await Promise.all(Array.from({ length: 20 }, (_, code) => callback(code)));
    expect(outcomes.filter((code) => code === 'authorization_failed')).toHaveLength(5);
    expect(outcomes.filter((code) => code === 'state_used')).toHaveLength(15);
    expect(calls('token')).toBe(5);
  });

  it('attempts that the user denies do not count', async () => {
    const { location, browser } = await begin('user-1');
    const denied = await walkConsent(location, { deny: true });
    for (let time = 0; time < 7; time++) {
      await expect(finish(denied, browser)).rejects.toThrow(coded('access_denied'));
    }
    await finish(await walkConsent(location), browser);
    expect(await world.connection('user-1')).toMatchObject({ status: 'active' });
  });
});

describe("an error of Google's consent page", () => {
  const operator = 'google_client_misconfigured';
  it.each<[string, string, number]>([
    ['access_denied', 'access_denied', 403],
    ['admin_policy_enforced', 'administrator_denied', 403],
    ['disallowed_useragent', 'browser_unsupported', 403],
    ['org_internal', operator, 503],
    ['invalid_scope', operator, 503],
    ['invalid_client', operator, 503],
    ['deleted_client', operator, 503],
    ['disabled_client', operator, 503],
    ['unauthorized_client', operator, 503],
    ['redirect_uri_mismatch', operator, 503],
    ['invalid_request', operator, 503],
    ['unsupported_response_type', operator, 503],
    ['access_not_configured', operator, 503],
    ['server_error', 'authorization_failed', 400],
    ['temporarily_unavailable', 'authorization_failed', 400],
    ['interaction_required', 'authorization_failed', 400],
    ['something_new', 'authorization_failed', 400],
    ['toString', 'authorization_failed', 400],
    ['', 'authorization_failed', 400],
  ])('an error %j of the consent page is answered %s with the right advice', async (error, code, status) => {
    const { location, browser } = await begin('user-1');
    const state = new URL(location).searchParams.get('state') ?? '';
    const query = `?${new URLSearchParams({ error, state })}`;
    const thrown: unknown = await finish(`http://localhost/${query}`, browser).catch((reason) => reason);
    expect(thrown).toMatchObject({ code, status });
    expect(isOperatorError(thrown)).toBe(code === operator);
    const page = errorPage(
      thrown as AppError,
      {
        rawQueryString: query.slice(1),
        headers: { accept: 'text/html' },
      } as unknown as HttpRequest,
    );
    const retryHelps = ['access_denied', 'authorization_failed'].includes(code);
    expect(page.body?.includes('Try again')).toBe(retryHelps);
    expect(page.body).not.toContain('undefined');
    expect(calls('token')).toBe(0);
    expect(await world.connection('user-1')).toBeUndefined();
  });
});

describe('a used link', () => {
  const beginWith = (token: string) =>
    startConnection(connectDeps(), { token, retry: undefined, returnTo: undefined, browser: undefined });
  /** Connects with a link, and returns the link. */
  async function used(): Promise<string> {
    const token = await linkToken('user-1');
    const { location, browser } = await beginWith(token);
    await finish(await walkConsent(location), browser);
    return token;
  }

  it('does not connect another account, in any spelling of its token', async () => {
    const token = await used();
    const before = await world.connection('user-1');
    for (const spelling of otherSpellings(token)) {
      await expect(beginWith(spelling), JSON.stringify(spelling)).rejects.toThrow(coded('token_invalid'));
    }
    const { location, browser } = await beginWith(token);
    await expect(finish(await walkConsent(location, { account: ben }), browser)).rejects.toThrow(
      coded('state_used'),
    );
    expect(await world.connection('user-1')).toEqual(before);
  });

  it('a used link does not connect again after the user has disconnected', async () => {
    const token = await used();
    await disconnect(world.deps, 'user-1');
    const before = await world.connection('user-1');
    const { location, browser } = await beginWith(token);
    await expect(finish(await walkConsent(location, { account: ben }), browser)).rejects.toThrow(
      coded('state_used'),
    );
    expect(await world.connection('user-1')).toEqual(before);
  });

  it('shows its holder nothing of the account, before and after it has connected', async () => {
    const unused = (await beginWith(await linkToken('user-2'))).location;
    const after = (await beginWith(await used())).location;
    const names = (location: string) => [...new URL(location).searchParams.keys()].sort();
    expect(names(after)).toEqual(names(unused));
    expect(names(after)).not.toContain('login_hint');
    expect(new URL(after).searchParams.get('prompt')).toBe('consent select_account');
  });
});

describe('the requested scope', () => {
  const scopeOf = async (calendarScope?: 'shared') =>
    new URL((await begin('user-1', calendarScope ? { calendarScope } : {})).location).searchParams.get(
      'scope',
    );

  it('requests owned calendars by default, and shared ones if configured', async () => {
    expect(await scopeOf()).toBe(`openid email ${calendarScopes.owned}`);
    expect(await scopeOf('shared')).toBe(`openid email ${calendarScopes.shared}`);
  });

  it.each(['owned', 'shared'] as const)(
    'accepts a grant for %s calendars that an earlier configuration requested',
    async (granted) => {
      const { connection } = await connect('user-1', {}, { calendarScope: granted });
      expect(connection.scopes).toContain(calendarScopes[granted]);
    },
  );
});

it('keeps the return address over a retry', async () => {
  const returnTo = 'https://app.example.com/settings?tab=calendar';
  const token = await linkToken('user-1');
  const first = await startConnection(connectDeps(), {
    token,
    retry: undefined,
    returnTo,
    browser: undefined,
  });
  const state = new URL(first.location).searchParams.get('state') ?? '';
  const again = await startConnection(connectDeps(), {
    token: undefined,
    retry: state,
    returnTo: 'https://evil.example',
    browser: first.browser,
  });
  expect((await finish(await walkConsent(again.location), again.browser)).returnTo).toBe(returnTo);
});

it.each([
  'https://evil.example/',
  'https://app.example.com.evil.example/',
  'https://user@app.example.com/',
  'http://app.example.com/',
  '//app.example.com',
  'javascript:alert(1)',
  'nonsense',
  '',
])('goes back to configured origins only, not to %j', async (returnTo) => {
  const token = await linkToken('user-1');
  await expect(
    startConnection(connectDeps(), { token, retry: undefined, returnTo, browser: undefined }),
  ).rejects.toThrow(coded('return_to_not_allowed'));
});
