import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import {
  changeConnection,
  disconnect,
  listCalendars,
  viewConnection,
} from '../../functions/connections/manage-connection.ts';
import { refreshDueConnections } from '../../functions/token-refresh/refresh-due.ts';
import type { FaultEffect } from '../../infra/local/google/faults.ts';
import { type Booking, recordedEvent } from '../../shared/booking/booking.ts';
import { calendarScopes } from '../../shared/google/token-endpoint.ts';
import { isOperatorError } from '../../shared/lib/app-error.ts';
import { optionalScopes } from '../../shared/lib/names.ts';
import { ada, startWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
});
afterEach(() => world.close());

const coded = (code: string, status?: number) =>
  expect.objectContaining({ code, ...(status ? { status } : {}) });
const sweep = () => refreshDueConnections({ ...world.deps, timeLeft: () => true });
const withList = { scopes: ['openid', calendarScopes.owned, optionalScopes.calendarList] };

describe('viewing a connection', () => {
  it('shows a connection without its tokens', async () => {
    const connection = await world.connect('user-1');
    const view = await viewConnection(world.deps, 'user-1');
    expect(view).toEqual({
      status: 'active',
      email: ada,
      scopes: ['openid', calendarScopes.owned],
      features: { calendarList: false, freeBusy: false },
      calendarId: 'primary',
      connectedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      lastRefreshedAt: expect.any(String),
    });
    expect(JSON.stringify(view)).not.toContain(connection.tokens.slice(-20));
  });

  it('shows why a connection is broken', async () => {
    await world.connect('user-1');
    await world.deps.connections.markReauthorizationRequired('user-1', 1, 'invalid_grant', world.time.now);
    expect(await viewConnection(world.deps, 'user-1')).toMatchObject({
      status: 'reauthorization_required',
      reason: 'invalid_grant',
    });
  });

  it('answers 404 for a user who never connected', async () => {
    await expect(viewConnection(world.deps, 'nobody')).rejects.toThrow(coded('connection_not_found', 404));
  });
});

describe('the list of calendars', () => {
  it('lists writable calendars, the primary one first', async () => {
    await world.connect('user-1', withList);
    const { calendars } = await listCalendars(world.deps, 'user-1');
    expect(calendars[0]).toMatchObject({ id: ada, primary: true });
    expect(calendars.map(({ summary }) => summary)).toContain('Appointments');
    // Each account also sees one that it can only read.
    expect(calendars).toHaveLength(2);
  });

  it('lists only owned calendars while shared ones are not allowed', async () => {
    const list = { id: 'team', summary: 'Team', accessRole: 'writer' };
    const how = {
      status: 200,
      body: JSON.stringify({ items: [{ ...list, id: 'own', accessRole: 'owner' }, list] }),
    };
    world.google.control.fail({ on: 'calendarList.list', times: 2, how });
    await world.connect('user-1', withList);
    const shared = [...withList.scopes, calendarScopes.shared];
    await world.connect('user-2', { scopes: shared });
    const idsFor = async (userId: string) =>
      (await listCalendars(world.deps, userId)).calendars.map(({ id }) => id);
    expect(await idsFor('user-1')).toEqual(['own']);
    expect(await idsFor('user-2')).toEqual(['own', 'team']);
  });

  it('names the missing permission for the calendar list without calling Google', async () => {
    await world.connect('user-1');
    await expect(listCalendars(world.deps, 'user-1')).rejects.toThrow(
      coded('calendar_list_permission_missing', 403),
    );
    expect(world.calls()).toEqual([]);
  });

  it('listing calendars refreshes a token that Google rejects, once', async () => {
    await world.connect('user-1', withList);
    world.google.control.expireAccessTokens(ada);
    await listCalendars(world.deps, 'user-1');
    expect(world.calls()).toEqual(['calendarList.list', 'token', 'calendarList.list']);
  });

  it('refuses to list calendars while the connection is broken or Google unavailable', async () => {
    await world.connect('user-1', withList);
    world.google.control.fail({ on: 'calendarList.list', how: { status: 503 } });
    await expect(listCalendars(world.deps, 'user-1')).rejects.toThrow(coded('calendar_unavailable', 503));
    await world.deps.connections.markReauthorizationRequired('user-1', 1, 'invalid_grant', world.time.now);
    await expect(listCalendars(world.deps, 'user-1')).rejects.toThrow(coded('reauthorization_required', 409));
  });
});

describe('changing a connection', () => {
  const idOf = async (summary: string): Promise<string> => {
    await world.connect('lister', withList);
    const { calendars } = await listCalendars(world.deps, 'lister');
    const id = calendars.find((each) => each.summary === summary)?.id;
    if (!id) throw new Error(`no calendar ${summary}`);
    return id;
  };

  it('creates new events in the chosen calendar, without permission for the list', async () => {
    const calendarId = await idOf('Appointments');
    await world.connect('user-1');
    await syncBooking(world.deps, world.payment('before'));
    const view = await changeConnection(world.deps, 'user-1', { calendarId });
    expect(view).toMatchObject({ calendarId, timeZone: 'Europe/Vienna' });
    expect(await viewConnection(world.deps, 'user-1')).toEqual(view);
    await syncBooking(world.deps, world.payment('after'));
    expect(world.google.control.events(ada, calendarId)).toHaveLength(1);
    expect(recordedEvent((await world.booking('before')) as Booking)?.calendarId).toBe('primary');
  });

  it.each([
    [
      'a calendar that does not exist',
      { calendarId: 'nowhere@group.calendar.google.com' },
      ['calendar_not_found'],
    ],
    ['a calendar id that leads elsewhere', { calendarId: '..' }, ['invalid_field']],
    ['a calendar id that leads nowhere', { calendarId: '.' }, ['invalid_field']],
    ['a calendar id with half a character', { calendarId: 'team\ud800' }, ['invalid_field']],
    ['a time zone, which is that of the calendar', { timeZone: 'Europe/Berlin' }, ['invalid_field']],
    ['unknown fields', { calendarId: 'primary', colour: 'red' }, ['invalid_field']],
    ['everything at once', { calendarId: '', time: 7 }, ['invalid_field', 'invalid_field']],
    ['no object', ['primary'], ['invalid_field']],
    ['an empty list', [], ['invalid_field']],
  ])('refuses a change with %s, field by field, and changes nothing', async (_, body, codes) => {
    const before = await world.connect('user-1');
    const refusal = await changeConnection(world.deps, 'user-1', body).catch((error: unknown) => error);
    expect(refusal).toMatchObject({
      code: 'invalid_request',
      status: 400,
      problems: codes.map((code) => ({ code, field: expect.any(String), message: expect.any(String) })),
    });
    expect(await world.connection('user-1')).toEqual(before);
  });

  it('refuses a calendar that the user can only read', async () => {
    await world.connect('user-1', { scopes: ['openid', calendarScopes.shared] });
    const { accessToken } = world.google.control.grant({
      clientId: 'test-client',
      email: ada,
      scopes: withList.scopes,
    });
    const response = await fetch(`${world.google.url}/calendar/v3/users/me/calendarList`, {
      headers: { authorization: `Bearer ${accessToken}` },
    });
    const { items } = (await response.json()) as { items: { id: string; accessRole: string }[] };
    const readOnly = items.find(({ accessRole }) => accessRole === 'reader')?.id;
    expect(readOnly).toMatch(/[#@]/);
    const refusal = changeConnection(world.deps, 'user-1', { calendarId: readOnly });
    await expect(refusal).rejects.toMatchObject({
      problems: [{ code: 'calendar_not_writable', field: 'calendarId' }],
    });
  });

  it('choosing a calendar reads its time zone with one call, or clears it if Google sends none', async () => {
    const calendarId = await idOf('Appointments');
    await world.connect('user-1', { timeZone: 'Asia/Tokyo' });
    const before = world.calls().length;
    await changeConnection(world.deps, 'user-1', { calendarId });
    expect(world.calls().slice(before)).toEqual(['events.list']);
    expect(await world.connection('user-1')).toMatchObject({ timeZone: 'Europe/Vienna' });
    for (const timeZone of [undefined, 'Mars/Olympus', 'PST']) {
      world.google.control.fail({
        on: 'events.list',
        how: { status: 200, body: JSON.stringify({ accessRole: 'owner', timeZone }) },
      });
      await changeConnection(world.deps, 'user-1', { calendarId: 'primary' });
      expect(await world.connection('user-1')).not.toHaveProperty('timeZone');
    }
  });

  it('each choice of a calendar requeues waiting bookings', async () => {
    await world.connect('user-1');
    await changeConnection(world.deps, 'user-1', { calendarId: 'primary' });
    await changeConnection(world.deps, 'user-1', { calendarId: 'primary' });
    const message = { type: 'connection.activated', userId: 'user-1', tokenVersion: 1, page: 0 };
    expect(world.queue.messages).toEqual([
      { ...message, choices: 1 },
      { ...message, choices: 2 },
    ]);
    world.queue.messages.length = 0;
    await changeConnection(world.deps, 'user-1', {});
    expect(world.queue.messages).toEqual([]);
  });

  it('stores a chosen calendar when waiting bookings cannot be requeued at once', async () => {
    const calendarId = await idOf('Appointments');
    await world.connect('user-1');
    world.queue.unavailable = true;
    expect(await changeConnection(world.deps, 'user-1', { calendarId })).toMatchObject({ calendarId });
  });

  const problem = (code: string) =>
    expect.objectContaining({
      status: 400,
      problems: [expect.objectContaining({ code, field: 'calendarId' })],
    });
  const answered = (accessRole: string) => ({ status: 200, body: JSON.stringify({ accessRole }) });
  const missing = { status: 403, reason: 'insufficientPermissions' };

  it.each([
    ['a calendar of another account, which Google shows', answered('writer')],
    ['a calendar of another account, for which Google finds the scope too narrow', missing],
  ])('refuses %s while only owned calendars are allowed', async (_, how) => {
    const before = await world.connect('user-1');
    world.google.control.fail({ on: 'events.list', how });
    await expect(changeConnection(world.deps, 'user-1', { calendarId: 'team' })).rejects.toThrow(
      problem('calendar_not_owned'),
    );
    expect(await world.connection('user-1')).toEqual(before);
  });

  it('accepts a calendar of another account if the user has allowed shared ones', async () => {
    await world.connect('user-1', { scopes: ['openid', calendarScopes.shared] });
    world.google.control.fail({ on: 'events.list', how: answered('writer') });
    expect(await changeConnection(world.deps, 'user-1', { calendarId: 'team' })).toMatchObject({
      calendarId: 'team',
    });
  });

  it.each([
    ['calendar_not_found', { status: 404, reason: 'notFound' }],
    ['calendar_not_writable', { status: 403, reason: 'forbidden' }],
    ['calendar_not_writable', { status: 403, reason: 'requiredAccessLevel' }],
    ['invalid_field', { status: 400, reason: 'invalid' }],
    ['calendar_not_writable', missing],
  ])('answers %s when Google refuses the chosen calendar with %o', async (code, how) => {
    const before = await world.connect('user-1', { scopes: ['openid', calendarScopes.shared] });
    world.google.control.fail({ on: 'events.list', how });
    await expect(changeConnection(world.deps, 'user-1', { calendarId: 'team' })).rejects.toThrow(
      problem(code),
    );
    expect(await world.connection('user-1')).toEqual(before);
  });

  it.each([
    ['not', {}, 'Integrate calendar'],
    ['', withList, '/connections/me/calendars'],
  ])('advises a working alternative when the list of calendars is %s allowed', async (_, change, advice) => {
    await world.connect('user-1', change);
    const body = { calendarId: 'nowhere@group.calendar.google.com' };
    await expect(changeConnection(world.deps, 'user-1', body)).rejects.toMatchObject({
      problems: [{ code: 'calendar_not_found', message: expect.stringContaining(advice) }],
    });
  });

  it('changes nothing when a refusal cannot be checked', async () => {
    const before = await world.connect('user-1', { scopes: ['openid', calendarScopes.shared] });
    world.google.control.fail({ on: 'events.list', how: missing });
    world.google.control.fail({ on: 'events.list', how: { status: 503, reason: 'backendError' } });
    await expect(changeConnection(world.deps, 'user-1', { calendarId: 'team' })).rejects.toThrow(
      coded('calendar_unavailable'),
    );
    expect(await world.connection('user-1')).toEqual(before);
  });

  it('changes nothing when Google cannot check the chosen calendar', async () => {
    const before = await world.connect('user-1');
    world.google.control.fail({ on: 'events.list', how: { lose: 'request' } });
    await expect(changeConnection(world.deps, 'user-1', { calendarId: 'team' })).rejects.toThrow(
      coded('calendar_unavailable'),
    );
    expect(await world.connection('user-1')).toEqual(before);
  });
});

describe('a failure of Google that is not about one calendar', () => {
  const requests = [
    [
      'choosing a calendar',
      'events.list',
      () => changeConnection(world.deps, 'user-1', { calendarId: 'primary' }),
    ],
    ['listing calendars', 'calendarList.list', () => listCalendars(world.deps, 'user-1')],
  ] as const;
  const failures: [string, number, FaultEffect][] = [
    ['calendar_switched_off', 409, { status: 403, reason: 'notACalendarUser', domain: 'calendar' }],
    ['google_client_misconfigured', 503, { status: 403, reason: 'accessNotConfigured' }],
    ['google_client_misconfigured', 503, { status: 403, reason: 'SERVICE_DISABLED' }],
    ['calendar_unavailable', 503, { status: 403, reason: 'somethingNew' }],
    ['calendar_unavailable', 503, { status: 403, reason: 'quotaExceeded', domain: 'usageLimits' }],
    ['calendar_unavailable', 503, { status: 403, reason: 'rateLimitExceeded', domain: 'usageLimits' }],
    ['calendar_unavailable', 503, { status: 429, reason: 'rateLimitExceeded', domain: 'usageLimits' }],
    ['calendar_unavailable', 503, { status: 404, html: true }],
    ['calendar_unavailable', 503, { status: 403, html: true }],
    ['calendar_unavailable', 503, { status: 410, reason: 'deleted' }],
    ['calendar_unavailable', 503, { status: 412, reason: 'conditionNotMet' }],
    ['calendar_unavailable', 503, { status: 409, reason: 'conflict' }],
    ['calendar_unavailable', 503, { status: 500, reason: 'backendError' }],
    ['calendar_unavailable', 503, { status: 200, body: '{"items":7}' }],
    ['calendar_unavailable', 503, { lose: 'response' }],
  ];

  it.each(
    requests.flatMap(([what, on, send]) =>
      failures.map(([code, status, how]) => ({ what, on, send, code, status, how })),
    ),
  )('$what answers $code for $how and changes nothing', async ({ on, send, code, status, how }) => {
    const before = await world.connect('user-1', withList);
    world.google.control.fail({ on, how });
    const error: unknown = await send().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code, status });
    expect(isOperatorError(error)).toBe(code === 'google_client_misconfigured');
    expect(await world.connection('user-1')).toEqual(before);
  });

  it.each(['primary', 'team'])(
    'marks the connection as broken when the permission for events is gone: %s',
    async (calendarId) => {
      await world.connect('user-1', { scopes: ['openid', calendarScopes.shared] });
      const how = { status: 403, reason: 'insufficientPermissions' };
      world.google.control.fail({ on: 'events.list', times: 2, how });
      await expect(changeConnection(world.deps, 'user-1', { calendarId })).rejects.toThrow(
        coded('reauthorization_required', 409),
      );
      expect(await world.connection('user-1')).toMatchObject({
        status: 'reauthorization_required',
        reason: 'insufficientPermissions',
      });
      expect(world.bus.types()).toEqual(['connection.reauthorization_required']);
    },
  );

  it('keeps the connection active when only the permission for the list is gone', async () => {
    const before = await world.connect('user-1', withList);
    world.google.control.fail({
      on: 'calendarList.list',
      how: { status: 403, reason: 'insufficientPermissions' },
    });
    await expect(listCalendars(world.deps, 'user-1')).rejects.toThrow(
      coded('calendar_list_permission_missing', 403),
    );
    expect(await world.connection('user-1')).toEqual(before);
  });
});

describe('disconnecting', () => {
  it('a disconnect revokes the grant by POST, stores no token or account, and publishes once', async () => {
    await world.connect('user-1');
    expect(await disconnect(world.deps, 'user-1')).toEqual({ status: 'disconnected', revocation: 'done' });
    expect(world.google.control.grants()).toEqual([]);
    expect(world.google.control.requests()).toMatchObject([
      { route: 'revoke', method: 'POST', status: 200, query: '' },
    ]);
    expect(await world.connection('user-1')).toEqual({
      schemaVersion: 1,
      userId: 'user-1',
      status: 'disconnected',
      disconnectedAt: world.time.now,
      tokenVersion: 2,
      refreshFailures: 0,
      usedLinks: [],
      formerCalendars: [
        {
          calendarId: 'primary',
          until: world.time.now + 15 * 86_400,
          account: expect.stringMatching(/^[\w-]{6}$/),
        },
      ],
      refreshAt: world.time.now + 15 * 86_400,
      refreshShard: expect.any(String),
      updatedAt: world.time.now,
    });
    expect(await disconnect(world.deps, 'user-1')).toEqual({ status: 'disconnected', revocation: 'done' });
    expect(world.bus.types()).toEqual(['connection.disconnected']);
  });

  it('a disconnect succeeds when the grant was revoked before', async () => {
    await world.connect('user-1');
    world.google.control.revokeGrant(ada);
    expect(await disconnect(world.deps, 'user-1')).toMatchObject({ revocation: 'done' });
  });

  it('a disconnect during an outage deletes the tokens and revokes in the background', async () => {
    await world.connect('user-1');
    world.google.control.fail({ on: 'revoke', times: 2, how: { status: 503 } });
    expect(await disconnect(world.deps, 'user-1')).toEqual({ status: 'disconnected', revocation: 'pending' });
    const stored = await world.connection('user-1');
    expect(stored).toMatchObject({ status: 'disconnected', refreshAt: world.time.now + 45 });
    expect(stored).not.toHaveProperty('tokens');
    expect(await disconnect(world.deps, 'user-1')).toMatchObject({ revocation: 'pending' });

    world.time.now += 45;
    await sweep();
    expect(await world.connection('user-1')).toMatchObject({
      refreshFailures: 2,
      refreshAt: world.time.now + 90,
    });
    world.time.now += 90;
    expect(await sweep()).toMatchObject({ revoked: 1, failed: 0 });
    expect(await world.connection('user-1')).not.toHaveProperty('revocation');
    expect(world.google.control.grants()).toEqual([]);
    expect(await sweep()).toMatchObject({ revoked: 0, skipped: 0 });
    expect(await world.connection('user-1')).toMatchObject({ refreshAt: expect.any(Number) });
  });

  it('a disconnect keeps the grant while another user shares the Google account', async () => {
    await world.connect('user-1');
    await world.connect('user-2');
    expect(await disconnect(world.deps, 'user-1')).toEqual({ status: 'disconnected', revocation: 'shared' });
    expect(world.calls()).toEqual([]);
    expect(await disconnect(world.deps, 'user-2')).toEqual({ status: 'disconnected', revocation: 'done' });
  });

  it('a disconnect publishes which users keep access to a shared account', async () => {
    for (const userId of ['user-1', 'user-2', 'user-3', 'user-4']) await world.connect(userId);
    await world.connect('elsewhere', { googleSub: 'ben-sub' });
    await world.deps.connections.markReauthorizationRequired('user-4', 1, 'invalid_grant', world.time.now);
    await disconnect(world.deps, 'user-1');
    expect(world.bus.types()).toEqual(['connection.disconnected', 'connection.account_shared']);
    expect(world.bus.events[1]).toMatchObject({
      id: 'connection.account_shared:user-1:2',
      userId: 'user-1',
      reason: 'disconnected',
      otherUserIds: ['user-2', 'user-3'],
    });
  });

  it('publishes a shared account later when the bus was unavailable', async () => {
    await world.connect('user-1');
    await world.connect('user-2');
    const { publish } = world.bus;
    const once = {
      ...world.bus,
      publish: async (...events: Parameters<typeof publish>) => {
        if (events[0]?.type === 'connection.account_shared') throw new Error('The bus is away.');
        await publish.apply(world.bus, events);
      },
    };
    expect(await disconnect({ ...world.deps, bus: once }, 'user-1')).toMatchObject({ revocation: 'pending' });
    world.time.now += 3700;
    await sweep();
    expect(world.bus.types()).toEqual(['connection.disconnected', 'connection.account_shared']);
    expect(await world.connection('user-1')).not.toHaveProperty('revocation');
  });

  it('a disconnect keeps no address, and after fifteen days nothing of the calendars', async () => {
    const team = 'team@group.calendar.google.com';
    const until = world.time.now + 3 * 86_400;
    await world.connect('user-1', {
      calendarId: ada,
      formerCalendars: [
        { calendarId: 'ben@example.com', until },
        { calendarId: team, until },
      ],
    });
    await disconnect(world.deps, 'user-1');
    const kept = await world.connection('user-1');
    expect(JSON.stringify(kept)).not.toMatch(/example\.com/);
    expect(kept).toMatchObject({
      formerCalendars: [{ calendarId: team, until }],
      hashedCalendars: [
        { hash: expect.stringMatching(/^[\w-]{43}$/), until: world.time.now + 15 * 86_400 },
        { hash: expect.any(String), until },
      ],
    });
    world.time.now += 15 * 86_400 - 1;
    await sweep();
    expect(await world.connection('user-1')).toEqual(kept);
    world.time.now += 1;
    await sweep();
    expect(await world.connection('user-1')).toEqual({
      schemaVersion: 1,
      userId: 'user-1',
      status: 'disconnected',
      disconnectedAt: expect.any(Number),
      tokenVersion: 2,
      refreshFailures: 0,
      usedLinks: [],
      updatedAt: expect.any(Number),
    });
    expect(await sweep()).toMatchObject({ skipped: 0, failed: 0 });
  });

  it('a disconnect wins over a concurrent refresh', async () => {
    await world.connect('user-1', { accessTokenExpiresAt: 0, refreshAt: 0 });
    world.google.control.fail({ on: 'token', how: { delayMs: 60 } });
    const refreshing = sweep();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await disconnect(world.deps, 'user-1');
    await refreshing;
    expect(await world.connection('user-1')).toMatchObject({ status: 'disconnected' });
  });

  it('paid bookings wait after a disconnect until the user connects again', async () => {
    await world.connect('user-1');
    await disconnect(world.deps, 'user-1');
    await syncBooking(world.deps, world.payment('b1'));
    expect((await world.booking('b1'))?.status).toBe('waiting_for_connection');
  });

  it('does not disconnect when the bus is unavailable', async () => {
    await world.connect('user-1');
    world.bus.unavailable = true;
    await expect(disconnect(world.deps, 'user-1')).rejects.toThrow('The bus is away.');
    expect(await world.connection('user-1')).toMatchObject({ status: 'active' });
  });

  it('gives up a revocation after a day of tries, with a metric', async () => {
    await world.connect('user-1');
    world.google.control.fail({ on: 'revoke', times: 1000, how: { lose: 'request' } });
    await disconnect(world.deps, 'user-1');
    for (let run = 0; run < 40; run++) {
      world.time.now += 3700;
      await sweep();
    }
    expect(await world.connection('user-1')).not.toHaveProperty('revocation');
    expect(world.calls().length).toBe(30);
  });
});

it('keeps no secret in what it answers or logs', async () => {
  const canary = randomBytes(16).toString('hex');
  const connection = await world.connect('user-1', { tokens: canary });
  await disconnect(world.deps, connection.userId).catch(() => {});
  const { logged } = await import('../support/setup.ts');
  expect(logged.join('\n')).not.toContain(canary);
});
