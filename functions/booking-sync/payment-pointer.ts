import { isDeepStrictEqual } from 'node:util';
import type { Bus, BusEvent } from '../../shared/aws/bus.ts';
import {
  type Booking,
  type OrphanedPayment,
  type PaymentPointer,
  requestRun,
} from '../../shared/booking/booking.ts';
import { isRecordOfUnbound, paymentOf } from '../../shared/booking/booking-payments.ts';
import { desiredPresence, type PaymentPolicy } from '../../shared/booking/desired-presence.ts';
import { mergeFacts, type PaymentFacts } from '../../shared/booking/payment.ts';
import type { PaymentReported, SyncRequested } from '../../shared/booking/queue.ts';
import { conclude, type Republish } from '../../shared/booking/status.ts';
import type { BookingStore, LoadSnapshot } from '../../shared/booking/store.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';
import { isOwnRecord, mayBeOfUser, type RoutedPayment, rejectPayment } from './apply-payment.ts';
import { bookingEvent, orphanedEvents } from './booking-events.ts';
import { maybeStale } from './doubt.ts';

/** From a payment to its booking: the pointer, tombstones, and payments that count for another booking. */

type PointerDeps = {
  readForSync: LoadSnapshot;
  bookings: Pick<BookingStore, 'save' | 'savePointer'>;
  bus: Bus;
  clock: Clock;
  paymentPolicy: PaymentPolicy;
};

/** Seconds for which a tombstone is kept: facts of a payment that references no booking yet. */
export const tombstoneSeconds = 90 * 86_400;

/**
 * A payment without a booking: kept for when one references it. Published where it was confirmed; forgotten if no
 * booking ever does.
 */
export async function saveTombstone(
  deps: PointerDeps,
  { paymentId, facts, orphan, part }: RoutedPayment,
  pointer: PaymentPointer | undefined,
): Promise<boolean> {
  // A payment that failed before there was anything to pay for changes nothing.
  if (!facts.refunds && !facts.disputes && facts.refundedTotal === undefined && !facts.confirmedAt)
    return true;
  const merged = mergeFacts(pointer?.facts, facts);
  const now = deps.clock();
  const events = orphan ? orphanedEvents({ paymentId, ...orphan }, { facts: merged }, now) : [];
  await publishAll(deps, events);
  if (part) return true;
  const expiresAt = now + tombstoneSeconds;
  return deps.bookings.savePointer({
    ...pointer,
    paymentId,
    facts: merged,
    ...(orphan ? { named: omitUndefined({ bookingId: orphan.bookingId, userId: orphan.userId }) } : {}),
    ...(pointer?.bookingId === undefined ? { expiresAt } : {}),
    version: pointer?.version ?? 0,
  });
}

/**
 * Makes the payment lead to its booking, which is how refunds find it. False where something else stands there by now:
 * a refund that came meanwhile, or another booking that was faster. Only a confirmed payment is bound to a booking.
 */
export async function savePointer(
  deps: PointerDeps,
  { paymentId }: PaymentReported,
  pointer: PaymentPointer | undefined,
  booking: Booking,
): Promise<boolean> {
  const { bookingId, userId } = booking;
  const known = paymentOf(booking, paymentId);
  const unbound = isRecordOfUnbound(booking, paymentId) ? (true as const) : undefined;
  const facts = unbound && known;
  const isSaved = pointer?.bookingId === bookingId && pointer.unbound === unbound;
  if (isSaved && (!unbound || isDeepStrictEqual(pointer.facts, facts))) return true;
  if (known?.confirmedAt === undefined) return true;
  // Once it counts, the booking has the facts. Fields of a newer release stay.
  const {
    facts: _,
    named: __,
    expiresAt: ___,
    userId: ____,
    unbound: _____,
    ...kept
  } = pointer ?? { version: 0 };
  const leading = omitUndefined({ ...kept, paymentId, bookingId, userId, unbound, facts });
  return deps.bookings.savePointer(leading, booking);
}

/**
 * A payment does not count for the booking `bookingId`, which it references or was recorded in: detaches it there, and
 * publishes it. Answers the sync that this calls for.
 * @param paid the booking that the payment pays for, by its id, and what is known of the payment
 */
export async function detachPayment(
  deps: PointerDeps,
  bookingId: string,
  message: PaymentReported,
  paid: { by: string; facts: PaymentFacts; reason: 'user_mismatch' | 'already_used'; mayBeStale: boolean },
): Promise<SyncRequested | undefined> {
  const { paymentId, booking: named } = message;
  const { facts } = paid;
  const entry = omitUndefined({ paymentId, reason: paid.reason, bookingId, userId: named?.userId });
  const paidBookingId = paid.reason === 'already_used' ? paid.by : undefined;
  let republish: Republish = paid.mayBeStale ? 'same' : 'no';
  for (let round = 0; round < maxRounds; round++) {
    const readAt = deps.clock();
    const { booking: stored } = await deps.readForSync({ bookingId });
    const now = deps.clock();
    if (now > readAt + snapshotSeconds) continue;
    const said = republish === 'new' ? stored : undefined;
    const rejected = rejectPayment(stored, message, entry, now) ?? said;
    if (!rejected) return publishUnknown(deps, message, stored, entry, { facts, paidBookingId });
    const requested = requestedAfter(stored, rejected, paid.mayBeStale, now);
    const left = requested ?? rejected;
    const wanted = desiredPresence(left, deps.paymentPolicy);
    const { booking, events } = conclude(stored, left, { wanted, now, republish });
    const { userId } = booking;
    const orphaned = detachedEvents(stored, message, entry, { facts, userId, paidBookingId }, now);
    await publishAll(deps, [
      ...orphaned,
      ...events.map((type) => bookingEvent(type, booking, booking.updatedAt)),
    ]);
    if (await deps.bookings.save(booking)) return requested && syncOf(booking);
    // Consumers may know a status that is not on record.
    republish = 'new';
  }
  throw contended();
}

/** A record that is closed says nothing more: its payment counts. */
function detachedEvents(
  stored: Booking | undefined,
  message: PaymentReported,
  ...orphaned: Parameters<typeof orphanedEvents>
): BusEvent[] {
  return isOwnRecord(stored, message) ? [] : orphanedEvents(...orphaned);
}

/** Of several bookings that a payment names, each has an outcome, also one that was not declared, or is of another user. */
async function publishUnknown(
  deps: PointerDeps,
  { bookings, booking: named }: PaymentReported,
  stored: Booking | undefined,
  entry: OrphanedPayment,
  of: { facts: PaymentFacts; paidBookingId: string | undefined },
): Promise<undefined> {
  const isUntouched = stored === undefined || !mayBeOfUser(stored, named);
  if (bookings && isUntouched) await publishAll(deps, orphanedEvents(entry, of, deps.clock()));
}

async function publishAll({ bus }: PointerDeps, events: BusEvent[]): Promise<void> {
  if (events.length > 0) await bus.publish(...events);
}

function syncOf({ bookingId, userId }: Booking): SyncRequested {
  return omitUndefined({ type: 'sync' as const, bookingId, userId, cause: 'payment detached' });
}

/** The booking to sync where the payment was detached, or an earlier run may have written its event and crashed. */
function requestedAfter(
  stored: Booking | undefined,
  rejected: Booking,
  mayBeStale: boolean,
  now: number,
): Booking | undefined {
  const isDetached = stored !== undefined && rejected.payments !== stored.payments;
  const requested =
    isDetached && rejected.appointment ? requestRun(rejected, now, { mayCreate: false }) : rejected;
  // A run that crashed may have left an event of a booking that no record shows.
  const mayExist = mayBeStale || (!stored && rejected.appointment !== undefined);
  const left = mayExist ? maybeStale(requested, now) : requested;
  return left === rejected ? undefined : left;
}

/** Other bookings for which the payment does not count: referenced, or recorded by this run or one that crashed. */
export function bookingsWithout(
  { account, booking: named, paymentId, part }: PaymentReported,
  { bookingId }: Booking,
  { recorded, mayBeStale }: { recorded: Set<string>; mayBeStale: boolean },
): Set<string> {
  const others = new Set(recorded);
  if (named && named.bookingId !== bookingId) {
    others.add(named.bookingId);
    if (mayBeStale) others.add(paymentId);
  }
  // A run that crashed may have recorded it there while its account was not bound.
  if (account !== undefined && mayBeStale) others.add(paymentId);
  // Other parts of the payment may be recorded under its own id.
  if (part) others.delete(paymentId);
  others.delete(bookingId);
  return others;
}

/** Rounds of reading, deciding and recording before giving up on a booking that others keep changing. */
export const maxRounds = 8;
/** Seconds for which a snapshot is valid. A worker that was paused for longer must read again. */
export const snapshotSeconds = 20;

/** The last write of a run was lost too; the message stays in the queue. */
export function contended(): AppError {
  return new AppError('concurrent_update', `A booking was changed by others ${maxRounds} times in a row.`, {
    retryable: true,
  });
}
