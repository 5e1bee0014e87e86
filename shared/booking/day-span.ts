import { toIso } from '../lib/clock.ts';
import type { Appointment } from './booking.ts';

/** From the start of the first day to the end of the last: epoch seconds, and RFC 3339 with the offset of the zone. */
type DaySpan = { startsAt: number; endsAt: number; from: string; to: string };

/** Seconds by which the easternmost zone is ahead of UTC, and the westernmost one behind. */
const firstZoneSeconds = 14 * 3600;
export const lastZoneSeconds = 12 * 3600;

type Times = Pick<Appointment, 'start' | 'end'>;

/** Whether an appointment lasts whole days of its calendar. */
export function isWholeDays({ start, end }: Times): boolean {
  return 'date' in start && 'date' in end;
}

/**
 * The span of whole days in a zone. Undefined for an appointment with times, and for a zone that this runtime does not
 * know.
 */
export async function daySpan({ start, end }: Times, timeZone: string): Promise<DaySpan | undefined> {
  if (!('date' in start && 'date' in end)) return undefined;
  const { Temporal } = await import('temporal-polyfill');
  try {
    // Where clocks skip midnight, the day begins at the first existing time.
    const first = Temporal.PlainDate.from(start.date).toZonedDateTime(timeZone);
    const last = Temporal.PlainDate.from(end.date).toZonedDateTime(timeZone);
    return {
      startsAt: first.epochMilliseconds / 1000,
      endsAt: last.epochMilliseconds / 1000,
      from: rfc3339(first),
      to: rfc3339(last),
    };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The span that contains these days in every zone: from their earliest start to their latest end. */
export function widestSpan({ start, end }: Times): DaySpan | undefined {
  if (!('date' in start && 'date' in end)) return undefined;
  const startsAt = Date.parse(`${start.date}T00:00:00Z`) / 1000 - firstZoneSeconds;
  const endsAt = Date.parse(`${end.date}T00:00:00Z`) / 1000 + lastZoneSeconds;
  return { startsAt, endsAt, from: toIso(startsAt), to: toIso(endsAt) };
}

/** Historic offsets have seconds, which RFC 3339 does not allow: such an instant is written in UTC. */
function rfc3339(zoned: {
  toString(options: object): string;
  epochMilliseconds: number;
  offsetNanoseconds: number;
}): string {
  if (zoned.offsetNanoseconds % 60e9 !== 0) return toIso(zoned.epochMilliseconds / 1000);
  return zoned.toString({ timeZoneName: 'never', smallestUnit: 'second' });
}

/** Seconds. A longer appointment is still worth creating after it has begun. */
const longAfterSeconds = 4 * 3600;

/**
 * Epoch second until which a failed attempt to create the event is repeated: the end of an appointment of whole days
 * or of more than four hours, the start of a shorter one.
 */
export function deadlineOf(appointment: Pick<Appointment, 'start' | 'end' | 'startsAt' | 'endsAt'>): number {
  const { startsAt, endsAt } = appointment;
  return isWholeDays(appointment) || endsAt - startsAt > longAfterSeconds ? endsAt : startsAt;
}
