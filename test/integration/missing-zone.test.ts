import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bookingSteps } from './booking-steps.ts';
import { ada, startWorld, type World } from './world.ts';

/** Google needs a time zone for an event that its owner has turned into a series; a booking may have offsets only. */

let world: World;
beforeEach(async () => {
  world = await startWorld();
});
afterEach(() => world.close());
const { sync, stored, change } = bookingSteps(() => world);

const event = () => world.events()[0];
const pay = async () => {
  await sync(world.payment('b1'));
  world.google.control.clearRequests();
};
/** A change by the owner of the calendar. */
const changeByHand = async (change: object) => {
  const scopes = ['https://www.googleapis.com/auth/calendar.events'];
  const { accessToken } = world.google.control.grant({ clientId: 'test-client', email: ada, scopes });
  const url = `${world.google.url}/calendar/v3/calendars/primary/events/${event()?.id}`;
  const headers = { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' };
  const answer = await fetch(url, { method: 'PATCH', headers, body: JSON.stringify(change) });
  expect(answer.status).toBe(200);
  world.google.control.clearRequests();
};
const makeSeries = (timeZone: string) =>
  changeByHand({
    recurrence: ['RRULE:FREQ=WEEKLY;COUNT=3'],
    start: { dateTime: '2027-07-01T10:00:00', timeZone },
    end: { dateTime: '2027-07-01T11:00:00', timeZone },
  });
const instants = () =>
  [event()?.start, event()?.end].map((time) => new Date(time?.dateTime ?? '').toISOString());

const times = {
  'in summer': {
    to: { start: '2027-07-02T10:00:00+02:00', end: '2027-07-02T11:00:00+02:00' },
    at: ['2027-07-02T08:00:00.000Z', '2027-07-02T09:00:00.000Z'],
  },
  'in winter, with the offset of another zone': {
    to: { start: '2027-12-02T10:00:00-05:00', end: '2027-12-02T11:00:00-05:00' },
    at: ['2027-12-02T15:00:00.000Z', '2027-12-02T16:00:00.000Z'],
  },
  'in the hour that happens twice': {
    to: { start: '2027-10-31T01:30:00Z', end: '2027-10-31T02:30:00Z' },
    at: ['2027-10-31T01:30:00.000Z', '2027-10-31T02:30:00.000Z'],
  },
};

describe.each(Object.entries(times))('an event that became a series, moved %s', (_, { to, at }) => {
  it.each(['Europe/Vienna', 'America/New_York'])(
    'a moved series keeps its own zone, %s',
    async (timeZone) => {
      await world.connect('user-1');
      await pay();
      await makeSeries(timeZone);
      await change(to);
      expect(await stored()).toMatchObject({ status: 'scheduled', problems: [] });
      expect(instants()).toEqual(at);
      expect(event()?.start?.timeZone).toBe(timeZone);
    },
  );
});

describe('an event that became a series', () => {
  const { to, at } = times['in summer'];

  it.each(['in summer', 'in winter, with the offset of another zone'] as const)(
    'moves a series %s to the same instants if Google uses the zone and ignores the offset',
    async (when) => {
      const { to, at } = times[when];
      const { fetch } = world.deps.calendar;
      world.deps.calendar.fetch = (url, init) => {
        const body = `${init?.body ?? ''}`.replace(
          /("dateTime":"[^"]+?)(?:Z|[+-]\d\d:\d\d)("[^}]*"timeZone":")/g,
          '$1$2',
        );
        return fetch(url, init?.method === 'PATCH' ? { ...init, body } : init);
      };
      await world.connect('user-1');
      await pay();
      await makeSeries('Europe/Vienna');
      await change(to);
      expect((await stored())?.status).toBe('scheduled');
      expect(instants()).toEqual(at);
    },
  );

  it('reads the zone of a series after a refused write, and writes once more', async () => {
    await world.connect('user-1');
    await pay();
    await makeSeries('Europe/Vienna');
    await change({ location: 'Room 1' });
    world.google.control.clearRequests();
    await change(to);
    expect(world.calls()).toEqual(['events.patch', 'events.get', 'events.patch']);
    expect(instants()).toEqual(at);
    world.google.control.clearRequests();
    await change({ location: 'Room 2' });
    expect(world.calls()).toEqual(['events.patch']);
  });

  it('moves a series that also has a field that Google rejects', async () => {
    await world.connect('user-1');
    await pay();
    await makeSeries('Europe/Vienna');
    const { fetch } = world.deps.calendar;
    world.deps.calendar.fetch = async (url, init) => {
      if (init?.method !== 'PATCH' || !`${init.body}`.includes('colorId')) return fetch(url, init);
      const message = 'Invalid color id.';
      const error = { errors: [{ domain: 'global', reason: 'invalid', message }], code: 400, message };
      return Response.json({ error }, { status: 400 });
    };
    await change({ ...to, colorId: '7' });
    expect(await stored()).toMatchObject({ status: 'scheduled', problems: [{ code: 'color_refused' }] });
    expect(instants()).toEqual(at);
  });

  it('does not read a series again that it has just read', async () => {
    await world.connect('user-1');
    await pay();
    await makeSeries('Europe/Vienna');
    await change(to);
    expect(world.calls()).toEqual(['events.patch', 'events.get', 'events.patch', 'events.patch']);
    expect((await stored())?.status).toBe('scheduled');
    expect(instants()).toEqual(at);
  });

  it.each<[string, object, string[]]>([
    ['that the connection knows', { timeZone: 'Europe/Rome' }, []],
    ['that Google answers', {}, ['events.list']],
  ])('a whole-day series gets the zone of its calendar %s', async (_, connection, asked) => {
    await world.connect('user-1', connection);
    await pay();
    await changeByHand({
      recurrence: ['RRULE:FREQ=WEEKLY;COUNT=3'],
      start: { date: '2027-07-01', dateTime: null, timeZone: null },
      end: { date: '2027-07-02', dateTime: null, timeZone: null },
    });
    await change(to);
    expect(world.calls()).toEqual(['events.patch', 'events.get', 'events.patch', ...asked, 'events.patch']);
    expect(await stored()).toMatchObject({ status: 'scheduled', problems: [] });
    expect(instants()).toEqual(at);
  });

  it('fails without a read when Google refuses for another reason', async () => {
    await world.connect('user-1');
    await pay();
    world.google.control.fail({ on: 'events.patch', how: { status: 400, reason: 'timeRangeEmpty' } });
    await change(to);
    expect(world.calls()).toEqual(['events.patch']);
    expect((await stored())?.status).toBe('failed');
  });
});
