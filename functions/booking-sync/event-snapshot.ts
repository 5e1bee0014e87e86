import {
  type Appointment,
  type Booking,
  type EventSnapshot,
  knownEvent,
  type WrittenEvent,
} from '../../shared/booking/booking.ts';
import type { CalendarEvent } from '../../shared/google/calendar.ts';
import type { Problem } from '../../shared/lib/app-error.ts';
import { log } from '../../shared/lib/observability.ts';
import { eventShown, type Outcome } from './outcomes.ts';
import { placeIn } from './read-event.ts';
import type { Session } from './session.ts';
import { type EventWrite, type Rejections, refusalProblems, writtenOf } from './written-event.ts';

/** What is recorded of an event that Google has answered. */

/** The event as Google answers it, showing `shown` of the booking. */
export function snapshotOf(
  session: Session,
  booking: Booking,
  {
    calendarId,
    event,
    written,
  }: { calendarId: string; event: CalendarEvent; written?: WrittenEvent | undefined },
  shown: Pick<EventSnapshot, 'revision' | 'tentative'>,
): EventSnapshot {
  const latest = written ?? writtenOf(event) ?? knownEvent(booking)?.written;
  const meet = meetOf(booking, event);
  return {
    ...placeIn(session, calendarId, event.id),
    etag: event.etag,
    htmlLink: event.htmlLink,
    revision: shown.revision,
    ...(shown.tentative ? { tentative: true } : {}),
    ...(meet ? { meet } : {}),
    ...(latest ? { written: latest } : {}),
    ...(event.attendees?.length ? { hasGuests: true } : {}),
  };
}

/** What is known of the Meet link that was asked for. */
function meetOf({ appointment }: Booking, event: CalendarEvent): EventSnapshot['meet'] {
  if (!appointment?.details?.meet || writtenOf(event)?.refused.meet) return undefined;
  if (event.hangoutLink) return { state: 'ready', link: event.hangoutLink };
  const failed = event.conferenceData?.createRequest?.status?.statusCode === 'failure';
  return { state: failed ? 'failed' : 'pending' };
}

/** The outcome of a write: with a problem for each optional part that Google rejected, at the instants that Google answers. */
export function eventWritten(
  session: Session,
  booking: Booking,
  { calendarId, event }: { calendarId: string; event: CalendarEvent },
  { write, rejections }: { write: EventWrite; rejections: Rejections },
  at: { now: number; mayBeUndone?: boolean },
): Outcome {
  const atGoogle = withTimesOf(booking, event, write);
  const partProblems = refusalProblems(booking, write.written, rejections);
  return shown(session, atGoogle, { calendarId, event, written: write.written, partProblems }, at);
}

/** The outcome of a run that found the event as it should be. */
export function eventFound(
  session: Session,
  booking: Booking,
  { calendarId, event }: { calendarId: string; event: CalendarEvent },
  at: { now: number; mayBeUndone: boolean },
): Outcome {
  const written = writtenOf(event);
  const partProblems = written ? refusalProblems(booking, written) : [];
  return shown(session, booking, { calendarId, event, written, partProblems }, at);
}

function shown(
  session: Session,
  booking: Booking,
  {
    partProblems,
    ...answered
  }: {
    calendarId: string;
    event: CalendarEvent;
    written: WrittenEvent | undefined;
    partProblems: Problem[];
  },
  { now, mayBeUndone = false }: { now: number; mayBeUndone?: boolean },
): Outcome {
  const { revision } = booking;
  const isTentative = session.wanted === 'tentative';
  const event = snapshotOf(session, booking, answered, {
    revision,
    ...(isTentative ? { tentative: true } : {}),
  });
  return eventShown(booking, event, { now, mayBeUndone, partProblems });
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
