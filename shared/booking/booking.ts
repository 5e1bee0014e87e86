import { createHash } from 'node:crypto';
import type { BusEventType, OrphanReason } from '../aws/bus-events.ts';
import type { Problem } from '../lib/app-error.ts';
import { toIso } from '../lib/clock.ts';
import type { EventDetails } from './event-details.ts';
import type { PaymentFacts } from './payment.ts';
import type { PaymentTexts } from './payment-texts.ts';
import type { NamedBookings } from './queue.ts';

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

/** Where an event is, or was. `account`: fingerprint of the Google account that was connected. */
export type EventPlace = { calendarId: string; eventId: string; account?: string };

/** A calendar event as it was last read or written. */
export type EventSnapshot = EventPlace & {
  etag: string;
  htmlLink: string;
  /** The revision of the booking that the event shows. */
  revision: number;
  /** Only held: the booking is not paid yet. */
  tentative?: true;
  /** The Meet link of the event, which Google may make a little later. */
  meet?: { state: 'pending' | 'ready' | 'failed'; link?: string };
  /** What we last wrote. */
  written?: WrittenEvent;
  /** The event had guests when it was last read, of the booking or of its owner. */
  hasGuests?: true;
};

/**
 * What is known of the event in the calendar.
 * - `absent`: known, there is no event, and no run that may create one
 * - `present`: known, this event, showing `event.revision`
 * - `in_doubt`: only a read can tell. Before `until` (epoch second) a request without known outcome may still be applied;
 *   0: no such request is known, but a run that may create the event was requested. `notFound`: Google did not find the
 *   event first at `since`; one such answer proves nothing
 * - `deleted_by_owner`: its owner deleted it by hand; its event number is spent
 */
export type CalendarState =
  | { kind: 'absent' }
  | { kind: 'present'; event: EventSnapshot }
  | { kind: 'in_doubt'; event?: EventSnapshot; until: number; notFound?: EventPlace & { since: number } }
  | { kind: 'deleted_by_owner'; event: EventSnapshot };

/**
 * An event of this booking that is not its current one:
 * - `not_found`: it was not found any more; deleted where it is found again before `until`
 * - `may_have_moved`: its owner may have moved it to a calendar that cannot be searched
 * - `deletion_requested`: why it is gone, although no answer may have said so
 * - `former_account`: in an account that the user connected before; deleted when it is connected again
 */
export type OtherEvent = EventPlace & {
  why: 'not_found' | 'may_have_moved' | 'deletion_requested' | 'former_account';
  /** Epoch second until which it is kept. */
  until?: number;
};

/** How the event of a booking should be. */
export type Presence = 'confirmed' | 'tentative' | 'absent';

/** A decision not to pursue this revision and presence. Void once either differs, so nothing has to reset it. */
export type GivenUp = { reason: 'failed' | 'missed' | 'conflict'; revision: number; presence: Presence };

/** Why a booking waits although its user is connected, and the connection for which Google said so. */
type Refusal = {
  by: 'account' | 'calendar';
  /** Google's reason. */
  reason: string;
  connectedAt?: number;
  choices?: number;
};

/**
 * Why a booking is synced next:
 * - `requested`: something else is desired than before, or a new event number is to be used
 * - `retry`: a run failed for a reason that may pass
 * - `refused`: Google refuses the account or calendar; at once when the user connects or chooses a calendar
 * - `no_connection`: the user has no working connection; at once when there is one
 * - `paused`: Google has refused calls to this calendar as too many
 * - `in_doubt`: the calendar is read again, to end a doubt
 * - `check`: the event is read for its Meet link, or a day before the appointment
 */
export type NextRun = {
  why: 'requested' | 'retry' | 'refused' | 'no_connection' | 'paused' | 'in_doubt' | 'check';
  /** Epoch second. The attribute `syncDueAt` holds it as index key. */
  at: number;
  /** Runs in a row that ended for this reason. */
  count: number;
  /** Epoch second of the first of the runs in a row that failed: of `retry`, and of a pause after it. */
  since?: number;
  /** Of `refused`. */
  refusal?: Refusal;
};

/** The last bus event of a booking. `key`: what it said; `number`: counts events that say something else than the last. */
export type Published = {
  type: BusEventType;
  key: string;
  number: number;
  /** No event, but an answer of the API has said so. */
  answered?: true;
};

/** Every status of a booking, with its meaning in docs/api.md. Type, API schema, query filter and docs are made of it. */
export const bookingStatuses = {
  declared: 'no event exists until it is paid; also after a payment failed or a hold ended',
  held: 'a tentative event holds its slot until it is paid',
  pending: 'the calendar does not agree yet; `nextAttemptAt` says when it is tried',
  scheduled: 'the event exists',
  waiting_for_connection: 'the user has no working connection; done as soon as there is one',
  conflict: 'another event exists at that time, and the operator wants none created then',
  deleted_by_user: 'its owner has deleted the event by hand; left so unless the booking changes',
  cancelled: 'no event exists: you cancelled it, or a payment paid for it once and none does any more',
  missed:
    'attempts failed until the [deadline](integrate.md#retries), or the appointment was over, before it or its last change was in the calendar',
  failed:
    'it cannot be carried out as it is; `problems` says why. Any `PUT` or `PATCH`, also an unchanged one, tries it again',
} as const;
export type BookingStatus = keyof typeof bookingStatuses;

export type Booking = {
  /** The version of the stored shape, which the store writes. */
  schemaVersion?: number;
  bookingId: string;
  userId?: string;

  // Desired state.
  appointment?: Appointment;
  /** What its payment says of the appointment, where that cannot be used. */
  paymentTexts?: PaymentTexts;
  /** Grows whenever the desired state changes: appointment, hold or cancellation. */
  revision: number;
  /** Whether the slot is held with a tentative event until the booking is paid. */
  hold?: true;
  /** When the hold was declared last: RFC 3339. An attempt to pay that failed before does not end it. */
  heldAt?: string;
  /** A payment created it, and the backend has neither declared nor changed it since. */
  fromPayment?: true;
  /** A connected account that may pay for it, beside those of its user. */
  paymentAccount?: string;
  /** When LeadsCalendar cancelled it, also after a payment: RFC 3339. */
  cancelledAt?: string;
  /** When an operator erased its user: only the payments are left. RFC 3339. */
  erasedAt?: string;
  /** The payments for this booking, by the provider's id. Its event should exist while one of them counts. */
  payments: Record<string, PaymentFacts>;
  /** Payments that reference this booking and do not pay for it, oldest first, at most `maxOrphaned`. */
  orphaned?: OrphanedPayment[];

  // Calendar.
  calendar: CalendarState;
  /** Counts the events of this booking; part of the event id, and recorded before it is used. */
  eventNumber: number;
  otherEvents?: OtherEvent[];

  // What follows.
  nextRun?: NextRun;
  givenUp?: GivenUp;
  problems: Problem[];

  // Derived, for readers: no decision reads the status.
  status: BookingStatus;
  /** What consumers know; absent: nothing was published yet. */
  published?: Published;
  /** What happened, newest last, at most `timelineLength` entries, without personal data. */
  timeline: TimelineEntry[];
  createdAt: string;
  updatedAt: string;
  /** Grows with every write; a write names the version it has read. */
  version: number;
};

/** A booking before its first write. */
export function newBooking(fields: Pick<Booking, 'bookingId'> & Partial<Booking>, at: string): Booking {
  return {
    status: 'declared',
    revision: 1,
    payments: {},
    calendar: { kind: 'absent' },
    eventNumber: 0,
    problems: [],
    timeline: [],
    createdAt: at,
    updatedAt: at,
    version: 0,
    ...fields,
  };
}

/** Where a booking is in the list of its user (epoch seconds): by its start, or without an appointment by its creation. */
export function listedAt({ appointment, createdAt }: Pick<Booking, 'appointment' | 'createdAt'>): number {
  return appointment?.startsAt ?? Math.floor(Date.parse(createdAt) / 1000);
}

/** The event that is known to exist, or to have existed when it was last read. */
export function knownEvent({ calendar }: Pick<Booking, 'calendar'>): EventSnapshot | undefined {
  return calendar.kind === 'present' || calendar.kind === 'in_doubt' ? calendar.event : undefined;
}

/** The event on record, one that its owner has deleted included. */
export function recordedEvent({ calendar }: Pick<Booking, 'calendar'>): EventSnapshot | undefined {
  return calendar.kind === 'absent' ? undefined : calendar.event;
}

/** Whether a booking is due as soon as its user connects Google or chooses a calendar. */
export function awaitsConnection(nextRun: NextRun | undefined): boolean {
  return nextRun?.why === 'no_connection' || nextRun?.why === 'refused' || isPostponedRecheck(nextRun);
}

/** A re-check is repeated only where the calendar could not be reached. */
export function isPostponedRecheck(nextRun: NextRun | undefined): boolean {
  return nextRun?.why === 'in_doubt' && nextRun.count > 1;
}

/** The calendar once a run may create an event: what was not found before says nothing about that one. */
function beforeCreation(calendar: CalendarState): CalendarState {
  if (calendar.kind === 'absent') return { kind: 'in_doubt', until: 0 };
  if (calendar.kind !== 'in_doubt' || calendar.event) return calendar;
  return { kind: 'in_doubt', until: calendar.until };
}

/** `booking`, to be synced now. `mayCreate`: the run may create an event, so until it has ended only a read can tell. */
export function requestRun(booking: Booking, now: number, { mayCreate }: { mayCreate: boolean }): Booking {
  const { calendar, nextRun } = booking;
  const isWaiting = nextRun?.why === 'no_connection';
  return {
    ...booking,
    calendar: mayCreate ? beforeCreation(calendar) : calendar,
    // A wait for the connection has been published, and goes on.
    nextRun: isWaiting ? { ...nextRun, at: now } : { why: 'requested', at: now, count: 0 },
  };
}

/**
 * What the table holds under a payment's id: the booking it is for, or, where a refund came before the payment that
 * names the booking, what is known of the payment so far.
 */
export type PaymentPointer = {
  /** The version of the stored shape, which the store writes. */
  schemaVersion?: number;
  paymentId: string;
  bookingId?: string;
  userId?: string;
  /** The bookings of a payment that names several; its `facts` then stay here. */
  bookings?: NamedBookings;
  /** The booking only records the payment, whose account was not bound: its `facts` go to the booking that it may pay for. */
  unbound?: true;
  facts?: PaymentFacts;
  /** What a payment without a booking names: kept until it counts for one. */
  named?: { bookingId: string; userId?: string };
  /** Epoch second after which it is forgotten: without a booking, the payment is not ours. */
  expiresAt?: number;
  version: number;
};

/** `bookingId` and `userId`: the booking and the user that the payment names. */
export type OrphanedPayment = {
  paymentId: string;
  reason: OrphanReason;
  bookingId: string;
  userId?: string;
};

/** `by`: the operator who did it, as AWS or the machine names them. */
type TimelineEntry = { at: string; what: string; code?: string; by?: string };

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
 * that a second insert, by any worker and after any crash, meets the first one instead of doubling it.
 */
export function calendarEventId(bookingId: string, calendarId: string, eventNumber: number): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([bookingId, calendarId, eventNumber]))
    .digest();
  const bits = BigInt(`0x${digest.toString('hex')}`);
  return `lc${bits.toString(32).padStart(52, '0')}`;
}
