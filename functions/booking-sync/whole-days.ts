import { type Booking, recordedEvent } from '../../shared/booking/booking.ts';
import { daySpan, isWholeDays } from '../../shared/booking/day-span.ts';
import { isInFormerAccount } from '../../shared/booking/former-account.ts';
import type { SyncSnapshot } from '../../shared/booking/store.ts';
import type { Connection, GrantedConnection } from '../../shared/connection/connection.ts';
import { type CalendarFailure, readCalendar } from '../../shared/google/calendar.ts';
import { log } from '../../shared/lib/observability.ts';
import { ask, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/** A day is a day in the zone of its calendar, which only sync knows. */

/** What was read, whole days with their instants in the zone of the calendar. They are stored with the next save. */
export async function placeStored<Read extends SyncSnapshot>(read: Read): Promise<Read> {
  const { booking, connection } = read;
  return booking ? { ...read, booking: await placeWholeDays(booking, connection) } : read;
}

/** The booking with the instants of its whole days in the zone of the calendar; the same object where they are right. */
export async function placeWholeDays(booking: Booking, connection: Connection | undefined): Promise<Booking> {
  const { appointment } = booking;
  const timeZone = connection && zoneFor(booking, connection);
  const span = appointment && timeZone !== undefined ? await daySpan(appointment, timeZone) : undefined;
  if (!appointment || !span) return booking;
  const { startsAt, endsAt } = span;
  if (appointment.startsAt === startsAt && appointment.endsAt === endsAt) return booking;
  return { ...booking, appointment: { ...appointment, startsAt, endsAt } };
}

/**
 * The same in the middle of a run. Where Google has not answered the zone before, the calendar is read once and the
 * zone kept on the connection. A failure ends the run: the write that follows would meet it too.
 */
export async function placeWithGoogle(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
): Promise<Booking | { failure: CalendarFailure }> {
  const { connection } = session.access;
  const { appointment } = booking;
  const isNeeded = appointment && isWholeDays(appointment) && isInChosen(booking, connection);
  if (!isNeeded || connection.timeZone !== undefined) return booking;
  const { calendarId } = connection;
  const answer = await ask(deps, session, (token) => readCalendar(deps.calendar, token, calendarId));
  if (!answer.ok) return answer;
  const { timeZone } = answer.value;
  if (timeZone === undefined) return booking;
  session.access = { ...session.access, connection: { ...session.access.connection, timeZone } };
  await keepTimeZone(deps, session, calendarId, timeZone);
  return placeWholeDays(booking, session.access.connection);
}

/** A zone that could not be stored costs one call at the next whole day. */
async function keepTimeZone(
  { connections }: SyncDeps,
  { access: { connection } }: Session,
  calendarId: string,
  timeZone: string,
): Promise<void> {
  const { userId, tokenVersion } = connection;
  await connections.saveTimeZone(userId, tokenVersion, { calendarId, timeZone }).catch((error: unknown) => {
    log.warn('Time zone of a calendar was not stored', { userId, reason: String(error) });
  });
}

/** The zone that the days of a booking are in, if it is known. */
function zoneFor(booking: Booking, connection: Connection): string | undefined {
  if (connection.status === 'disconnected' || !isInChosen(booking, connection)) return undefined;
  return connection.timeZone;
}

/** An event stays in the calendar it was created in: the zone of one chosen later does not apply to it. */
function isInChosen(booking: Booking, connection: GrantedConnection): boolean {
  const event = recordedEvent(booking);
  if (event === undefined) return true;
  return event.calendarId === connection.calendarId && !isInFormerAccount(event, connection);
}
