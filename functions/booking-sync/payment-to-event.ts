import type { Booking } from '../../shared/booking/booking.ts';
import { mainPayment, paymentOf } from '../../shared/booking/booking-payments.ts';
import { textOfStatus } from '../../shared/booking/status.ts';

/** What a timeline says of a booking that was scheduled before, or that waited for a person. */
const notMeasured = new Set([
  'scheduled',
  'failed',
  textOfStatus.waiting_for_connection,
  textOfStatus.conflict,
  textOfStatus.cancelled,
  textOfStatus.missed,
]);

/**
 * Seconds from the confirmation of its payment, or from its declaration where that came later, until the booking was
 * scheduled for the first time. Undefined for one that had to wait for a person: its delay says nothing about us.
 */
export function secondsToEvent(
  stored: Booking | undefined,
  booking: Booking,
  now: number,
): number | undefined {
  if (booking.status !== 'scheduled' || stored?.timeline.some(({ what }) => notMeasured.has(what)))
    return undefined;
  const paymentId = mainPayment(booking);
  const { confirmedAt } = (paymentId && paymentOf(booking, paymentId)) || {};
  if (confirmedAt === undefined) return undefined;
  const declaredAt = booking.fromPayment ? confirmedAt : booking.createdAt;
  return Math.max(0, now - Math.max(Date.parse(confirmedAt), Date.parse(declaredAt)) / 1000);
}
