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
export function bookingEvent(type: BusEventType, booking: Booking, now: number): BusEvent {
  const { bookingId, userId, published } = booking;
  const event = knownEvent(booking);
  const paymentId = mainPayment(booking);
  const problems = problemsOf(booking);
  const hasEvent = type === 'booking.scheduled' || type === 'booking.rescheduled';
  const { number = 0, key = '' } = published ?? {};
  return omitUndefined({
    type,
    id: `${type}:${bookingId}:${number}-${key}`,
    time: toIso(now),
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
export function orphanedEvents(stored: Booking | undefined, booking: Booking, now: number): BusEvent[] {
  const known = stored?.orphaned ?? [];
  return (booking.orphaned ?? [])
    .filter((entry) => !known.some((one) => isSame(one, entry)))
    .flatMap((entry) => {
      const facts = paymentOf(booking, entry.paymentId);
      return facts && holdsMoney(facts) ? orphanedEvent(entry, { facts, userId: booking.userId }, now) : [];
    });
}

/** Says that a payment pays for nothing. The id is derived from what it says, so a repetition carries the same one. */
export function orphanedEvent(
  { paymentId, reason, bookingId, userId }: OrphanedPayment,
  of: { facts: PaymentFacts; userId?: string | undefined; paidBookingId?: string | undefined },
  now: number,
): BusEvent {
  const user = userId ?? of.userId;
  const amount = of.facts.captured ?? of.facts.amount;
  return {
    type: 'payment.orphaned',
    id: `payment.orphaned:${paymentId}:${reason}:${bookingId}`,
    time: toIso(now),
    ...(user === undefined ? {} : { userId: user }),
    bookingId,
    paymentId,
    reason,
    ...(of.paidBookingId === undefined ? {} : { paidBookingId: of.paidBookingId }),
    ...(amount === undefined ? {} : { amount }),
    refundedAmount: refundedAmount(of.facts),
  };
}
