import { isDeepStrictEqual } from 'node:util';
import type { BusEventType } from '../../shared/aws/bus.ts';
import {
  type Appointment,
  appendTimeline,
  type Booking,
  newBooking,
  recordedEvent,
  requestRun,
} from '../../shared/booking/booking.ts';
import { holdsSlot, isPaid, latestFailure } from '../../shared/booking/booking-payments.ts';
import type { BookingQueue } from '../../shared/booking/queue.ts';
import { answered, isOpen, unpublished, withStatus } from '../../shared/booking/status.ts';
import type { BookingStore } from '../../shared/booking/store.ts';
import type { BookingView } from '../../shared/http/api-schemas.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import { type Clock, laterThan, toIso } from '../../shared/lib/clock.ts';
import { describeError, log } from '../../shared/lib/observability.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';
import { retryOnConflict } from '../../shared/lib/retry-on-conflict.ts';
import { type Desired, parseDesired, parsePatch } from './requests.ts';
import { bookingNotFound, requireOwnBooking, toView } from './view-booking.ts';

export type BookingsDeps = {
  bookings: Pick<BookingStore, 'get' | 'list' | 'save'>;
  queue: Pick<BookingQueue, 'send'>;
  clock: Clock;
};

/** The booking of a request, its user, and the header `If-Match` as it was sent. */
export type Target = { userId: string; bookingId: string; ifMatch?: string | undefined };

/** `accepted`: a sync was requested; `changed`: none was necessary. */
export type WriteResult = { outcome: 'created' | 'accepted' | 'changed' | 'unchanged'; booking: BookingView };

/**
 * Declares a booking, or replaces the desired state of an existing one. A repetition changes nothing; it retries at once
 * what has failed or waits.
 * Errors: `invalid_request` (400), `booking_not_found` (404: another user's), `booking_cancelled` and `concurrent_update`
 * (409), `revision_mismatch` (412).
 */
export async function declareBooking(
  deps: BookingsDeps,
  target: Target,
  body: unknown,
): Promise<WriteResult> {
  const desired = await parseDesired(body);
  return applyChange(deps, target, async (stored) => {
    if (!stored) return declared(target, desired, deps.clock());
    // Also for a booking without a user: otherwise any user could take a paid booking by declaring its id.
    return withDesired(requireOwnBooking(stored, target.userId), desired, deps.clock()) ?? stored;
  });
}

/**
 * Changes the desired state of a booking by a merge patch.
 * Errors: those of declareBooking, and `booking_not_found` (404) for an unknown id.
 */
export async function patchBooking(deps: BookingsDeps, target: Target, body: unknown): Promise<WriteResult> {
  return applyChange(deps, target, async (stored) => {
    const booking = requireOwnBooking(stored, target.userId);
    if (booking.cancelledAt !== undefined) throw bookingCancelled();
    return withDesired(booking, await parsePatch(booking, body), deps.clock()) ?? booking;
  });
}

/**
 * Cancels a booking, also a paid one. Idempotent.
 * Errors: `booking_not_found` (404), `concurrent_update` (409), `revision_mismatch` (412).
 */
export async function cancelBooking(deps: BookingsDeps, target: Target): Promise<WriteResult> {
  const result = await applyChange(deps, target, async (stored) => {
    const booking = requireOwnBooking(stored, target.userId);
    return booking.cancelledAt === undefined ? withCancellation(booking, deps.clock()) : booking;
  });
  const underWay = result.booking.status !== 'cancelled';
  return { ...result, outcome: underWay ? 'accepted' : result.outcome };
}

/**
 * Reads, decides, and saves under the version that was read, then requests a sync. The stored booking is due at once, so
 * while the queue is unavailable booking-reconcile requests it within a minute.
 */
async function applyChange(
  deps: BookingsDeps,
  { bookingId, userId, ifMatch }: Target,
  decide: (stored: Booking | undefined) => Promise<Booking>,
): Promise<WriteResult> {
  return retryOnConflict('booking', async () => {
    const stored = await deps.bookings.get(bookingId);
    checkRevision(stored, userId, ifMatch);
    const booking = await decide(stored);
    if (booking === stored) return { outcome: 'unchanged', booking: toView(booking) };
    if (!(await deps.bookings.save(booking))) return undefined;
    const toBeSynced = isOpen(booking.nextRun);
    const isRetry = stored?.revision === booking.revision;
    const cause = isRetry ? `retry-${booking.version}` : `revision-${booking.revision}`;
    if (toBeSynced) await requestSync(deps, booking, cause);
    const outcome = toBeSynced ? 'accepted' : stored ? 'changed' : 'created';
    return { outcome, booking: toView(booking) };
  });
}

async function requestSync(
  { queue }: BookingsDeps,
  { bookingId, userId }: Booking,
  cause: string,
): Promise<void> {
  await queue
    .send(omitUndefined({ type: 'sync' as const, bookingId, userId, cause }))
    .catch((error: unknown) =>
      log.warn('Sync not requested, booking stays due', { bookingId, error: describeError(error) }),
    );
}

function declared(
  { bookingId, userId }: Target,
  { appointment, hold, ...payers }: Desired,
  now: number,
): Booking {
  const timeline = appendTimeline([], now, 'declared');
  const holding = hold ? { hold, heldAt: toIso(now) } : {};
  const booking = newBooking({ bookingId, userId, appointment, timeline, ...holding, ...payers }, toIso(now));
  return hold ? withStatus(requestRun(booking, now, { mayCreate: true })) : booking;
}

/**
 * The booking with another appointment or hold, or with its hold declared again; undefined where it is desired so
 * already, and nothing is to be retried.
 */
function withDesired(
  booking: Booking,
  { appointment: given, hold, ...payers }: Desired,
  now: number,
): Booking | undefined {
  if (booking.cancelledAt !== undefined) throw bookingCancelled();
  const appointment = withKnownInstants(given, booking.appointment);
  const {
    hold: held = false,
    heldAt: _,
    fromPayment: __,
    paymentTexts: ___,
    paymentAccount: payer,
    ...rest
  } = booking;
  const holding = hold ? { hold, heldAt: holdStart(booking, now) } : {};
  const changed = { ...rest, appointment, ...holding, ...payers };
  if (!isDeepStrictEqual(booking.appointment, appointment) || held !== hold)
    return withNextRevision(changed, now, booking.appointment ? 'change requested' : 'declared');
  if (holdsSlot(changed) && !holdsSlot(booking)) return withNextRevision(changed, now, 'hold declared again');
  const retry = withRetry(changed, now);
  if (retry) return retry;
  // The time counts: a failure of before that is reported later does not end the hold.
  const isHeldAgain = holdsSlot(changed) && changed.heldAt !== booking.heldAt;
  return isHeldAgain || payers.paymentAccount !== payer ? changed : undefined;
}

/** When a hold that is declared now begins: after all failures that are known, even if the provider's clock is ahead. */
function holdStart(booking: Booking, now: number): string {
  const failedAt = latestFailure(booking);
  const afterFailure = failedAt === undefined ? now : Math.floor(Date.parse(failedAt) / 1000) + 1;
  return toIso(Math.max(now, afterFailure));
}

/**
 * The same desired state again: what failed, waits for Google's consent or is in conflict is due at once, at the same
 * revision. Undefined where a retry cannot help.
 */
function withRetry(booking: Booking, now: number): Booking | undefined {
  const { givenUp, nextRun, appointment, revision } = booking;
  const isTried = nextRun !== undefined && ['retry', 'refused', 'paused'].includes(nextRun.why);
  const canRetry = givenUp?.revision === revision && givenUp.reason !== 'missed' && !isOpen(nextRun);
  if (!appointment || !(isTried || canRetry)) return undefined;
  const { givenUp: _, ...rest } = booking;
  const requested = requestRun(canRetry ? unpublished(rest) : booking, now, { mayCreate: true });
  const timeline = appendTimeline(booking.timeline, now, 'retry requested');
  return withStatus({ ...requested, timeline, updatedAt: laterThan(booking.updatedAt, now) });
}

/** The same times keep the instants that sync has recorded, from the zone of the calendar or from Google's answer. */
function withKnownInstants(given: Appointment, stored: Appointment | undefined): Appointment {
  if (!stored || !isDeepStrictEqual([given.start, given.end], [stored.start, stored.end])) return given;
  const { startsAt, endsAt } = stored;
  return { ...given, startsAt, endsAt };
}

function withCancellation(booking: Booking, now: number): Booking {
  return withNextRevision({ ...booking, cancelledAt: toIso(now) }, now, 'cancel requested');
}

/** A booking whose desired state has changed: the next revision, due at once where sync has work. */
function withNextRevision(booking: Booking, now: number, what: string): Booking {
  const next: Booking = {
    ...booking,
    revision: booking.revision + 1,
    timeline: appendTimeline(booking.timeline, now, what),
    updatedAt: laterThan(booking.updatedAt, now),
  };
  if (!needsSync(next)) return answered(withStatus({ ...next, problems: [] }));
  const isWaiting = booking.nextRun?.why === 'no_connection';
  const requested = requestRun(next, now, { mayCreate: wantsEvent(next) });
  return withStatus({ ...requested, problems: isWaiting ? booking.problems : [] });
}

/** Events after which consumers expect no event in the calendar, and nothing else. */
const endings: BusEventType[] = ['booking.cancelled', 'booking.hold_released'];

/** Whether sync has anything to do for it: there may be an event, or there should be one. */
function needsSync(booking: Booking): boolean {
  if (!booking.appointment) return false;
  const { nextRun, givenUp, published } = booking;
  const isUnderWay = isOpen(nextRun) || givenUp !== undefined;
  // Consumers still take it for waiting, failed or the like.
  const isOutdated = published !== undefined && !endings.includes(published.type);
  return recordedEvent(booking) !== undefined || isUnderWay || isOutdated || wantsEvent(booking);
}

function wantsEvent(booking: Booking): boolean {
  return booking.cancelledAt === undefined && (holdsSlot(booking) || isPaid(booking));
}

/** Compares the ETags in `If-Match` with the current revision. */
function checkRevision(stored: Booking | undefined, userId: string, ifMatch: string | undefined): void {
  if (ifMatch === undefined) return;
  if (stored?.userId !== userId) throw bookingNotFound();
  const named = ifMatch.split(',').map((tag) => tag.trim());
  if (named.includes('*') || named.includes(etagOf(stored))) return;
  throw new AppError(
    'revision_mismatch',
    `The booking has changed and is at revision ${stored.revision} now. Read it again, and send the change for that revision.`,
    { status: 412 },
  );
}

/** The ETag of a booking. */
export function etagOf({ revision }: { revision: number }): string {
  return `"${revision}"`;
}

function bookingCancelled(): AppError {
  return new AppError(
    'booking_cancelled',
    'The booking was cancelled, which is permanent. Declare a new one under another id.',
    { status: 409 },
  );
}
