import { isDeepStrictEqual } from 'node:util';
import type { OrphanReason } from '../../shared/aws/bus-events.ts';
import {
  appendTimeline,
  type Booking,
  newBooking,
  type OrphanedPayment,
  type PaymentPointer,
  recordedEvent,
} from '../../shared/booking/booking.ts';
import {
  holdsMoney,
  isPaid,
  isRecordOfUnbound,
  orphanedProblem,
  paymentOf,
  withOrphaned,
  withoutOldFailures,
} from '../../shared/booking/booking-payments.ts';
import {
  mergeFacts,
  type PaymentFacts,
  type PaymentStanding,
  standingOf,
} from '../../shared/booking/payment.ts';
import type { BookingFromPayment, PaymentReported } from '../../shared/booking/queue.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';

/** What a payment changes of a booking, and whether its event should exist, as pure functions. */

/** A payment and the booking that records it. `orphan`: it does not pay for the booking that it references. */
export type RoutedPayment = PaymentReported & { orphan?: Omit<OrphanedPayment, 'paymentId'> };

/**
 * The booking after a message about a payment of it; the same object where the message says nothing new. Undefined
 * where there is no booking and the message is no reason to make one. `pointer` holds what came before its payment.
 */
export function applyPayment(
  stored: Booking | undefined,
  message: RoutedPayment,
  pointer: PaymentPointer | undefined,
  now: number,
): Booking | undefined {
  const { paymentId } = message;
  const before = stored && paymentOf(stored, paymentId);
  const known = mergeFacts(before, pointer?.facts);
  const { recovered } = before ?? message;
  const facts = omitUndefined({ ...mergeFacts(known, message.facts), recovered });
  const base = baseOf(stored, message.booking, facts);
  if (!base) return undefined;
  const booking = stored ?? newBooking({ bookingId: base.bookingId, fromPayment: true }, toIso(now));
  const payments = withoutOldFailures({ ...booking.payments, [paymentId]: facts });
  const orphaned = orphanedAfter(stored, message, { before, after: facts }, base, now);
  if (base === stored && orphaned === stored.orphaned && isDeepStrictEqual(stored.payments, payments))
    return stored;
  return omitUndefined({
    ...booking,
    userId: base.userId ?? booking.userId,
    appointment: base.appointment ?? booking.appointment,
    paymentTexts: base.paymentTexts,
    orphaned,
    problems: base.problems,
    payments,
    timeline: noteStanding(stored, message, standingOf(known), standingOf(facts), orphaned, now),
  });
}

/**
 * What defines owner and appointment: the record, or the payment where it is the first usable one, or the first that
 * names a user. Undefined where there is no booking, and the payment is no reason to make one.
 */
function baseOf(
  stored: Booking | undefined,
  named: BookingFromPayment | undefined,
  { confirmedAt }: PaymentFacts,
): Booking | BookingFromPayment | undefined {
  if (stored?.appointment || stored?.erasedAt) return stored;
  if (confirmedAt === undefined || !mayCreate(named)) return stored;
  if (!stored || named.appointment) return named;
  return stored.userId === undefined && named.userId !== undefined ? named : stored;
}

function mayCreate(named: BookingFromPayment | undefined): named is BookingFromPayment {
  return named !== undefined && !named.mustExist;
}

/** The list of orphaned payments, with this one where it has become one; otherwise the same list. */
function orphanedAfter(
  stored: Booking | undefined,
  message: RoutedPayment,
  { before, after }: { before: PaymentFacts | undefined; after: PaymentFacts },
  { bookingId, appointment }: Pick<Booking, 'bookingId' | 'appointment'>,
  now: number,
): OrphanedPayment[] | undefined {
  const { paymentId, orphan } = message;
  const list = stored?.orphaned;
  // Also without money: until its account is bound, nothing may count that comes later.
  if (orphan?.reason === 'account_mismatch') return withOrphaned(list, { paymentId, ...orphan });
  if (isBoundNow(stored, message)) return undefined;
  if (!holdsMoney(after)) return list;
  if (orphan) return withOrphaned(list, { paymentId, ...orphan });
  if (holdsMoney(before)) return list;
  const reason = orphanReason(stored, appointment !== undefined && appointment.endsAt <= now);
  return reason ? withOrphaned(list, { paymentId, reason, bookingId }) : list;
}

/** Whether the payment counts for the booking that has recorded it as one to an account that was not bound. */
function isBoundNow(
  stored: Booking | undefined,
  { booking: named, orphan, paymentId }: RoutedPayment,
): boolean {
  const isRecord = stored !== undefined && isRecordOfUnbound(stored, paymentId);
  return isRecord && named !== undefined && orphan === undefined;
}

/** Why a payment that has just come changes nothing for its booking. */
function orphanReason(stored: Booking | undefined, isOver: boolean): OrphanReason | undefined {
  if (stored?.cancelledAt !== undefined) return 'booking_cancelled';
  if (stored && isPaid(stored)) return 'already_paid';
  const isTooLate = isOver && !(stored && recordedEvent(stored));
  return isTooLate ? 'too_late' : undefined;
}

/** Records each change of the payment's standing, and each further payment: a customer may have paid twice. */
function noteStanding(
  stored: Booking | undefined,
  message: RoutedPayment,
  before: PaymentStanding,
  after: PaymentStanding,
  orphaned: OrphanedPayment[] | undefined,
  now: number,
): Booking['timeline'] {
  const timeline = stored?.timeline ?? [];
  const isKnown = stored && paymentOf(stored, message.paymentId);
  const added = orphaned === stored?.orphaned ? undefined : orphaned?.at(-1);
  if (before === after && isKnown && !added) return timeline;
  const text = textOf(stored, message, after.replace('_', ' '));
  return appendTimeline(timeline, now, text, added && orphanedProblem(added).code);
}

function textOf(
  stored: Booking | undefined,
  { paymentId, booking, orphan }: RoutedPayment,
  what: string,
): string {
  if (stored && Object.keys(stored.payments).some((id) => id !== paymentId))
    return `${what}: also ${paymentId}`;
  const isUnusable = !stored && !orphan && !booking?.appointment;
  return isUnusable ? `${what}, but the booking is not usable` : what;
}

/**
 * The booking `bookingId` after a payment was found to pay for another one, or for another user's: without the payment,
 * and with a problem that says so. Undefined where there is nothing to record.
 */
export function rejectPayment(
  stored: Booking | undefined,
  message: PaymentReported,
  entry: OrphanedPayment,
  now: number,
): Booking | undefined {
  const { paymentId, booking: named } = message;
  const isReferenced = references(message, entry.bookingId);
  if (!stored) return isReferenced ? rejectedBooking(named, entry, now) : undefined;
  if (isOwnRecord(stored, message)) return closedRecord(stored, message, now);
  const problem = orphanedProblem(entry);
  const rejected: Booking = {
    ...stored,
    orphaned: withOrphaned(stored.orphaned, entry),
    timeline: appendTimeline(stored.timeline, now, `payment does not count: ${paymentId}`, problem.code),
  };
  if (paymentOf(stored, paymentId)) {
    const { [paymentId]: _, ...payments } = stored.payments;
    return { ...rejected, payments, ...(stored.appointment ? {} : { problems: [problem] }) };
  }
  const isNews = rejected.orphaned !== stored.orphaned;
  return isReferenced && isNews && mayBeOfUser(stored, named) ? rejected : undefined;
}

/** Whether `booking` only records a payment to a connected account, under the payment's id. */
export function isOwnRecord(booking: Booking | undefined, { account, paymentId }: PaymentReported): boolean {
  return account !== undefined && booking?.bookingId === paymentId && booking.appointment === undefined;
}

/** The record of a payment that counts for its booking by now. Undefined where it is closed already. */
function closedRecord(stored: Booking, { paymentId }: PaymentReported, now: number): Booking | undefined {
  if (paymentOf(stored, paymentId) === undefined) return undefined;
  const { [paymentId]: _, ...payments } = stored.payments;
  const { orphaned: __, ...rest } = stored;
  const timeline = appendTimeline(stored.timeline, now, 'payment counts for its booking by now');
  return { ...rest, payments, problems: [], cancelledAt: stored.cancelledAt ?? toIso(now), timeline };
}

/** Whether a confirmed payment names the booking. One without a usable booking id goes by its own, which names nothing. */
function references({ paymentId, booking: named, facts }: PaymentReported, bookingId: string): boolean {
  return named?.bookingId === bookingId && bookingId !== paymentId && facts.confirmedAt !== undefined;
}

/** Whether a payment that names the booking names its user, or none. */
export function mayBeOfUser({ userId }: Booking, named: BookingFromPayment | undefined): boolean {
  const namesNoUser = named?.userId === undefined && !named?.unusableUser;
  return namesNoUser || userId === undefined || userId === named?.userId;
}

function rejectedBooking(
  named: BookingFromPayment | undefined,
  entry: OrphanedPayment,
  now: number,
): Booking | undefined {
  if (!mayCreate(named) || named.unusableUser) return undefined;
  const { bookingId, userId, appointment, paymentTexts, problems } = named;
  const booking = omitUndefined({
    bookingId,
    userId,
    appointment,
    paymentTexts,
    fromPayment: true as const,
    orphaned: [entry],
    problems: [...problems, orphanedProblem(entry)],
  });
  return newBooking(booking, toIso(now));
}
