/** Whether consumers of the bus know how a booking ended. */

import type { BusEvent } from '../../shared/aws/bus.ts';
import type { Booking, BookingStatus } from '../../shared/booking/booking.ts';
import { isConflict } from '../../shared/booking/booking-payments.ts';
import { wasCancelledByBackend } from './stored-booking.ts';

const existing = ['booking.scheduled', 'booking.rescheduled'];

/** What the last event of a booking may be; absent: the status is not published. */
const lastEvents: Partial<Record<BookingStatus, string[]>> = {
  scheduled: existing,
  cancelled: ['booking.cancelled'],
  waiting_for_connection: ['booking.waiting'],
  conflict: ['booking.conflict'],
  deleted_by_user: ['booking.deleted_by_user'],
  missed: ['booking.missed'],
  failed: ['booking.failed'],
};

/**
 * What is wrong with the last event of a booking; undefined where it agrees with the status. Events promise no order:
 * the last is the one with the latest `time`, or, as clocks differ by some seconds, the one that was published last.
 */
export function lastEventViolation(published: BusEvent[], booking: Booking): string | undefined {
  const { bookingId, status, problems } = booking;
  // Another user's payment for the same id may have been published before this user had the booking: a known limit.
  const ours = published.filter(
    (event) =>
      event.type.startsWith('booking.') && event.bookingId === bookingId && event.userId === booking.userId,
  );
  const latest = ours
    .map(({ time }) => time)
    .sort()
    .at(-1);
  const last = ours.filter((event) => event.time === latest || event === ours.at(-1));
  const wanted = wasCancelledByBackend(booking) ? undefined : lastEvents[status];
  // A payment that does not count any more is published as orphaned; what is left of the booking is not.
  const isTold = published.some(({ type, bookingId: of }) => type === 'payment.orphaned' && of === bookingId);
  if (isTold && ['held', 'declared', 'failed'].includes(status)) return undefined;
  // An event beside another appointment is published as a conflict, too.
  const isFlagged = status === 'scheduled' && problems.some(isConflict);
  // A status that is not published excludes only that the event exists.
  const agrees = wanted
    ? last.some(({ type }) => wanted.includes(type) || (isFlagged && type === 'booking.conflict'))
    : last.length === 0 || last.some(({ type }) => !existing.includes(type));
  const said = last.map(({ type, time }) => `${type} at ${time}`).join(' and ') || 'nothing';
  return agrees ? undefined : `it is ${status}, and the last event published is ${said}`;
}
