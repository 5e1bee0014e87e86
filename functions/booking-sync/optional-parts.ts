import type { Appointment, Booking, OptionalPart, WrittenEvent } from '../../shared/booking/booking.ts';
import type {
  CalendarAnswer,
  CalendarEvent,
  CalendarFailure,
  EventBody,
} from '../../shared/google/calendar.ts';
import type { Problem } from '../../shared/lib/app-error.ts';
import { lacksZone } from './missing-zone.ts';
import { digest } from './written-event.ts';

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
