import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { refreshDueConnections } from '../../functions/token-refresh/refresh-due.ts';
import { shardOf, shards } from '../../shared/aws/dynamo.ts';
import { getAccess, recordUse } from '../../shared/connection/access-token.ts';
import type { GrantedConnection } from '../../shared/connection/connection.ts';
import { parseKeys } from '../../shared/crypto/keys.ts';
import { decryptTokens, type Tokens } from '../../shared/crypto/token-encryption.ts';
import { logged } from '../support/setup.ts';
import { ada, startWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
});
afterEach(() => world.close());

type UsedLink = GrantedConnection['usedLinks'][number];
const coded = (code: string) => expect.objectContaining({ code });
const tokenCalls = () => world.calls().filter((route) => route === 'token').length;
const sweep = (timeLeft = () => true) => refreshDueConnections({ ...world.deps, timeLeft });
const opened = ({ userId, tokens }: GrantedConnection): Promise<Tokens> =>
  decryptTokens(world.tokenKeys.value, userId, tokens);
const expired = (userId: string) =>
  world.connect(userId, { accessTokenExpiresAt: world.time.now + 30, refreshAt: world.time.now - 1 });

describe('an access token', () => {
  it('a fresh access token costs no call', async () => {
    const connection = await world.connect('user-1');
    await getAccess(world.deps, connection);
    expect(world.calls()).toEqual([]);
  });

  it('refreshes an access token that is about to expire, and every worker gets the new one', async () => {
    const before = await expired('user-1');
    const { accessToken, connection } = await getAccess(world.deps, before);
    expect(tokenCalls()).toBe(1);
    const stored = (await world.connection('user-1')) as GrantedConnection;
    expect(stored).toMatchObject({
      tokenVersion: 2,
      accessTokenExpiresAt: world.time.now + 3599,
      status: 'active',
    });
    expect((await opened(stored)).accessToken).toBe(accessToken);
    expect(connection.tokenVersion).toBe(2);
  });

  it('fifty concurrent workers refresh an expired token once', async () => {
    const connection = await expired('user-1');
    world.google.control.latency(50);
    const results = await Promise.all(Array.from({ length: 50 }, () => getAccess(world.deps, connection)));
    expect(tokenCalls()).toBe(1);
    expect(new Set(results.map(({ accessToken }) => accessToken)).size).toBe(1);
  });

  it('the next worker refreshes when the lease of a crashed one has expired', async () => {
    const connection = await expired('user-1');
    const { now } = world.time;
    await world.deps.connections.acquireLease('user-1', 1, { until: now + 20, now });
    setTimeout(() => {
      world.time.now += 11;
    }, 60);
    // Waiting for other workers ends before such a lease does: the caller retries later.
    await expect(getAccess(world.deps, connection)).rejects.toThrow(coded('refresh_in_progress'));
    world.time.now += 10;
    const { connection: next } = await getAccess(world.deps, connection);
    expect(next.tokenVersion).toBe(2);
  });

  it('gives no token to a worker when the connection broke in the meantime', async () => {
    const connection = await expired('user-1');
    await world.deps.connections.markReauthorizationRequired('user-1', 1, 'invalid_grant', world.time.now);
    await expect(getAccess(world.deps, connection)).rejects.toThrow(coded('reauthorization_required'));
    expect(tokenCalls()).toBe(0);
  });
});

describe('a refresh', () => {
  it('a refresh drops expired used links and keeps valid ones', async () => {
    const { now } = world.time;
    const [over, valid] = [now, now + 1].map((until) => ({ link: `until ${until}`, until })) as [
      UsedLink,
      UsedLink,
    ];
    const connection = await world.connect('user-1', { accessTokenExpiresAt: now, usedLinks: [over, valid] });
    await getAccess(world.deps, connection);
    expect(await world.connection('user-1')).toMatchObject({ usedLinks: [valid] });
  });
});

describe('a refresh token', () => {
  it('keeps the refresh token when Google sends none', async () => {
    const connection = await expired('user-1');
    const before = (await opened(connection)).refreshToken;
    await getAccess(world.deps, connection);
    const stored = (await world.connection('user-1')) as GrantedConnection;
    expect((await opened(stored)).refreshToken).toBe(before);
  });

  it('stores the new refresh token that Google sends and its library hides', async () => {
    world.google.control.setSwitch('rotateRefreshToken', true);
    const connection = await expired('user-1');
    const before = (await opened(connection)).refreshToken;
    await getAccess(world.deps, connection);
    const stored = (await world.connection('user-1')) as GrantedConnection;
    expect((await opened(stored)).refreshToken).not.toBe(before);
    world.time.now += 4000;
    await getAccess(world.deps, stored);
    expect((await world.connection('user-1'))?.tokenVersion).toBe(3);
  });

  it('each refresh re-encrypts the tokens with the current key', async () => {
    await expired('user-1');
    const { value: old } = world.tokenKeys;
    const added = { k2: randomBytes(32).toString('hex') };
    const onlyNew = parseKeys('token-encryption', JSON.stringify({ current: 'k2', ...added }));
    world.tokenKeys.value = {
      ...onlyNew,
      key: (id) => onlyNew.key(id) ?? old.key(id),
    };
    await sweep();
    const stored = (await world.connection('user-1')) as GrantedConnection;
    expect(await decryptTokens(onlyNew, 'user-1', stored.tokens)).toEqual({
      accessToken: expect.stringMatching(/.+/),
      refreshToken: expect.stringMatching(/.+/),
    });
  });

  it('reads the keys again for a token with an unknown key, and the connection stays active', async () => {
    const { value: old } = world.tokenKeys;
    const rotated = parseKeys(
      'token-encryption',
      JSON.stringify({ current: 'k2', k2: randomBytes(32).toString('hex') }),
    );
    world.tokenKeys.value = rotated;
    const connection = await expired('user-1');

    world.tokenKeys.value = old;
    await expect(getAccess(world.deps, connection)).rejects.toThrow(coded('token_unreadable'));
    expect(await world.connection('user-1')).toMatchObject({ status: 'active', refreshFailures: 1 });

    world.tokenKeys.newer = rotated;
    expect((await getAccess(world.deps, connection)).connection.tokenVersion).toBe(2);
    expect(world.bus.events).toEqual([]);
  });
});

describe('a revoked grant', () => {
  it('marks a revoked grant at once, publishes it once, and does not call Google again', async () => {
    const connection = await expired('user-1');
    world.google.control.revokeGrant(ada);
    await expect(getAccess(world.deps, connection)).rejects.toThrow(coded('reauthorization_required'));
    await expect(getAccess(world.deps, connection)).rejects.toThrow(coded('reauthorization_required'));
    await sweep();
    expect(tokenCalls()).toBe(1);
    expect(await world.connection('user-1')).toMatchObject({
      status: 'reauthorization_required',
      reason: 'invalid_grant',
    });
    expect(world.bus.events).toEqual([
      expect.objectContaining({
        type: 'connection.reauthorization_required',
        userId: 'user-1',
        reason: 'invalid_grant',
      }),
    ]);
  });

  it.each([
    ['invalid_rapt', { status: 400, oauthError: 'invalid_grant', oauthSubtype: 'invalid_rapt' }],
    ['admin_policy_enforced', { status: 400, oauthError: 'admin_policy_enforced' }],
  ])('a broken connection keeps the reason %s', async (reason, how) => {
    const connection = await expired('user-1');
    world.google.control.fail({ on: 'token', how });
    await expect(getAccess(world.deps, connection)).rejects.toThrow(coded('reauthorization_required'));
    expect(await world.connection('user-1')).toMatchObject({ reason });
  });

  it('does not mark a grant as revoked when the user reconnected concurrently', async () => {
    const connection = await expired('user-1');
    world.google.control.fail({ on: 'token', how: { delayMs: 80 } });
    world.google.control.revokeGrant(ada);
    const asking = getAccess(world.deps, connection);
    await new Promise((resolve) => setTimeout(resolve, 30));
    const stored = (await world.connection('user-1')) as GrantedConnection;
    const { leaseUntil: _, ...again } = stored;
    const fresh = { ...again, tokenVersion: 2, accessTokenExpiresAt: world.time.now + 3599 };
    expect(await world.deps.connections.put(fresh, { tokenVersion: 1 })).toBe(true);
    expect((await asking).connection.tokenVersion).toBe(2);
    expect(await world.connection('user-1')).toMatchObject({ status: 'active' });
    expect(world.bus.events).toEqual([]);
  });

  it('does not mark a revoked grant while the bus is unavailable', async () => {
    const connection = await expired('user-1');
    world.google.control.revokeGrant(ada);
    world.bus.unavailable = true;
    await expect(getAccess(world.deps, connection)).rejects.toThrow('The bus is away.');
    expect(await world.connection('user-1')).toMatchObject({ status: 'active' });
  });
});

describe('temporary failures', () => {
  it.each([
    ['a 503', { status: 503, html: true as const }],
    ['a 429', { status: 429, oauthError: 'rate_limit_exceeded' }],
    ['a cut connection', { lose: 'response' as const }],
    ['an answer without tokens', { status: 200, body: '{}' }],
    ["the operator's wrong client secret", { status: 401, oauthError: 'invalid_client' }],
  ])('%s leaves the status of the user unchanged and postpones the refresh', async (_, how) => {
    const connection = await expired('user-1');
    world.google.control.fail({ on: 'token', times: 2, how });
    await expect(getAccess(world.deps, connection)).rejects.toThrow(
      expect.objectContaining({ retryable: true }),
    );
    const stored = await world.connection('user-1');
    expect(stored).toMatchObject({
      status: 'active',
      refreshFailures: 1,
      refreshAt: world.time.now + 45,
      tokenVersion: 1,
    });
    expect(stored).not.toHaveProperty('leaseUntil');
    expect(tokenCalls()).toBe(1);
  });

  it('recovers as soon as a rotated client secret is readable', async () => {
    const connection = await expired('user-1');
    const right = world.googleClient.value;
    world.googleClient.value = { ...right, clientSecret: 'rolled' };
    world.googleClient.newer = right;
    expect((await getAccess(world.deps, connection)).connection.tokenVersion).toBe(2);
  });
});

describe('use of a connection', () => {
  it('use of an idle connection schedules its refresh at token expiry, and is recorded once', async () => {
    const { now } = world.time;
    const idle = await world.connect('user-1', { lastUsedAt: now - 5 * 86_400, refreshAt: now + 86_400 });
    await recordUse(world.deps, idle);
    const stored = (await world.connection('user-1')) as GrantedConnection;
    expect(stored).toMatchObject({ lastUsedAt: now, refreshAt: idle.accessTokenExpiresAt - 900 });
    world.time.now += 60;
    await recordUse(world.deps, stored);
    expect(await world.connection('user-1')).toEqual(stored);
  });
});

describe('a refresh sweep', () => {
  it('a sweep refreshes exactly the due connections', async () => {
    for (let index = 0; index < 30; index++) await expired(`due-${index}`);
    await world.connect('not-due');
    expect(await sweep()).toEqual({
      refreshed: 30,
      revoked: 0,
      reauthorizationRequired: 0,
      failed: 0,
      skipped: 0,
      unknownOAuthErrors: 0,
    });
    expect(tokenCalls()).toBe(30);
    expect((await world.connection('due-7'))?.tokenVersion).toBe(2);
    expect((await world.connection('not-due'))?.tokenVersion).toBe(1);
    expect(await sweep()).toMatchObject({ refreshed: 0 });
  });

  it('two concurrent sweeps refresh nothing twice', async () => {
    for (let index = 0; index < 30; index++) await expired(`due-${index}`);
    world.google.control.latency(20);
    const reports = await Promise.all([sweep(), sweep()]);
    expect(tokenCalls()).toBe(30);
    expect(reports.reduce((sum, { failed }) => sum + failed, 0)).toBe(0);
  });

  it('a sweep refreshes an idle connection every few days, not every hour', async () => {
    const { now } = world.time;
    await world.connect('idle', {
      lastUsedAt: now - 2 * 86_400,
      accessTokenExpiresAt: now - 86_400,
      refreshAt: now,
    });
    await sweep();
    expect((await world.connection('idle'))?.refreshAt).toBe(now + 3 * 86_400);
  });

  it('a sweep continues after a connection whose grant was revoked', async () => {
    await expired('one');
    await expired('two');
    world.google.control.fail({ on: 'token', how: { status: 400, oauthError: 'invalid_grant' } });
    expect(await sweep()).toMatchObject({ refreshed: 1, reauthorizationRequired: 1 });
  });

  it.each([
    [4, 0],
    [5, 1],
    [12, 1],
  ])(
    'a sweep of %i connections with an unknown OAuth error alarms the operator %i times',
    async (users, alarms) => {
      for (let index = 0; index < users; index++) await expired(`due-${index}`);
      world.google.control.fail({
        on: 'token',
        times: 1000,
        how: { status: 400, oauthError: 'something_new' },
      });
      logged.length = 0;
      expect(await sweep()).toMatchObject({ failed: users, unknownOAuthErrors: users });
      expect(logged.filter((line) => line.includes('"OperatorError":1'))).toHaveLength(alarms);
      expect(logged.filter((line) => line.includes('"UnknownOAuthError":1'))).toHaveLength(users);
      expect((await world.connection('due-0'))?.status).toBe('active');
    },
  );

  it("a sweep stops at an operator error, and changes no user's status", async () => {
    for (let index = 0; index < 60; index++) await expired(`due-${index}`);
    world.google.control.fail({
      on: 'token',
      times: 1000,
      how: { status: 401, oauthError: 'invalid_client' },
    });
    expect(await sweep()).toMatchObject({ refreshed: 0, endedEarly: 'operator' });
    expect(tokenCalls()).toBeLessThanOrEqual(20);
    for (let index = 0; index < 60; index++)
      expect((await world.connection(`due-${index}`))?.status).toBe('active');
    expect(world.bus.events).toEqual([]);
  });

  it('a sweep stops in a storm of failures, and the rest stays due', async () => {
    for (let index = 0; index < 80; index++) await expired(`due-${index}`);
    world.google.control.fail({ on: 'token', times: 1000, how: { status: 503 } });
    expect(await sweep()).toMatchObject({ refreshed: 0, endedEarly: 'outage' });
    expect(tokenCalls()).toBeLessThanOrEqual(40);
  });

  it('a sweep stops at its time limit, and the next one continues', async () => {
    for (let index = 0; index < 12; index++) await expired(`due-${index}`);
    let left = 5;
    expect(await sweep(() => left-- > 0)).toMatchObject({ refreshed: 5, endedEarly: 'time' });
    expect(await sweep()).toMatchObject({ refreshed: 7 });
  });

  it('one slow connection delays no other connection, page or shard of a sweep', async () => {
    for (let index = 0; index < 40; index++) await expired(`due-${index}`);
    const { google } = world.deps;
    let asked = 0;
    let answerTheFirst = () => {};
    const allAsked = new Promise<void>((resolve) => {
      answerTheFirst = resolve;
    });
    const refresh: typeof google.refresh = async (...request) => {
      asked += 1;
      if (asked === 40) answerTheFirst();
      if (asked === 1) await allAsked;
      return google.refresh(...request);
    };
    const report = await refreshDueConnections({
      ...world.deps,
      google: { ...google, refresh },
      timeLeft: () => true,
    });
    expect(report).toMatchObject({ refreshed: 40 });
  });

  it('a sweep reads one page ahead and no more', async () => {
    for (let index = 0; index < 40; index++) await expired(`due-${index}`);
    const { google, connections } = world.deps;
    const pages: number[] = [];
    let refreshed = 0;
    let furthest = 0;
    const report = await refreshDueConnections({
      ...world.deps,
      concurrency: 2,
      connections: {
        ...connections,
        async listDue(...query) {
          const page = await connections.listDue(...query);
          pages.push(page.userIds.length);
          furthest = Math.max(furthest, pages.reduce((sum, length) => sum + length) - refreshed);
          return page;
        },
      },
      google: {
        ...google,
        async refresh(...request) {
          refreshed += 1;
          return google.refresh(...request);
        },
      },
      timeLeft: () => true,
    });
    expect(report).toMatchObject({ refreshed: 40 });
    expect(pages).toHaveLength(4);
    // Two pages, and those whose lease is being acquired.
    const two = Math.max(...pages.slice(1).map((length, index) => length + (pages[index] ?? 0)));
    expect(furthest).toBeLessThanOrEqual(two + 2);
    expect(furthest).toBeGreaterThan(Math.max(...pages));
  });

  it('visits shards in turn under a time limit', async () => {
    for (let index = 0; index < 40; index++) await expired(`due-${index}`);
    const { connections, indexShards } = world.deps;
    let left = 24;
    const report = await refreshDueConnections({
      ...world.deps,
      concurrency: 2,
      connections: {
        ...connections,
        listDue: (shard, now, _limit, cursor) => connections.listDue(shard, now, 3, cursor),
      },
      timeLeft: () => left-- > 0,
    });
    expect(report).toMatchObject({ refreshed: 24, endedEarly: 'time' });
    const refreshed: Record<string, number> = {};
    for (let index = 0; index < 40; index++) {
      const connection = await world.connection(`due-${index}`);
      if (connection?.tokenVersion !== 2) continue;
      const shard = shardOf(connection.userId, indexShards);
      refreshed[shard] = (refreshed[shard] ?? 0) + 1;
    }
    expect(refreshed).toEqual(Object.fromEntries(shards(indexShards).map((shard) => [shard, 6])));
  });

  it('a sweep that cannot read a page finishes started work, then fails', async () => {
    for (let index = 0; index < 40; index++) await expired(`due-${index}`);
    const { connections } = world.deps;
    let pages = 0;
    let onFirstPage = 0;
    const failing = refreshDueConnections({
      ...world.deps,
      connections: {
        ...connections,
        async listDue(...query) {
          pages += 1;
          if (pages === 2) throw new Error('The table is away.');
          const page = await connections.listDue(...query);
          onFirstPage = page.userIds.length;
          return page;
        },
      },
      timeLeft: () => true,
    });
    await expect(failing).rejects.toThrow('The table is away.');
    expect(pages).toBe(2);
    expect(onFirstPage).toBeGreaterThan(0);
    const versions = await Promise.all(
      Array.from({ length: 40 }, async (_, index) => (await world.connection(`due-${index}`))?.tokenVersion),
    );
    expect(versions.filter((version) => version === 2)).toHaveLength(onFirstPage);
  });

  it('a sweep that has ended ignores the page that it read ahead', async () => {
    for (let index = 0; index < 40; index++) await expired(`due-${index}`);
    const { connections } = world.deps;
    let pages = 0;
    let left = 1;
    const report = await refreshDueConnections({
      ...world.deps,
      connections: {
        ...connections,
        async listDue(...query) {
          pages += 1;
          if (pages > 1) throw new Error('The table is away.');
          return connections.listDue(...query);
        },
      },
      timeLeft: () => left-- > 0,
    });
    expect(report).toMatchObject({ refreshed: 1, endedEarly: 'time' });
    expect(pages).toBe(2);
  });
});
