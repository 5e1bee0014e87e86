import { isDeepStrictEqual } from 'node:util';
import type { PaymentPointer } from '../../shared/booking/booking.ts';
import { mergeFacts, type PaymentFacts } from '../../shared/booking/payment.ts';
import type {
  BookingFromPayment,
  NamedBookings,
  PaymentQueue,
  PaymentReported,
} from '../../shared/booking/queue.ts';
import type { BookingStore, SyncSnapshot } from '../../shared/booking/store.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';
import { tombstoneSeconds } from './payment-pointer.ts';

/**
 * A payment for several bookings. Its facts and the ids of its bookings are stored once, under its own id, and each booking
 * gets a message with all facts: so one that fails holds no other one up, and a message that is sent again does no harm.
 */

type SplitDeps = {
  bookings: Pick<BookingStore, 'savePointer'>;
  payments: Pick<PaymentQueue, 'sendAll'>;
  clock: Clock;
};

/** What became of the payment: `others` are bookings that the message names and for which it does not count. */
type Split = { paidBookingId: string; facts: PaymentFacts; others: BookingFromPayment[] };

/** Whether a message names several bookings, or is about a payment that did. */
export function isForSeveral({ bookings }: PaymentReported, { pointer }: SyncSnapshot): boolean {
  return bookings !== undefined || pointer?.bookings !== undefined;
}

/**
 * Records the payment and sends a message for each of its bookings. The first bookings that a confirmed payment names stay
 * the ones. Undefined where another worker has written in the meantime.
 */
export async function splitPayment(
  deps: SplitDeps,
  message: PaymentReported,
  { pointer, bookings = [] }: SyncSnapshot,
): Promise<Split | undefined> {
  const facts = mergeFacts(pointer?.facts, message.facts);
  const named = pointer?.bookings ?? (message.bookings as NamedBookings);
  const { paymentId, eventId, account, recovered } = message;
  const about = omitUndefined({ type: 'payment' as const, paymentId, eventId, facts, account, recovered });
  if (pointer?.bookingId !== undefined) {
    // Each message then finds that the payment pays for that one.
    await deps.payments.sendAll(declared(named).map((booking) => ({ ...about, booking })));
    return { paidBookingId: pointer.bookingId, facts, others: [] };
  }
  const left: PaymentPointer = {
    expiresAt: deps.clock() + tombstoneSeconds,
    ...pointer,
    paymentId,
    bookings: named,
    facts,
    version: pointer?.version ?? 0,
  };
  const isNews = facts.confirmedAt !== undefined && !isDeepStrictEqual(left, pointer);
  if (isNews && !(await deps.bookings.savePointer(left, ...bookings))) return undefined;
  const parts = [...withProblems(named, paymentId), ...declared(named)];
  await deps.payments.sendAll(parts.map((booking) => ({ ...about, booking, part: true })));
  return { paidBookingId: named.bookingIds[0] ?? paymentId, facts, others: othersIn(message, named) };
}

/** The bookings that are named by usable ids. A payment of an unusable user counts for none. */
function declared({ bookingIds, userId, unusableUser, problems }: NamedBookings): BookingFromPayment[] {
  if (unusableUser) return [];
  const named = { mustExist: true as const, ...omitUndefined({ userId }), problems };
  return bookingIds.map((bookingId) => ({ bookingId, ...named }));
}

/** The booking under the payment's own id that records problems of the names. */
function withProblems(
  { bookingIds: _, problems, ...user }: NamedBookings,
  paymentId: string,
): BookingFromPayment[] {
  return problems.length > 0 ? [{ bookingId: paymentId, ...user, problems }] : [];
}

/** The bookings that a message names beside those that the payment pays for. */
function othersIn({ booking, bookings }: PaymentReported, paid: NamedBookings): BookingFromPayment[] {
  const named = [...(booking ? [booking] : []), ...(bookings ? declared(bookings) : [])];
  return named.filter(({ bookingId }) => !paid.bookingIds.includes(bookingId));
}
