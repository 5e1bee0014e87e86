import type {
  Appointment,
  Booking,
  Guest,
  OptionalPart,
  WrittenEvent,
} from '../../shared/booking/booking.ts';
import { digest } from '../../shared/booking/event-marks.ts';
import {
  type CalendarAnswer,
  type CalendarEvent,
  type CalendarFailure,
  type EventBody,
  type EventBodyTime,
  getEvent,
  readCalendar,
} from '../../shared/google/calendar.ts';
import type { Problem } from '../../shared/lib/app-error.ts';
import { ask, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/**
 * What we last wrote to an event, as digests: on record, and in private extended properties of the event itself. A later
 * write compares with it and changes only what the booking has changed, also after a run whose outcome is unknown.
 */

const fieldsProperty = 'leadscalendarFields';
/** Google truncates values at 1,024 characters: more guests go into the second property. */
const guestProperties = ['leadscalendarGuests', 'leadscalendarGuests2'];
const guestsInProperty = 100;
const addressLength = 6;
const entryLength = 4;
const guestLength = addressLength + entryLength;

/** The digest by which a guest is found again; the booking id keeps digests of two bookings apart. */
export function addressDigest(bookingId: string, email: string): string {
  return digest(addressLength, bookingId, email.toLowerCase());
}

/** The guests of a booking, digest of the address by digest of the rest. */
export function guestDigests(bookingId: string, guests: Guest[]): Record<string, string> {
  return Object.fromEntries(
    guests.map(({ email, ...rest }) => [addressDigest(bookingId, email), digest(entryLength, rest)]),
  );
}

/** `written` as properties of the event; where `before` had more guests, an empty value replaces them. */
export function toProperties(
  { fields, guests, refused }: WrittenEvent,
  before: WrittenEvent | undefined,
): Record<string, string> {
  const texts = [
    ...Object.entries(fields).map(([name, value]) => `${name}.${value}`),
    ...Object.entries(refused).map(([part, value]) => `!${part}.${value}`),
  ];
  const entries = Object.entries(guests).map(([address, entry]) => address + entry);
  const mostGuests = Math.max(entries.length, Object.keys(before?.guests ?? {}).length);
  const chunks = guestProperties
    .map((property, index) => ({ property, from: index * guestsInProperty }))
    .filter(({ from }) => from < mostGuests)
    .map(({ property, from }) => [property, entries.slice(from, from + guestsInProperty).join('')]);
  return { [fieldsProperty]: texts.join(' '), ...Object.fromEntries(chunks) };
}

/** What an event of ours was last written with; undefined where its properties do not say so. */
export function writtenOf(event: CalendarEvent): WrittenEvent | undefined {
  const properties = event.extendedProperties?.private ?? {};
  const texts = properties[fieldsProperty]?.split(' ').filter(Boolean);
  if (!texts) return undefined;
  const pairs = texts.map((text) => text.split('.') as [string, string]);
  const entries = guestProperties.flatMap(
    (property) => properties[property]?.match(new RegExp(`.{${guestLength}}`, 'g')) ?? [],
  );
  return {
    fields: Object.fromEntries(pairs.filter(([name]) => !name.startsWith('!'))),
    guests: Object.fromEntries(
      entries.map((text) => [text.slice(0, addressLength), text.slice(addressLength)]),
    ),
    refused: Object.fromEntries(
      pairs.filter(([name]) => name.startsWith('!')).map(([name, value]) => [name.slice(1), value]),
    ) as Partial<Record<OptionalPart, string>>,
  };
}

/** Parts of an event that Google may reject without keeping a paid event out of the calendar. */

type Part = {
  code: string;
  /** For the problem. */
  name: string;
  /** Recognises the part in Google's message or in the field that it names. */
  pattern: RegExp;
  /** What the booking wants of it. */
  value: (appointment: Appointment) => unknown;
  isIn: (body: EventBody) => boolean;
};

/** The likeliest first: in this order parts are left out where Google does not say which one it rejects. */
const parts: Record<OptionalPart, Part> = {
  meet: {
    code: 'meet_refused',
    name: 'the Google Meet link',
    pattern: /conference|hangout|\bmeet\b/i,
    value: ({ details }) => details?.meet,
    isIn: ({ conferenceData }) => conferenceData !== undefined,
  },
  guests: {
    code: 'guests_refused',
    name: 'the guests',
    pattern: /attendee|guest/i,
    value: ({ details = {} }) => [
      details.attendees,
      details.guestsCanInviteOthers,
      details.guestsCanModify,
      details.guestsCanSeeOtherGuests,
    ],
    isIn: ({ attendees, guestsCanInviteOthers, guestsCanModify, guestsCanSeeOtherGuests }) =>
      (attendees ?? guestsCanInviteOthers ?? guestsCanModify ?? guestsCanSeeOtherGuests) !== undefined,
  },
  source: {
    code: 'source_refused',
    name: 'the source link',
    pattern: /\bsource\b/i,
    value: ({ details }) => details?.source,
    isIn: ({ source }) => source !== undefined,
  },
  color: {
    code: 'color_refused',
    name: 'the color',
    pattern: /colou?r/i,
    value: ({ details }) => details?.colorId,
    isIn: ({ colorId }) => colorId !== undefined,
  },
  reminders: {
    code: 'reminders_refused',
    name: 'the reminders',
    pattern: /reminder/i,
    value: ({ details }) => details?.reminders,
    isIn: ({ reminders }) => reminders !== undefined,
  },
  time_zone: {
    code: 'time_zone_refused',
    name: 'the name of the time zone',
    pattern: /time ?zone/i,
    value: ({ start, end }) => [start, end].map((time) => ('date' in time ? undefined : time.timeZone)),
    isIn: ({ start, end }) => Boolean(start?.timeZone || end?.timeZone),
  },
};
const allParts = Object.keys(parts) as OptionalPart[];

/** A body, the parts of it that are optional, and what the event has been written with once it is accepted. */
export type EventWrite = { body: EventBody; written: WrittenEvent };

/** Writes in one run: the whole event, two without the part that is suspected, one without all of them. */
const maxWrites = 4;

/**
 * Writes an event. Where Google rejects it, it is written again without the optional part that Google names, or without
 * the next one in order; the last attempt has none of them.
 */
export async function writeWithoutRejected(
  compose: (omit: ReadonlySet<OptionalPart>) => EventWrite,
  send: (body: EventBody) => Promise<CalendarAnswer<CalendarEvent>>,
): Promise<{ answer: CalendarAnswer<CalendarEvent>; write: EventWrite; rejections: Rejections }> {
  let write = compose(new Set());
  const present = allParts.filter((part) => parts[part].isIn(write.body));
  const rejections: Rejections = new Map();
  const guesses = [...present];
  for (let writes = 1; ; writes++) {
    const answer = await send(write.body);
    const omitted = [...rejections.keys()];
    if (answer.ok || answer.failure.kind !== 'refused' || omitted.length === present.length)
      return { answer, write, rejections };
    if (lacksZone(answer.failure, write.body)) return { answer, write, rejections };
    const named = nextNamed(present, rejections, answer.failure);
    const suspect = named ?? nextGuess(guesses, rejections);
    const isLast = writes + 1 === maxWrites || suspect === undefined;
    addRejections(rejections, answer.failure, isLast ? present : [suspect], named);
    write = compose(new Set(rejections.keys()));
  }
}

/** The parts that were left out, and the answer that led to it. */
export type Rejections = Map<OptionalPart, { failure: CalendarFailure; isNamed: boolean }>;

/** A part that was left out on suspicion is put back, unless it is among `added`: the rejection has another cause. */
function addRejections(
  rejections: Rejections,
  failure: CalendarFailure,
  added: OptionalPart[],
  named: OptionalPart | undefined,
): void {
  for (const [part, { isNamed: wasNamed }] of rejections) if (!wasNamed) rejections.delete(part);
  const fresh = added.filter((part) => !rejections.has(part));
  for (const part of fresh) rejections.set(part, { failure, isNamed: part === named });
}

function nextNamed(
  present: OptionalPart[],
  rejections: Rejections,
  failure: CalendarFailure,
): OptionalPart | undefined {
  return present.find((part) => !rejections.has(part) && isNamed(part, failure));
}

function isNamed(part: OptionalPart, { message, location = '' }: CalendarFailure): boolean {
  return parts[part].pattern.test(`${message} ${location}`);
}

function nextGuess(guesses: OptionalPart[], rejections: Rejections): OptionalPart | undefined {
  let guess = guesses.shift();
  while (guess !== undefined && rejections.has(guess)) guess = guesses.shift();
  return guess;
}

/** Digest of what the booking wants of a part: a rejection holds until it changes. */
function valueDigest(part: OptionalPart, appointment: Appointment): string {
  return digest(8, part, parts[part].value(appointment));
}

/** The rejections that still hold, and those in `omit`. */
export function refusedParts(
  appointment: Appointment,
  written: WrittenEvent | undefined,
  omit: ReadonlySet<OptionalPart>,
): WrittenEvent['refused'] {
  const refused: WrittenEvent['refused'] = {};
  for (const part of allParts) {
    const value = valueDigest(part, appointment);
    if (omit.has(part) || written?.refused[part] === value) refused[part] = value;
  }
  return refused;
}

/** A problem for each part that the event is without: in Google's words where this run, or an earlier one, has them. */
export function refusalProblems(
  booking: Booking,
  { refused }: WrittenEvent,
  rejections: Rejections = new Map(),
): Problem[] {
  return allParts
    .filter((part) => refused[part] !== undefined)
    .map((part) => {
      const { code } = parts[part];
      const rejection = rejections.get(part);
      const known = rejection ? undefined : booking.problems.find((problem) => problem.code === code);
      return known ?? { code, message: describe(part, rejection) };
    });
}

function describe(
  part: OptionalPart,
  rejection: { failure: CalendarFailure; isNamed: boolean } | undefined,
): string {
  const said = rejection ? ` Google: ${rejection.failure.message} (${rejection.failure.reason})` : '';
  const how = rejection && !rejection.isNamed ? 'may have rejected' : 'rejected';
  return `Google ${how} ${parts[part].name}. The event is in the calendar without this value: change it to try again.${said}`;
}

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
