import type { calendar_v3 } from '@googleapis/calendar';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type GoogleSimulator, startGoogleSimulator } from '../../infra/local/google/simulator.ts';
import type { Switches } from '../../infra/local/google/state.ts';
import {
  ada,
  appointment,
  client,
  eleven,
  failure,
  officialClients,
  scopeOf,
  ten,
} from './google-clients.ts';

/** Actions of guests, owners and administrators on events and calendars, and Google's rejections. */

let google: GoogleSimulator;
const { calendarClient } = officialClients(() => google);
const ben = 'ben@example.com';
const calendarId = 'primary';
const id = 'abc123def456';
const scopes = [scopeOf('')];

beforeEach(async () => {
  google = await startGoogleSimulator({ clients: [client] });
});
afterEach(() => google.close());

const insert = (event: calendar_v3.Schema$Event, more: object = {}) =>
  calendarClient(scopes).events.insert({ calendarId, requestBody: { ...appointment, ...event }, ...more });
const clientOf = (email: string) =>
  calendarClient([], google.control.grant({ clientId: client.clientId, email, scopes }).accessToken);
const otherCalendar = async (): Promise<string> => {
  const { data } = await calendarClient(scopes).calendarList.list({ minAccessRole: 'writer' });
  return data.items?.find(({ primary }) => !primary)?.id ?? '';
};

describe('guests', () => {
  it('a patch replaces all guests, and one without a response status must respond again', async () => {
    const api = calendarClient(scopes);
    const attendees = [{ email: 'guest1@example.com' }, { email: 'guest2@example.com' }];
    expect((await insert({ id, attendees })).data.attendees).toEqual(
      attendees.map((guest) => ({ ...guest, responseStatus: 'needsAction' })),
    );
    const patch = (guests: calendar_v3.Schema$EventAttendee[]) =>
      api.events.patch({ calendarId, eventId: id, requestBody: { attendees: guests } });
    const answered = [
      { email: 'guest1@example.com', responseStatus: 'accepted' },
      { email: 'colleague@example.com', responseStatus: 'declined' },
    ];
    expect((await patch(answered)).data.attendees).toEqual(answered);
    expect((await patch([{ email: 'guest1@example.com' }])).data.attendees).toEqual([
      { email: 'guest1@example.com', responseStatus: 'needsAction' },
    ]);
    const { data } = await api.events.patch({ calendarId, eventId: id, requestBody: { location: 'Room 2' } });
    expect(data.attendees).toHaveLength(1);
  });

  it('rejects guests that the switches list, and duplicate guests', async () => {
    google.control.setSwitch('rejectedGuests', ['ben@example.con']);
    const rejected = await failure(insert({ attendees: [{ email: 'Ben@example.con' }] }));
    expect(rejected.body).toMatchObject({
      error: { code: 400, errors: [{ reason: 'invalid', message: 'Invalid attendee email.' }] },
    });
    const twice = { attendees: [{ email: ben }, { email: 'BEN@example.com' }] };
    expect((await insert(twice)).data.attendees).toHaveLength(2);
    google.control.setSwitch('duplicateGuests', 'rejected');
    expect((await failure(insert(twice))).status).toBe(400);
  });

  it('answers 400 to an unknown sendUpdates', async () => {
    expect((await insert({}, { sendUpdates: 'externalOnly' })).status).toBe(200);
    expect((await failure(insert({}, { sendUpdates: 'some' }))).status).toBe(400);
  });
});

describe('optional fields', () => {
  const reminder = { method: 'popup', minutes: 10 };
  const request = (key: object, requestId?: string) => ({
    conferenceData: { createRequest: { conferenceSolutionKey: key, ...(requestId ? { requestId } : {}) } },
  });

  it.each<[string, calendar_v3.Schema$Event, string, string | undefined]>([
    [
      'reminders beside the default ones',
      { reminders: { useDefault: true, overrides: [reminder] } },
      'cannotUseDefaultRemindersAndSpecifyOverride',
      undefined,
    ],
    ['six reminders', { reminders: { overrides: Array(6).fill(reminder) } }, 'invalid', undefined],
    ['an unknown color', { colorId: '12' }, 'invalid', undefined],
    ['a conference request without id', request({ type: 'hangoutsMeet' }), 'required', undefined],
    ['a conference type', request({ type: 'zoom' }, 'r1'), 'invalid', 'Invalid conference type value.'],
  ])('rejects optional fields with 400 for %s', async (_, event, reason, message) => {
    const rejected = await failure(insert(event, { conferenceDataVersion: 1 }));
    expect(rejected.body).toMatchObject({
      error: { code: 400, errors: [{ reason, ...(message ? { message } : {}) }] },
    });
    google.control.setSwitch('strictFields', false);
    const accepted = insert(event, { conferenceDataVersion: 1 });
    if (message) expect((await failure(accepted)).status).toBe(400);
    else expect((await accepted).status).toBe(200);
  });

  it('rejects a Meet link that the calendar disallows, and a zone unknown to Google', async () => {
    const set = <Name extends keyof Switches>(name: Name, value: Switches[Name]) =>
      google.control.setSwitch(name, value);
    set('conferenceTypes', []);
    set('unknownTimeZones', ['Europe/Kyiv']);
    const meet = request({ type: 'hangoutsMeet' }, 'r1');
    expect((await failure(insert(meet, { conferenceDataVersion: 1 }))).body).toMatchObject({
      error: { errors: [{ message: 'Invalid conference type value.' }] },
    });
    expect((await insert(meet)).status).toBe(200);
    const inKyiv = { start: { ...ten, timeZone: 'Europe/Kyiv' }, end: eleven };
    expect((await failure(insert(inKyiv))).body).toMatchObject({
      error: { errors: [{ message: 'Invalid time zone definition for start time.' }] },
    });
  });
});

describe('an event moved to another calendar', () => {
  it.each(['cancelled', 'not_found'] as const)(
    'a moved event keeps its id and is %s at its source, as the switch says',
    async (left) => {
      google.control.setSwitch('movedEvent', left);
      const api = calendarClient(scopes);
      const destination = await otherCalendar();
      await insert({ id });
      const { data } = await api.events.move({ calendarId, eventId: id, destination });
      expect(data).toMatchObject({ id, status: 'confirmed', organizer: { email: destination } });
      expect((await api.events.get({ calendarId: destination, eventId: id })).data.summary).toBe(
        appointment.summary,
      );
      const source = api.events.get({ calendarId, eventId: id });
      if (left === 'cancelled') expect((await source).data.status).toBe('cancelled');
      else expect((await failure(source)).status).toBe(404);
      await api.events.move({ calendarId: destination, eventId: id, destination: calendarId });
      expect((await api.events.get({ calendarId, eventId: id })).data.status).toBe('confirmed');
    },
  );

  it('moves only an existing event to another writable calendar', async () => {
    const api = calendarClient(scopes);
    await insert({ id });
    const move = (eventId: string, destination: string) =>
      failure(api.events.move({ calendarId, eventId, destination }));
    expect((await move('unknown1', await otherCalendar())).status).toBe(404);
    expect((await move(id, 'nowhere')).status).toBe(404);
    expect((await move(id, calendarId)).status).toBe(409);
    const { data } = await api.calendarList.list();
    const readOnly = data.items?.find(({ accessRole }) => accessRole === 'reader')?.id ?? '';
    expect((await move(id, readOnly)).status).toBe(403);
    google.control.moveEvent(ada, id, await otherCalendar());
    expect((await move(id, await otherCalendar())).status).toBe(410);
  });
});

describe('a calendar', () => {
  it('answers 404 for a deleted calendar, and refuses to delete the primary one', async () => {
    const api = calendarClient(scopes);
    const deleted = await otherCalendar();
    await api.events.insert({ calendarId: deleted, requestBody: { ...appointment, id } });
    expect((await api.calendars.delete({ calendarId: deleted })).status).toBe(204);
    for (const request of [
      api.events.list({ calendarId: deleted }),
      api.events.get({ calendarId: deleted, eventId: id }),
      api.events.insert({ calendarId: deleted, requestBody: appointment }),
      api.events.patch({ calendarId: deleted, eventId: id, requestBody: {} }),
      api.events.delete({ calendarId: deleted, eventId: id }),
      api.calendars.delete({ calendarId: deleted }),
    ])
      expect((await failure(request)).status).toBe(404);
    expect((await failure(api.calendars.delete({ calendarId: ada }))).status).toBe(400);
    expect((await api.calendarList.list()).data.items?.map((it) => it.id)).not.toContain(deleted);
  });

  it('a shared calendar is visible while shared, and writable only for writers', async () => {
    const shared = await otherCalendar();
    const api = clientOf(ben);
    const write = () => api.events.insert({ calendarId: shared, requestBody: appointment });
    expect((await failure(write())).status).toBe(404);
    google.control.share(ada, shared, ben, 'reader');
    expect((await api.events.list({ calendarId: shared })).data.accessRole).toBe('reader');
    expect((await failure(write())).body).toMatchObject({
      error: { code: 403, errors: [{ reason: 'requiredAccessLevel' }] },
    });
    google.control.share(ada, shared, ben, 'writer');
    expect((await write()).data.organizer?.email).toBe(shared);
    expect((await failure(api.calendars.delete({ calendarId: shared }))).status).toBe(403);
    google.control.share(ada, shared, ben, 'none');
    expect((await failure(write())).status).toBe(404);
  });

  it('answers 403 notACalendarUser while Google Calendar is off for the account', async () => {
    google.control.switchCalendar(ada, 'off');
    expect((await failure(insert({}))).body).toMatchObject({
      error: { code: 403, errors: [{ domain: 'calendar', reason: 'notACalendarUser' }] },
    });
    google.control.switchCalendar(ada, 'on');
    expect((await insert({})).status).toBe(200);
  });

  it("free/busy shows whole days from midnight to midnight in the calendar's zone", async () => {
    const api = calendarClient(scopes);
    google.control.changeCalendar(ada, calendarId, { timeZone: 'America/New_York' });
    await insert({ start: { date: '2027-03-01' }, end: { date: '2027-03-03' } });
    const { data } = await api.freebusy.query({
      requestBody: {
        timeMin: '2027-02-01T00:00:00Z',
        timeMax: '2027-04-01T00:00:00Z',
        items: [{ id: calendarId }],
      },
    });
    expect(data.calendars?.primary?.busy).toEqual([
      { start: '2027-03-01T05:00:00.000Z', end: '2027-03-03T05:00:00.000Z' },
    ]);
    expect((await api.events.list({ calendarId })).data.timeZone).toBe('America/New_York');
  });
});

describe('a partial response', () => {
  it('a partial response has exactly the requested fields, in lists and single events', async () => {
    const api = calendarClient(scopes);
    await insert({ id });
    const listed = async (fields: string) => (await api.events.list({ calendarId, fields })).data;
    expect(await listed('accessRole,timeZone')).toEqual({ accessRole: 'owner', timeZone: 'Europe/Vienna' });
    expect(await listed('items(id,start/timeZone),etag,items/status')).toEqual({
      etag: expect.any(String),
      items: [{ id, status: 'confirmed', start: { timeZone: 'Europe/Vienna' } }],
    });
    expect((await api.events.get({ calendarId, eventId: id, fields: 'id,start/*' })).data).toEqual({
      id,
      start: { dateTime: ten.dateTime, timeZone: 'Europe/Vienna' },
    });
    for (const fields of ['items(id', 'items)', ',id', 'a b'])
      expect((await failure(listed(fields))).status).toBe(400);
  });
});

describe('faults', () => {
  it('faults answer any status as a page, and any 403 with reason and domain, at every call', async () => {
    const api = calendarClient(scopes);
    await insert({ id });
    const calls: (() => Promise<unknown>)[] = [
      () => insert({}),
      () => api.events.get({ calendarId, eventId: id }),
      () => api.events.patch({ calendarId, eventId: id, requestBody: {} }),
      () => api.events.delete({ calendarId, eventId: id }),
      () => api.events.list({ calendarId }),
    ];
    for (const call of calls) {
      for (const status of [400, 403, 404, 410, 503]) {
        google.control.fail({ on: 'events', how: { status, html: true } });
        const page = await failure(call());
        expect([page.status, typeof page.body]).toEqual([status, 'string']);
      }
      google.control.fail({
        on: 'events',
        how: { status: 403, reason: 'dailyLimitExceeded', domain: 'usageLimits', message: 'Daily Limit' },
      });
      expect((await failure(call())).body).toMatchObject({
        error: { errors: [{ domain: 'usageLimits', reason: 'dailyLimitExceeded', message: 'Daily Limit' }] },
      });
    }
    expect((await api.events.get({ calendarId, eventId: id })).data.status).toBe('confirmed');
  });
});

describe('the control', () => {
  it('the control also acts for people over HTTP', async () => {
    const call = async (method: string, path: string, body?: object) => {
      const init = body ? { method, body: JSON.stringify(body) } : { method };
      return (await fetch(`${google.url}/_simulator/${path}`, init)).status;
    };
    await insert({ id });
    const other = await otherCalendar();
    expect(await call('POST', 'move-event', { email: ada, eventId: id, to: other })).toBe(200);
    expect(google.control.events(ada, other)).toMatchObject([{ id, status: 'confirmed' }]);
    expect(await call('POST', 'share', { email: ada, calendarId: other, with: ben, role: 'writer' })).toBe(
      200,
    );
    expect(await call('PATCH', 'calendars', { email: ada, calendarId: other, summary: 'Renamed' })).toBe(200);
    const { data } = await clientOf(ben).calendarList.list();
    expect(data.items).toContainEqual(expect.objectContaining({ id: other, summary: 'Renamed' }));
    expect(await call('DELETE', `calendars?email=${ada}&calendarId=${other}`)).toBe(200);
    expect(await call('DELETE', `calendars?email=${ada}&calendarId=${other}`)).toBe(400);
    expect(await call('POST', 'switch-calendar', { email: ada, to: 'off' })).toBe(200);
    expect((await failure(insert({}))).status).toBe(403);
  });
});
