import { type AppointmentFields, parseAppointment } from '../../shared/booking/appointment.ts';
import type { Appointment } from '../../shared/booking/booking.ts';
import type { BookingFromPayment } from '../../shared/booking/queue.ts';
import type { Problem } from '../../shared/lib/app-error.ts';
import { reportOperatorError } from '../../shared/lib/observability.ts';
import { isIdentifier } from '../../shared/lib/schemas.ts';

/** What a provider calls the fields that providers call differently: problems speak its language. */
export type FieldNames = { bookingId: string; userId: string; timeZone: string };

/**
 * The booking that a payment names by its texts, or undefined where it names none. One without an id of its own goes
 * by its payment, and so does one whose id cannot be used: it is paid for, so never dropped.
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
    // Its own id is only a fallback here, and may be the id of a booking that it does not mean.
    ...(isIdentifier(bookingId) || named(names.userId) ? user : { unusableUser: true }),
    ...(appointment && allProblems.length === 0 ? { appointment } : {}),
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

/** The user whom a payment names. One that cannot be used is not the same as none. */
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
 * What `read` answers. An error that it did not foresee becomes a problem: the money has been taken, so an answer of
 * 5xx at every delivery would lose the payment.
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

/** The error without its message, in which libraries quote what they were given: texts of an appointment. */
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
