import type { Bus } from '../../shared/aws/bus.ts';
import type { Booking, PaymentPointer } from '../../shared/booking/booking.ts';
import { holdsMoney, orphanedProblem, paymentOf } from '../../shared/booking/booking-payments.ts';
import { mergeFacts, type PaymentFacts } from '../../shared/booking/payment.ts';
import type { BookingFromPayment, PaymentReported, SyncRequested } from '../../shared/booking/queue.ts';
import type { BookingStore, LoadSnapshot, SyncSnapshot } from '../../shared/booking/store.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import { type RoutedPayment, rejectPayment } from './apply-payment.ts';
import { bookingEvent, orphanedEvent } from './booking-events.ts';
import { contended, maxRounds } from './contention.ts';

/** From a payment to its booking: the payment pointer, and what is read and written through it. */

export type PointerDeps = {
  readForSync: LoadSnapshot;
  bookings: Pick<BookingStore, 'save' | 'savePointer'>;
  bus: Bus;
  clock: Clock;
};

/** What a run has read. `payment`: the message, with the booking that the payment is recorded in. */
export type Snapshot = SyncSnapshot & { payment?: RoutedPayment };

/** Seconds for which a tombstone is kept: facts of a payment that references no booking yet. */
const rememberedFor = 90 * 86_400;

/**
 * Reads what the message is about, in one call where it names booking and user. A payment that has been named before
 * leads to the booking it was named for, and a booking says whose calendar it is: both outweigh the message.
 */
export async function see(deps: PointerDeps, message: PaymentReported | SyncRequested): Promise<Snapshot> {
  if (message.type === 'sync') return withOwner(deps, await deps.readForSync(message), message.userId);
  const { paymentId, booking: named } = message;
  const first = await deps.readForSync({ bookingId: named?.bookingId, userId: named?.userId, paymentId });
  const { pointer } = first;
  const { bookingId, userId, ...payment } = routeOf(message, first);
  if (bookingId === undefined) return { ...(pointer ? { pointer } : {}), payment };
  const isNamed = bookingId === named?.bookingId;
  const there = isNamed ? first : await deps.readForSync({ bookingId, userId });
  const isApart = !isNamed || payment.orphan !== undefined;
  if (isApart && bookingId !== pointer?.bookingId && isOfOther(there.booking, userId)) {
    // The payment's own id is taken by a booking of another user: the payment is known by its pointer only.
    const { booking: _, ...unrecorded } = payment;
    const orphan = payment.orphan ?? ({ reason: 'user_mismatch', bookingId } as const);
    return { ...(pointer ? { pointer } : {}), payment: { ...unrecorded, orphan } };
  }
  return { ...(await withOwner(deps, { ...there, ...(pointer ? { pointer } : {}) }, userId)), payment };
}

/** The snapshot with the connection of the booking's owner, where that is another user than the one who was read. */
async function withOwner(
  deps: PointerDeps,
  seen: SyncSnapshot,
  userId: string | undefined,
): Promise<SyncSnapshot> {
  const { booking } = seen;
  if (!booking?.appointment || booking.userId === userId) return seen;
  const { connection: _, ...rest } = seen;
  return { ...rest, ...(await deps.readForSync({ userId: booking.userId })) };
}

type Route = RoutedPayment & { bookingId?: string | undefined; userId?: string | undefined };

/**
 * The booking that records a payment, and its user. The first booking that a confirmed payment references stays the
 * one; a booking of another user than the payment names is never it, and none is where the named user is unusable.
 */
function routeOf(message: PaymentReported, { booking, pointer }: SyncSnapshot): Route {
  const { booking: named, paymentId, ...rest } = message;
  const paid = pointer?.bookingId;
  if (!named) return { ...message, bookingId: paid, userId: pointer?.userId };
  const { bookingId, userId } = named;
  if (countsForNoUser(named, booking) || (userId !== undefined && isOfOther(booking, userId)))
    return routeApart(message, named, { booking, paid });
  if (paid !== undefined && paid !== bookingId)
    return { ...rest, paymentId, bookingId: paid, userId: pointer?.userId };
  if (named.mustExist && !booking)
    return { ...rest, paymentId, orphan: { reason: 'booking_unknown', bookingId } };
  return { ...message, bookingId, userId };
}

/** Whether a payment names an unusable user. One that may pay for declared bookings only needs one to be judged. */
function countsForNoUser(
  { unusableUser, mustExist }: BookingFromPayment,
  booking: Booking | undefined,
): boolean {
  return unusableUser === true && !(mustExist && !booking);
}

/** The booking of its own for a payment that names another user than the booking has, or an unusable one. */
function routeApart(
  message: PaymentReported,
  { bookingId, userId, unusableUser, problems: unusable }: BookingFromPayment,
  { booking, paid }: { booking: Booking | undefined; paid: string | undefined },
): Route {
  const { paymentId } = message;
  const user = userId === undefined ? {} : { userId };
  const orphan = isOfOther(booking, userId)
    ? { orphan: { reason: 'user_mismatch', bookingId, ...user } as const }
    : {};
  const target = paid === undefined || paid === bookingId ? paymentId : paid;
  const problems = [
    ...(unusableUser ? unusable : []),
    ...(orphan.orphan ? [orphanedProblem({ paymentId, ...orphan.orphan })] : []),
  ];
  // What is known of a payment that counted for the booking goes with it.
  const facts = mergeFacts(booking && paymentOf(booking, paymentId), message.facts);
  const record = { bookingId: target, ...user, problems };
  return { ...message, facts, booking: record, ...orphan, bookingId: target, userId };
}

function isOfOther(booking: Booking | undefined, userId: string | undefined): boolean {
  return booking?.userId !== undefined && booking.userId !== userId;
}

/**
 * A payment without a booking: kept for when one references it. Published where it was confirmed; forgotten if no
 * booking ever does.
 */
export async function remember(
  deps: PointerDeps,
  { paymentId, facts, orphan }: RoutedPayment,
  pointer: PaymentPointer | undefined,
): Promise<boolean> {
  // A payment that failed before there was anything to pay for changes nothing.
  if (!facts.refunds && !facts.disputes && facts.refundedTotal === undefined && !facts.confirmedAt)
    return true;
  const merged = mergeFacts(pointer?.facts, facts);
  const now = deps.clock();
  if (orphan && holdsMoney(merged))
    await deps.bus.publish(orphanedEvent({ paymentId, ...orphan }, { facts: merged }, now));
  const expiresAt = now + rememberedFor;
  return deps.bookings.savePointer({
    ...pointer,
    paymentId,
    facts: merged,
    ...(pointer?.bookingId === undefined ? { expiresAt } : {}),
    version: pointer?.version ?? 0,
  });
}

/**
 * Makes the payment lead to its booking, which is how refunds find it. False where something else stands there by now:
 * a refund that came meanwhile, or another booking that was faster. Only a confirmed payment is bound to a booking.
 */
export async function point(
  deps: PointerDeps,
  { paymentId }: PaymentReported,
  pointer: PaymentPointer | undefined,
  booking: Booking,
): Promise<boolean> {
  const { bookingId, userId } = booking;
  if (pointer?.bookingId === bookingId) return true;
  if (paymentOf(booking, paymentId)?.confirmedAt === undefined) return true;
  return deps.bookings.savePointer({
    paymentId,
    bookingId,
    ...(userId === undefined ? {} : { userId }),
    version: pointer?.version ?? 0,
  });
}

/**
 * A payment that `paid` records does not count for the booking `bookingId`, which it references or was recorded in:
 * detaches it there, and publishes it. Answers the sync that this calls for.
 */
export async function reject(
  deps: PointerDeps,
  bookingId: string,
  message: PaymentReported,
  paid: { booking: Booking; reason: 'user_mismatch' | 'already_used'; suspect: boolean },
): Promise<SyncRequested | undefined> {
  const { paymentId } = message;
  const user = message.booking?.userId === undefined ? {} : { userId: message.booking.userId };
  const entry = { paymentId, reason: paid.reason, bookingId, ...user };
  const facts: PaymentFacts = paymentOf(paid.booking, paymentId) ?? message.facts;
  for (let round = 0; round < maxRounds; round++) {
    const { booking: stored } = await deps.readForSync({ bookingId });
    const now = deps.clock();
    const rejected = rejectPayment(stored, message, entry, now);
    if (!rejected) return undefined;
    // An earlier run may have crashed after creating the event of the booking, before recording it.
    const hasNoEvent = !stored || stored.status === 'cancelled' || stored.status === 'declared';
    const isInDoubt = paid.suspect && hasNoEvent && rejected.appointment !== undefined;
    const booking = isInDoubt ? { ...rejected, unsettled: true as const, syncDueAt: now } : rejected;
    const paidBookingId = paid.reason === 'already_used' ? paid.booking.bookingId : undefined;
    const of = { facts, userId: booking.userId, paidBookingId };
    const events = [
      ...(holdsMoney(facts) ? [orphanedEvent(entry, of, now)] : []),
      ...(stored ? [] : [bookingEvent('booking.failed', booking, now)]),
    ];
    if (events.length > 0) await deps.bus.publish(...events);
    if (!(await deps.bookings.save(booking))) continue;
    if (booking.syncDueAt === undefined || booking.payments === stored?.payments) return undefined;
    const { userId } = booking;
    return {
      type: 'sync',
      bookingId,
      ...(userId === undefined ? {} : { userId }),
      cause: 'payment detached',
    };
  }
  throw contended();
}
