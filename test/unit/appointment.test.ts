import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readAppointment } from '../../shared/appointment.ts';
import type { Appointment } from '../../shared/booking.ts';

const valid = {
  summary: 'First meeting',
  location: 'Example Street 1',
  description: 'Bring <nothing> & nobody',
  start: '2026-12-01T10:00:00+01:00',
  end: '2026-12-01T11:00:00+01:00',
};
const problemsOf = async (metadata: Record<string, string>) => (await readAppointment(metadata)).problems;
const fieldsOf = async (metadata: Record<string, string>) =>
  (await problemsOf(metadata)).map(({ field }) => field);

describe('readAppointment', () => {
  it('reads times with an offset', async () => {
    expect(await readAppointment(valid)).toEqual({
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

  it('reads local times with their zone, and leaves nothing for Google to interpret', async () => {
    const { appointment } = await readAppointment({
      ...valid,
      start: '2026-07-01T10:00',
      end: '2026-07-01T11:30:00.5',
      time_zone: 'America/New_York',
    });
    expect(appointment?.start).toEqual({
      dateTime: '2026-07-01T10:00:00-04:00',
      timeZone: 'America/New_York',
    });
    expect(appointment?.end).toEqual({ dateTime: '2026-07-01T11:30:00-04:00', timeZone: 'America/New_York' });
    expect(appointment?.startsAt).toBe(Date.UTC(2026, 6, 1, 14) / 1000);
  });

  it('keeps the instant where offset and zone are both given, shown in the zone', async () => {
    const { appointment } = await readAppointment({ ...valid, time_zone: 'Asia/Kolkata' });
    expect(appointment?.start).toEqual({ dateTime: '2026-12-01T14:30:00+05:30', timeZone: 'Asia/Kolkata' });
  });

  it('gets the hour right on both sides of a change of clocks', async () => {
    const zone = { time_zone: 'Europe/Berlin' };
    const { appointment } = await readAppointment({
      ...valid,
      start: '2026-03-29T01:30:00',
      end: '2026-03-29T03:30:00',
      ...zone,
    });
    // One hour, although the local times are two apart.
    expect((appointment?.endsAt ?? 0) - (appointment?.startsAt ?? 0)).toBe(3600);
  });

  it('reads whole days, the end being the day after the last', async () => {
    const { appointment } = await readAppointment({ ...valid, start: '2026-12-01', end: '2026-12-03' });
    expect(appointment).toMatchObject({
      start: { date: '2026-12-01' },
      end: { date: '2026-12-03' },
      startsAt: Date.UTC(2026, 11, 1) / 1000,
      // When the last day is over everywhere.
      endsAt: Date.UTC(2026, 11, 3, 12) / 1000,
    });
  });

  it('refuses a local time that the change of clocks leaves out', async () => {
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

  it('keeps the instant of times when clocks were apart by seconds', async () => {
    const berlin = { ...valid, start: '1800-01-01T10:00:00', time_zone: 'Europe/Berlin' };
    const { appointment } = await readAppointment(berlin);
    const { start, startsAt } = appointment as Appointment;
    expect(start).toEqual({ dateTime: '1800-01-01T09:06:32Z', timeZone: 'Europe/Berlin' });
    expect(startsAt).toBe(Date.parse('1800-01-01T09:06:32Z') / 1000);
  });

  it('takes the earlier of two local times where clocks go back', async () => {
    const { appointment } = await readAppointment({
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
  ])('refuses %s', async (_, change, fields) => {
    const metadata = Object.fromEntries(
      Object.entries({ ...valid, ...change }).filter(
        (entry): entry is [string, string] => entry[1] !== undefined,
      ),
    );
    expect(await fieldsOf(metadata)).toEqual(fields);
    expect((await readAppointment(metadata)).appointment).toBeUndefined();
  });

  it('never throws, whatever the metadata say, and answers either an appointment or problems', async () => {
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
        const { appointment, problems } = await readAppointment(input);
        expect(appointment === undefined).toBe(problems.length > 0);
      }),
    );
  });
});
