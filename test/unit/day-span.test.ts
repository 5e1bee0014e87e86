import { Temporal } from 'temporal-polyfill';
import { describe, expect, it } from 'vitest';
import { insertEvent } from '../../infra/local/google/event-store.ts';
import { queryFreeBusy } from '../../infra/local/google/free-busy.ts';
import { type Calendar, findCalendar, openState } from '../../infra/local/google/state.ts';
import type { EventTime } from '../../shared/booking/booking.ts';
import { daySpan, deadlineOf, widestSpan } from '../../shared/booking/day-span.ts';

/** Every zone that the runtime lists, and some that lists leave out. */
const zones = [
  ...new Set([
    ...Intl.supportedValuesOf('timeZone'),
    'UTC',
    'Pacific/Kiritimati',
    'Asia/Kathmandu',
    'Pacific/Apia',
    'America/Asuncion',
    'Africa/Cairo',
    'Asia/Beirut',
    'Europe/Vienna',
    'America/New_York',
  ]),
];
/** The first days with another offset in 2027 and the days before and after, and one without a change. */
const days = (zone: string): string[] => {
  const found = ['2027-01-15'];
  const start = Temporal.PlainDate.from('2027-01-01');
  for (let day = start; day.year === 2027; day = day.add({ days: 1 })) {
    const [one, other] = [day, day.add({ days: 1 })].map((it) => it.toZonedDateTime(zone).epochMilliseconds);
    if ((other as number) - (one as number) !== 86_400_000)
      found.push(day.subtract({ days: 1 }).toString(), day.toString(), day.add({ days: 1 }).toString());
  }
  return found;
};
const date = '2027-01-15';
const dayAfter = (date: string): string => Temporal.PlainDate.from(date).add({ days: 1 }).toString();
const wholeDay = (date: string, end = dayAfter(date)) => ({ start: { date }, end: { date: end } });

describe('the span of whole days', () => {
  it('whole days last from midnight to midnight at the offset of the zone', async () => {
    expect(await daySpan(wholeDay('2027-03-01', '2027-03-03'), 'America/New_York')).toEqual({
      startsAt: Date.parse('2027-03-01T05:00:00Z') / 1000,
      endsAt: Date.parse('2027-03-03T05:00:00Z') / 1000,
      from: '2027-03-01T00:00:00-05:00',
      to: '2027-03-03T00:00:00-05:00',
    });
  });

  it.each([
    ['Africa/Cairo', '2027-04-30', '2027-04-30T01:00:00+03:00'],
    ['Asia/Beirut', '2027-03-28', '2027-03-28T01:00:00+03:00'],
    ['America/Asuncion', '2023-10-01', '2023-10-01T01:00:00-03:00'],
    // This day was left out: it begins and ends at the same moment.
    ['Pacific/Apia', '2011-12-30', '2011-12-31T00:00:00+14:00'],
    // RFC 3339 has no seconds in offsets.
    ['Europe/Vienna', '1800-01-01', '1799-12-31T22:54:39Z'],
  ])('a day begins at the first existing time in %s on %s', async (zone, date, from) => {
    expect((await daySpan(wholeDay(date), zone))?.from).toBe(from);
  });

  it.each(['PST', 'Mars/Olympus', ''])(
    'whole days have no span in a zone that the runtime does not know: %j',
    async (zone) => {
      expect(await daySpan(wholeDay('2027-03-01'), zone)).toBeUndefined();
    },
  );

  it('an appointment with times has no span of days', async () => {
    const at = (dateTime: string): EventTime => ({ dateTime });
    const timed = { start: at('2027-03-01T10:00:00Z'), end: at('2027-03-01T11:00:00Z') };
    expect(await daySpan(timed, 'Europe/Vienna')).toBeUndefined();
    expect(widestSpan(timed)).toBeUndefined();
  });

  it('a day begins where the previous day ends, in every zone and around every clock change', async () => {
    for (const zone of zones) {
      for (const date of days(zone)) {
        const [today, tomorrow] = await Promise.all([
          daySpan(wholeDay(date), zone),
          daySpan(wholeDay(dayAfter(date)), zone),
        ]);
        expect({ zone, date, at: today?.to }).toEqual({ zone, date, at: tomorrow?.from });
        const local = (at = Number.NaN) =>
          Temporal.Instant.fromEpochMilliseconds(at * 1000)
            .toZonedDateTimeISO(zone)
            .toPlainDate()
            .toString();
        expect([local(today?.startsAt), local((today?.endsAt ?? 0) - 1)]).toEqual([date, date]);
        expect(local((today?.startsAt ?? 0) - 1) < date).toBe(true);
        const widest = widestSpan(wholeDay(date));
        expect(widest?.startsAt).toBeLessThanOrEqual(today?.startsAt ?? 0);
        expect(widest?.endsAt).toBeGreaterThanOrEqual(today?.endsAt ?? Number.POSITIVE_INFINITY);
      }
    }
  });
});

describe('free/busy asked for a whole day', () => {
  const owner = { sub: 'owner', email: 'owner@example.com', name: 'Owner', timeZone: 'UTC' };

  async function isBusy(zone: string, date: string, other: { start: EventTime; end: EventTime }) {
    const state = openState({ clients: [], accounts: [owner], now: () => 0, random: () => 0.5 });
    const primary = findCalendar(state, owner.sub, 'primary') as Calendar;
    const calendar = { ...primary, timeZone: zone };
    state.calendars.set(primary.id, calendar);
    insertEvent({ state, calendar, account: owner }, undefined, undefined, { summary: 'x', ...other });
    const span = await daySpan(wholeDay(date), zone);
    const { calendars } = queryFreeBusy(state, owner, {
      timeMin: span?.from,
      timeMax: span?.to,
      items: [{ id: 'primary' }],
    });
    return (calendars.primary as { busy: unknown[] }).busy.length > 0;
  }

  const local = (day: string, from: string, to: string) => (zone: string) => ({
    start: { dateTime: `${day}T${from}:00`, timeZone: zone },
    end: { dateTime: `${day}T${to}:00`, timeZone: zone },
  });
  it.each<[string, (zone: string) => { start: EventTime; end: EventTime }, boolean]>([
    ['the next morning', local('2027-01-16', '09:00', '10:00'), false],
    ['the next evening', local('2027-01-16', '20:00', '21:00'), false],
    ['the evening before', local('2027-01-14', '20:00', '21:00'), false],
    ['a quarter past midnight of that day', local(date, '00:15', '00:45'), true],
    ['the morning of that day', local(date, '07:00', '08:00'), true],
    ['the evening of that day', local(date, '20:00', '21:00'), true],
    ['the whole day before', () => wholeDay('2027-01-14'), false],
    ['the whole day after', () => wholeDay('2027-01-16'), false],
  ])('free/busy of a whole day answers for an event at %s, in every zone', async (_, other, expected) => {
    const wrong: string[] = [];
    for (const zone of zones) if ((await isBusy(zone, date, other(zone))) !== expected) wrong.push(zone);
    expect(wrong).toEqual([]);
  });
});

describe('the deadline of an appointment', () => {
  const timed = (hours: number) => {
    const [startsAt, endsAt] = [1_800_000_000, 1_800_000_000 + hours * 3600];
    const at = (seconds: number) => ({ dateTime: new Date(seconds * 1000).toISOString() });
    return { start: at(startsAt), end: at(endsAt), startsAt, endsAt };
  };

  it.each([
    [1, 'start'],
    [4, 'start'],
    [4.01, 'end'],
    [72, 'end'],
  ])('the deadline of %s hours is their %s', (hours, which) => {
    const appointment = timed(hours);
    expect(deadlineOf(appointment)).toBe(which === 'start' ? appointment.startsAt : appointment.endsAt);
  });

  it('the deadline of whole days is their end', () => {
    expect(deadlineOf({ ...wholeDay(date), startsAt: 5, endsAt: 9 })).toBe(9);
  });
});
