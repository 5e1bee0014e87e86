import * as v from 'valibot';
import type { Problem } from '../lib/app-error.ts';
import { dayExists, toIso } from '../lib/clock.ts';
import { omitUndefined } from '../lib/omit-undefined.ts';
import { isTimeZone } from '../lib/time-zone.ts';
import type { Appointment, EventTime } from './booking.ts';
import { lastZoneSeconds } from './day-span.ts';
import { toEventDescription } from './event-description.ts';

/** An appointment as a payment carries it: texts by field. Other fields are ignored. */
export type AppointmentFields = Record<string, string>;

type ParsedTime = { time: EventTime; at: number };

/** Maximum characters of a field, in the API and in payments. */
export const maxLengths = { summary: 1024, location: 1024, description: 8192 };

const required = (field: string) =>
  v.pipe(v.string(`"${field}" is missing.`), v.minLength(1, `"${field}" is empty.`));
const atMost = (field: keyof typeof maxLengths) =>
  v.maxLength<string, number, string>(
    maxLengths[field],
    `"${field}" must not be longer than ${maxLengths[field]} characters.`,
  );

/** Whether a description is short enough for Google, which gets it with its markup escaped. */
export const descriptionFits = (text: string): boolean =>
  toEventDescription(text).length <= maxLengths.description;
export const descriptionLimit = `must not be longer than ${maxLengths.description} characters, where "&" counts as 5 and "<" as 4`;

const schema = v.object(
  {
    summary: v.pipe(required('summary'), atMost('summary')),
    location: v.optional(v.pipe(v.string(), atMost('location'))),
    description: v.optional(
      v.pipe(v.string(), v.check(descriptionFits, `"description" ${descriptionLimit}.`)),
    ),
    start: required('start'),
    end: required('end'),
  },
  // `expected` is the quoted name of the field.
  ({ expected }) => `${expected} is missing.`,
);

/**
 * The appointment that a payment describes, or all its problems.
 * @param zoneField the provider's name for the field of the time zone
 */
export async function parseAppointment(
  texts: AppointmentFields,
  zoneField = 'time_zone',
): Promise<{ appointment?: Appointment; problems: Problem[] }> {
  const parsed = v.safeParse(schema, texts);
  if (!parsed.success) {
    return { problems: parsed.issues.map((issue) => problem(String(v.getDotPath(issue)), issue.message)) };
  }
  const { summary, location, description } = parsed.output;
  // A provider that fills a template may send an empty text for a missing zone.
  const zone = texts[zoneField] || undefined;
  if (zone !== undefined && !isTimeZone(zone)) {
    return {
      problems: [
        problem(
          zoneField,
          `"${zoneField}" must be an IANA zone such as Europe/Berlin; "${zone.slice(0, 40)}" is none.`,
        ),
      ],
    };
  }
  const start = checkRange('start', await parseTime('start', parsed.output.start, zone, zoneField));
  const end = checkRange('end', await parseTime('end', parsed.output.end, zone, zoneField));
  if ('code' in start || 'code' in end)
    return { problems: [start, end].filter((it): it is Problem => 'code' in it) };
  if ('date' in start.time !== 'date' in end.time) {
    const message =
      '"start" and "end" must both be times such as 2026-12-01T10:00:00+01:00, or both be days such as 2026-12-01.';
    return { problems: [problem('end', message)] };
  }
  if (end.at <= start.at) return { problems: [problem('end', endAfter(start))] };
  return {
    appointment: omitUndefined({
      summary,
      location: location || undefined,
      description: description || undefined,
      start: start.time,
      end: end.time,
      startsAt: start.at,
      // Until sync knows the zone of the calendar, a day ends when it has ended in every zone.
      endsAt: 'date' in end.time ? end.at + lastZoneSeconds : end.at,
    }),
    problems: [],
  };
}

/** The message for an end that is not after the start, with an end that would be. */
function endAfter({ time, at }: ParsedTime): string {
  if (!('date' in time))
    return `"end" must be later than "start", which is ${time.dateTime}. Send both to move an appointment.`;
  const nextDay = toIso(at + 86_400).slice(0, 10);
  return `"end" must be later than "start": it is the day after the last one. For the single day ${time.date} it must be ${nextDay}.`;
}

/** Whether a time has no offset, so that its instant depends on time zone data. */
export const isLocalTime = (time: EventTime): boolean =>
  'dateTime' in time && !/(?:Z|[+-]\d\d:\d\d)$/.test(time.dateTime);

/** Range of instants whose year has four digits in every zone, as RFC 3339 requires. */
const earliest = Date.parse('0001-01-02T00:00:00Z') / 1000;
const latest = Date.parse('9999-12-30T00:00:00Z') / 1000;

function checkRange(field: string, moment: ParsedTime | Problem): ParsedTime | Problem {
  if ('code' in moment || (moment.at >= earliest && moment.at <= latest)) return moment;
  return problem(field, `"${field}" must be within the years 1 to 9999.`);
}

const date = String.raw`(\d{4}-\d\d-\d\d)[Tt]([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.\d{1,9})?)?`;
const wholeDay = /^\d{4}-\d\d-\d\d$/;
const local = new RegExp(`^${date}$`);
const withOffset = new RegExp(`^${date}([Zz]|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)$`);

/**
 * Reads RFC 3339 with an offset, a local time with its zone, or a date for an appointment of whole days. A local time
 * that exists twice means the earlier one, written with its offset; one that does not exist is a problem.
 */
async function parseTime(
  field: string,
  text: string,
  zone: string | undefined,
  zoneField: string,
): Promise<ParsedTime | Problem> {
  if (wholeDay.test(text)) return parseDay(field, text);
  const [, day, hour, minute, second = '00', offset] = withOffset.exec(text) ?? local.exec(text) ?? [];
  if (day === undefined) {
    return problem(
      field,
      `"${field}" must be a time such as 2026-12-01T10:00:00+01:00; "${text.slice(0, 40)}" is none.`,
    );
  }
  if (!dayExists(day)) return problem(field, noSuchDay(field, day));
  const clockTime = `${day}T${hour}:${minute}:${second}`;
  if (offset !== undefined) return parseInstant(clockTime + offset.toUpperCase(), zone);
  if (zone !== undefined) return parseLocalTime(field, clockTime, zone);
  return problem(
    field,
    `"${field}" has no offset from UTC. Add one, or say in "${zoneField}" where the time is meant.`,
  );
}

/** A day of the user's calendar. Until sync knows the zone of that calendar, the day begins at midnight UTC. */
function parseDay(field: string, day: string): ParsedTime | Problem {
  if (!dayExists(day)) return problem(field, noSuchDay(field, day));
  return { time: { date: day }, at: Date.parse(`${day}T00:00:00Z`) / 1000 };
}

async function parseInstant(dateTime: string, zone: string | undefined): Promise<ParsedTime> {
  const milliseconds = Date.parse(dateTime);
  if (zone === undefined) return { time: { dateTime }, at: milliseconds / 1000 };
  const { Temporal } = await import('temporal-polyfill');
  return toParsedTime(Temporal.Instant.fromEpochMilliseconds(milliseconds).toZonedDateTimeISO(zone));
}

/**
 * A local time is stored as one, since Google's time zone data decides which instant it is. The instant from our own
 * data is used for deadlines only.
 */
async function parseLocalTime(field: string, clockTime: string, zone: string): Promise<ParsedTime | Problem> {
  const { Temporal } = await import('temporal-polyfill');
  const wallTime = Temporal.PlainDateTime.from(clockTime);
  const zoned = wallTime.toZonedDateTime(zone, { disambiguation: 'earlier' });
  if (!zoned.toPlainDateTime().equals(wallTime)) {
    return problem(
      field,
      `"${field}" does not exist in ${zone}: clocks go forward over ${clockTime}. Send a time before or after that.`,
    );
  }
  const later = wallTime.toZonedDateTime(zone, { disambiguation: 'later' });
  if (!later.equals(zoned) || !hasWholeOffset(zoned)) return toParsedTime(zoned);
  const at = zoned.epochMilliseconds / 1000;
  return { time: { dateTime: clockTime, timeZone: zoned.timeZoneId }, at };
}

/** Historic offsets have seconds, which RFC 3339 cannot express. */
const hasWholeOffset = ({ offsetNanoseconds }: { offsetNanoseconds: number }): boolean =>
  offsetNanoseconds % 60e9 === 0;

function toParsedTime(zoned: {
  toString(options: object): string;
  epochMilliseconds: number;
  offsetNanoseconds: number;
  timeZoneId: string;
}): ParsedTime {
  const at = zoned.epochMilliseconds / 1000;
  const dateTime = hasWholeOffset(zoned)
    ? zoned.toString({ timeZoneName: 'never', smallestUnit: 'second' })
    : toIso(at);
  return { time: { dateTime, timeZone: zoned.timeZoneId }, at };
}

const noSuchDay = (field: string, day: string): string =>
  `"${field}" names a day that does not exist: ${day}. It must be a day of the calendar, as YYYY-MM-DD.`;

function problem(field: string, message: string): Problem {
  return { code: 'invalid_booking', field, message };
}
