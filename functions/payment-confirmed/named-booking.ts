import { type AppointmentTexts, readAppointment } from '../../shared/appointment.ts';
import type { Problem } from '../../shared/booking.ts';
import type { NamedBooking } from '../../shared/booking-queue.ts';
import { isIdentifier } from '../../shared/identifier.ts';

/** What a provider calls the fields that providers call differently: problems speak its language. */
export type FieldNames = { bookingId: string; userId: string; timeZone: string };

/**
 * The booking that a payment names by its texts, or undefined where it names none. One without an id of its own goes
 * by its payment, and so does one whose id cannot be used: it is paid for, so never dropped.
 */
export async function readBooking(
  texts: AppointmentTexts,
  names: FieldNames,
  paymentId: string,
): Promise<NamedBooking | undefined> {
  const named = (field: string): boolean => Object.hasOwn(texts, field);
  const hasOwnId = named(names.bookingId);
  if (!hasOwnId && !(named(names.userId) && named('start'))) return undefined;

  const bookingId = hasOwnId ? texts[names.bookingId] : paymentId;
  const userId = texts[names.userId];
  const { appointment, problems } = await readAppointment(texts, names.timeZone);
  const allProblems = [
    ...checkIdentifier(names.bookingId, bookingId),
    ...checkIdentifier(names.userId, userId),
    ...problems,
  ];
  return {
    bookingId: isIdentifier(bookingId) ? bookingId : paymentId,
    ...(isIdentifier(userId) ? { userId } : {}),
    ...(appointment && allProblems.length === 0 ? { appointment } : {}),
    problems: allProblems,
  };
}

function checkIdentifier(field: string, value: string | undefined): Problem[] {
  if (isIdentifier(value)) return [];
  const message = value
    ? `"${field}" must be 1 to 128 characters of A-Z a-z 0-9 _ . : @ -`
    : `"${field}" is missing.`;
  return [{ code: 'invalid_booking', field, message }];
}
