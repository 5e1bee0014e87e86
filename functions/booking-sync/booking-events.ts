import type { BusEvent, BusEventType } from '../../shared/aws/bus.ts';
import {
  type Booking,
  type EventSnapshot,
  knownEvent,
  type OrphanedPayment,
} from '../../shared/booking/booking.ts';
import {
  holdsMoney,
  isSame,
  mainPayment,
  paymentOf,
  problemsOf,
} from '../../shared/booking/booking-payments.ts';
import { type PaymentFacts, refundedAmount } from '../../shared/booking/payment.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';

/** The bus events of a booking and its payments. */

/** An event of a concluded booking. Its id is derived from what it says, so a repetition carries the same one. */
export function bookingEvent(type: BusEventType, booking: Booking, time: string): BusEvent {
  const { bookingId, userId, published } = booking;
  const event = knownEvent(booking);
  const paymentId = mainPayment(booking);
  const problems = problemsOf(booking);
  const hasEvent = type === 'booking.scheduled' || type === 'booking.rescheduled';
  const { number = 0, key = '' } = published ?? {};
  return omitUndefined({
    type,
    id: `${type}:${bookingId}:${number}-${key}`,
    time,
    userId,
    bookingId,
    paymentId,
    ...(event && hasEvent ? linksOf(event) : {}),
    problems: problems.length > 0 ? problems : undefined,
  });
}

function linksOf({ calendarId, eventId, htmlLink, meet }: EventSnapshot) {
  return { calendarId, eventId, htmlLink, meetLink: meet?.link };
}

/** The events of payments that this change of a booking records as orphaned. */
export function newlyOrphaned(stored: Booking | undefined, booking: Booking, now: number): BusEvent[] {
  const known = stored?.orphaned ?? [];
  return (booking.orphaned ?? [])
    .filter((entry) => !known.some((one) => isSame(one, entry)))
    .flatMap((entry) => {
      const facts = paymentOf(booking, entry.paymentId);
      return facts ? orphanedEvents(entry, { facts, userId: booking.userId }, now) : [];
    });
}

/**
 * Says that a payment pays for nothing, unless it holds no money. The id is derived from what it says, so a repetition
 * carries the same one.
 */
export function orphanedEvents(
  { paymentId, reason, bookingId, userId }: OrphanedPayment,
  of: { facts: PaymentFacts; userId?: string | undefined; paidBookingId?: string | undefined },
  now: number,
): BusEvent[] {
  if (!holdsMoney(of.facts)) return [];
  const event = {
    type: 'payment.orphaned' as const,
    id: `payment.orphaned:${paymentId}:${reason}:${bookingId}`,
    time: toIso(now),
    userId: userId ?? of.userId,
    bookingId,
    paymentId,
    reason,
    paidBookingId: of.paidBookingId,
    amount: of.facts.captured ?? of.facts.amount,
    refundedAmount: refundedAmount(of.facts),
  };
  return [omitUndefined(event)];
}
