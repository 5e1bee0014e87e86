import type { Booking } from '../../shared/booking/booking.ts';
import { isRecordOfUnbound, orphanedProblem, paymentOf } from '../../shared/booking/booking-payments.ts';
import { mergeFacts } from '../../shared/booking/payment.ts';
import { textsOfAppointment } from '../../shared/booking/payment-texts.ts';
import type { BookingFromPayment, PaymentReported, SyncRequested } from '../../shared/booking/queue.ts';
import type { LoadSnapshot, SyncSnapshot } from '../../shared/booking/store.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';
import type { RoutedPayment } from './apply-payment.ts';
import { placeStored } from './whole-days.ts';

/** What a run reads before it decides. */

type ReadDeps = { readForSync: LoadSnapshot };

/** What a run has read. `payment`: the message, with the booking that the payment is recorded in. */
export type Snapshot = SyncSnapshot & { payment?: RoutedPayment };

/**
 * Reads what the message is about, in one call where it names booking and user. A payment that has been named before
 * leads to the booking it was named for, and a booking says whose calendar it is: both outweigh the message.
 */
export async function loadSnapshot(
  deps: ReadDeps,
  message: PaymentReported | SyncRequested,
): Promise<Snapshot> {
  return placeStored(withoutErased(await readSnapshot(deps, message)));
}

/** A payment from before its user was erased is recorded, and makes no booking. */
function withoutErased(snapshot: Snapshot): Snapshot {
  const { payment, booking, connection } = snapshot;
  if (!payment || booking || connection?.status !== 'disconnected') return snapshot;
  const { erasedAt = 0 } = connection;
  const { booking: _, ...facts } = payment;
  const isEarlier = Date.parse(payment.facts.confirmedAt ?? '') <= erasedAt * 1000;
  return isEarlier ? { ...snapshot, payment: facts } : snapshot;
}

async function readSnapshot(deps: ReadDeps, message: PaymentReported | SyncRequested): Promise<Snapshot> {
  if (message.type === 'sync') return withOwner(deps, await deps.readForSync(message), message.userId);
  const { booking: named, bookings: several, paymentId } = message;
  if (several) {
    const { bookingIds } = several;
    return { ...(await deps.readForSync({ paymentId, bookingIds })), payment: message };
  }
  const first = ofMessage(
    message,
    await deps.readForSync({
      bookingId: named?.bookingId,
      userId: named?.userId,
      paymentId,
      accountsOf: message.account && named?.userId,
    }),
  );
  if (first.pointer?.bookings) return { pointer: first.pointer, payment: message };
  const pointer = omitUndefined({ pointer: first.pointer });
  const isBound = await isAccountBound(deps, message, first);
  const { bookingId, userId, ...payment } = isBound ? routeOf(message, first) : routeUnbound(message, first);
  if (bookingId === undefined) return { ...pointer, payment };
  const isNamed = bookingId === named?.bookingId;
  const there = isNamed ? first : await deps.readForSync({ bookingId, userId });
  const isApart = !isNamed || payment.orphan !== undefined;
  const isKnown = bookingId === first.pointer?.bookingId;
  if (isApart && !isKnown && isOfOther(there.booking, userId))
    return { ...pointer, payment: byPointerOnly(payment, bookingId) };
  return { ...(await withOwner(deps, { ...there, ...pointer }, userId)), payment };
}

/**
 * What is known under the id of a payment for several bookings, for the message about one of them: the facts only. A refund
 * may have come while this booking did not exist.
 */
function ofMessage({ part }: PaymentReported, snapshot: SyncSnapshot): SyncSnapshot {
  if (!part || !snapshot.pointer) return snapshot;
  const { paymentId, facts, version } = snapshot.pointer;
  return { ...snapshot, pointer: omitUndefined({ paymentId, facts, version }) };
}

/** A payment whose own id is taken by a booking of another user. */
function byPointerOnly({ booking: _, orphan, ...payment }: RoutedPayment, bookingId: string): RoutedPayment {
  return { ...payment, orphan: orphan ?? { reason: 'user_mismatch', bookingId } };
}

/** The snapshot with the connection of the booking's owner, where that is another user than the one who was read. */
async function withOwner(
  deps: ReadDeps,
  seen: SyncSnapshot,
  userId: string | undefined,
): Promise<SyncSnapshot> {
  const { booking } = seen;
  if (!booking?.appointment || booking.userId === userId) return seen;
  const { connection: _, ...rest } = seen;
  return { ...rest, ...(await deps.readForSync({ userId: booking.userId })) };
}

/**
 * Whether the connected account that was paid may pay for the booking that the payment names: its owner has bound the
 * account, or the booking names it. What has counted stays so when the account is bound no longer.
 */
async function isAccountBound(
  deps: ReadDeps,
  { account, booking: named, paymentId, part }: PaymentReported,
  { booking, paymentAccounts }: SyncSnapshot,
): Promise<boolean> {
  if (account === undefined || !named) return true;
  // The record of names that cannot be used, which makes no booking.
  if (part && named.bookingId === paymentId) return true;
  const hasCounted = booking && paymentOf(booking, paymentId)?.confirmedAt !== undefined;
  if (hasCounted && !isRecordOfUnbound(booking, paymentId)) return true;
  if (booking?.paymentAccount === account) return true;
  const owner = booking?.userId ?? named.userId;
  if (owner === undefined) return false;
  const accounts =
    owner === named.userId
      ? paymentAccounts
      : (await deps.readForSync({ accountsOf: owner })).paymentAccounts;
  return accounts?.includes(account) === true;
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
  if (countsForNoUser(named, booking) || (userId !== undefined && isOfOther(booking, userId))) {
    const orphan = isOfOther(booking, userId) ? mismatchOf(named) : undefined;
    return routeApart(message, named, { booking, paid, orphan });
  }
  if (paid !== undefined && paid !== bookingId && !pointer?.unbound)
    return { ...rest, paymentId, bookingId: paid, userId: pointer?.userId };
  if (named.mustExist && !booking) {
    const orphan = { reason: 'booking_unknown', bookingId } as const;
    return message.part ? routeApart(message, named, { orphan }) : { ...rest, paymentId, orphan };
  }
  return { ...message, bookingId, userId };
}

/**
 * The record of a payment to an account that is not bound, under the payment's id and without a user: it changes no
 * booking, and counts only once the account is bound. A payment that pays for a booking stays with it.
 */
function routeUnbound(message: PaymentReported, { pointer }: SyncSnapshot): Route {
  const { booking: named, ...payment } = message;
  const { paymentId } = payment;
  if (pointer?.bookingId !== undefined && !pointer.unbound)
    return { ...payment, bookingId: pointer.bookingId, userId: pointer.userId };
  const { bookingId = paymentId, userId } = named ?? {};
  const orphan = omitUndefined({ reason: 'account_mismatch' as const, bookingId, userId });
  const problems = [orphanedProblem({ paymentId, ...orphan })];
  return { ...payment, booking: { bookingId: paymentId, problems }, orphan, bookingId: paymentId };
}

/** Whether a payment names an unusable user. One that may pay for declared bookings only needs one to be judged. */
function countsForNoUser(
  { unusableUser, mustExist }: BookingFromPayment,
  booking: Booking | undefined,
): boolean {
  return unusableUser === true && !(mustExist && !booking);
}

type Orphan = NonNullable<RoutedPayment['orphan']>;

function mismatchOf({ bookingId, userId }: BookingFromPayment): Orphan {
  return omitUndefined({ reason: 'user_mismatch', bookingId, userId });
}

/** The booking of its own for a payment that cannot count for the booking that it names. */
function routeApart(
  message: PaymentReported,
  named: BookingFromPayment,
  {
    booking,
    paid,
    orphan,
  }: { booking?: Booking | undefined; paid?: string | undefined; orphan?: Orphan | undefined },
): Route {
  const { paymentId, part } = message;
  const { bookingId, userId, unusableUser, appointment, problems: unusable } = named;
  const user = userId === undefined ? {} : { userId };
  const target = paid === undefined || paid === bookingId ? paymentId : paid;
  const problems = [
    ...(unusableUser || part ? unusable : []),
    ...(orphan ? [orphanedProblem({ paymentId, ...orphan })] : []),
  ];
  // What is known of a payment that counted for the booking goes with it.
  const facts = mergeFacts(booking && paymentOf(booking, paymentId), message.facts);
  const paymentTexts = named.paymentTexts ?? (appointment && textsOfAppointment(appointment));
  const record = omitUndefined({ bookingId: target, ...user, paymentTexts, problems });
  return { ...message, facts, booking: record, ...(orphan ? { orphan } : {}), bookingId: target, userId };
}

function isOfOther(booking: Booking | undefined, userId: string | undefined): boolean {
  return booking?.userId !== undefined && booking.userId !== userId;
}
