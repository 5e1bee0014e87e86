import { type Appointment, type Booking, calendarEventId, knownEvent } from '../../shared/booking/booking.ts';
import { conflictProblems } from '../../shared/booking/booking-payments.ts';
import { daySpan, widestSpan } from '../../shared/booking/day-span.ts';
import { bookingProperty } from '../../shared/booking/event-marks.ts';
import { standingOf } from '../../shared/booking/payment.ts';
import { isOpen } from '../../shared/booking/status.ts';
import {
  type CalendarEvent,
  type CalendarFailure,
  getEvent,
  queryFreeBusy,
} from '../../shared/google/calendar.ts';
import { listOwnEvents, type OwnEvent } from '../../shared/google/own-events.ts';
import type { Problem } from '../../shared/lib/app-error.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { optionalScopes } from '../../shared/lib/names.ts';
import { describeError, log } from '../../shared/lib/observability.ts';
import { claimProperty, isOurs } from './calendar-event.ts';
import { type Outcome, outranked } from './outcomes.ts';
import { isMissing } from './read-event.ts';
import { ask, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/** What to do where another event exists at that time: create it, create it and say so, or not create it. */
export type ConflictPolicy = 'create' | 'flag' | 'hold';

/**
 * Whether something else stands at that time, or the event itself, of a run that crashed. What cannot be seen is unknown,
 * and never free. Whether it is our own event that stands there must be known before anything is decided: a failure of
 * that read ends the run.
 */
export async function lookForConflict(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
): Promise<'free' | 'busy' | 'unknown' | { own: CalendarEvent } | { failure: CalendarFailure }> {
  const { appointment, eventNumber, bookingId } = booking;
  if (deps.conflictPolicy === 'create' || !appointment || knownEvent(booking)) return 'free';
  const { calendarId, scopes, timeZone } = session.access.connection;
  if (!scopes.includes(optionalScopes.freeBusy)) return 'unknown';
  const { from, to, isExact } = await rangeOf(appointment, timeZone);
  const answer = await ask(deps, session, (token) =>
    queryFreeBusy(deps.calendar, token, calendarId, from, to),
  );
  if (!answer.ok) return 'unknown';
  if (answer.value !== 'busy') return answer.value;
  const id = calendarEventId(bookingId, calendarId, eventNumber);
  const own = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, id));
  if (!own.ok && !isMissing(own.failure)) return own;
  if (own.ok && isOurs(own.value, booking)) return { own: own.value };
  return isExact ? 'busy' : 'unknown';
}

/**
 * The time that an appointment takes, as Google is asked about it: whole days from midnight to midnight in the zone of
 * the calendar. Where that is unknown, the widest span, in which something busy may be on the day before or after.
 */
async function rangeOf(
  appointment: Appointment,
  timeZone: string | undefined,
): Promise<{ from: string; to: string; isExact: boolean }> {
  const days = timeZone === undefined ? undefined : await daySpan(appointment, timeZone);
  if (days) return { ...days, isExact: true };
  const widest = widestSpan(appointment);
  if (widest) return { ...widest, isExact: false };
  return { from: toIso(appointment.startsAt), to: toIso(appointment.endsAt), isExact: true };
}

/** Whether an event about to be created is checked for conflicts at all. One on record was checked when it was created. */
export function isChecked({ conflictPolicy }: SyncDeps, booking: Booking): boolean {
  return conflictPolicy !== 'create' && knownEvent(booking) === undefined;
}

/**
 * The outcome of creating an event where nothing had its slot: two bookings that found it free at the same moment are
 * both in the calendar now, and exactly one keeps it. Any of the two may have read the calendar before the other was
 * there, so the one that stays has the other checked again.
 */
export async function keepOrYield(deps: SyncDeps, session: Session, outcome: Outcome): Promise<Outcome> {
  const { booking } = outcome;
  if (deps.conflictPolicy === 'create' || !knownEvent(booking) || isOpen(booking.nextRun)) return outcome;
  const result = await compareClaims(deps, session, booking);
  if (result === 'keeps') return outcome;
  if (result === 'unknown') return beside(outcome, 'unknown');
  return deps.conflictPolicy === 'hold'
    ? outranked(booking, session.wanted, deps.clock())
    : beside(outcome, 'busy');
}

/** The outcome of creating an event beside another one, or perhaps: published as a conflict too, once. */
export function beside({ booking }: Outcome, conflict: keyof typeof conflictProblems): Outcome {
  const problem: Problem = conflictProblems[conflict];
  const isKnown = booking.problems.some(({ code }) => code === problem.code);
  return { booking: isKnown ? booking : { ...booking, problems: [...booking.problems, problem] } };
}

/** Reads the events of ours in the slot of a booking and compares whose it is. What cannot be read is unknown. */
async function compareClaims(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
): Promise<'keeps' | 'yields' | 'unknown'> {
  const { appointment, bookingId } = booking;
  const event = knownEvent(booking);
  if (!appointment || !event) return 'keeps';
  const { calendarId, eventId } = event;
  const range = await rangeOf(appointment, session.access.connection.timeZone);
  const list = (token: string) => listOwnEvents(deps.calendar, token, calendarId, range);
  const answer = await ask(deps, session, list, { once: true });
  if (!answer.ok) return 'unknown';
  const own = answer.value.find(({ id }) => id === eventId);
  const claim = own ? claimOf(own) : { bookingId, claim: claimTextOf(booking) };
  // An earlier run has created it where something was busy or unknown, and could not record that.
  if (!claim) return 'unknown';
  const others = answer.value
    .filter((event) => overlaps(appointment, event))
    .flatMap((event) => claimOf(event) ?? [])
    .filter((other) => other.bookingId !== bookingId);
  if (others.some((other) => outranks(other, claim))) return 'yields';
  return (await requestChecks(deps, session, others, eventId)) ? 'keeps' : 'unknown';
}

/** Has the bookings checked again that must yield to this event; they are not, where the queue is unavailable. */
async function requestChecks(
  deps: SyncDeps,
  { access }: Session,
  others: Claim[],
  eventId: string,
): Promise<boolean> {
  const { userId } = access.connection;
  const cause = `same-slot-${eventId}`;
  try {
    for (const { bookingId } of others)
      await deps.queue.send({ type: 'sync', bookingId, userId, cause, checkSlot: true });
    return true;
  } catch (error) {
    log.warn('Check of a slot could not be requested', { userId, error: describeError(error) });
    return false;
  }
}

function claimOf({ created, extendedProperties }: OwnEvent): Claim | undefined {
  const { [bookingProperty]: bookingId, [claimProperty]: claim } = extendedProperties.private;
  if (bookingId === undefined || claim === undefined) return undefined;
  const createdAt = Date.parse(created ?? '');
  return {
    bookingId,
    claim,
    createdAt: Number.isFinite(createdAt) ? createdAt : undefined,
  };
}

/** Which of two bookings keeps a slot that both have taken: a rule that every run computes alike from the calendar. */

/** Greater than every date. */
const heldClaim = 'held';

/** A booking's claim to its slot. `createdAt`: epoch milliseconds; absent where Google does not answer it. */
export type Claim = { bookingId: string; claim: string; createdAt?: number | undefined };

/**
 * Milliseconds. Events created further apart cannot both have found the slot free: a run lasts 20 seconds, and Google
 * may apply an insert two minutes late.
 */
const sameMomentMs = 180_000;

/** Whether `one` keeps the slot: what was there long before, then what was paid earlier, then the smaller id. */
export function outranks(one: Claim, other: Claim): boolean {
  const apart = (one.createdAt ?? 0) - (other.createdAt ?? 0);
  const isKnown = one.createdAt !== undefined && other.createdAt !== undefined;
  if (isKnown && Math.abs(apart) > sameMomentMs) return apart < 0;
  if (one.claim !== other.claim) return one.claim < other.claim;
  return one.bookingId < other.bookingId;
}

/** What a booking claims its slot with: the confirmation of its first payment that still counts, in RFC 3339. */
export function claimTextOf({ payments }: Pick<Booking, 'payments'>): string {
  const counts = ['paid', 'partly_refunded', 'disputed'];
  const paid = Object.values(payments).filter((facts) => counts.includes(standingOf(facts)));
  const [first = heldClaim] = paid.flatMap(({ confirmedAt }) => confirmedAt ?? []).sort();
  return first;
}

/** Whether an event takes time that the appointment needs. */
export function overlaps({ start, end, startsAt, endsAt }: Appointment, event: OwnEvent): boolean {
  if (event.status === 'cancelled' || event.transparency === 'transparent') return false;
  // Days are compared as days: Google's documentation does not say in which zone a list takes them.
  if ('date' in start && 'date' in end && event.start.date && event.end.date)
    return event.start.date < end.date && event.end.date > start.date;
  const [from, to] = [event.start.dateTime, event.end.dateTime].map((time) => Date.parse(time ?? '') / 1000);
  const isTimed = !('date' in start) && Number.isFinite(from) && Number.isFinite(to);
  // For a day beside a time, the range that Google was asked for decides.
  return !isTimed || ((from as number) < endsAt && (to as number) > startsAt);
}
