import { type Booking, type EventPlace, knownEvent, type OtherEvent } from '../../shared/booking/booking.ts';
import { isInFormerAccount } from '../../shared/booking/former-account.ts';
import { isOpen } from '../../shared/booking/status.ts';
import type { GrantedConnection } from '../../shared/connection/connection.ts';
import type { Problem } from '../../shared/lib/app-error.ts';
import type { OwnDeletions } from './session.ts';

/** The list of events of a booking that are not its current one: given up, moved perhaps, deleted, or left behind. */

/** Entries kept for each reason; the oldest goes first. */
const keptPerReason = 10;
/** Seconds for which an event that was not found is deleted where it is found again. */
const keptForSeconds = 15 * 86_400;
/** Seconds after which an event that was given up is worth another read. */
const readAgainAfterSeconds = 60;

const problems = {
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

function withList(booking: Booking, list: OtherEvent[]): Booking {
  const { otherEvents: _, ...rest } = booking;
  return list.length > 0 ? { ...rest, otherEvents: list } : rest;
}

/** `booking` with one more entry, the latest of its reason. The oldest of many is dropped. */
function withEntry(booking: Booking, entry: OtherEvent): Booking {
  const others = (booking.otherEvents ?? []).filter(
    (one) => one.why !== entry.why || !isSamePlace(one, entry),
  );
  const ofReason = others.filter(({ why }) => why === entry.why);
  const dropped = new Set(ofReason.slice(0, Math.max(0, ofReason.length + 1 - keptPerReason)));
  return withList(booking, [...others.filter((one) => !dropped.has(one)), entry]);
}

function isSamePlace(one: EventPlace, other: EventPlace): boolean {
  const isSameAccount = (one.account ?? other.account) === (other.account ?? one.account);
  return one.eventId === other.eventId && isSameAccount;
}

export function placeOf({ calendarId, eventId, account }: EventPlace): EventPlace {
  return { calendarId, eventId, ...(account === undefined ? {} : { account }) };
}

/** An event that was not found any more: to delete where it is found again. */
export function withNotFound(booking: Booking, place: EventPlace, now: number): Booking {
  const current = (booking.otherEvents ?? []).filter(({ until }) => until === undefined || until > now);
  return withEntry(withList(booking, current), {
    ...placeOf(place),
    why: 'not_found',
    until: now + keptForSeconds,
  });
}

/** Whether an event is to be read again already. */
export function isNoted({ otherEvents = [] }: Booking, place: EventPlace): boolean {
  return otherEvents.some((one) => one.why === 'not_found' && isSamePlace(one, place));
}

/** Google itself said that the event was deleted: nothing is left to delete. */
export function withoutNotFound(booking: Booking, place: EventPlace): Booking {
  const others = (booking.otherEvents ?? []).filter(
    (one) => one.why !== 'not_found' || !isSamePlace(one, place),
  );
  return withList(booking, others);
}

export function withMayHaveMoved(booking: Booking, place: EventPlace): Booking {
  return withEntry(booking, { ...placeOf(place), why: 'may_have_moved' });
}

export function withLeftBehind(booking: Booking, place: EventPlace): Booking {
  return withEntry(booking, { ...placeOf(place), why: 'former_account' });
}

export function withoutLeftBehind(booking: Booking, place: EventPlace): Booking {
  const { calendarId, eventId, account } = place;
  const others = (booking.otherEvents ?? []).filter(
    (one) =>
      one.why !== 'former_account' ||
      one.eventId !== eventId ||
      one.calendarId !== calendarId ||
      one.account !== account,
  );
  return withList(booking, others);
}

/** The events that were not found and are worth a read now: not those of the last minute, which were just read. */
export function notFoundToRead(booking: Booking, connection: GrantedConnection, now: number): EventPlace[] {
  const current = knownEvent(booking)?.eventId;
  return (booking.otherEvents ?? []).filter(
    (event) =>
      event.why === 'not_found' &&
      event.eventId !== current &&
      (event.until ?? 0) > now &&
      givenUpAt(event) <= now - readAgainAfterSeconds &&
      !isInFormerAccount(event, connection),
  );
}

/** Whether an event was given up only now: its id is read once more soon. */
export function hasJustGivenUp({ otherEvents = [] }: Booking, now: number): boolean {
  return otherEvents.some(
    (event) => event.why === 'not_found' && givenUpAt(event) > now - readAgainAfterSeconds,
  );
}

function givenUpAt({ until = 0 }: OtherEvent): number {
  return until - keptForSeconds;
}

/** The events left in a former account that is connected again. */
export function leftWithinReach({ otherEvents = [] }: Booking, connection: GrantedConnection): EventPlace[] {
  return otherEvents.filter(
    (event) => event.why === 'former_account' && !isInFormerAccount(event, connection),
  );
}

/** What a booking says of an earlier event that may still be in another calendar. */
export function olderEventProblems({ otherEvents = [], calendar }: Booking): Problem[] {
  const moved = otherEvents.filter(({ why }) => why === 'may_have_moved');
  if (moved.length === 0) return [];
  const current = calendar.kind === 'deleted_by_owner' ? calendar.event.eventId : undefined;
  return [moved.some(({ eventId }) => eventId === current) ? problems.deletedOrMoved : problems.olderEvent];
}

/** Whether an earlier run has requested the deletion of an event. */
export function wasDeletionRequested({ otherEvents = [] }: Booking, eventId: string): boolean {
  return otherEvents.some((event) => event.why === 'deletion_requested' && event.eventId === eventId);
}

/**
 * `booking` with the deletions that may be why a later run does not find an event, and without the older events that
 * were deleted or are its event. `before`: as this run has read it.
 */
export function withOwnDeletions(booking: Booking, before: Booking, ownDeletions: OwnDeletions): Booking {
  const current = isOpen(booking.nextRun) ? undefined : knownEvent(booking)?.eventId;
  const isSettled = (id: string): boolean => id === current && booking.calendar.kind === 'present';
  const isGone = (id: string): boolean => id === current || ownDeletions.get(id)?.answer === 'done';
  // The id of an earlier event number is not read any more.
  const isKept = ({ why, eventId }: OtherEvent): boolean => {
    if (why === 'may_have_moved') return !isGone(eventId);
    return (
      why !== 'deletion_requested' || (booking.eventNumber === before.eventNumber && !isSettled(eventId))
    );
  };
  let result = booking;
  for (const { place } of ownDeletions.values())
    result = withEntry(result, { ...placeOf(place), why: 'deletion_requested' });
  const kept = (result.otherEvents ?? []).filter(isKept);
  const hasMoved = kept.some(({ why }) => why === 'may_have_moved');
  const left = withList(result, kept);
  if (hasMoved || !booking.problems.some(({ code }) => code === problems.olderEvent.code)) return left;
  return { ...left, problems: left.problems.filter(({ code }) => code !== problems.olderEvent.code) };
}
