import type { Booking, Presence } from './booking.ts';
import { holdsSlot, paymentOf } from './booking-payments.ts';
import { type PaymentStanding, standingOf } from './payment.ts';

/** What a payment that is gone again means for its appointment. */
export type PaymentPolicy = { refunded: 'cancel' | 'keep'; disputeLost: 'cancel' | 'keep' };

/** An event while any payment counts; before there is one, a tentative one where the slot is held. */
export function desiredPresence(booking: Booking, policy: PaymentPolicy): Presence {
  if (booking.cancelledAt !== undefined || !booking.appointment) return 'absent';
  const standings = Object.values(booking.payments).map(standingOf);
  if (standings.some((standing) => counts(standing, policy))) return 'confirmed';
  return holdsSlot(booking) ? 'tentative' : 'absent';
}

/** Whether this payment of the booking calls for an event. */
export function doesCount(booking: Booking, paymentId: string, policy: PaymentPolicy): boolean {
  const facts = paymentOf(booking, paymentId);
  return facts !== undefined && counts(standingOf(facts), policy);
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
