import type { calendar_v3 } from '@googleapis/calendar';
import { Temporal } from 'temporal-polyfill';
import { apiError, documented, reported } from './google-errors.ts';

type EventTime = calendar_v3.Schema$EventDateTime;

const withOffset = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/i;
const withoutOffset = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?$/;

/**
 * Checks start and end as Google does: both a `date` or both a `dateTime`, a known zone where one is given or
 * needed, and an exclusive end after the start.
 */
export function checkTimes(
  event: calendar_v3.Schema$Event,
  calendarTimeZone: string,
  unknownTimeZones: string[] = [],
): void {
  const { start, end } = event;
  if (!start) throw apiError(reported.required('Missing start time.'));
  if (!end) throw apiError(reported.required('Missing end time.'));
  if (Boolean(start.date) !== Boolean(end.date)) {
    throw apiError(reported.invalid('The start and end times must either both be date or both be dateTime.'));
  }
  const rules = {
    calendarTimeZone,
    isKnown: (timeZone: string) => isTimeZone(timeZone) && !unknownTimeZones.includes(timeZone),
    recurring: (event.recurrence ?? []).length > 0,
  };
  const startsAt = checkTime('start', start, rules);
  const endsAt = checkTime('end', end, rules);
  if (endsAt <= startsAt) throw apiError(documented.timeRangeEmpty);
}

/** Epoch milliseconds. A date begins at midnight in the calendar's zone. */
export function instantOf(time: EventTime, calendarTimeZone: string): number {
  if (time.date)
    return Temporal.PlainDate.from(time.date).toZonedDateTime(calendarTimeZone).epochMilliseconds;
  const text = time.dateTime ?? '';
  // An offset defines the instant; the zone is ignored for it (UNVERIFIED for Google).
  if (withOffset.test(text)) return Temporal.Instant.from(text).epochMilliseconds;
  return Temporal.PlainDateTime.from(text).toZonedDateTime(time.timeZone ?? calendarTimeZone)
    .epochMilliseconds;
}

/**
 * The time as answers show it: in the calendar's own zone, regardless of the offset it was written with.
 * UNVERIFIED: clients must compare instants, not texts.
 */
export function presentTime(time: EventTime, calendarTimeZone: string): EventTime {
  if (time.date) return { date: time.date };
  const local = Temporal.Instant.fromEpochMilliseconds(instantOf(time, calendarTimeZone));
  const dateTime = local
    .toZonedDateTimeISO(calendarTimeZone)
    .toString({ timeZoneName: 'never', smallestUnit: 'second' })
    .replace('+00:00', 'Z');
  return { dateTime, timeZone: time.timeZone ?? calendarTimeZone };
}

function isTimeZone(timeZone: string): boolean {
  try {
    Temporal.Now.zonedDateTimeISO(timeZone);
    return !/^[+-]/.test(timeZone);
  } catch {
    return false;
  }
}

function checkTime(
  name: 'start' | 'end',
  time: EventTime,
  {
    calendarTimeZone,
    isKnown,
    recurring,
  }: { calendarTimeZone: string; isKnown: (timeZone: string) => boolean; recurring: boolean },
): number {
  if (time.date && time.dateTime) throw apiError(reported.invalid(`Invalid ${name} time.`));
  if (!time.date && !time.dateTime) throw apiError(reported.required(`Missing ${name} time.`));
  if (time.timeZone && !isKnown(time.timeZone)) {
    throw apiError(reported.invalid(`Invalid time zone definition for ${name} time.`));
  }
  if (time.date && !/^\d{4}-\d\d-\d\d$/.test(time.date)) {
    throw apiError(reported.invalid(`Invalid value for: Invalid format: "${time.date}"`));
  }
  if (time.dateTime && !withOffset.test(time.dateTime) && !withoutOffset.test(time.dateTime)) {
    throw apiError(reported.invalid(`Invalid value for: Invalid format: "${time.dateTime}"`));
  }
  if (time.dateTime && !time.timeZone && (recurring || withoutOffset.test(time.dateTime))) {
    throw apiError(reported.required(`Missing time zone definition for ${name} time.`));
  }
  try {
    return instantOf(time, calendarTimeZone);
  } catch {
    throw apiError(reported.invalid(`Invalid value for: Invalid format: "${time.date ?? time.dateTime}"`));
  }
}
