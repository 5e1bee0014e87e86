import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { instantOf } from '../../infra/local/google/event-times.ts';
import { parseAppointment } from '../../shared/booking/appointment.ts';
import type { Appointment } from '../../shared/booking/booking.ts';

const valid = {
  summary: 'First meeting',
  location: 'Example Street 1',
  description: 'Bring <nothing> & nobody',
  start: '2026-12-01T10:00:00+01:00',
  end: '2026-12-01T11:00:00+01:00',
};
const problemsOf = async (metadata: Record<string, string>) => (await parseAppointment(metadata)).problems;
const fieldsOf = async (metadata: Record<string, string>) =>
  (await problemsOf(metadata)).map(({ field }) => field);

describe('readAppointment', () => {
  it('reads appointment times with an offset', async () => {
    expect(await parseAppointment(valid)).toEqual({
      problems: [],
      appointment: {
        summary: 'First meeting',
        location: 'Example Street 1',
        description: 'Bring <nothing> & nobody',
        start: { dateTime: '2026-12-01T10:00:00+01:00' },
        end: { dateTime: '2026-12-01T11:00:00+01:00' },
        startsAt: Date.UTC(2026, 11, 1, 9) / 1000,
        endsAt: Date.UTC(2026, 11, 1, 10) / 1000,
      },
    });
  });

  it('keeps a local time with its zone and adds no offset', async () => {
    const { appointment } = await parseAppointment({
      ...valid,
      start: '2026-07-01T10:00',
      end: '2026-07-01T11:30:00.5',
      time_zone: 'America/New_York',
    });
    expect(appointment?.start).toEqual({ dateTime: '2026-07-01T10:00:00', timeZone: 'America/New_York' });
    expect(appointment?.end).toEqual({ dateTime: '2026-07-01T11:30:00', timeZone: 'America/New_York' });
    expect(appointment?.startsAt).toBe(Date.UTC(2026, 6, 1, 14) / 1000);
  });

  it('with both offset and zone keeps the instant and shows it in the zone', async () => {
    const { appointment } = await parseAppointment({ ...valid, time_zone: 'Asia/Kolkata' });
    expect(appointment?.start).toEqual({ dateTime: '2026-12-01T14:30:00+05:30', timeZone: 'Asia/Kolkata' });
  });

  it('computes the right instants before and after a clock change', async () => {
    const zone = { time_zone: 'Europe/Berlin' };
    const { appointment } = await parseAppointment({
      ...valid,
      start: '2026-03-29T01:30:00',
      end: '2026-03-29T03:30:00',
      ...zone,
    });
    // One hour, although the local times are two apart.
    expect((appointment?.endsAt ?? 0) - (appointment?.startsAt ?? 0)).toBe(3600);
  });

  it('reads whole days with an exclusive end date', async () => {
    const { appointment } = await parseAppointment({ ...valid, start: '2026-12-01', end: '2026-12-03' });
    expect(appointment).toMatchObject({
      start: { date: '2026-12-01' },
      end: { date: '2026-12-03' },
      startsAt: Date.UTC(2026, 11, 1) / 1000,
      // When the last day is over everywhere.
      endsAt: Date.UTC(2026, 11, 3, 12) / 1000,
    });
  });

  it('refuses a local time that a clock change skips', async () => {
    const problems = await problemsOf({
      ...valid,
      start: '2026-03-29T02:30:00',
      end: '2026-03-29T04:00:00',
      time_zone: 'Europe/Berlin',
    });
    expect(problems).toEqual([
      expect.objectContaining({ field: 'start', message: expect.stringContaining('clocks go forward') }),
    ]);
  });

  it('keeps the instant in years whose zone offset had seconds', async () => {
    const berlin = { ...valid, start: '1800-01-01T10:00:00', time_zone: 'Europe/Berlin' };
    const { appointment } = await parseAppointment(berlin);
    const { start, startsAt } = appointment as Appointment;
    expect(start).toEqual({ dateTime: '1800-01-01T09:06:32Z', timeZone: 'Europe/Berlin' });
    expect(startsAt).toBe(Date.parse('1800-01-01T09:06:32Z') / 1000);
  });

  it('takes the earlier of two equal local times when clocks go back', async () => {
    const { appointment } = await parseAppointment({
      ...valid,
      start: '2026-10-25T02:30:00',
      end: '2026-10-25T04:00:00',
      time_zone: 'Europe/Berlin',
    });
    expect(appointment?.start).toMatchObject({ dateTime: '2026-10-25T02:30:00+02:00' });
  });

  it.each([
    ['a missing summary', { summary: undefined }, ['summary']],
    ['an empty summary', { summary: '' }, ['summary']],
    [
      'all that is missing, at once',
      { summary: undefined, start: undefined, end: undefined },
      ['summary', 'start', 'end'],
    ],
    [
      'texts that no event can hold',
      { summary: 'x'.repeat(1025), location: 'x'.repeat(1025), description: 'x'.repeat(8193) },
      ['summary', 'location', 'description'],
    ],
    ['a time in words', { start: 'tomorrow at ten' }, ['start']],
    ['a day to start and a time to end', { start: '2026-12-01' }, ['end']],
    ['a day that ends before it is over', { start: '2026-12-01', end: '2026-12-01' }, ['end']],
    ['a day that does not exist', { start: '2027-02-29', end: '2027-03-02' }, ['start']],
    ['a local time without a zone', { start: '2026-12-01T10:00:00' }, ['start']],
    [
      'both times, if both are wrong',
      { start: '2026-13-01T10:00:00Z', end: '2026-12-01T25:00:00Z' },
      ['start', 'end'],
    ],
    ['a year of five digits in its zone', { end: '9999-12-31T23:59:59Z', time_zone: 'Asia/Tokyo' }, ['end']],
    ['a year before the first', { start: '0000-01-01T00:00:00+23:59' }, ['start']],
    ['30 February', { start: '2026-02-30T10:00:00Z' }, ['start']],
    ['30 February in a zone', { start: '2026-02-30T10:00:00', time_zone: 'Europe/Berlin' }, ['start']],
    ['hour 24', { start: '2026-12-01T24:00:00Z' }, ['start']],
    ['an offset of 25 hours', { start: '2026-12-01T10:00:00+25:00' }, ['start']],
    ['a zone that does not exist', { time_zone: 'Europe/Atlantis' }, ['time_zone']],
    ['an offset in place of a zone', { time_zone: '+01:00' }, ['time_zone']],
    ['an end at the start', { end: '2026-12-01T10:00:00+01:00' }, ['end']],
    ['an end before the start, by its instant', { end: '2026-12-01T10:30:00+02:00' }, ['end']],
  ])('refuses an appointment with %s', async (_, change, fields) => {
    const metadata = Object.fromEntries(
      Object.entries({ ...valid, ...change }).filter(
        (entry): entry is [string, string] => entry[1] !== undefined,
      ),
    );
    expect(await fieldsOf(metadata)).toEqual(fields);
    expect((await parseAppointment(metadata)).appointment).toBeUndefined();
  });

  it.each([
    ['US/Pacific', '2027-01-15T10:00:00-08:00'],
    ['Asia/Calcutta', '2027-01-15T10:00:00+05:30'],
    ['Asia/Kolkata', '2027-01-15T10:00:00+05:30'],
    ['Europe/Kiev', '2027-01-15T10:00:00+02:00'],
    ['Etc/GMT+5', '2027-01-15T10:00:00-05:00'],
    ['UTC', '2027-01-15T10:00:00Z'],
    ['GMT', '2027-01-15T10:00:00Z'],
    ['europe/berlin', '2027-01-15T10:00:00+01:00'],
    ['Asia/Almaty', '2027-01-15T10:00:00+05:00'],
    ['Asia/Amman', '2027-01-15T10:00:00+03:00'],
    ['Australia/Lord_Howe', '2027-01-15T10:00:00+11:00'],
    ['Asia/Kathmandu', '2027-01-15T10:00:00+05:45'],
    ['Pacific/Chatham', '2027-01-15T10:00:00+13:45'],
    ['Pacific/Kiritimati', '2027-01-15T10:00:00+14:00'],
    ['Africa/Cairo', '2027-07-15T10:00:00+03:00'],
    ['Asia/Tehran', '2027-07-15T10:00:00+03:30'],
    ['America/Mexico_City', '2027-07-15T10:00:00-06:00'],
    ['America/Ciudad_Juarez', '2027-07-15T10:00:00-06:00'],
    ['America/Asuncion', '2027-07-15T10:00:00-03:00'],
    ['America/Coyhaique', '2027-07-15T10:00:00-03:00'],
    ['America/Nuuk', '2027-07-15T10:00:00-01:00'],
    // Twice: the earlier one. Its end happens once.
    ['America/New_York', '2027-11-07T01:30:00-04:00', '2027-11-07T02:30:00-05:00'],
    ['Europe/Berlin', '2027-03-28T01:00:00+01:00', '2027-03-28T04:00:00+02:00'],
    ['Africa/Cairo', '2027-10-28T23:30:00+03:00', '2027-10-29T00:30:00+02:00'],
  ])('computes the right instant in %s: %s', async (zone, first, last?: string) => {
    const localPart = (time: string) => time.slice(0, 19);
    const end = last ?? first.replace('T10', 'T11');
    const texts = { ...valid, start: localPart(first), end: localPart(end), time_zone: zone };
    const { appointment, problems } = await parseAppointment(texts);
    expect(problems).toEqual([]);
    const { start, end: until, startsAt, endsAt } = appointment as Appointment;
    expect([startsAt, endsAt]).toEqual([Date.parse(first) / 1000, Date.parse(end) / 1000]);
    // As the simulated Google resolves what is sent to it.
    expect([start, until].map((time) => instantOf(time, 'Pacific/Auckland'))).toEqual([
      Date.parse(first),
      Date.parse(end),
    ]);
  });

  it('adds an offset only to local times that occur twice, in every zone', async () => {
    for (const zone of Intl.supportedValuesOf('timeZone')) {
      const { appointment } = await parseAppointment({
        ...valid,
        start: '2027-01-15T10:00:00',
        end: '2027-07-15T10:00:00',
        time_zone: zone,
      });
      expect(appointment?.start).toEqual({ dateTime: '2027-01-15T10:00:00', timeZone: zone });
      expect(appointment?.end).toEqual({ dateTime: '2027-07-15T10:00:00', timeZone: zone });
    }
    const { appointment } = await parseAppointment({
      ...valid,
      start: '2027-10-31T02:30:00',
      end: '2027-10-31T03:30:00',
      time_zone: 'Europe/Berlin',
    });
    expect([appointment?.start, appointment?.end]).toEqual([
      { dateTime: '2027-10-31T02:30:00+02:00', timeZone: 'Europe/Berlin' },
      { dateTime: '2027-10-31T03:30:00', timeZone: 'Europe/Berlin' },
    ]);
  });

  it('treats an empty optional text as absent', async () => {
    for (const zoneField of ['time_zone', 'timeZone']) {
      const empty = { location: '', description: '', [zoneField]: '' };
      const { appointment, problems } = await parseAppointment({ ...valid, ...empty }, zoneField);
      expect(problems).toEqual([]);
      expect(appointment).not.toHaveProperty('location');
      expect(appointment).not.toHaveProperty('description');
      expect(appointment?.start).toEqual({ dateTime: '2026-12-01T10:00:00+01:00' });
    }
  });

  it('limits the length of a description as it is encoded for Google', async () => {
    const descriptions = {
      fits: '&'.repeat(1638),
      'is too long': '&'.repeat(1639),
      'is plain': 'x'.repeat(8192),
    };
    const found = Object.entries(descriptions).map(async ([name, description]) => [
      name,
      await problemsOf({ ...valid, description }),
    ]);
    expect(Object.fromEntries(await Promise.all(found))).toEqual({
      fits: [],
      'is plain': [],
      'is too long': [
        {
          code: 'invalid_booking',
          field: 'description',
          message:
            '"description" must not be longer than 8192 characters, where "&" counts as 5 and "<" as 4.',
        },
      ],
    });
  });

  it.each([
    ['the same day', '2027-01-15', '2027-01-15', 'For the single day 2027-01-15 it must be 2027-01-16.'],
    ['a day before', '2027-02-28', '2027-02-01', 'For the single day 2027-02-28 it must be 2027-03-01.'],
    [
      'the same time',
      '2027-01-15T10:00:00Z',
      '2027-01-15T10:00:00Z',
      'which is 2027-01-15T10:00:00Z. Send both to move an appointment.',
    ],
    ['a time for a day', '2027-01-15', '2027-01-15T10:00:00Z', 'or both be days such as 2026-12-01.'],
    [
      'a day that does not exist',
      '2027-02-28',
      '2027-02-29',
      'It must be a day of the calendar, as YYYY-MM-DD.',
    ],
  ])('explains the right end when the end is %s', async (_, start, end, remedy) => {
    const [problem] = await problemsOf({ ...valid, start, end });
    expect(problem).toMatchObject({ field: 'end', message: expect.stringContaining(remedy) });
  });

  it('returns an appointment or problems, and never throws, for any metadata', async () => {
    const text = fc.oneof(
      fc.string(),
      fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
      fc.constantFrom('UTC', 'Europe/Berlin'),
    );
    const metadata = fc.record(
      { summary: text, location: text, description: text, start: text, end: text, time_zone: text },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(metadata, async (input) => {
        const { appointment, problems } = await parseAppointment(input);
        expect(appointment === undefined).toBe(problems.length > 0);
      }),
    );
  });
});
