import type { OrphanReason } from '../aws/bus-events.ts';
import type { Problem } from '../lib/app-error.ts';
import { accountOfPayment } from '../lib/connected-account.ts';
import { type Booking, type OrphanedPayment, recordedEvent } from './booking.ts';
import { formerAccountProblems } from './former-account.ts';
import { type PaymentFacts, standingOf } from './payment.ts';

/** What the payments of a booking mean for it. */

type Payments = Pick<Booking, 'payments'>;

const maxFailedPayments = 20;
const maxOrphaned = 20;

/** The facts of a payment for this booking. An id may be `constructor`, which every object seems to have. */
export function paymentOf({ payments }: Payments, paymentId: string): PaymentFacts | undefined {
  return Object.hasOwn(payments, paymentId) ? payments[paymentId] : undefined;
}

/** Whether money of this payment is left, if only a part or in dispute. */
export function holdsMoney(facts: PaymentFacts | undefined): boolean {
  const standing = standingOf(facts ?? {});
  return standing === 'paid' || standing === 'partly_refunded' || standing === 'disputed';
}

export function isPaid({ payments }: Payments): boolean {
  return Object.values(payments).some(holdsMoney);
}

/** Whether one of the payments was ever confirmed, even if the money is refunded by now. */
function wasConfirmed({ payments }: Payments): boolean {
  return Object.values(payments).some(({ confirmedAt }) => confirmedAt !== undefined);
}

/**
 * Whether the hold counts: until a payment is confirmed or fails. A hold that is declared again after a failure counts
 * again.
 */
export function holdsSlot(
  booking: Pick<Booking, 'payments' | 'hold' | 'heldAt' | 'createdAt' | 'cancelledAt'>,
): boolean {
  const { hold, heldAt, createdAt, cancelledAt } = booking;
  if (!hold || cancelledAt !== undefined || wasConfirmed(booking)) return false;
  const failedAt = latestFailure(booking);
  return failedAt === undefined || failedAt < (heldAt ?? createdAt);
}

/** When the latest attempt to pay failed: RFC 3339. */
export function latestFailure({ payments }: Payments): string | undefined {
  return Object.values(payments)
    .flatMap(({ failedAt }) => failedAt ?? [])
    .sort()
    .at(-1);
}

/** The status of a booking that has no event and should have none. */
export function statusWithoutEvent(booking: Booking): 'declared' | 'cancelled' | 'failed' {
  if (booking.cancelledAt !== undefined || wasConfirmed(booking)) return 'cancelled';
  // Without a payment of its own, nothing is left of a booking that only a payment has declared.
  return booking.fromPayment ? 'failed' : 'declared';
}

/**
 * The payments without the oldest of those that only failed, so that abandoned checkouts cannot fill the item. One that
 * is confirmed later is added again.
 */
export function withoutOldFailures(payments: Booking['payments']): Booking['payments'] {
  const failures = Object.entries(payments)
    .filter(([, facts]) => onlyFailed(facts))
    .map(([id, { failedAt = '' }]) => ({ id, failedAt }))
    .sort((one, other) => compare(other.failedAt, one.failedAt) || compare(one.id, other.id));
  const dropped = new Set(failures.slice(maxFailedPayments).map(({ id }) => id));
  if (dropped.size === 0) return payments;
  return Object.fromEntries(Object.entries(payments).filter(([id]) => !dropped.has(id)));
}

function onlyFailed({ failedAt, confirmedAt, refunds, refundedTotal, disputes }: PaymentFacts): boolean {
  const others = [confirmedAt, refunds, refundedTotal, disputes];
  return failedAt !== undefined && others.every((fact) => fact === undefined);
}

function compare(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

/** The payment that pays for the booking; otherwise the one that was confirmed first, or any. */
export function mainPayment({ payments }: Payments): string | undefined {
  const rank = (facts: PaymentFacts): string =>
    `${holdsMoney(facts) ? 0 : 1} ${facts.confirmedAt ?? 'unconfirmed'}`;
  const [first] = Object.entries(payments).sort(
    ([id, facts], [otherId, other]) => compare(rank(facts), rank(other)) || compare(id, otherId),
  );
  return first?.[0];
}

/** `list` with one more entry, bounded; the same list where it has this entry. */
export function withOrphaned(list: OrphanedPayment[] = [], entry: OrphanedPayment): OrphanedPayment[] {
  return list.some((known) => isSame(known, entry)) ? list : [...list, entry].slice(-maxOrphaned);
}

export function isSame(one: OrphanedPayment, other: OrphanedPayment): boolean {
  return (
    one.paymentId === other.paymentId && one.reason === other.reason && one.bookingId === other.bookingId
  );
}

/** Whether `booking` only records the payment, since its account is not bound to the user that it names. */
export function isRecordOfUnbound({ orphaned = [] }: Booking, paymentId: string): boolean {
  return orphaned.some((entry) => entry.paymentId === paymentId && entry.reason === 'account_mismatch');
}

type ProblemOf = (entry: OrphanedPayment) => Problem;

const problemOf: Record<OrphanReason, ProblemOf> = {
  booking_cancelled: ({ paymentId }) => ({
    code: 'paid_after_cancellation',
    message: `Payment ${paymentId} arrived after the booking was cancelled. No event is created: refund the payment.`,
  }),
  already_paid: ({ paymentId }) => ({
    code: 'paid_twice',
    message: `Payment ${paymentId} arrived although another payment had paid for the booking. Refund it if it was not intended.`,
  }),
  too_late: ({ paymentId }) => ({
    code: 'paid_too_late',
    message: `Payment ${paymentId} arrived after the appointment was over. No event is created: refund the payment, or agree on another time.`,
  }),
  already_used: ({ paymentId }) => ({
    code: 'payment_of_another_booking',
    message: `Payment ${paymentId} pays for another booking, and a payment pays for one booking only. Report a payment of its own for this booking.`,
  }),
  user_mismatch: ({ paymentId, bookingId }) => ({
    code: 'user_mismatch',
    message: `Payment ${paymentId} references the booking ${bookingId} of another user. It does not count there: give each booking an id of its own.`,
  }),
  account_mismatch: ({ paymentId, bookingId }) => ({
    code: 'account_mismatch',
    message: `Payment ${paymentId} was paid to an account that is not bound to the user of the booking ${bookingId}. It does not count there: if it should, bind the account with PUT /payment-accounts/${accountOfPayment(paymentId)} and have Stripe send the event again; otherwise refund it.`,
  }),
  booking_unknown: ({ paymentId, bookingId }) => ({
    code: 'booking_unknown',
    message: `Payment ${paymentId} references the booking ${bookingId}, which was not declared. Declare a booking before it is paid.`,
  }),
};

/** The problem that an orphaned payment is, for the booking that records it. */
export function orphanedProblem(entry: OrphanedPayment): Problem {
  return problemOf[entry.reason](entry);
}

/** Why an appointment whose event was created may be beside another one. */
export const conflictProblems = {
  busy: { code: 'calendar_conflict', message: 'Another event exists in the calendar at that time.' },
  unknown: {
    code: 'calendar_conflict_unknown',
    message: 'Whether another event exists in the calendar at that time could not be seen.',
  },
} satisfies Record<string, Problem>;

export function isConflict({ code }: Problem): boolean {
  return Object.values(conflictProblems).some((problem) => problem.code === code);
}

/** All problems of a booking: those of its events, and payments that should be refunded or assigned by a person. */
export function problemsOf(booking: Booking): Problem[] {
  const known = new Set(booking.problems.map(({ message }) => message));
  const ofPayments = paymentProblems(booking).filter(({ message }) => !known.has(message));
  return [...booking.problems, ...ofPayments, ...formerAccountProblems(booking)];
}

/** The orphaned payments of a booking that should be refunded or assigned by a person. */
export function paymentProblems(booking: Booking): Problem[] {
  return (booking.orphaned ?? []).filter((entry) => isUnresolved(booking, entry)).map(orphanedProblem);
}

/** Whether there is something left to do about an orphaned payment. What is resolved stays so. */
function isUnresolved(booking: Booking, { paymentId, reason }: OrphanedPayment): boolean {
  switch (reason) {
    case 'booking_cancelled':
    case 'account_mismatch':
      return holdsMoney(paymentOf(booking, paymentId));
    case 'too_late':
      return holdsMoney(paymentOf(booking, paymentId)) && endedWithoutEvent(booking);
    case 'already_paid':
      return surplusPayments(booking).has(paymentId);
    case 'already_used':
    case 'user_mismatch':
    case 'booking_unknown':
      // A booking that was paid once has had its payment, even if that is refunded by now.
      return booking.appointment === undefined || !wasConfirmed(booking);
  }
}

/** Whether no event exists, nor is one being created because the appointment was moved to a later time. */
function endedWithoutEvent(booking: Booking): boolean {
  const { status } = booking;
  return recordedEvent(booking) === undefined && (status === 'missed' || status === 'cancelled');
}

/** Payments beside the one that pays. That is one of those that came first; else the oldest surplus takes its place. */
function surplusPayments(booking: Booking): Set<string> {
  const holding = Object.keys(booking.payments).filter((id) => holdsMoney(paymentOf(booking, id)));
  const surplus = (booking.orphaned ?? [])
    .filter(({ reason, paymentId }) => reason === 'already_paid' && holding.includes(paymentId))
    .map(({ paymentId }) => paymentId);
  return new Set(surplus.length < holding.length ? surplus : surplus.slice(1));
}
