import fc from 'fast-check';
import { Temporal } from 'temporal-polyfill';
import { describe, expect, it } from 'vitest';
import { parseDesired } from '../../functions/bookings/requests.ts';
import { parseAppointment } from '../../shared/booking/appointment.ts';
import { isTimeZone } from '../../shared/lib/time-zone.ts';
import { ianaNames, icuAbbreviations } from '../fixtures/time-zones.ts';

const accepts = (read: () => unknown): boolean => {
  try {
    return read() !== undefined;
  } catch {
    return false;
  }
};
const intlAccepts = (zone: string) => accepts(() => new Intl.DateTimeFormat('en', { timeZone: zone }));
const temporalAccepts = (zone: string) =>
  accepts(() => Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(zone));
const known = [...new Set([...ianaNames, ...Intl.supportedValuesOf('timeZone')])];
const cases = (zone: string) => [zone, zone.toLowerCase(), zone.toUpperCase()];

describe('isTimeZone', () => {
  it('accepts every IANA zone name in any letter case', () => {
    expect(known.flatMap(cases).filter((zone) => !isTimeZone(zone))).toEqual([]);
  });

  it('rejects the ICU abbreviations in any letter case', () => {
    expect(icuAbbreviations.filter((zone) => !intlAccepts(zone))).toEqual([]);
    expect(icuAbbreviations.flatMap(cases).filter(isTimeZone)).toEqual([]);
  });

  it('rejects three-letter abbreviations ending in C or T that IANA does not have', () => {
    const letters = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'];
    const two = letters.flatMap((first) => letters.map((second) => first + second));
    const three = two.flatMap((start) => ['C', 'T'].map((last) => start + last));
    const accepted = three.filter(isTimeZone);
    expect(accepted.filter((zone) => !ianaNames.includes(zone))).toEqual([]);
  });

  it.each([
    '',
    ' ',
    '+01:00',
    '-05',
    'UTC+1',
    'GMT+5',
    'Etc/Unknown',
    'SystemV/PST8PDT',
    'systemv/est5',
    'Europe/Berlin ',
    'Europe/Berlin[u-ca=hebrew]',
    'Europe/Berlín',
    'ＵＴＣ',
    '\ud800',
    '__proto__',
    'constructor',
  ])('rejects an invalid zone name: %j', (zone) => {
    expect(isTimeZone(zone)).toBe(false);
  });

  it('rejects a zone name of 70,000 characters', () => {
    expect(isTimeZone('x'.repeat(70_000))).toBe(false);
  });

  it('accepts only zone names that both Intl and Temporal accept', () => {
    const letterCase = fc
      .tuple(fc.constantFrom(...known, ...icuAbbreviations), fc.infiniteStream(fc.boolean()))
      .map(([zone, upper]) =>
        [...zone].map((it) => (upper.next().value ? it.toUpperCase() : it.toLowerCase())).join(''),
      );
    fc.assert(
      fc.property(fc.oneof(letterCase, fc.stringMatching(/^[A-Za-z][\w+/-]{0,12}$/)), (zone) => {
        if (isTimeZone(zone)) expect([intlAccepts(zone), temporalAccepts(zone)]).toEqual([true, true]);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('an appointment in any time zone', () => {
  const read = (zone: string, offset: '' | 'Z') =>
    parseAppointment({
      summary: 'First meeting',
      start: `2027-03-05T10:00:00${offset}`,
      end: `2027-03-05T11:00:00${offset}`,
      time_zone: zone,
    });

  it('reads local times and offsets for every IANA zone', async () => {
    for (const zone of known) {
      for (const offset of ['', 'Z'] as const) {
        const { appointment, problems } = await read(zone.toLowerCase(), offset);
        expect({ zone, problems }).toEqual({ zone, problems: [] });
        expect(appointment).toBeDefined();
      }
    }
  });

  it('reports a problem with the zone for every ICU abbreviation', async () => {
    for (const zone of icuAbbreviations.flatMap(cases)) {
      for (const offset of ['', 'Z'] as const) {
        const { appointment, problems } = await read(zone, offset);
        expect(appointment).toBeUndefined();
        expect(problems).toEqual([expect.objectContaining({ code: 'invalid_booking', field: 'time_zone' })]);
      }
    }
  });

  it('the API rejects every ICU abbreviation as timeZone', async () => {
    for (const timeZone of icuAbbreviations.flatMap(cases)) {
      const body = {
        summary: 'First meeting',
        start: '2027-03-05T10:00:00Z',
        end: '2027-03-05T11:00:00Z',
        timeZone,
      };
      await expect(parseDesired(body)).rejects.toMatchObject({
        code: 'invalid_request',
        problems: [{ code: 'invalid_field', field: 'timeZone' }],
      });
    }
  });
});
