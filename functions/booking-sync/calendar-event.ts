import {
  type Appointment,
  type Booking,
  type EventTime,
  type Guest,
  knownEvent,
  type OptionalPart,
  type Presence,
  recordedEvent,
  type WrittenEvent,
} from '../../shared/booking/booking.ts';
import { toEventDescription } from '../../shared/booking/event-description.ts';
import { bookingProperty, digest, revisionMark, revisionProperty } from '../../shared/booking/event-marks.ts';
import type { CalendarEvent, EventBody, EventBodyTime, WriteOptions } from '../../shared/google/calendar.ts';
import { ownMark } from '../../shared/google/own-events.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';
import {
  addressDigest,
  type EventWrite,
  guestDigests,
  refusedParts,
  toProperties,
  writtenOf,
} from './written-event.ts';

/** The calendar event of a booking: its content, how it is written, and whether an event is ours and up to date. */

/**
 * A private extended property, written when an event is created in a slot that was found free, and never changed: when
 * the booking was first paid, or that its slot is only held. An event without it claims nothing.
 */
export const claimProperty = 'leadscalendarClaim';

/** Whether an event of ours was last written with the desired state. What its owner has changed since is left so. */
export function isRight(event: CalendarEvent, booking: Booking, presence: Presence): boolean {
  const status = writtenOf(event)?.fields.status ?? event.status;
  return (
    event.extendedProperties?.private?.[revisionProperty] === revisionMark(booking) && status === presence
  );
}

/** Whether the event that holds our id is the one of this booking, and stands. */
export function isOurs(event: CalendarEvent, booking: Booking): boolean {
  return (
    event.status !== 'cancelled' && event.extendedProperties?.private?.[bookingProperty] === booking.bookingId
  );
}

/** Whether a known event is still this booking's. A move to another calendar may have cost it our properties. */
export function isEventOf(event: CalendarEvent, booking: Booking): boolean {
  const says = event.extendedProperties?.private?.[bookingProperty];
  const isOnRecord = says === undefined && event.id === recordedEvent(booking)?.eventId;
  return isOurs(event, booking) || (isOnRecord && event.status !== 'cancelled');
}

/** What a write depends on beside the booking. */
export type WriteBasis = {
  /** Names a new request for a Meet link; Google ignores one that it has seen. */
  requestId: string;
  /** The claim to a slot that was found free, of a new event. */
  claim?: string | undefined;
  /** What the event was last written with: nothing if it is new. Unknown: everything is written. */
  written?: WrittenEvent | undefined;
  /** The guests of the event as it was read. */
  guests?: EventBody['attendees'];
  /** Optional parts to leave out. */
  omit?: ReadonlySet<OptionalPart>;
};

/** A field of the event, or several that only make sense together. `value` is undefined where it is Google's default. */
type Field = { name: string; value: unknown; body: Partial<EventBody>; part?: OptionalPart };

/**
 * Composes a write of the event of a booking: only what the booking has changed since the event was last written, so
 * that what its owner and the guests have changed stays.
 */
export function composeEvent(booking: Booking, presence: Presence, basis: WriteBasis): EventWrite {
  const { appointment, bookingId } = booking;
  if (!appointment) throw new Error(`Booking ${bookingId} has no appointment to show.`);
  const { written: before, omit = new Set() } = basis;
  const refused = refusedParts(appointment, before, omit);
  const guestsBefore = before?.guests ?? {};
  const written: WrittenEvent = { fields: { ...before?.fields }, guests: guestsBefore, refused };
  const body: Omit<EventBody, 'extendedProperties'> = {};
  const fields = fieldsOf(appointment, presence, refused.time_zone !== undefined);
  for (const field of fields.filter(({ part }) => part === undefined || refused[part] === undefined)) {
    const { [field.name]: old, ...others } = written.fields;
    const next = markOf(field);
    if (before === undefined || next !== old) Object.assign(body, field.body);
    written.fields = omitUndefined({ ...others, [field.name]: next }) as WrittenEvent['fields'];
  }
  if (refused.guests === undefined && isToWriteGuests(booking, presence, before)) {
    const guests = guestsOf(appointment, presence);
    body.attendees = mergeGuests(bookingId, basis.guests ?? [], guests, guestsBefore);
    written.guests = guestDigests(bookingId, guests);
  }
  if (refused.meet === undefined) Object.assign(body, meetRequest(booking, basis.requestId));
  const properties = { ...marksOf(booking, basis), ...toProperties(written, before) };
  return { body: { ...body, extendedProperties: { private: properties } }, written };
}

function marksOf(booking: Booking, { claim }: WriteBasis): Record<string, string> {
  return {
    [ownMark.name]: ownMark.value,
    [bookingProperty]: booking.bookingId,
    [revisionProperty]: revisionMark(booking),
    ...(claim === undefined ? {} : { [claimProperty]: claim }),
  };
}

/** What is remembered of a field: the status as it is, of all others a digest. */
function markOf({ name, value }: Field): string | undefined {
  if (value === undefined) return undefined;
  return name === 'status' ? `${value}` : digest(8, name, value);
}

function fieldsOf(appointment: Appointment, presence: Presence, withoutZone: boolean): Field[] {
  const { summary, location, description, details = {} } = appointment;
  const field = <Name extends keyof EventBody>(
    name: Name,
    value: EventBody[Name] | undefined,
    byDefault: EventBody[Name] | null,
    part?: OptionalPart,
  ): Field => ({
    name,
    value: value === byDefault ? undefined : value,
    body: { [name]: value ?? byDefault },
    ...(part ? { part } : {}),
  });
  const { start, end, startsAt, endsAt } = appointment;
  return [
    { name: 'status', value: presence, body: { status: presence as 'confirmed' | 'tentative' } },
    { name: 'summary', value: summary, body: { summary } },
    {
      name: 'times',
      value: [start, end],
      body: {
        start: toBodyTime(start, startsAt, withoutZone),
        end: toBodyTime(end, endsAt, withoutZone),
      },
    },
    field('location', location, null),
    field('description', description === undefined ? undefined : toEventDescription(description), null),
    field('visibility', details.visibility, 'default'),
    field('transparency', details.transparency, 'opaque'),
    field('guestsCanInviteOthers', details.guestsCanInviteOthers, true, 'guests'),
    field('guestsCanModify', details.guestsCanModify, false, 'guests'),
    field('guestsCanSeeOtherGuests', details.guestsCanSeeOtherGuests, true, 'guests'),
    field('source', details.source, null, 'source'),
    field('colorId', details.colorId, null, 'color'),
    {
      name: 'reminders',
      value: details.reminders,
      body: {
        reminders: details.reminders
          ? { useDefault: false, overrides: details.reminders }
          : { useDefault: true, overrides: [] },
      },
      part: 'reminders',
    },
  ];
}

/** A tentative event has no guests: they are invited when the booking is paid. */
function guestsOf(
  { details }: Appointment,
  presence: Presence,
): NonNullable<typeof details>['attendees'] & {} {
  return presence === 'confirmed' ? (details?.attendees ?? []) : [];
}

/** Whether the guests of the booking differ from those that the event was last written with. */
function isToWriteGuests(
  { appointment, bookingId }: Booking,
  presence: Presence,
  before: WrittenEvent | undefined,
): boolean {
  const now = appointment ? guestDigests(bookingId, guestsOf(appointment, presence)) : {};
  const then = before?.guests ?? {};
  return (
    Object.keys(now).length !== Object.keys(then).length ||
    Object.entries(now).some(([address, entry]) => then[address] !== entry)
  );
}

/**
 * Whether the event must be read before it is changed: its guests are replaced as a whole, and may hold answers and
 * guests of its owner.
 */
export function mustReadGuests(booking: Booking, presence: Presence): boolean {
  const { appointment } = booking;
  const event = knownEvent(booking);
  const written = event?.written;
  if (!appointment || !isToWriteGuests(booking, presence, written)) return false;
  return written === undefined || event?.hasGuests === true;
}

/** A Meet link is asked for once, taken away when it is not wanted any more, and left alone otherwise. */
function meetRequest(booking: Booking, requestId: string): Pick<EventBody, 'conferenceData'> {
  const wanted = booking.appointment?.details?.meet ?? false;
  const meet = recordedEvent(booking)?.meet;
  const has = meet !== undefined && meet.state !== 'failed';
  if (wanted === has) return {};
  if (!wanted) return { conferenceData: null };
  return {
    conferenceData: { createRequest: { requestId, conferenceSolutionKey: { type: 'hangoutsMeet' } } },
  };
}

/** @param withoutZone Google does not know the zone: the instant is written */
function toBodyTime(time: EventTime, at: number, withoutZone: boolean): EventBodyTime {
  if ('date' in time) return { date: time.date, dateTime: null, timeZone: null };
  if (withoutZone && time.timeZone !== undefined) return { date: null, dateTime: toIso(at), timeZone: null };
  return { date: null, dateTime: time.dateTime, timeZone: time.timeZone ?? null };
}

/** How the event of a booking is written. A slot that is only held sends no mail. */
export function writeOptions(booking: Booking, presence: Presence): WriteOptions {
  const { meet = false, sendUpdates } = booking.appointment?.details ?? {};
  const event = recordedEvent(booking);
  const isHeld = presence === 'tentative' && (event === undefined || event.tentative === true);
  return { sendUpdates: isHeld ? 'none' : sendUpdates, conference: meet || event?.meet !== undefined };
}

/** How the event of a booking is deleted. Guests of an event that was only held were never invited. */
export function deleteOptions(booking: Booking, event?: CalendarEvent): Pick<WriteOptions, 'sendUpdates'> {
  const status = event && (writtenOf(event)?.fields.status ?? event.status);
  const isHeld = status === 'tentative' || (event === undefined && knownEvent(booking)?.tentative === true);
  return { sendUpdates: isHeld ? 'none' : booking.appointment?.details?.sendUpdates };
}

type Attendees = NonNullable<EventBody['attendees']>;

/**
 * The guests of an event after a change of the booking's: new ones are added, those that the booking has dropped are
 * removed, and all others keep their complete entry, with their answer.
 * @param before digests of the booking's guests that the event was last written with
 */
export function mergeGuests(
  bookingId: string,
  attendees: Attendees,
  guests: Guest[],
  before: Record<string, string>,
): Attendees {
  const now = guestDigests(bookingId, guests);
  const wanted = new Map<string, Guest>(
    guests.map((guest) => [addressDigest(bookingId, guest.email), guest]),
  );
  const kept = attendees.flatMap((attendee) => {
    const address = addressDigest(bookingId, attendee.email ?? '');
    const guest = wanted.get(address);
    wanted.delete(address);
    if (!guest) return before[address] === undefined ? [attendee] : [];
    if (before[address] === now[address]) return [attendee];
    const { displayName: _, optional: __, ...answer } = attendee;
    const { email: ___, ...entry } = guest;
    return [{ ...answer, ...entry }];
  });
  // One that is missing although we have written it was removed by the owner.
  const added = [...wanted].filter(([address]) => before[address] === undefined).map(([, guest]) => guest);
  return [...kept, ...added];
}
