import {
  type Access,
  getAccess,
  recordUse,
  requireReauthorization,
  type TokenDeps,
} from '../../shared/access-token.ts';
import { AppError, hasCode, isOperatorError } from '../../shared/app-error.ts';
import type { Booking } from '../../shared/booking.ts';
import type { PaymentConfirmed, SyncRequested } from '../../shared/booking-queue.ts';
import type { BookingStore, ReadForSync } from '../../shared/booking-store.ts';
import type { BusEvent } from '../../shared/bus.ts';
import { type CalendarApi, type CalendarFailure, getEvent, insertEvent } from '../../shared/calendar.ts';
import { toIso } from '../../shared/clock.ts';
import type { GrantedConnection } from '../../shared/connection.ts';
import { log, metric, reportOperatorError } from '../../shared/observability.ts';
import {
  afterFailure,
  afterRefusedInsert,
  afterTokenFailure,
  applyPayment,
  isOurs,
  lastGeneration,
  nextStep,
  type Outcome,
  scheduled,
  toCalendarEvent,
  waiting,
} from './decide.ts';

export type SyncDeps = TokenDeps & {
  readForSync: ReadForSync;
  bookings: Pick<BookingStore, 'save'>;
  calendar: CalendarApi;
};

/** Rounds of reading, deciding and recording before giving up on a booking that others keep changing. */
const maxRounds = 5;
/** Milliseconds before the one quick second try. */
const quickRetryAfter = 300;

/**
 * Makes the calendar agree with a booking: reads, decides, acts, and records the outcome under the version it has
 * read. Where that has changed meanwhile, it reads and decides again. When this returns, the table holds the outcome
 * or the time of the next attempt, and the message may be acknowledged; when it throws, nothing is lost either, for
 * the message stays.
 */
export async function syncBooking(deps: SyncDeps, message: PaymentConfirmed | SyncRequested): Promise<void> {
  for (let round = 0; round < maxRounds; round++) {
    const { booking: stored, connection } = await readForSync(deps, message);
    const booking =
      message.type === 'payment.confirmed' ? applyPayment(stored, message, deps.clock()) : stored;
    if (!booking) {
      log.warn('Asked to sync a booking that does not exist', { bookingId: message.bookingId });
      return;
    }
    const step = nextStep(booking, stored, connection, deps.clock(), deps.random);
    if (step.do === 'nothing') return;
    const outcome = step.do === 'record' ? step.outcome : await insert(deps, step.booking, step.connection);
    if (await record(deps, outcome)) return;
  }
  throw new AppError(
    'conflict',
    `Booking ${message.bookingId} was changed by others ${maxRounds} times in a row.`,
    {
      retryable: true,
    },
  );
}

/** In one call, unless the message names another user than the booking: then the booking says whose calendar it is. */
async function readForSync(
  deps: SyncDeps,
  { bookingId, userId }: PaymentConfirmed | SyncRequested,
): ReturnType<ReadForSync> {
  const found = await deps.readForSync(bookingId, userId);
  if (!found.booking?.appointment || found.booking.userId === userId) return found;
  return deps.readForSync(bookingId, found.booking.userId);
}

/** Published before it is stored: a stored outcome would keep it from being published after a crash. */
async function record(deps: SyncDeps, { booking, event }: Outcome): Promise<boolean> {
  if (event) await deps.bus.publish(busEvent(event, booking, deps.clock()));
  const saved = await deps.bookings.save(booking);
  if (saved) {
    const { bookingId, status, syncDueAt, problems } = booking;
    log.info('Booking synced', { bookingId, status, syncDueAt, problem: problems[0]?.code });
    metric('BookingSynced', 1, { status });
  }
  return saved;
}

/** Gets a token and inserts the event; every way this can go ends in an outcome. */
async function insert(deps: SyncDeps, booking: Booking, connection: GrantedConnection): Promise<Outcome> {
  try {
    const access = await getAccess(deps, connection);
    const [outcome] = await Promise.all([
      insertEventOf(deps, booking, access),
      noteUse(deps, access.connection),
    ]);
    return outcome;
  } catch (error) {
    if (hasCode(error, 'reauthorization_required')) return waiting(booking, deps.clock(), deps.random);
    if (!(error instanceof AppError)) throw error;
    if (isOperatorError(error)) reportOperatorError('A booking waits until the service is set up', error);
    return afterTokenFailure(booking, error.code, error.message, deps.clock(), deps.random);
  }
}

/** Inserts under ids of growing generation until Google takes one, or a look shows that the event is there already. */
async function insertEventOf(deps: SyncDeps, first: Booking, firstAccess: Access): Promise<Outcome> {
  let booking = first;
  let access = firstAccess;
  let refreshed = false;
  for (let tries = 1; ; tries++) {
    const { calendarId } = access.connection;
    const answer = await insertEvent(
      deps.calendar,
      access.accessToken,
      calendarId,
      toCalendarEvent(booking, calendarId),
    );
    if (answer.ok) return scheduled(booking, calendarId, answer.value, deps.clock());

    switch (afterRefusedInsert(answer.failure, tries, refreshed)) {
      case 'look': {
        const found = await look(deps, booking, access);
        if (found !== 'id is spent') return found;
        booking = { ...booking, generation: booking.generation + 1 };
        break;
      }
      case 'refresh token':
        access = await getAccess(deps, access.connection, access.connection.tokenVersion);
        refreshed = true;
        break;
      case 'try again':
        await deps.sleep(quickRetryAfter * (0.5 + deps.random()));
        break;
      case 'require reauthorization':
        await requireReauthorization(deps, access.connection, answer.failure.reason);
        return waiting(booking, deps.clock(), deps.random);
      case 'give up for now':
      case 'fail':
        return concede(deps, booking, answer.failure);
    }
  }
}

/** The id is taken. By our own event, if an earlier run got so far and no further; otherwise by one that is in the way. */
async function look(deps: SyncDeps, booking: Booking, access: Access): Promise<Outcome | 'id is spent'> {
  const { calendarId } = access.connection;
  const { id } = toCalendarEvent(booking, calendarId);
  const answer = await getEvent(deps.calendar, access.accessToken, calendarId, id);
  if (!answer.ok && answer.failure.kind !== 'not_found') return concede(deps, booking, answer.failure);
  if (answer.ok && isOurs(answer.value, booking))
    return scheduled(booking, calendarId, answer.value, deps.clock());
  if (booking.generation < lastGeneration) return 'id is spent';
  const failure: CalendarFailure = {
    kind: 'refused',
    status: 409,
    reason: 'duplicate',
    message: 'Every event id of this booking is taken.',
  };
  return concede(deps, booking, failure);
}

function concede(deps: SyncDeps, booking: Booking, failure: CalendarFailure): Outcome {
  if (failure.kind === 'operator')
    reportOperatorError('Google refuses the project of this service', failure.reason);
  return afterFailure(booking, failure, deps.clock(), deps.random);
}

/** Beside the insert, and never its undoing: a use that is not on record costs one refresh at the next use. */
async function noteUse(deps: SyncDeps, connection: GrantedConnection): Promise<void> {
  await recordUse(deps, connection).catch((error: unknown) => {
    log.warn('Use of a connection was not recorded', { userId: connection.userId, reason: String(error) });
  });
}

function busEvent(type: NonNullable<Outcome['event']>, booking: Booking, now: number): BusEvent {
  const { bookingId, userId, payment, observed, problems, version } = booking;
  return {
    type,
    id: `${type}:${bookingId}:${version}`,
    time: toIso(now),
    ...(userId === undefined ? {} : { userId }),
    bookingId,
    paymentId: payment.id,
    ...(observed
      ? { calendarId: observed.calendarId, eventId: observed.eventId, htmlLink: observed.htmlLink }
      : {}),
    ...(problems.length > 0 ? { problems } : {}),
  };
}
