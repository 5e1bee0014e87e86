import type { Appointment, Booking, ObservedEvent, WrittenEvent } from '../../shared/booking/booking.ts';
import type { CalendarEvent } from '../../shared/google/calendar.ts';
import { log } from '../../shared/lib/observability.ts';
import type { Presence } from './apply-payment.ts';
import { type Outcome, scheduled } from './decide.ts';
import { type EventWrite, type Rejections, refusalProblems } from './optional-parts.ts';
import { writtenOf } from './written-event.ts';

/** What is recorded of an event that Google has answered. */

type Place = { presence: Presence; calendarId: string; event: CalendarEvent };

/** The outcome of a write: with a problem for each optional part that Google rejected, at the instants that Google answers. */
export function eventWritten(
  booking: Booking,
  { presence, calendarId, event }: Place,
  { write, rejections }: { write: EventWrite; rejections: Rejections },
  now: number,
  unsettled = false,
): Outcome {
  const atGoogle = withTimesOf(booking, event, write);
  const outcome = scheduled(atGoogle, presence, calendarId, event, now, unsettled);
  return recorded(outcome, event, write.written, refusalProblems(booking, write.written, rejections));
}

/** The outcome of a run that found the event as it should be. */
export function eventFound(
  booking: Booking,
  { presence, calendarId, event }: Place,
  now: number,
  unsettled: boolean,
): Outcome {
  const outcome = scheduled(booking, presence, calendarId, event, now, unsettled);
  const written = writtenOf(event);
  return recorded(outcome, event, written, written ? refusalProblems(booking, written) : []);
}

/** The outcome of a check, with what the event was last written with. */
export function eventChecked(outcome: Outcome, event: CalendarEvent): Outcome {
  return recorded(outcome, event, writtenOf(event), []);
}

function recorded(
  outcome: Outcome,
  event: CalendarEvent,
  written: WrittenEvent | undefined,
  problems: Booking['problems'],
): Outcome {
  const { booking } = outcome;
  if (!booking.observed) return outcome;
  const { hasGuests: _, written: before, ...rest } = booking.observed;
  const latest = written ?? before;
  const observed: ObservedEvent = {
    ...rest,
    ...(latest ? { written: latest } : {}),
    ...(event.attendees?.length ? { hasGuests: true } : {}),
  };
  return { ...outcome, booking: { ...booking, observed, problems: [...booking.problems, ...problems] } };
}

/**
 * The booking at the instants of Google's answer. Google resolves local times by its own time zone data, which may be
 * newer than ours. Only times that were just written are compared: others its owner may have changed.
 */
function withTimesOf(booking: Booking, event: CalendarEvent, { body }: EventWrite): Booking {
  const { appointment, bookingId } = booking;
  if (!appointment || !body.start || !body.end) return booking;
  const startsAt = isLocal(body.start) ? instantOf(event.start) : undefined;
  const endsAt = isLocal(body.end) ? instantOf(event.end) : undefined;
  const atGoogle: Appointment = {
    ...appointment,
    startsAt: startsAt ?? appointment.startsAt,
    endsAt: endsAt ?? appointment.endsAt,
  };
  if (atGoogle.startsAt === appointment.startsAt && atGoogle.endsAt === appointment.endsAt) return booking;
  log.warn('Time zone data differs', {
    bookingId,
    timeZone: body.start.timeZone ?? body.end.timeZone,
    secondsApart: atGoogle.startsAt - appointment.startsAt || atGoogle.endsAt - appointment.endsAt,
  });
  return { ...booking, appointment: atGoogle };
}

const offset = /(?:Z|[+-]\d\d:\d\d)$/i;

function isLocal({ dateTime }: { dateTime?: string | null | undefined }): boolean {
  return typeof dateTime === 'string' && !offset.test(dateTime);
}

/** Epoch second; undefined where the answer has no offset and so names no instant. */
function instantOf(time: CalendarEvent['start']): number | undefined {
  if (!time?.dateTime || isLocal(time)) return undefined;
  const at = Date.parse(time.dateTime) / 1000;
  return Number.isFinite(at) ? at : undefined;
}
