import type { Appointment, Booking } from '../../shared/booking.ts';
import type { OwnEvent } from '../../shared/own-events.ts';
import { standingOf } from '../../shared/payment.ts';

/** Which of two bookings keeps a slot that both have taken: a rule that every run computes alike from the calendar. */

/** A private extended property, written when an event is created and never changed: when the booking was first paid. */
export const paidAtProperty = 'leadscalendarPaidAt';

/** A booking's claim to its slot. `createdAt`: epoch milliseconds; absent where Google does not answer it. */
export type Claim = { bookingId: string; paidAt?: string | undefined; createdAt?: number | undefined };

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
  if (one.paidAt !== other.paidAt) {
    if (one.paidAt === undefined || other.paidAt === undefined) return one.paidAt !== undefined;
    return one.paidAt < other.paidAt;
  }
  return one.bookingId < other.bookingId;
}

/** When a booking was first paid by a payment that still counts (RFC 3339); undefined while its slot is only held. */
export function paidAtOf({ payments }: Pick<Booking, 'payments'>): string | undefined {
  const counts = ['paid', 'partly_refunded', 'disputed'];
  const paid = Object.values(payments).filter((facts) => counts.includes(standingOf(facts)));
  return paid
    .flatMap(({ confirmedAt }) => confirmedAt ?? [])
    .sort()
    .at(0);
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
