import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Appointment, recordedEvent } from '../../shared/booking/booking.ts';
import type { EventDetails } from '../../shared/booking/event-details.ts';
import type { EventBody } from '../../shared/google/calendar.ts';
import { logged } from '../support/setup.ts';
import { bookingSteps } from './booking-steps.ts';
import { startWorld, type World } from './world.ts';

let world: World;
/** Google's message for a body that it rejects. */
let rejection: (body: EventBody) => string | undefined;
/** The bodies of writes that reached Google, with their method. */
let writes: { method: string; body: EventBody }[];
beforeEach(async () => {
  world = await startWorld();
  await world.connect('user-1');
  rejection = () => undefined;
  writes = [];
  const { fetch } = world.deps.calendar;
  world.deps.calendar.fetch = async (url, init) => {
    const method = init?.method ?? 'GET';
    if (method === 'GET' || method === 'DELETE') return fetch(url, init);
    const body = JSON.parse(`${init?.body}`) as EventBody;
    writes.push({ method, body });
    const message = rejection(body);
    if (message === undefined) return fetch(url, init);
    const error = { errors: [{ domain: 'global', reason: 'invalid', message }], code: 400, message };
    return Response.json({ error }, { status: 400 });
  };
});
afterEach(() => world.close());
const { sync, stored, change, payment } = bookingSteps(() => world);
const pay = (other: Partial<Appointment>) => sync(payment(other));

const day = '2027-03-01';
const berlin = {
  start: { dateTime: `${day}T10:00:00`, timeZone: 'Europe/Berlin' },
  end: { dateTime: `${day}T11:00:00`, timeZone: 'Europe/Berlin' },
  startsAt: Date.UTC(2027, 2, 1, 9) / 1000,
  endsAt: Date.UTC(2027, 2, 1, 10) / 1000,
};
const everything: EventDetails = {
  meet: true,
  attendees: [{ email: 'ben@example.con' }],
  guestsCanModify: true,
  reminders: [{ method: 'popup', minutes: 30 }],
  colorId: '7',
  source: { title: 'LeadsCalendar', url: 'https://leads.example.com/b1' },
};
const event = () => world.events()[0];

/** Each optional part: its declaration, whether a body has it, Google's message, and its place in the event. */
const parts: Record<
  string,
  { patch: object; isIn: (body: EventBody) => unknown; message: string; shown: () => unknown }
> = {
  meet_refused: {
    patch: { meet: true },
    isIn: (body) => body.conferenceData,
    message: 'Invalid conference type value.',
    shown: () => event()?.conferenceData,
  },
  guests_refused: {
    patch: { attendees: everything.attendees, guestsCanModify: true },
    isIn: (body) => body.attendees ?? body.guestsCanModify,
    message: 'Invalid attendee email.',
    shown: () => event()?.attendees ?? event()?.guestsCanModify,
  },
  reminders_refused: {
    patch: { reminders: everything.reminders },
    isIn: (body) => body.reminders?.overrides?.length,
    message: 'Too many reminder overrides.',
    shown: () => event()?.reminders?.overrides,
  },
  color_refused: {
    patch: { colorId: '7' },
    isIn: (body) => body.colorId,
    message: 'Invalid color id.',
    shown: () => event()?.colorId,
  },
  source_refused: {
    patch: { source: everything.source },
    isIn: (body) => body.source,
    message: 'Invalid value for: source.url',
    shown: () => event()?.source,
  },
  time_zone_refused: {
    patch: { start: `${day}T10:00:00`, end: `${day}T11:00:00`, timeZone: 'Europe/Berlin' },
    isIn: (body) => body.start?.timeZone,
    message: 'Invalid time zone definition for start time.',
    shown: () => undefined,
  },
};
const cases = Object.entries(parts).map(([code, part]) => ({ code, ...part }));
const isAt = (hour: number) =>
  expect(Date.parse(event()?.start?.dateTime ?? '')).toBe(Date.UTC(2027, 2, 1, hour));

describe('an optional field that Google rejects', () => {
  it.each(cases)(
    'creates a paid event without a rejected field, and reports $code',
    async ({ code, isIn, message, shown }) => {
      rejection = (body) => (isIn(body) ? message : undefined);
      await pay({ ...berlin, details: everything });
      expect(await stored()).toMatchObject({
        status: 'scheduled',
        problems: [{ code, message: expect.stringContaining(message) }],
      });
      expect(writes).toHaveLength(2);
      isAt(9);
      expect(shown()).toBeUndefined();
      for (const other of cases.filter((part) => part.code !== code && part.code !== 'time_zone_refused'))
        expect(other.shown()).toBeTruthy();
      expect(world.bus.events).toMatchObject([{ type: 'booking.scheduled', problems: [{ code }] }]);
    },
  );

  it.each(cases)(
    'applies a change without a rejected field, and reports $code',
    async ({ code, patch, isIn, message }) => {
      await pay({});
      rejection = (body) => (isIn(body) ? message : undefined);
      await change({ start: `${day}T12:00:00Z`, end: `${day}T13:00:00Z`, location: 'Room 2', ...patch });
      expect(await stored()).toMatchObject({
        status: 'scheduled',
        problems: [{ code, message: expect.stringContaining(message) }],
        calendar: { event: { revision: 2 } },
      });
      expect(event()).toMatchObject({ location: 'Room 2' });
      isAt(code === 'time_zone_refused' ? 9 : 12);
    },
  );

  it.each(cases)('finds a rejected field by its name alone or by trying: $code', async ({ code, isIn }) => {
    rejection = (body) => (isIn(body) ? 'Bad Request' : undefined);
    await pay({ ...berlin, details: everything });
    const { status, problems } = await stored();
    expect(status).toBe('scheduled');
    expect(problems.map((problem) => problem.code)).toContain(code);
    expect(writes.length).toBeLessThanOrEqual(4);
    isAt(9);
  });

  it.each(cases)(
    'omits a rejected field until the booking changes it: $code',
    async ({ code, isIn, message, shown }) => {
      rejection = (body) => (isIn(body) ? message : undefined);
      await pay({ ...berlin, details: everything });
      writes = [];
      await change({ location: 'Room 2' });
      expect(writes.filter(({ body }) => isIn(body))).toEqual([]);
      expect(await stored()).toMatchObject({
        status: 'scheduled',
        problems: [{ code }],
      });
      const other: Record<string, object> = {
        meet_refused: { meet: false },
        guests_refused: { attendees: [{ email: 'ben@example.com' }] },
        reminders_refused: { reminders: [{ method: 'popup', minutes: 10 }] },
        color_refused: { colorId: '8' },
        source_refused: { source: { url: 'https://other.example.com' } },
        time_zone_refused: { timeZone: 'Europe/Vienna' },
      };
      rejection = () => undefined;
      await change(other[code] as object);
      expect(await stored()).toMatchObject({ status: 'scheduled', problems: [] });
      if (code === 'meet_refused') await change({ meet: true });
      if (code !== 'time_zone_refused') expect(shown()).toBeTruthy();
      isAt(9);
    },
  );

  it('omits several rejected fields, each with its own problem', async () => {
    rejection = (body) =>
      body.conferenceData
        ? 'Invalid conference type value.'
        : body.attendees
          ? 'Invalid attendee email.'
          : undefined;
    await pay({ ...berlin, details: everything });
    expect((await stored()).problems.map(({ code }) => code)).toEqual(['meet_refused', 'guests_refused']);
    expect(writes).toHaveLength(3);
  });

  it('the fourth write omits all optional fields when Google names none', async () => {
    rejection = (body) => (body.colorId || body.reminders ? 'Bad Request' : undefined);
    await pay({ ...berlin, details: everything });
    expect(await stored()).toMatchObject({ status: 'scheduled' });
    expect((await stored()).problems.map(({ code }) => code)).toEqual(Object.keys(parts).sort(byOrder));
    expect(writes).toHaveLength(4);
  });

  it('reports a rejected field again when a later run finds the event after a crash', async () => {
    rejection = (body) => (body.conferenceData ? 'Invalid conference type value.' : undefined);
    const { save } = world.deps.bookings;
    world.deps.bookings.save = () => Promise.reject(new Error('crashed'));
    await expect(pay({ ...berlin, details: everything })).rejects.toThrow();
    world.deps.bookings.save = save;
    await pay({ ...berlin, details: everything });
    expect(await stored()).toMatchObject({ status: 'scheduled', problems: [{ code: 'meet_refused' }] });
    expect(recordedEvent(await stored())).not.toHaveProperty('meet');
    expect(world.events()).toHaveLength(1);
  });

  it('fails a booking whose required fields Google rejects, without needless writes', async () => {
    rejection = () => 'Invalid event.';
    await pay({});
    expect(await stored()).toMatchObject({ status: 'failed', problems: [{ code: 'google_refused' }] });
    expect(writes).toHaveLength(1);
  });
});

const order = [
  'meet_refused',
  'guests_refused',
  'source_refused',
  'color_refused',
  'reminders_refused',
  'time_zone_refused',
];
const byOrder = (one: string, other: string) => order.indexOf(one) - order.indexOf(other);

describe('time zone data of Google that differ from ours', () => {
  /** Google's time zone data put Berlin an hour behind. */
  const hourLater = (text: string | undefined) =>
    text === undefined ? undefined : new Date(Date.parse(text) + 3600_000).toISOString();
  beforeEach(() => {
    const { fetch } = world.deps.calendar;
    world.deps.calendar.fetch = async (url, init) => {
      const response = await fetch(url, init);
      if (init?.method !== 'POST' && init?.method !== 'PATCH') return response;
      const answer = JSON.parse(await response.text());
      for (const time of [answer.start, answer.end])
        if (time?.dateTime) time.dateTime = hourLater(time.dateTime);
      return Response.json(answer, { status: response.status });
    };
  });

  it('records the instants that Google computes for a local time, with a warning', async () => {
    const from = logged.length;
    await pay(berlin);
    expect(writes[0]?.body.start).toMatchObject({ dateTime: `${day}T10:00:00`, timeZone: 'Europe/Berlin' });
    const { appointment } = await stored();
    expect(appointment).toMatchObject({ startsAt: berlin.startsAt + 3600, endsAt: berlin.endsAt + 3600 });
    expect(appointment?.start).toEqual(berlin.start);
    expect(logged.slice(from).join()).toContain('Time zone data differs');
    await change({ location: 'Room 2' });
    expect((await stored()).appointment).toMatchObject({ startsAt: berlin.startsAt + 3600 });
  });

  it("ignores Google's instants for times with an offset and events moved by their owner", async () => {
    const times = {
      start: { dateTime: `${day}T10:00:00+01:00` },
      end: { dateTime: `${day}T11:00:00+01:00` },
    };
    await pay({ ...berlin, ...times });
    expect((await stored()).appointment).toMatchObject({ startsAt: berlin.startsAt, endsAt: berlin.endsAt });
  });
});
