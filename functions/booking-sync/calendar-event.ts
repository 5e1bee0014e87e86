import { createHash } from 'node:crypto';
import type { Booking, EventTime } from '../../shared/booking.ts';
import type { CalendarEvent, EventBody, EventBodyTime, WriteOptions } from '../../shared/calendar.ts';
import { escapeHtml } from '../../shared/html.ts';
import type { Presence } from './apply-payment.ts';

/** The calendar event of a booking: its content, how it is written, and whether an event is ours and up to date. */

/** Private extended properties by which an event is known as ours, and what it shows; Google keeps them per calendar. */
const bookingProperty = 'leadscalendarBooking';
const revisionProperty = 'leadscalendarRevision';

/** Whether an event of ours shows what is desired now. */
export function isRight(event: CalendarEvent, booking: Booking, presence: Presence): boolean {
  return (
    event.extendedProperties?.private?.[revisionProperty] === revisionMark(booking) &&
    event.status === presence
  );
}

/** Whether the event that holds our id is the one of this booking, and stands. */
export function isOurs(event: CalendarEvent, booking: Booking): boolean {
  return (
    event.status !== 'cancelled' && event.extendedProperties?.private?.[bookingProperty] === booking.bookingId
  );
}

/**
 * What the event of a booking shows. Descriptions may hold HTML at Google, so ours is escaped.
 * @param requestId names a new request for a Meet link; Google ignores one that it has seen
 */
export function toEventBody(booking: Booking, presence: Presence, requestId: string): EventBody {
  const { appointment, bookingId } = booking;
  if (!appointment) throw new Error(`Booking ${bookingId} has no appointment to show.`);
  const { summary, location, description, start, end, details = {} } = appointment;
  return {
    summary,
    location: location ?? null,
    description: description === undefined ? null : escapeHtml(description),
    start: toBodyTime(start),
    end: toBodyTime(end),
    status: presence === 'tentative' ? 'tentative' : 'confirmed',
    attendees: details.attendees ?? [],
    reminders: details.reminders
      ? { useDefault: false, overrides: details.reminders }
      : { useDefault: true, overrides: [] },
    colorId: details.colorId ?? null,
    visibility: details.visibility ?? 'default',
    transparency: details.transparency ?? 'opaque',
    source: details.source ?? null,
    ...meetRequest(booking, requestId),
    extendedProperties: {
      private: { [bookingProperty]: bookingId, [revisionProperty]: revisionMark(booking) },
    },
  };
}

/** A Meet link is asked for once, taken away when it is not wanted any more, and left alone otherwise. */
function meetRequest(
  { appointment, observed }: Booking,
  requestId: string,
): Pick<EventBody, 'conferenceData'> {
  const wanted = appointment?.details?.meet ?? false;
  const has = observed?.meet !== undefined && observed.meet.state !== 'failed';
  if (wanted === has) return {};
  if (!wanted) return { conferenceData: null };
  return {
    conferenceData: { createRequest: { requestId, conferenceSolutionKey: { type: 'hangoutsMeet' } } },
  };
}

/**
 * Names what an event shows: the revision, and a digest of its appointment. A payment and LeadsCalendar may both have
 * begun the same booking, each with a first revision of its own, before one of them was on record.
 */
function revisionMark({ appointment, revision }: Booking): string {
  // The table gives back the fields of an object in any order.
  const sorted = (_: string, value: unknown): unknown =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)))
      : value;
  const digest = createHash('sha256').update(JSON.stringify(appointment, sorted)).digest('base64url');
  return `${revision}.${digest.slice(0, 16)}`;
}

function toBodyTime(time: EventTime): EventBodyTime {
  if ('date' in time) return { date: time.date, dateTime: null, timeZone: null };
  return { date: null, dateTime: time.dateTime, timeZone: time.timeZone ?? null };
}

/** How the event of a booking is written. */
export function writeOptions({ appointment, observed }: Booking): WriteOptions {
  const { meet = false, sendUpdates } = appointment?.details ?? {};
  return { sendUpdates, conference: meet || observed?.meet !== undefined };
}
