import { isDeepStrictEqual } from 'node:util';
import type { Booking } from '../../shared/booking/booking.ts';
import { isPaid, mainPayment, paymentOf } from '../../shared/booking/booking-payments.ts';
import { textOfStatus } from '../../shared/booking/status.ts';
import { metric } from '../../shared/lib/observability.ts';

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

/** What is seen of a booking from outside: how soon it is scheduled, and whether a paid one fails. */
export function measure(
  stored: Booking | undefined,
  booking: Booking,
  { isNews, now }: { isNews: boolean; now: number },
): void {
  if (!isNews) return;
  const seconds = secondsToEvent(stored, booking, now);
  if (seconds !== undefined) metric('PaymentToEvent', seconds * 1000);
  const { status } = booking;
  if ((status === 'failed' || status === 'missed') && isPaid(booking))
    metric('PaidBookingFailed', 1, { status });
}

/** Counts what recovery found before any webhook delivered it. */
export function countRecovered(stored: Booking | undefined, booking: Booking, paymentId: string): void {
  const [before, after] = [stored && paymentOf(stored, paymentId), paymentOf(booking, paymentId)];
  if (!isDeepStrictEqual(before, after)) metric('PaymentsRecovered', 1);
}
