import type { calendar_v3 } from '@googleapis/calendar';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type GoogleSimulator, startGoogleSimulator } from '../../infra/local/google/simulator.ts';
import {
  ada,
  appointment,
  client,
  eleven,
  eventsScope,
  failure,
  officialClients,
  scopeOf,
  ten,
} from './google-clients.ts';

let google: GoogleSimulator;
let now: number;
const { connect, calendarClient, refreshRequest } = officialClients(() => google);

beforeEach(async () => {
  now = Date.now();
  google = await startGoogleSimulator({ clients: [client], now: () => now });
});
afterEach(() => google.close());

describe('simulated events', () => {
  const calendarId = 'primary';
  const id = 'abc123def456';

  it('inserts and returns events in the shape of the official typings', async () => {
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

  it('ignores read-only fields of an event, and answers 400 to a body that is no event', async () => {
    const api = calendarClient();
    const requestBody = { ...appointment, etag: 'mine', creator: { email: 'ben@example.com' } };
    const { data } = await api.events.insert({ calendarId, requestBody });
    expect(data.etag).not.toBe('mine');
    expect(data.creator?.email).toBe(ada);
    const { accessToken = '' } = google.control.grant({
      clientId: client.clientId,
      email: ada,
      scopes: [eventsScope],
    });
    for (const body of ['', 'null', '[]', '{"start":"soon"}', '{"attendees":{}}']) {
      const headers = { authorization: `Bearer ${accessToken}` };
      const url = `${google.url}/calendar/v3/calendars/primary/events`;
      expect((await fetch(url, { method: 'POST', headers, body })).status).toBe(400);
    }
    const unknown = await fetch(`${google.url}/calendar/v3/nothing`);
    expect(await unknown.json()).toMatchObject({ error: { code: 404 } });
  });

  it('takes the zone of a local time from timeZone', async () => {
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
    ['guests without address', { ...appointment, attendees: [{ displayName: 'Guest' }] }, 'invalid'],
    [
      'a reminder after the event',
      { ...appointment, reminders: { overrides: [{ method: 'popup', minutes: -5 }] } },
      'invalid',
    ],
    [
      'a source that is no web address',
      { ...appointment, source: { title: 'x', url: 'file:///x' } },
      'invalid',
    ],
    ['a date in another form', { start: { date: '20261123' }, end: { date: '20261124' } }, 'invalid'],
    ['too short an id', { ...appointment, id: 'abcd' }, 'invalid'],
  ])('refuses an event with 400 for %s', async (_, requestBody, reason) => {
    const refused = await failure(calendarClient().events.insert({ calendarId, requestBody }));
    expect(refused.status).toBe(400);
    expect(refused.body).toMatchObject({ error: { code: 400, errors: [{ reason }] } });
  });

  it('answers an empty time range with the documented envelope', async () => {
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

  it('keeps the id of a deleted event: 409 on insert, 410 on delete, cancelled on get', async () => {
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

  it('patches in part, updates as a whole, and only under a matching ETag', async () => {
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

  it('a patch restores a cancelled event, unless the switch forbids it', async () => {
    const api = calendarClient();
    await api.events.insert({ calendarId, requestBody: { ...appointment, id } });
    const revive = () => api.events.patch({ calendarId, eventId: id, requestBody: { status: 'confirmed' } });
    google.control.deleteEvent(ada, id);
    expect((await revive()).data).toMatchObject({ status: 'confirmed', summary: 'First meeting' });
    google.control.deleteEvent(ada, id);
    google.control.setSwitch('reviveCancelled', 'forbidden');
    expect((await failure(revive())).status).toBe(403);
  });

  it('silently drops long property names and the end of long values', async () => {
    const extendedProperties = { private: { ['n'.repeat(45)]: 'x', ['n'.repeat(44)]: 'v'.repeat(1025) } };
    const { data } = await calendarClient().events.insert({
      calendarId,
      requestBody: { ...appointment, extendedProperties },
    });
    expect(data.extendedProperties).toEqual({ private: { ['n'.repeat(44)]: 'v'.repeat(1024) } });
  });

  it('creates a conference in two steps, and none without the version parameter', async () => {
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

  it('lists events by time, private property and deletion, in pages', async () => {
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

describe('authorization of the simulated Calendar API', () => {
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

  it('expiring access tokens by control keeps the refresh token valid', async () => {
    const tokens = await connect();
    google.control.expireAccessTokens(ada);
    const api = calendarClient([eventsScope], tokens.accessToken);
    expect((await failure(api.events.list({ calendarId: 'primary' }))).status).toBe(401);
    const refreshed = await refreshRequest(tokens.refreshToken);
    expect(refreshed.status).toBe(200);
    google.control.revokeGrant(ada);
    const revoked = await refreshRequest(tokens.refreshToken);
    expect(await revoked.json()).toMatchObject({ error: 'invalid_grant' });
  });

  it('answers 403 for free/busy and the calendar list with the events scope alone', async () => {
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

  it("lists calendars, the primary one first, and writes only to the account's own", async () => {
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

  it('answers free/busy of an account, with errors of single calendars at 200', async () => {
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

  it('the switch limits requests per minute and account', async () => {
    const api = calendarClient();
    google.control.setSwitch('requestsPerMinute', 1);
    await api.events.list({ calendarId: 'primary' });
    const refused = await failure(api.events.list({ calendarId: 'primary' }));
    expect(refused.body).toMatchObject({
      error: { code: 403, errors: [{ domain: 'usageLimits', reason: 'userRateLimitExceeded' }] },
    });
  });
});
