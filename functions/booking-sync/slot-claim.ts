import type { Appointment, Booking } from '../../shared/booking/booking.ts';
import { standingOf } from '../../shared/booking/payment.ts';
import type { OwnEvent } from '../../shared/google/own-events.ts';

/** Which of two bookings keeps a slot that both have taken: a rule that every run computes alike from the calendar. */

/**
 * A private extended property, written when an event is created in a slot that was found free, and never changed: when
 * the booking was first paid, or that its slot is only held. An event without it claims nothing.
 */
export const claimProperty = 'leadscalendarClaim';
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
