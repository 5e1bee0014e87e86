import { type Appointment, type Booking, calendarEventId } from '../../shared/booking.ts';
import { type CalendarFailure, freeOrBusy, getEvent } from '../../shared/calendar.ts';
import { toIso } from '../../shared/clock.ts';
import { daySpan, widestSpan } from '../../shared/day-span.ts';
import { optionalScopes } from '../../shared/names.ts';
import { isOurs } from './calendar-event.ts';
import { isMissing } from './known-event.ts';
import { ask, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/**
 * Whether something else stands at that time. What cannot be seen is unknown, and never free. Whether it is our own
 * event that stands there must be known before anything is decided: a failure of that look ends the run.
 */
export async function lookForConflict(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
): Promise<'free' | 'busy' | 'unknown' | CalendarFailure> {
  const { appointment, observed, generation, bookingId } = booking;
  if (deps.conflictPolicy === 'create' || !appointment || observed) return 'free';
  const { calendarId, scopes, timeZone } = session.access.connection;
  if (!scopes.includes(optionalScopes.freeBusy)) return 'unknown';
  const { from, to, isExact } = await rangeOf(appointment, timeZone);
  const answer = await ask(deps, session, (token) => freeOrBusy(deps.calendar, token, calendarId, from, to));
  if (!answer.ok) return 'unknown';
  if (answer.value !== 'busy') return answer.value;
  // It may be our own event, from a run that was cut off.
  const id = calendarEventId(bookingId, calendarId, generation);
  const own = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, id));
  if (!own.ok && !isMissing(own.failure)) return own.failure;
  if (own.ok && isOurs(own.value, booking)) return 'free';
  return isExact ? 'busy' : 'unknown';
}

/**
 * The time that an appointment takes, as Google is asked about it: whole days from midnight to midnight in the zone of
 * the calendar. Where that is unknown, the widest span, in which something busy may be on the day before or after.
 */
async function rangeOf(
  appointment: Appointment,
  timeZone: string | undefined,
): Promise<{ from: string; to: string; isExact: boolean }> {
  const days = timeZone === undefined ? undefined : await daySpan(appointment, timeZone);
  if (days) return { ...days, isExact: true };
  const widest = widestSpan(appointment);
  if (widest) return { ...widest, isExact: false };
  return { from: toIso(appointment.startsAt), to: toIso(appointment.endsAt), isExact: true };
}
