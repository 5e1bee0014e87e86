import { isDeepStrictEqual } from 'node:util';
import {
  appendTimeline,
  type Booking,
  newBooking,
  type OrphanedPayment,
  type OrphanReason,
  type PaymentPointer,
  type Presence,
  recordedEvent,
} from '../../shared/booking/booking.ts';
import {
  holdsMoney,
  holdsSlot,
  isPaid,
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
  const { paymentId, booking: named } = message;
  const before = stored && paymentOf(stored, paymentId);
  const known = mergeFacts(before, pointer?.facts);
  const facts = mergeFacts(known, message.facts);
  const isNew = !stored?.appointment && mayCreate(named) && facts.confirmedAt !== undefined;
  if (!stored && !isNew) return undefined;
  // The first usable payment defines the appointment, and the first that names a user the owner; later ones only pay.
  const namesOwner = stored?.userId === undefined && named?.userId !== undefined;
  const mends = isNew && (!stored || named.appointment !== undefined || namesOwner);
  const base = mends ? named : (stored as Booking);
  const payments = withoutOldFailures({ ...stored?.payments, [paymentId]: facts });
  const orphaned = orphanedAfter(stored, message, { before, after: facts }, base, now);
  if (stored && !mends && orphaned === stored.orphaned && isDeepStrictEqual(stored.payments, payments))
    return stored;
  const bookingId = named?.bookingId ?? paymentId;
  return omitUndefined({
    ...(stored ?? newBooking({ bookingId, fromPayment: true }, toIso(now))),
    userId: base.userId ?? stored?.userId,
    appointment: base.appointment ?? stored?.appointment,
    orphaned,
    problems: base.problems,
    payments,
    timeline: noteStanding(stored, message, standingOf(known), standingOf(facts), orphaned, now),
  });
}

function mayCreate(named: BookingFromPayment | undefined): named is BookingFromPayment {
  return named !== undefined && !named.mustExist;
}

/** The list of orphaned payments, with this one where it has become one; otherwise the same list. */
function orphanedAfter(
  stored: Booking | undefined,
  { paymentId, orphan }: RoutedPayment,
  { before, after }: { before: PaymentFacts | undefined; after: PaymentFacts },
  { bookingId, appointment }: Pick<Booking, 'bookingId' | 'appointment'>,
  now: number,
): OrphanedPayment[] | undefined {
  if (!holdsMoney(after)) return stored?.orphaned;
  if (orphan) return withOrphaned(stored?.orphaned, { paymentId, ...orphan });
  if (holdsMoney(before)) return stored?.orphaned;
  const isOver = appointment !== undefined && appointment.endsAt <= now && !(stored && recordedEvent(stored));
  const reason = orphanReason(stored, isOver);
  return reason ? withOrphaned(stored?.orphaned, { paymentId, reason, bookingId }) : stored?.orphaned;
}

/** Why a payment that has just come changes nothing for its booking. */
function orphanReason(stored: Booking | undefined, isOver: boolean): OrphanReason | undefined {
  if (stored?.cancelledAt !== undefined) return 'booking_cancelled';
  if (stored && isPaid(stored)) return 'already_paid';
  return isOver ? 'too_late' : undefined;
}

/** Records each change of the payment's standing, and each further payment: a customer may have paid twice. */
function noteStanding(
  stored: Booking | undefined,
  { paymentId, booking, orphan }: RoutedPayment,
  before: PaymentStanding,
  after: PaymentStanding,
  orphaned: OrphanedPayment[] | undefined,
  now: number,
): Booking['timeline'] {
  const timeline = stored?.timeline ?? [];
  const isKnown = stored !== undefined && paymentOf(stored, paymentId) !== undefined;
  const added = orphaned === stored?.orphaned ? undefined : orphaned?.at(-1);
  if (before === after && isKnown && !added) return timeline;
  const isSecond = stored !== undefined && Object.keys(stored.payments).some((id) => id !== paymentId);
  const what = after.replace('_', ' ');
  const unusable = !stored && !orphan && !booking?.appointment ? ', but the booking is not usable' : '';
  const text = isSecond ? `${what}: also ${paymentId}` : `${what}${unusable}`;
  return appendTimeline(timeline, now, text, added && orphanedProblem(added).code);
}

/**
 * The booking `bookingId` after a payment was found to pay for another one, or for another user's: without the payment,
 * and with a problem that says so. Undefined where there is nothing to record.
 */
export function rejectPayment(
  stored: Booking | undefined,
  { paymentId, booking: named, facts }: PaymentReported,
  entry: OrphanedPayment,
  now: number,
): Booking | undefined {
  // A payment without a usable booking id goes by its own id, which references nothing.
  const isNamed =
    named?.bookingId === entry.bookingId && named.bookingId !== paymentId && facts.confirmedAt !== undefined;
  if (!stored)
    return isNamed && mayCreate(named) && !named.unusableUser
      ? rejectedBooking(named, entry, now)
      : undefined;
  const code = orphanedProblem(entry).code;
  const orphaned = withOrphaned(stored.orphaned, entry);
  if (paymentOf(stored, paymentId)) {
    const { [paymentId]: _, ...payments } = stored.payments;
    return {
      ...stored,
      payments,
      orphaned,
      ...(stored.appointment ? {} : { problems: [orphanedProblem(entry)] }),
      timeline: appendTimeline(stored.timeline, now, `payment does not count: ${paymentId}`, code),
    };
  }
  const namesNoUser = named?.userId === undefined && !named?.unusableUser;
  const isOfUser = namesNoUser || stored.userId === undefined || stored.userId === named?.userId;
  if (!isNamed || !isOfUser || orphaned === stored.orphaned) return undefined;
  return {
    ...stored,
    orphaned,
    timeline: appendTimeline(stored.timeline, now, `payment does not count: ${paymentId}`, code),
  };
}

function rejectedBooking(named: BookingFromPayment, entry: OrphanedPayment, now: number): Booking {
  const problem = orphanedProblem(entry);
  const { bookingId, userId, appointment, problems } = named;
  const booking: Parameters<typeof newBooking>[0] = {
    bookingId,
    ...(userId === undefined ? {} : { userId }),
    ...(appointment ? { appointment } : {}),
    fromPayment: true,
    orphaned: [entry],
    problems: [...problems, problem],
  };
  return newBooking(booking, toIso(now));
}

/** What a payment that is gone again means for its appointment. */
export type PaymentPolicy = { refunded: 'cancel' | 'keep'; disputeLost: 'cancel' | 'keep' };

/** An event while any payment counts; before there is one, a tentative one where the slot is held. */
export function desiredPresence(booking: Booking, policy: PaymentPolicy): Presence {
  if (booking.cancelledAt !== undefined || !booking.appointment) return 'absent';
  const standings = Object.values(booking.payments).map(standingOf);
  if (standings.some((standing) => counts(standing, policy))) return 'confirmed';
  return holdsSlot(booking) ? 'tentative' : 'absent';
}

function counts(standing: PaymentStanding, policy: PaymentPolicy): boolean {
  switch (standing) {
    case 'paid':
    case 'partly_refunded':
    case 'disputed':
      return true;
    case 'refunded':
      return policy.refunded === 'keep';
    case 'dispute_lost':
      return policy.disputeLost === 'keep';
    case 'unconfirmed':
    case 'failed':
      return false;
  }
}
