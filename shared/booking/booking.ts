import { createHash } from 'node:crypto';
import type { Problem } from '../lib/app-error.ts';
import { toIso } from '../lib/clock.ts';
import type { EventDetails } from './event-details.ts';
import type { PaymentFacts } from './payment.ts';

/**
 * A moment as Google takes it: RFC 3339 with an offset, or a local time without one in the IANA zone beside it. Or a day
 * of an event that lasts whole days: its end is the day after its last.
 */
export type EventTime = { dateTime: string; timeZone?: string } | { date: string };

/**
 * What should stand in the calendar. `startsAt` and `endsAt` are the same moments in epoch seconds; of whole days, once
 * sync knows the time zone of the calendar, where a day begins and ends in it.
 */
export type Appointment = {
  summary: string;
  location?: string;
  description?: string;
  details?: EventDetails;
  start: EventTime;
  end: EventTime;
  startsAt: number;
  endsAt: number;
};

/** A guest as the booking declares it. */
export type Guest = NonNullable<EventDetails['attendees']>[number];

/** Parts of an event that it can do without, where Google rejects them. */
export type OptionalPart = 'meet' | 'guests' | 'source' | 'color' | 'reminders' | 'time_zone';

/** What we last wrote to an event, as digests. */
export type WrittenEvent = {
  /** Each field that is not at Google's default. */
  fields: Record<string, string>;
  /** The booking's guests: the address, and the rest of the entry. */
  guests: Record<string, string>;
  /** The values that Google rejected: left out until the booking changes them. */
  refused: Partial<Record<OptionalPart, string>>;
};

/** What is known to stand in the calendar. */
export type ObservedEvent = EventPlace & {
  generation: number;
  etag: string;
  htmlLink: string;
  /** The revision of the booking that the event shows. */
  revision: number;
  /** Only held: the booking is not paid yet. */
  tentative?: true;
  /** LeadsCalendar was told since that it waits or has failed, and is to be told once it is known to stand. */
  doubted?: true;
  /** Another booking keeps the slot: the event is to be deleted, and the booking is then in conflict. */
  outranked?: true;
  /** The owner has deleted the event by hand. */
  deletedByUser?: true;
  /** The Meet link of the event, which Google may make a little later. */
  meet?: { state: 'pending' | 'ready' | 'failed'; link?: string };
  /** What we last wrote. */
  written?: WrittenEvent;
  /** The event had guests when it was last read, of the booking or of its owner. */
  hasGuests?: true;
};

/**
 * - `declared`: LeadsCalendar has announced it; nothing stands in the calendar until it is paid
 * - `held`: declared, and a tentative event holds its slot
 * - `pending`: the calendar does not agree with the booking yet; `syncDueAt` says when it is tried again
 * - `scheduled`: the event stands in the calendar
 * - `waiting_for_connection`: the user has no working connection; done as soon as there is one
 * - `cancelled`: nothing stands in the calendar, and nothing should
 * - `conflict`: something else stands in the calendar at that time, and the operator wants it not entered then
 * - `deleted_by_user`: its owner has deleted the event by hand; left so unless the booking changes
 * - `missed`: attempts failed until the deadline, or the appointment was over, before it or its last change was in the calendar
 * - `failed`: cannot be carried out as it is; `problems` says why
 */
export type BookingStatus =
  | 'declared'
  | 'held'
  | 'pending'
  | 'scheduled'
  | 'waiting_for_connection'
  | 'cancelled'
  | 'conflict'
  | 'deleted_by_user'
  | 'missed'
  | 'failed';

export type Booking = {
  bookingId: string;
  userId?: string;
  status: BookingStatus;
  appointment?: Appointment;
  /** Grows whenever what is desired changes: appointment, hold or cancellation. */
  revision: number;
  /** Whether the slot is held with a tentative event until the booking is paid. */
  hold?: true;
  /** When the hold was declared last: RFC 3339. An attempt to pay that failed before does not end it. */
  heldAt?: string;
  /** A payment created it, and the backend has neither declared nor changed it since. */
  fromPayment?: true;
  /** When LeadsCalendar cancelled it, whatever was paid: RFC 3339. */
  cancelledAt?: string;
  /** The payments for this booking, by the provider's id. It is to stand while one of them does. */
  payments: Record<string, PaymentFacts>;
  /** Payments that reference this booking and do not pay for it, oldest first, at most `maxOrphaned`. */
  orphaned?: OrphanedPayment[];
  observed?: ObservedEvent;
  problems: Problem[];
  /** Part of the event's id; grows when Google will not take an id again. */
  generation: number;
  /** Attempts in a row that did not succeed. */
  attempts: number;
  /** Epoch second of the first of those attempts that failed while nothing was waited for. */
  triedSince?: number;
  /** Epoch second of the next attempt, or of the next look at an event that stands. Absent when nothing is due. */
  syncDueAt?: number;
  /**
   * A request to Google that was given up on may yet take effect: at `syncDueAt` the calendar is looked at as if a run
   * had been cut off.
   */
  unsettled?: true;
  /** Attempts at an earlier revision did not succeed, as far as we have heard: one may have taken effect all the same. */
  unheard?: true;
  /** Google did not find an event that it had, first at `since`: one such answer proves nothing. */
  doubt?: EventPlace & { since: number };
  /** Events that were not found any more, the latest last: deleted where they are found again before `until`. */
  givenUpEvents?: (EventPlace & { until: number })[];
  /** Ids of earlier events, the latest last, that may be in a calendar that cannot be searched. */
  olderEvents?: string[];
  /** Ids of events whose deletion was requested: why they are gone, although no answer may have said so. */
  requestedDeletions?: string[];
  /** Events in accounts that the user connected before, the latest last: deleted when such an account is connected again. */
  formerAccountEvents?: EventPlace[];
  /** Google refuses the user's account or calendar: tried again at once when the user connects or chooses a calendar. */
  blocked?: Blocked;
  /** What happened, newest last, at most `timelineLength` entries, without personal data. */
  timeline: TimelineEntry[];
  createdAt: string;
  updatedAt: string;
  /** Grows with every write; a write names the version it has read. */
  version: number;
};

/** Where an event is, or was. `account`: fingerprint of the Google account that was connected. */
export type EventPlace = { calendarId: string; eventId: string; account?: string };

/** Why a booking waits although its user is connected, and the connection for which Google said so. */
export type Blocked = {
  by: 'account' | 'calendar';
  /** Google's reason. */
  reason: string;
  connectedAt?: number;
  choices?: number;
};

/**
 * What the table holds under a payment's id: the booking it is for, or, where a refund came before the payment that
 * names the booking, what is known of the payment so far.
 */
export type PaymentPointer = {
  paymentId: string;
  bookingId?: string;
  userId?: string;
  facts?: PaymentFacts;
  /** Epoch second after which a pointer without a booking is forgotten: the payment is not ours. */
  expiresAt?: number;
  version: number;
};

/**
 * Why a payment pays for no booking, or for one that needs no payment:
 * - `booking_cancelled`: the booking was cancelled before the payment arrived
 * - `already_paid`: another payment had paid for the booking before; both count
 * - `too_late`: the appointment was over and had no event
 * - `already_used`: the payment pays for another booking
 * - `user_mismatch`: the booking belongs to another user than the one whom the payment names
 * - `booking_unknown`: no booking with the referenced id was declared
 */
export type OrphanReason =
  | 'booking_cancelled'
  | 'already_paid'
  | 'too_late'
  | 'already_used'
  | 'user_mismatch'
  | 'booking_unknown';

/** `bookingId` and `userId`: the booking that the payment references, and the user whom it names. */
export type OrphanedPayment = {
  paymentId: string;
  reason: OrphanReason;
  bookingId: string;
  userId?: string;
};

export type TimelineEntry = { at: string; what: string; code?: string };

const timelineLength = 20;

/** `timeline` with one more entry, bounded. */
export function appendTimeline(
  timeline: TimelineEntry[],
  now: number,
  what: string,
  code?: string,
): TimelineEntry[] {
  return [...timeline, { at: toIso(now), what, ...(code ? { code } : {}) }].slice(-timelineLength);
}

/**
 * The id of the calendar event of a booking: base32hex (Google's alphabet, a-v and 0-9) of a SHA-256. Derived, so
 * that a second insert, by whichever worker after whatever crash, meets the first one instead of doubling it.
 */
export function calendarEventId(bookingId: string, calendarId: string, generation: number): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([bookingId, calendarId, generation]))
    .digest();
  const bits = BigInt(`0x${digest.toString('hex')}`);
  return `lc${bits.toString(32).padStart(52, '0')}`;
}
