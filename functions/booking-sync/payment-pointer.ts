import type { Booking, PaymentPointer } from '../../shared/booking.ts';
import type { PaymentReported, SyncRequested } from '../../shared/booking-queue.ts';
import type { BookingStore, ReadForSync, Seen } from '../../shared/booking-store.ts';
import type { Clock } from '../../shared/clock.ts';
import { mergeFacts } from '../../shared/payment.ts';
import { contended, maxRounds } from './contention.ts';

/** From a payment to its booking: the payment pointer, and what is read and written through it. */

export type PointerDeps = {
  readForSync: ReadForSync;
  bookings: Pick<BookingStore, 'save' | 'savePointer'>;
  clock: Clock;
};

/** Seconds for which a refund is remembered whose payment nobody has named yet. */
const rememberedFor = 90 * 86_400;

/**
 * Reads what the message is about, in one call where it names booking and user. A payment that has been named before
 * leads to the booking it was named for, and a booking says whose calendar it is: both outweigh the message.
 */
export async function see(deps: PointerDeps, message: PaymentReported | SyncRequested): Promise<Seen> {
  const named = message.type === 'payment' ? message.booking : message;
  const paymentId = message.type === 'payment' ? message.paymentId : undefined;
  const first = await deps.readForSync({ bookingId: named?.bookingId, userId: named?.userId, paymentId });
  const { pointer } = first;
  const led = pointer?.bookingId !== undefined && pointer.bookingId !== named?.bookingId;
  const seen = led
    ? { pointer, ...(await deps.readForSync({ bookingId: pointer.bookingId, userId: pointer.userId })) }
    : first;
  const userId = led ? pointer.userId : named?.userId;
  const { booking } = seen;
  if (!booking?.appointment || booking.userId === userId) return seen;
  const { connection: _, ...rest } = seen;
  return { ...rest, ...(await deps.readForSync({ userId: booking.userId })) };
}

/** A refund or a dispute of a payment that nobody has named: kept for when it is, and forgotten if it never is. */
export async function remember(
  deps: PointerDeps,
  message: PaymentReported,
  pointer: PaymentPointer | undefined,
): Promise<boolean> {
  const { paymentId, facts } = message;
  // A payment that failed before there was anything to pay for changes nothing.
  if (!facts.refunds && !facts.disputes && facts.refundedTotal === undefined) return true;
  const merged = mergeFacts(pointer?.facts, facts);
  const expiresAt = deps.clock() + rememberedFor;
  return deps.bookings.savePointer({ paymentId, facts: merged, expiresAt, version: pointer?.version ?? 0 });
}

/**
 * Makes the payment lead to its booking, which is how refunds find it. False where something else stands there by now:
 * a refund that came meanwhile, or another booking that was faster.
 */
export async function point(
  deps: PointerDeps,
  { paymentId }: PaymentReported,
  pointer: PaymentPointer | undefined,
  { bookingId, userId }: Booking,
): Promise<boolean> {
  if (pointer?.bookingId === bookingId) return true;
  return deps.bookings.savePointer({
    paymentId,
    bookingId,
    ...(userId === undefined ? {} : { userId }),
    version: pointer?.version ?? 0,
  });
}

/** Two bookings referenced one payment and the other won: detaches it here. Answers the sync that this calls for. */
export async function retract(
  deps: PointerDeps,
  bookingId: string,
  paymentId: string,
): Promise<SyncRequested | undefined> {
  for (let round = 0; round < maxRounds; round++) {
    const { booking } = await deps.readForSync({ bookingId });
    if (!booking?.payments[paymentId]) return undefined;
    const { [paymentId]: _, ...payments } = booking.payments;
    if (await deps.bookings.save({ ...booking, payments, syncDueAt: deps.clock() })) {
      const { userId } = booking;
      return { type: 'sync', bookingId, ...(userId ? { userId } : {}), cause: 'retracted' };
    }
  }
  throw contended();
}
