import { appendTimeline, type Booking, type EventPlace } from '../../shared/booking/booking.ts';
import { isInFormerAccount } from '../../shared/booking/former-account.ts';
import type { GrantedConnection } from '../../shared/connection/connection.ts';
import type { Problem } from '../../shared/lib/app-error.ts';
import { type Random, toIso } from '../../shared/lib/clock.ts';
import type { Outcome } from './decide.ts';

/** A known event that Google does not find: what one answer means, and when it is believed. */

/** Seconds between two reads that must agree before an event counts as gone. */
const apart = 60;
/** Seconds added before the second read: workers tolerate some clock skew. */
const margin = 6;
/** Seconds between two reads of a calendar that does not answer, at most. */
const longestWait = 6 * 3600;
/** Events that were given up are deleted where they are found again: this many, for this many seconds. */
const keptEvents = 10;
const keptFor = 15 * 86_400;

const problems = {
  inDoubt: {
    code: 'event_in_doubt',
    message:
      'Google does not find the event of this booking at present. It is read again in a minute before anything is concluded.',
  },
  mayExist: {
    code: 'event_in_doubt',
    message:
      'An earlier attempt may have created the event of this booking, but Google does not find it at present. It is read again in a minute before anything is concluded.',
  },
  olderEvent: {
    code: 'older_event_may_remain',
    message:
      'The earlier event of this booking is gone from its calendar. If its owner has moved it to another calendar, it is still there: please look, and delete it by hand.',
  },
  deletedOrMoved: {
    code: 'older_event_may_remain',
    message:
      'The event of this booking is gone from its calendar. If its owner has moved it to another calendar, it is still there, and a change of the booking creates a second event: then please delete the older one by hand.',
  },
} satisfies Record<string, Problem>;

/** Whether an earlier read, long enough ago, did not find this event either. */
export function isConfirmed({ doubt }: Booking, eventId: string, now: number): boolean {
  return doubt?.eventId === eventId && now - doubt.since >= apart;
}

/** The event at `place` was not found: read again in a minute. `isAtRest`: the booking keeps its status. */
export function inDoubt(
  booking: Booking,
  place: EventPlace,
  { now, random, isAtRest }: { now: number; random: Random; isAtRest: boolean },
): Outcome {
  const isKnown = booking.doubt?.eventId === place.eventId;
  const { doubt, syncDueAt } = nextRead(booking, place, { now, random });
  const others = booking.problems.filter(({ code }) => code !== problems.inDoubt.code);
  const problem = booking.observed ? problems.inDoubt : problems.mayExist;
  return {
    booking: {
      ...booking,
      ...(isAtRest ? {} : { status: 'pending' }),
      doubt,
      problems: isAtRest ? [...others, problem] : [problem],
      syncDueAt,
      timeline: isKnown
        ? booking.timeline
        : appendTimeline(booking.timeline, now, 'event not found', problem.code),
      updatedAt: toIso(now),
    },
  };
}

/** When an event that is not found is read next. */
function nextRead(
  { doubt }: Booking,
  place: EventPlace,
  { now, random }: { now: number; random: Random },
): { doubt: NonNullable<Booking['doubt']>; syncDueAt: number } {
  const since = doubt?.eventId === place.eventId ? doubt.since : now;
  return {
    doubt: { ...place, since },
    syncDueAt: Math.max(now, since + apart) + margin + Math.round(24 * random()),
  };
}

/** `booking` after a re-check that found nothing, to be read once more. `before`: as it was read. */
export function toBeConfirmed(
  booking: Booking,
  before: Booking,
  place: EventPlace,
  at: { now: number; random: Random },
): Booking {
  return { ...booking, unsettled: true, ...nextRead(before, place, at) };
}

/**
 * `booking` after a re-check that found nothing in a calendar that does not answer either: read again later and later,
 * until the appointment is over. `before`: as it was read.
 */
export function toBeRechecked(booking: Booking, { doubt }: Booking, now: number): Booking {
  const wait = Math.min(Math.max(now - (doubt?.since ?? now), apart + margin), longestWait);
  const isOver = now + wait >= (booking.appointment?.endsAt ?? 0);
  return isOver || !doubt ? booking : { ...booking, unsettled: true, doubt, syncDueAt: now + wait };
}

/** The booking once it is known what has become of its event. */
export function withoutDoubt(booking: Booking): Booking {
  if (!booking.doubt) return booking;
  const { doubt: _, ...rest } = booking;
  return { ...rest, problems: booking.problems.filter(({ code }) => code !== problems.inDoubt.code) };
}

/**
 * The booking without its event, which is gone. `isProven`: Google itself said that it was deleted; otherwise the event
 * is remembered. `mayHaveMoved`: the user's other calendars could not be searched.
 */
export function giveUpEvent(
  booking: Booking,
  place: EventPlace,
  { isProven, mayHaveMoved }: { isProven: boolean; mayHaveMoved: boolean },
  now: number,
): Booking {
  const known = withGivenUp(withoutDoubt(booking), place, { isProven, now });
  return mayHaveMoved ? { ...known, olderEvents: withOlderEvent(booking, place.eventId) } : known;
}

/** The booking with one more event to delete where it is found again, or without it where its deletion is proven. */
export function withGivenUp(
  booking: Booking,
  { calendarId, eventId, account }: EventPlace,
  { isProven, now }: { isProven: boolean; now: number },
): Booking {
  const place: EventPlace = { calendarId, eventId, ...(account === undefined ? {} : { account }) };
  const { givenUpEvents = [], ...rest } = booking;
  const kept = givenUpEvents.filter((event) => event.until > now && !isSamePlace(event, place));
  const events = isProven ? kept : [...kept, { ...place, until: now + keptFor }];
  return events.length > 0 ? { ...rest, givenUpEvents: events.slice(-keptEvents) } : rest;
}

function isSamePlace(one: EventPlace, other: EventPlace): boolean {
  const isSameAccount = (one.account ?? other.account) === (other.account ?? one.account);
  return one.eventId === other.eventId && isSameAccount;
}

/** The events given up that are worth a read now: not those of the last minute, which were just read. */
export function givenUpToRead(
  { givenUpEvents = [] }: Booking,
  connection: GrantedConnection,
  now: number,
): EventPlace[] {
  return givenUpEvents.filter(
    (event) =>
      event.until > now && event.until - keptFor <= now - apart && !isInFormerAccount(event, connection),
  );
}

/** Whether an event was given up only now: its id is read once more soon. */
export function hasJustGivenUp({ givenUpEvents = [] }: Booking, now: number): boolean {
  return givenUpEvents.some(({ until }) => until - keptFor > now - apart);
}

function withOlderEvent({ olderEvents = [] }: Booking, eventId: string): string[] {
  return [...olderEvents.filter((id) => id !== eventId), eventId].slice(-keptEvents);
}

/** What a booking says of an earlier event that may still be in another calendar. */
export function olderEventProblems({ olderEvents, observed }: Booking): Problem[] {
  if (!olderEvents) return [];
  return [observed && olderEvents.includes(observed.eventId) ? problems.deletedOrMoved : problems.olderEvent];
}

/** The booking without those older events that do not remain. */
export function withoutOlderEvents(booking: Booking, noLonger: (eventId: string) => boolean): Booking {
  const { olderEvents = [], ...rest } = booking;
  const left = olderEvents.filter((id) => !noLonger(id));
  if (left.length === olderEvents.length) return booking;
  if (left.length > 0) return { ...rest, olderEvents: left };
  return { ...rest, problems: rest.problems.filter(({ code }) => code !== problems.olderEvent.code) };
}
