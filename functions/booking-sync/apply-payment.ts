import { isDeepStrictEqual } from 'node:util';
import { type Booking, type BookingStatus, type PaymentPointer, withEntry } from '../../shared/booking.ts';
import type { PaymentReported } from '../../shared/booking-queue.ts';
import { toIso } from '../../shared/clock.ts';
import { mergeFacts, type PaymentFacts, type PaymentStanding, standingOf } from '../../shared/payment.ts';

/** What a payment changes of a booking, and whether its event should exist, as pure functions. */

/** How a booking is to stand in the calendar. */
export type Presence = 'confirmed' | 'tentative' | 'absent';

/**
 * The booking after a message about a payment of it; the same object where the message says nothing new. Undefined
 * where there is no booking and the message is no reason to make one. `pointer` holds what came before its payment.
 */
export function applyPayment(
  stored: Booking | undefined,
  message: PaymentReported,
  pointer: PaymentPointer | undefined,
  now: number,
): Booking | undefined {
  const { paymentId, booking: named } = message;
  const known = mergeFacts(stored?.payments[paymentId], pointer?.facts);
  const facts = mergeFacts(known, message.facts);
  const isNew = !stored?.appointment && named !== undefined && facts.confirmedAt !== undefined;
  if (!stored && !isNew) return undefined;
  // Whatever else a usable payment says, the first one has said what is desired.
  const mends = isNew && (!stored || named.appointment !== undefined);
  if (stored && !mends && isDeepStrictEqual(stored.payments[paymentId], facts)) return stored;
  const base = mends ? named : (stored as Booking);
  return {
    ...(stored ?? { generation: 0, attempts: 0, revision: 1, createdAt: toIso(now), version: 0 }),
    bookingId: stored?.bookingId ?? named?.bookingId ?? paymentId,
    ...(base.userId === undefined ? {} : { userId: base.userId }),
    ...(base.appointment ? { appointment: base.appointment } : {}),
    status: mends ? (base.appointment ? 'pending' : 'failed') : statusAfter(stored as Booking, known, facts),
    problems: base.problems,
    payments: { ...stored?.payments, [paymentId]: facts },
    timeline: noteStanding(stored, message, standingOf(known), standingOf(facts), now),
    updatedAt: toIso(now),
  };
}

/** A payment for what could only not be held so far is reason to look again, and to tell again. */
function statusAfter({ status }: Booking, before: PaymentFacts, after: PaymentFacts): BookingStatus {
  const isPaidNow = before.confirmedAt === undefined && after.confirmedAt !== undefined;
  return status === 'conflict' && isPaidNow ? 'pending' : status;
}

/** A payment that changes where it stands is worth a line, and so is a second one: somebody may have paid twice. */
function noteStanding(
  stored: Booking | undefined,
  { paymentId, booking }: PaymentReported,
  before: PaymentStanding,
  after: PaymentStanding,
  now: number,
): Booking['timeline'] {
  const timeline = stored?.timeline ?? [];
  if (before === after && stored?.payments[paymentId]) return timeline;
  const isSecond = stored !== undefined && Object.keys(stored.payments).some((id) => id !== paymentId);
  const what = after.replace('_', ' ');
  const unusable = !stored && !booking?.appointment ? ', but the booking is not usable' : '';
  return withEntry(timeline, now, isSecond ? `${what}: also ${paymentId}` : `${what}${unusable}`);
}

/** What a payment that is gone again means for its appointment. */
export type PaymentPolicy = { refunded: 'cancel' | 'keep'; disputeLost: 'cancel' | 'keep' };

/** How a booking is to stand: while any of its payments does; before there is one, only where its slot is held. */
export function presenceOf(booking: Booking, policy: PaymentPolicy): Presence {
  if (booking.cancelledAt !== undefined) return 'absent';
  const standings = Object.values(booking.payments).map(standingOf);
  if (standings.some((standing) => stands(standing, policy))) return 'confirmed';
  return booking.hold && standings.every((standing) => standing === 'unconfirmed') ? 'tentative' : 'absent';
}

function stands(standing: PaymentStanding, policy: PaymentPolicy): boolean {
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
