import type { BusEventType } from '../../shared/aws/bus.ts';
import { type Booking, type Presence, requestRun } from '../../shared/booking/booking.ts';
import { paymentOf } from '../../shared/booking/booking-payments.ts';
import { desiredPresence, doesCount, type PaymentPolicy } from '../../shared/booking/desired-presence.ts';
import { isAway } from '../../shared/booking/former-account.ts';
import type {
  BookingQueue,
  PaymentQueue,
  PaymentReported,
  Sent,
  SyncRequested,
} from '../../shared/booking/queue.ts';
import { conclude, type Republish, unpublished } from '../../shared/booking/status.ts';
import type { BookingStore, LoadSnapshot } from '../../shared/booking/store.ts';
import type { TokenDeps } from '../../shared/connection/access-token.ts';
import { activeOf } from '../../shared/connection/connection.ts';
import type { CalendarApi } from '../../shared/google/calendar.ts';
import { laterThan } from '../../shared/lib/clock.ts';
import { describeError, log, metric } from '../../shared/lib/observability.ts';
import { applyPayment } from './apply-payment.ts';
import { bookingEvent, newlyOrphaned } from './booking-events.ts';
import { runAction } from './calendar-actions.ts';
import type { ConflictPolicy } from './conflicts.ts';
import { decideNext, recordFirst } from './decide.ts';
import { inDoubtSeconds, maybeStale, withDoubt, withDoubtfulDeletion, withoutFirstRead } from './doubt.ts';
import { loadSnapshot, type Snapshot } from './load-snapshot.ts';
import { countRecovered, measure } from './measures.ts';
import { withOwnDeletions } from './other-events.ts';
import type { Outcome } from './outcomes.ts';
import {
  bookingsWithout,
  contended,
  detachPayment,
  maxRounds,
  savePointer,
  saveTombstone,
  snapshotSeconds,
} from './payment-pointer.ts';
import { retryAfter } from './retries.ts';
import type { OwnDeletions } from './session.ts';
import { isForSeveral, splitPayment } from './split-payment.ts';
import { placeWholeDays } from './whole-days.ts';

export type SyncDeps = TokenDeps & {
  readForSync: LoadSnapshot;
  bookings: Pick<BookingStore, 'save' | 'savePointer'>;
  queue: Pick<BookingQueue, 'send'>;
  payments: Pick<PaymentQueue, 'sendAll'>;
  calendar: CalendarApi;
  paymentPolicy: PaymentPolicy;
  conflictPolicy: ConflictPolicy;
};

/** Seconds in which the queue delivers a message for the first time, as a rule. */
const firstDeliverySeconds = 150;

/** What the rounds of one message share. */
type Run = {
  isSlotContested: boolean;
  /** An earlier run, or an earlier round of this one, may have called Google without recording it. */
  mayBeStale: boolean;
  /** Another run may have received the message, too. */
  isSuspected: boolean;
  republish: Republish;
  ownDeletions: OwnDeletions;
  seenEvents: Set<string>;
  /** Bookings that were recorded. */
  recorded: Set<string>;
};

/**
 * Makes the calendar agree with a booking: reads, decides, acts, and records the outcome under the version read. A lost
 * write begins again. When this returns, the table holds the outcome or the next run, and the message may be
 * acknowledged; when it throws, the message stays.
 */
export async function syncBooking(
  deps: SyncDeps,
  message: (PaymentReported | SyncRequested) & Sent,
  delivery: { repeated: boolean } = { repeated: false },
): Promise<void> {
  const run: Run = {
    isSlotContested: message.type === 'sync' && message.checkSlot === true,
    mayBeStale: false,
    isSuspected: false,
    republish: 'no',
    ownDeletions: new Map(),
    seenEvents: new Set(),
    recorded: new Set(),
  };
  for (let round = 0; round < maxRounds; round++) {
    const readAt = deps.clock();
    if (delivery.repeated || isOld(message, readAt)) suspectOtherRun(run);
    if (await syncRound(deps, message, run, readAt + snapshotSeconds)) return;
  }
  throw contended();
}

/** One round. False where the next one is to begin. */
async function syncRound(
  deps: SyncDeps,
  message: (PaymentReported | SyncRequested) & Sent,
  run: Run,
  validUntil: number,
): Promise<boolean> {
  const { isSuspected } = run;
  const snapshot = await loadSnapshot(deps, message);
  if (message.type === 'payment' && isForSeveral(message, snapshot))
    return syncSeveral(deps, message, snapshot, run);
  const prepared = await prepare(deps, snapshot, run);
  if (!prepared) return recordWithoutBooking(deps, message, snapshot);
  const isDone = await syncOnce(deps, prepared, snapshot, run, validUntil);
  const isRecorded = isDone && (await recordPointer(deps, message, snapshot, prepared.booking, run));
  if (isRecorded && message.type === 'payment' && message.recovered)
    countRecovered(snapshot.booking, prepared.booking, message.paymentId);
  // A round that took so long that another run may have received the message is followed by one that knows.
  return isRecorded && (isSuspected || !isOld(message, deps.clock()));
}

/**
 * A message that was received by another run, too: that may have crashed between Google and the table, between
 * publishing and saving, or between a booking and its pointer.
 */
function suspectOtherRun(run: Run): void {
  if (run.isSuspected) return;
  run.isSuspected = true;
  run.mayBeStale = true;
  if (run.republish === 'no') run.republish = 'same';
}

/**
 * Whether a message may have been received by another run although the queue does not say so: a redrive restarts its
 * count, and a run that was paused does not see who received it since.
 */
function isOld({ sentAt }: Sent, now: number): boolean {
  return sentAt !== undefined && now - sentAt > firstDeliverySeconds;
}

type Prepared = { booking: Booking; wanted: Presence };

/** The booking to decide on: with what the message says, and in doubt where the record may be stale. */
async function prepare(
  deps: SyncDeps,
  { booking: stored, connection, payment, pointer }: Snapshot,
  { mayBeStale }: Run,
): Promise<Prepared | undefined> {
  const now = deps.clock();
  const applied = payment ? applyPayment(stored, payment, pointer, now) : stored;
  const booking = applied && (await placeWholeDays(applied, connection));
  if (!booking) return undefined;
  const wanted = desiredPresence(booking, deps.paymentPolicy);
  if (!booking.appointment) return { booking, wanted };
  const isChanged = !stored?.appointment || wanted !== desiredPresence(stored, deps.paymentPolicy);
  const mayCreate = wanted !== 'absent' || !stored;
  const requested = payment && isChanged ? requestRun(booking, now, { mayCreate }) : booking;
  if (!mayBeStale || isAway(requested, activeOf(connection))) return { booking: requested, wanted };
  // An earlier run of the message may have deleted the event, before another payment counted.
  const mayHaveDeleted =
    payment && applied !== stored && !doesCount(booking, payment.paymentId, deps.paymentPolicy);
  return { booking: maybeStale(mayHaveDeleted ? withDoubtfulDeletion(requested) : requested, now), wanted };
}

/** A message about a booking that does not exist. False where another worker has written in the meantime. */
async function recordWithoutBooking(
  deps: SyncDeps,
  message: PaymentReported | SyncRequested,
  { payment, pointer }: Snapshot,
): Promise<boolean> {
  if (payment) return saveTombstone(deps, payment, pointer);
  const { bookingId } = message as SyncRequested;
  log.warn('Asked to sync a booking that does not exist', { bookingId });
  return true;
}

/** Decides, acts, publishes and saves. False where there is more to do, or the write was lost. */
async function syncOnce(
  deps: SyncDeps,
  { booking, wanted }: Prepared,
  { booking: stored, connection, payment }: Snapshot,
  run: Run,
  validUntil: number,
): Promise<boolean> {
  const { random } = deps;
  const { isSlotContested, ownDeletions, seenEvents } = run;
  // Published before Google is called: what follows may fail and be tried again without this payment.
  const orphans = newlyOrphaned(stored, booking, deps.clock());
  if (orphans.length > 0) await deps.bus.publish(...orphans);
  const decided = decideNext({ booking, wanted, connection, now: deps.clock(), random, isSlotContested });
  const decision = recordFirst(decided, stored, payment, run.isSuspected);
  const isAction = decision.do !== 'record';
  const outcome = isAction
    ? await runAction(deps, decision, { isSlotContested, validUntil, ownDeletions, seenEvents })
    : decision;
  // An expired snapshot records and publishes nothing: another worker may have deleted the event.
  if (!outcome || deps.clock() > validUntil) {
    run.mayBeStale = true;
    return false;
  }
  const acted = isAction ? ownDeletions : undefined;
  const { booking: left, again } = toRecord(deps, { booking, wanted }, stored, run, { outcome, acted });
  const concluded = conclude(stored, left, { wanted, now: deps.clock(), republish: run.republish });
  const saved = await publish(deps, concluded.booking, concluded.events, stored).then(
    () => concluded.booking,
    (error: unknown) => {
      // Nothing runs again for a booking without an appointment but this message.
      if (!booking.appointment) throw error;
      // A repetition that fails is not worth another run, and is not on record either.
      if (!concluded.isNews) return conclude(stored, left, { wanted, now: deps.clock() }).booking;
      // What follows must not depend on this message: it may be finished by another run, or become a dead letter.
      log.warn('Event could not be published', { bookingId: booking.bookingId, error: describeError(error) });
      return notPublished(deps, { booking, wanted }, stored, acted);
    },
  );
  const isPublished = concluded.events.length > 0;
  // Publishing may have taken long, too. An event that was published again is true only if the record is still the same.
  const isUnchanged = saved === stored && !isPublished;
  if (isUnchanged || (deps.clock() <= validUntil && (await save(deps, saved)))) {
    if (isPublished) run.republish = 'no';
    measure(stored, saved, { isNews: saved === concluded.booking && concluded.isNews, now: deps.clock() });
    return !(again && saved === concluded.booking);
  }
  noteLostWrite(run, { isPublished, isAction });
  return false;
}

/**
 * What to record of a run: its outcome, or at first only that a run was requested. Where the other run that received the
 * message has acknowledged it, nothing else would correct what a run has published that crashes before it is recorded.
 */
function toRecord(
  { clock }: SyncDeps,
  { booking, wanted }: Prepared,
  stored: Booking | undefined,
  { isSuspected, republish, ownDeletions }: Run,
  { outcome, acted }: { outcome: Outcome; acted: OwnDeletions | undefined },
): Outcome {
  const now = clock();
  const left = { ...outcome, booking: withOwnDeletions(outcome.booking, booking, ownDeletions) };
  const isRequested = booking.nextRun?.why === 'requested' && stored?.nextRun?.why !== 'requested';
  if (!isSuspected || !stored || !isRequested) return left;
  const { isNews } = conclude(stored, left.booking, { wanted, now, republish });
  return isNews ? { booking: undecided(booking, acted, now), again: true } : left;
}

/** Consumers may know an outcome that is not on record, and Google may have been called for one. */
function noteLostWrite(
  run: Run,
  { isPublished, isAction }: { isPublished: boolean; isAction: boolean },
): void {
  if (isPublished) run.republish = 'new';
  if (isAction) run.mayBeStale = true;
}

/** The booking to save where its events could not be published: as before, and tried again. */
function notPublished(
  { clock, random }: SyncDeps,
  { booking, wanted }: Prepared,
  stored: Booking | undefined,
  acted: OwnDeletions | undefined,
): Booking {
  const now = clock();
  const problem = { code: 'not_published', message: 'The status change could not be published yet.' };
  const retried = retryAfter(booking, problem, { now, random }).booking;
  return conclude(stored, undecided(retried, acted, now), { wanted, now }).booking;
}

/**
 * `booking` without the outcome of its run.
 * @param acted the deletions of a run that has called Google: its calendar is in doubt
 */
function undecided(booking: Booking, acted: OwnDeletions | undefined, now: number): Booking {
  const uncertain = unpublished(booking);
  if (!acted) return uncertain;
  return withOwnDeletions(withDoubt(withoutFirstRead(uncertain), now + inDoubtSeconds), booking, acted);
}

/** Published before it is stored: after a crash in between, the redelivered message publishes it again. */
async function publish(
  { bus, clock }: SyncDeps,
  booking: Booking,
  events: BusEventType[],
  stored: Booking | undefined,
): Promise<void> {
  if (events.length === 0) return;
  const time = booking === stored ? laterThan(booking.updatedAt, clock()) : booking.updatedAt;
  await bus.publish(...events.map((type) => bookingEvent(type, booking, time)));
}

async function save(deps: SyncDeps, booking: Booking): Promise<boolean> {
  const saved = await deps.bookings.save(booking);
  if (saved) {
    const { bookingId, status, nextRun, problems } = booking;
    log.info('Booking synced', { bookingId, status, syncDueAt: nextRun?.at, problem: problems[0]?.code });
    metric('BookingSynced', 1, { status });
  }
  return saved;
}

/**
 * Makes a payment point to the booking that was recorded, and detaches it from others. False where another booking was
 * faster, or a refund came in the meantime.
 */
async function recordPointer(
  deps: SyncDeps,
  message: (PaymentReported | SyncRequested) & Sent,
  { payment, pointer }: Snapshot,
  booking: Booking,
  run: Run,
): Promise<boolean> {
  const { recorded } = run;
  recorded.add(booking.bookingId);
  if (!payment || message.type !== 'payment' || payment.orphan?.reason === 'booking_unknown') return true;
  // Its account is bound by now, so the record of the payment is closed: also where the next write looks lost and is not.
  if (pointer?.unbound && pointer.bookingId !== undefined) recorded.add(pointer.bookingId);
  if (!message.part && !(await savePointer(deps, payment, pointer, booking))) return false;
  if (payment.orphan?.reason === 'account_mismatch') return true;
  if (isOld(message, deps.clock())) suspectOtherRun(run);
  const { mayBeStale } = run;
  const isMismatch = payment.orphan?.reason === 'user_mismatch' || message.booking?.unusableUser;
  const reason = isMismatch ? 'user_mismatch' : 'already_used';
  const facts = paymentOf(booking, message.paymentId) ?? message.facts;
  const paid = { by: booking.bookingId, facts, reason, mayBeStale } as const;
  for (const other of bookingsWithout(message, booking, { recorded, mayBeStale }))
    await detachAndSync(deps, other, message, paid);
  return true;
}

/** A payment for several bookings: each gets a message of its own. False where another worker has written meanwhile. */
async function syncSeveral(
  deps: SyncDeps,
  message: PaymentReported,
  snapshot: Snapshot,
  { mayBeStale }: Run,
): Promise<boolean> {
  const split = await splitPayment(deps, message, snapshot);
  if (!split) return false;
  const paid = { by: split.paidBookingId, facts: split.facts, reason: 'already_used', mayBeStale } as const;
  for (const booking of split.others)
    await detachAndSync(deps, booking.bookingId, { ...message, booking }, paid);
  return true;
}

/** Detaches a payment from a booking for which it does not count, and syncs the booking where that is called for. */
async function detachAndSync(
  deps: SyncDeps,
  bookingId: string,
  message: PaymentReported,
  paid: Parameters<typeof detachPayment>[3],
): Promise<void> {
  const detached = await detachPayment(deps, bookingId, message, paid);
  if (detached) await syncBooking(deps, detached);
}
