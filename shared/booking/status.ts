import { isDeepStrictEqual } from 'node:util';
import type { BusEventType } from '../aws/bus-events.ts';
import { laterThan } from '../lib/clock.ts';
import {
  appendTimeline,
  type Booking,
  type BookingStatus,
  type EventSnapshot,
  knownEvent,
  type NextRun,
  type Presence,
  type Published,
} from './booking.ts';
import { isConflict, mainPayment, statusWithoutEvent } from './booking-payments.ts';

/** What follows from the state of a booking: its status, the bus events that are due, and the timeline. */

/** Whether the next run pursues the desired state; checks and re-checks do not. */
export function isOpen(nextRun: NextRun | undefined): nextRun is NextRun {
  return nextRun !== undefined && nextRun.why !== 'in_doubt' && nextRun.why !== 'check';
}

/** Whether the revision and presence that are wanted were given up. */
export function isGivenUp({ givenUp, revision }: Booking, wanted: Presence): boolean {
  return givenUp?.revision === revision && givenUp.presence === wanted;
}

/** Whether the event on record, one that its owner has deleted included, shows the desired state. */
export function showsDesired({ calendar, revision }: Booking, wanted: Presence): boolean {
  const event = calendar.kind === 'absent' ? undefined : calendar.event;
  return event?.revision === revision && (event.tentative ?? false) === (wanted === 'tentative');
}

function statusOf(booking: Booking, wanted: Presence): BookingStatus {
  const { appointment, cancelledAt, nextRun, givenUp, calendar } = booking;
  if (!appointment) return cancelledAt === undefined ? 'failed' : 'cancelled';
  if (nextRun?.why === 'no_connection') return 'waiting_for_connection';
  if (isOpen(nextRun)) return 'pending';
  if (givenUp && isGivenUp(booking, wanted)) return givenUp.reason;
  if (wanted === 'absent') return knownEvent(booking) ? 'pending' : statusWithoutEvent(booking);
  return showsDesired(booking, wanted) ? statusShown(calendar, wanted) : 'pending';
}

function statusShown({ kind }: Booking['calendar'], wanted: Presence): BookingStatus {
  if (kind === 'deleted_by_owner') return 'deleted_by_user';
  return wanted === 'tentative' ? 'held' : 'scheduled';
}

/** Whether consumers may know another event than the last one on record. */
function isUncertain(published: Published | undefined): boolean {
  return published?.key.length === 0;
}

/** The event that a state calls for. `key`: what it says; consumers know it already where it is that of the last one. */
type Announcement = { type: BusEventType; key: string };

function announcementOf(
  before: Booking | undefined,
  booking: Booking,
  wanted: Presence,
): Announcement | undefined {
  const { status, eventNumber, revision } = booking;
  const key = `${revision}.${wanted}`;
  switch (status) {
    case 'scheduled':
      return scheduledAnnouncement(before, booking);
    case 'held':
      return heldAnnouncement(before, booking, `${eventNumber}.${key}`);
    case 'waiting_for_connection':
      return { type: 'booking.waiting', key: 'waiting' };
    case 'cancelled':
      return { type: 'booking.cancelled', key: 'cancelled' };
    case 'declared':
      return releasedAnnouncement(before, booking);
    case 'conflict':
      return { type: 'booking.conflict', key };
    case 'missed':
      return { type: 'booking.missed', key };
    case 'failed':
      return { type: 'booking.failed', key: booking.appointment ? key : unusableKey(booking) };
    case 'deleted_by_user':
      return { type: 'booking.deleted_by_user', key: `${eventNumber}` };
    case 'pending':
      return undefined;
  }
}

function heldAnnouncement(
  before: Booking | undefined,
  booking: Booking,
  key: string,
): Announcement | undefined {
  return hasNewConflict(before, booking) ? { type: 'booking.conflict', key } : undefined;
}

function hasNewConflict(before: Booking | undefined, { problems }: Booking): boolean {
  return problems.some((problem) => isConflict(problem) && !hasProblem(before, problem.code));
}

/** Without an appointment, news are another payment, and the owner. */
function unusableKey(booking: Booking): string {
  const owner = booking.userId === undefined ? '' : '.owned';
  return `${mainPayment(booking) ?? booking.revision}${owner}`;
}

function scheduledAnnouncement(before: Booking | undefined, booking: Booking): Announcement | undefined {
  const { eventNumber, revision, published } = booking;
  const event = knownEvent(booking);
  const previous = before && knownEvent(before);
  const isSame = isSameEvent(previous, event);
  const plain = `${eventNumber}.${revision}`;
  const withMeet = `${plain}.meet`;
  // A Meet link that its owner has removed is no change of the booking.
  const hasMeet = event?.meet?.state === 'ready' || published?.key === withMeet;
  const type = isSame && !isUncertain(published) ? 'booking.rescheduled' : 'booking.scheduled';
  return { type, key: hasMeet ? withMeet : plain };
}

/** Whether an event that was no hold before is changed. */
function isSameEvent(previous: EventSnapshot | undefined, event: EventSnapshot | undefined): boolean {
  return !previous?.tentative && previous?.eventId === event?.eventId;
}

/** A booking that is only declared again. One that was never published as anything else is declared as its backend knows. */
function releasedAnnouncement(
  before: Booking | undefined,
  { published, eventNumber }: Booking,
): Announcement | undefined {
  const event = before && knownEvent(before);
  const key = `${eventNumber}`;
  if (event) return { type: event.tentative ? 'booking.hold_released' : 'booking.cancelled', key };
  if (!published) return undefined;
  const isKnown = published.type === 'booking.hold_released' || published.type === 'booking.cancelled';
  if (!isKnown) return { type: 'booking.hold_released', key };
  return { type: published.type, key: isUncertain(published) ? key : published.key };
}

function hasProblem(booking: Booking | undefined, code: string): boolean {
  return booking?.problems.some((problem) => problem.code === code) ?? false;
}

const ofExistingEvent: BusEventType[] = ['booking.scheduled', 'booking.rescheduled'];

function saysTheSame(said: Announcement, last: Published | undefined): boolean {
  if (said.key !== last?.key) return false;
  return said.type === last.type || [said.type, last.type].every((type) => ofExistingEvent.includes(type));
}

/**
 * - `same`: the last event may not have been published in order, or not at all: again, under its id
 * - `new`: an event of this run was published for a write that it lost: consumers must hear the status again, as a new event
 */
export type Republish = 'no' | 'same' | 'new';

/** The booking to save, the same object as `stored` where nothing has changed, and the events to publish before. */
type Conclusion = { booking: Booking; events: BusEventType[]; isNews: boolean };

/** Derives status, timeline and events of a booking in one place. */
export function conclude(
  stored: Booking | undefined,
  next: Booking,
  { wanted, now, republish = 'no' }: { wanted: Presence; now: number; republish?: Republish },
): Conclusion {
  const derived: Booking = { ...next, status: statusOf(next, wanted) };
  const said = announcementOf(stored, derived, wanted);
  const booking = said === undefined && republish !== 'no' ? unpublished(derived) : derived;
  const isNew = said !== undefined && !saysTheSame(said, booking.published);
  const published = isNew ? newlyPublished(said, booking) : repeated(said, booking, republish);
  const concluded: Booking = {
    ...booking,
    ...(published ? { published } : {}),
    timeline: timelineOf(stored, booking, isNew ? said.type : undefined, now),
    updatedAt: laterThan(stored?.updatedAt, now),
  };
  const events = published ? [published.type] : [];
  if (isBesideAnother(stored, booking, events)) events.push('booking.conflict');
  const isNews = isNew || republish === 'new' || (events.length > 0 && !published);
  return { booking: unlessSame(stored, concluded), events, isNews };
}

function newlyPublished({ type, key }: Announcement, { published }: Booking): Published {
  return { type, key, number: (published?.number ?? 0) + 1 };
}

/** The last event again. Without an appointment no run calls Google, so none is lost between Google and the table. */
function repeated(
  said: Announcement | undefined,
  { published, appointment }: Booking,
  republish: Republish,
): Published | undefined {
  if (!said || !published || !appointment || republish === 'no') return undefined;
  const { answered: _, ...last } = published;
  return republish === 'new' ? { ...last, number: last.number + 1 } : last;
}

function unlessSame(stored: Booking | undefined, booking: Booking): Booking {
  if (!stored) return booking;
  return isDeepStrictEqual(stored, { ...booking, updatedAt: stored.updatedAt }) ? stored : booking;
}

/** Whether an event beside another appointment, or perhaps, is to be published as a conflict too. */
function isBesideAnother(before: Booking | undefined, booking: Booking, events: BusEventType[]): boolean {
  if (booking.status !== 'scheduled' || !booking.problems.some(isConflict)) return false;
  return events.includes('booking.scheduled') || hasNewConflict(before, booking);
}

function timelineOf(
  before: Booking | undefined,
  booking: Booking,
  type: BusEventType | undefined,
  now: number,
): Booking['timeline'] {
  const { timeline, status, problems } = booking;
  if (status === 'failed')
    return type ? appendTimeline(timeline, now, 'failed', problems[0]?.code) : timeline;
  const what = textOf(before, booking, type);
  return what === undefined ? timeline : appendTimeline(timeline, now, what);
}

/** What the timeline says of a status that is new. */
export const textOfStatus: Partial<Record<BookingStatus, string>> = {
  held: 'held',
  declared: 'slot released',
  waiting_for_connection: 'waiting for a connection',
  deleted_by_user: 'deleted by its owner',
  cancelled: 'cancelled',
  conflict: 'conflict',
  missed: 'missed',
};

function textOf(
  before: Booking | undefined,
  booking: Booking,
  type: BusEventType | undefined,
): string | undefined {
  const { status } = booking;
  if (status === 'scheduled') return textOfEvent(before, booking, type);
  if (!before && status === 'declared') return undefined;
  const isNew = before?.status !== status || (status === 'held' && !isHeld(before, booking));
  return isNew ? textOfStatus[status] : undefined;
}

function textOfEvent(
  before: Booking | undefined,
  { revision }: Booking,
  type: BusEventType | undefined,
): string | undefined {
  if (type === undefined || type === 'booking.scheduled') return type && 'scheduled';
  return before && knownEvent(before)?.revision === revision ? 'Meet link made' : 'changed';
}

function isHeld(before: Booking | undefined, { revision }: Booking): boolean {
  return before !== undefined && showsDesired({ ...before, revision }, 'tentative');
}

/** `booking` with its status, after a change of the desired state: either a run was requested, or no event exists. */
export function withStatus(booking: Booking): Booking {
  return { ...booking, status: statusOf(booking, 'absent') };
}

/** A cancelled booking whose backend knows it from an answer of the API: it is not published too. */
export function answered(booking: Booking): Booking {
  const { status, published } = booking;
  if (status !== 'cancelled' || published?.key === 'cancelled') return booking;
  const number = (published?.number ?? 0) + 1;
  return { ...booking, published: { type: 'booking.cancelled', key: 'cancelled', number, answered: true } };
}

/** `booking` whose next event is published even if it says what the last one said: consumers may know something else. */
export function unpublished({ published, ...booking }: Booking): Booking {
  if (!published) return booking;
  const { type, number } = published;
  return { ...booking, published: { type, number, key: '' } };
}
