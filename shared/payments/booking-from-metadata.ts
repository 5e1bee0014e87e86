import { type AppointmentFields, parseAppointment } from '../booking/appointment.ts';
import type { Appointment } from '../booking/booking.ts';
import { paymentTextsOf } from '../booking/payment-texts.ts';
import { type BookingFromPayment, maxBookings, type NamedBookings } from '../booking/queue.ts';
import type { Problem } from '../lib/app-error.ts';
import { reportOperatorError } from '../lib/observability.ts';
import { isIdentifier } from '../lib/schemas.ts';

/** A provider's names of the fields that differ between providers: problems use them. */
type FieldNames = { bookingId: string; bookingIds: string; userId: string; timeZone: string };

/**
 * The booking in a payment's metadata, or undefined without one. If its id is missing or unusable, it has the id of its
 * payment: it is paid for, so it is never dropped.
 */
export async function parseBooking(
  texts: AppointmentFields,
  names: FieldNames,
  paymentId: string,
): Promise<BookingFromPayment | undefined> {
  const named = (field: string): boolean => Object.hasOwn(texts, field);
  const hasOwnId = named(names.bookingId);
  if (!hasOwnId && !(named(names.userId) && named('start'))) return undefined;

  const bookingId = hasOwnId ? texts[names.bookingId] : paymentId;
  const userId = texts[names.userId];
  const user = userOf(texts, names.userId);
  const { appointment, problems } = await parseSafely(() => parseAppointment(texts, names.timeZone));
  const allProblems = [
    ...checkIdentifier(names.bookingId, bookingId),
    ...checkIdentifier(names.userId, userId),
    ...problems,
  ];
  return {
    bookingId: isIdentifier(bookingId) ? bookingId : paymentId,
    // The payment's id is only a fallback here, and may be the id of another booking.
    ...(isIdentifier(bookingId) || named(names.userId) ? user : { unusableUser: true }),
    ...(appointment && allProblems.length === 0
      ? { appointment }
      : { paymentTexts: paymentTextsOf(texts, names) }),
    problems: allProblems,
  };
}

/**
 * The declared booking that a payment references, where its metadata references none. Undefined where the reference is
 * not an id: other services use it too.
 */
export function parseReference(
  reference: string | undefined,
  metadata: AppointmentFields,
  names: FieldNames,
): BookingFromPayment | undefined {
  if (!isIdentifier(reference)) return undefined;
  const user = userOf(metadata, names.userId);
  const problems = user.unusableUser ? checkIdentifier(names.userId, metadata[names.userId]) : [];
  return { bookingId: reference, mustExist: true, ...user, problems };
}

/**
 * The declared bookings that a payment names together: `ids`, and the booking that its metadata names alone. Names that
 * cannot be used become problems: the payment counts for the other bookings.
 */
export function parseBookings(ids: string[], metadata: AppointmentFields, names: FieldNames): NamedBookings {
  const alone = metadata[names.bookingId];
  const all = [...new Set([...(alone === undefined ? [] : [alone]), ...ids])];
  const user = userOf(metadata, names.userId);
  const bookingIds = all.filter(isIdentifier).slice(0, maxBookings);
  return {
    bookingIds,
    ...user,
    problems: [
      ...(user.unusableUser ? checkIdentifier(names.userId, metadata[names.userId]) : []),
      ...(all.every(isIdentifier) && all.length > 0
        ? []
        : [
            { code: 'invalid_booking', field: names.bookingIds, message: unusableIds(names.bookingIds, all) },
          ]),
      ...(all.length > maxBookings ? [tooMany(names.bookingIds, all.length)] : []),
    ],
  };
}

function unusableIds(field: string, ids: string[]): string {
  if (ids.length === 0) return `"${field}" names no booking.`;
  const places = ids.flatMap((id, index) => (isIdentifier(id) ? [] : [index + 1]));
  return `"${field}" must hold ids of 1 to 128 characters of A-Z a-z 0-9 _ . : @ -. Unusable: number ${places.slice(0, maxBookings).join(', ')}. The payment counts for the others.`;
}

function tooMany(field: string, count: number): Problem {
  return {
    code: 'too_many_bookings',
    field,
    message: `"${field}" names ${count} bookings, and a payment pays for ${maxBookings} at most. It counts for the first ${maxBookings}.`,
  };
}

/** The user in a payment's metadata. An unusable id is not the same as none. */
function userOf(
  texts: AppointmentFields,
  field: string,
): Pick<BookingFromPayment, 'userId' | 'unusableUser'> {
  if (!Object.hasOwn(texts, field)) return {};
  const userId = texts[field];
  return isIdentifier(userId) ? { userId } : { unusableUser: true };
}

type Reading = { appointment?: Appointment; problems: Problem[] };

/**
 * The result of `read`. An unexpected error becomes a problem: the money has been taken, so a 5xx at every delivery would
 * lose the payment.
 */
export async function parseSafely(read: () => Promise<Reading>): Promise<Reading> {
  try {
    return await read();
  } catch (error) {
    reportOperatorError('Appointment of a payment could not be read', redactError(error));
    return {
      problems: [
        {
          code: 'appointment_unreadable',
          message:
            'The appointment of this payment could not be read, because of a fault in this service. Declare the booking with PUT /bookings/{id}; the payment then counts for it.',
        },
      ],
    };
  }
}

/** The error without its message, in which libraries quote their input: texts of an appointment. */
function redactError(error: unknown): Error {
  const { name = 'Error', stack = '' } = error instanceof Error ? error : {};
  const frames = stack.split('\n').filter((line) => /^\s+at /.test(line));
  const safe = new Error('(its message is left out: it may quote the payment)');
  safe.name = name;
  safe.stack = [name, ...frames].join('\n');
  return safe;
}

function checkIdentifier(field: string, value: string | undefined): Problem[] {
  if (isIdentifier(value)) return [];
  const message = value
    ? `"${field}" must be 1 to 128 characters of A-Z a-z 0-9 _ . : @ -`
    : `"${field}" is missing.`;
  return [{ code: 'invalid_booking', field, message }];
}
