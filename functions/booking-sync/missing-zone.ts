import {
  type CalendarAnswer,
  type CalendarEvent,
  type CalendarFailure,
  type EventBody,
  type EventBodyTime,
  getEvent,
  readCalendar,
} from '../../shared/google/calendar.ts';
import { ask, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/** Times with an offset suffice for Google, except where the owner has made a series of the event: that needs a zone. */

/** Whether Google rejects a body because it has times without a zone. */
export function lacksZone({ kind, message, location = '' }: CalendarFailure, body: EventBody): boolean {
  const isNamed = /time ?zone/i.test(`${message} ${location}`);
  return kind === 'refused' && isNamed && [body.start, body.end].some(isWithoutZone);
}

function isWithoutZone(time: EventBodyTime | undefined): boolean {
  return time !== undefined && time.dateTime !== null && time.timeZone === null;
}

/** The zone of an event: its own, as read before or now, else that of its calendar; undefined where Google says none. */
export async function zoneOf(
  deps: SyncDeps,
  session: Session,
  { calendarId, event }: { calendarId: string; event: Pick<CalendarEvent, 'id' | 'start'> },
): Promise<CalendarAnswer<string | undefined>> {
  if (event.start?.timeZone) return { ok: true, value: event.start.timeZone };
  if (!event.start) {
    const read = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, event.id));
    if (!read.ok) return read;
    if (read.value.start?.timeZone) return { ok: true, value: read.value.start.timeZone };
  }
  const { connection } = session.access;
  const known = connection.calendarId === calendarId ? connection.timeZone : undefined;
  if (known !== undefined) return { ok: true, value: known };
  const calendar = await ask(deps, session, (token) => readCalendar(deps.calendar, token, calendarId));
  return calendar.ok ? { ok: true, value: calendar.value.timeZone } : calendar;
}

/** The body with a zone for each time that has none, at the same instants. */
export async function withZone(body: EventBody, timeZone: string): Promise<EventBody> {
  const { start, end } = body;
  return {
    ...body,
    ...(start ? { start: await inZone(start, timeZone) } : {}),
    ...(end ? { end: await inZone(end, timeZone) } : {}),
  };
}

/** Clock time and offset of the zone: the same instant whether Google reads the offset or the zone. */
async function inZone(time: EventBodyTime, timeZone: string): Promise<EventBodyTime> {
  if (!isWithoutZone(time)) return time;
  const { Temporal } = await import('temporal-polyfill');
  try {
    const zoned = Temporal.Instant.from(time.dateTime ?? '').toZonedDateTimeISO(timeZone);
    const dateTime = zoned.toString({ timeZoneName: 'never', smallestUnit: 'second' });
    return { ...time, dateTime, timeZone };
  } catch (error) {
    // A zone that Google knows and this runtime does not.
    if (error instanceof RangeError) return { ...time, timeZone };
    throw error;
  }
}
