import { type Booking, type EventSnapshot, listedAt, recordedEvent } from '../../shared/booking/booking.ts';
import { problemsOf } from '../../shared/booking/booking-payments.ts';
import { standingOf } from '../../shared/booking/payment.ts';
import type { BookingStore } from '../../shared/booking/store.ts';
import type { BookingsView, BookingView } from '../../shared/http/api-schemas.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';
import { formatCursor, parseListQuery, toBody } from './requests.ts';

/** Reads a booking of a user. Errors: `booking_not_found` (404), also for a booking of another user. */
export async function viewBooking(
  deps: { bookings: Pick<BookingStore, 'get'> },
  userId: string,
  bookingId: string,
): Promise<BookingView> {
  return toView(requireOwnBooking(await deps.bookings.get(bookingId), userId));
}

/**
 * One page of a user's bookings, by start. A page may be short or empty although more follow: only a page without
 * `nextCursor` is the last. Errors: `invalid_request` (400).
 */
export async function listBookings(
  deps: { bookings: Pick<BookingStore, 'list'> },
  userId: string,
  query: unknown,
): Promise<BookingsView> {
  const { status, ...range } = parseListQuery(query);
  const page = await deps.bookings.list({ userId, ...range });
  // The index may lag: the current bookings are filtered again.
  const bookings = page.bookings.filter((booking) => {
    const at = listedAt(booking);
    const isInRange = at >= range.from && at <= range.to;
    return booking.userId === userId && isInRange && (status ?? booking.status) === booking.status;
  });
  return omitUndefined({
    bookings: bookings.map(toView),
    nextCursor: page.next && formatCursor(page.next),
  });
}

/** The booking of this user. Errors: `booking_not_found` (404), also for a booking of another user. */
export function requireOwnBooking(booking: Booking | undefined, userId: string): Booking {
  if (booking?.userId === userId) return booking;
  throw bookingNotFound();
}

export function bookingNotFound(): AppError {
  return new AppError('booking_not_found', 'This user has no booking with that id.', { status: 404 });
}

/** A booking as the API shows it. */
export function toView(booking: Booking): BookingView {
  const { bookingId, status, revision, payments, timeline } = booking;
  const { cancelledAt, nextRun, createdAt, updatedAt } = booking;
  const event = recordedEvent(booking);
  // An existing event is only checked again.
  const isAttempt = status !== 'scheduled' && status !== 'held';
  return omitUndefined({
    bookingId,
    status,
    revision,
    desired: omitUndefined({ ...toBody(booking), cancelledAt }),
    observed: event && toObserved(event),
    payments: Object.entries(payments).map(([paymentId, facts]) =>
      omitUndefined({ paymentId, standing: standingOf(facts), confirmedAt: facts.confirmedAt }),
    ),
    problems: problemsOf(booking),
    nextAttemptAt: nextRun && isAttempt ? toIso(nextRun.at) : undefined,
    timeline: timeline.map(({ by: _, ...entry }) => entry),
    createdAt,
    updatedAt,
  });
}

function toObserved(event: EventSnapshot): NonNullable<BookingView['observed']> {
  const { calendarId, eventId, htmlLink, revision, tentative = false, meet } = event;
  return omitUndefined({ calendarId, eventId, htmlLink, revision, tentative, meet });
}
