import type { Booking, EventPlace, Presence } from '../../shared/booking/booking.ts';
import {
  type Access,
  getAccess,
  recordReauthorizationRequired,
} from '../../shared/connection/access-token.ts';
import { accountFingerprint, type GrantedConnection } from '../../shared/connection/connection.ts';
import {
  type CalendarAnswer,
  type CalendarFailure,
  deleteEvent,
  readCalendar,
  type WriteOptions,
} from '../../shared/google/calendar.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import { backoff } from '../../shared/lib/backoff.ts';
import { describeError, log, metric, reportOperatorError } from '../../shared/lib/observability.ts';
import { inDoubtSeconds, withDoubt } from './doubt.ts';
import { wasDeletionRequested } from './other-events.ts';
import type { Outcome } from './outcomes.ts';
import { afterFailure, problemOf, waitForConnection } from './retries.ts';
import type { SyncDeps } from './sync-booking.ts';

/** The calls of a run to Google, and the outcome where one of them ends the run. */

/** Milliseconds before the one quick second try. */
const quickRetryAfter = 300;

/** A user's calendar and the access to it, which is renewed on the way where Google asks for it. */
export type Session = {
  access: Access;
  refreshed: boolean;
  /** Epoch second until which the snapshot is valid. */
  until: number;
  /** The desired presence. */
  wanted: Presence;
  /** A write of this run has no known outcome: Google may have applied it, or may yet. */
  hasOpenWrite: boolean;
  /** A write of this run has succeeded. */
  hasWritten: boolean;
  /** Deletions that were requested while this message was processed. */
  ownDeletions: OwnDeletions;
  /** Ids of events that were read while this message was processed: an older read that missed one says nothing. */
  seenEvents: Set<string>;
};

/** What a refused call is followed by: the first two are tried here and now. */
type Move = 'refresh token' | 'try again' | 'accept';

/** The move after a refusal. `tries` counts the calls so far, the refused one included. */
export function afterRefusal(failure: CalendarFailure, tries: number, refreshed: boolean): Move {
  switch (failure.kind) {
    case 'unauthorized':
      return refreshed ? 'accept' : 'refresh token';
    case 'transient': {
      const isLimit = failure.status === 429;
      return tries < 2 && !isLimit && (failure.retryAfter ?? 0) <= 1 ? 'try again' : 'accept';
    }
    default:
      return 'accept';
  }
}

/**
 * Calls Calendar, once more with a new token or after a moment where that may help.
 * @param options `once`: without the quick second try, so that a slow answer leaves time for the rest of the run
 */
export async function ask<T>(
  deps: SyncDeps,
  session: Session,
  call: (accessToken: string) => Promise<CalendarAnswer<T>>,
  { once = false }: { once?: boolean } = {},
): Promise<CalendarAnswer<T>> {
  for (let tries = once ? 2 : 1; ; tries++) {
    if (deps.clock() > session.until) throw snapshotExpired();
    const answer = await call(session.access.accessToken);
    if (answer.ok) return answer;
    switch (afterRefusal(answer.failure, tries, session.refreshed)) {
      case 'refresh token': {
        const { connection } = session.access;
        session.access = await getAccess(deps, connection, connection.tokenVersion);
        if (isOtherAccount(session.access.connection, connection)) throw snapshotExpired();
        session.refreshed = true;
        break;
      }
      case 'try again':
        await deps.sleep(quickRetryAfter * (0.5 + deps.random()));
        break;
      case 'accept':
        if (isRateLimit(answer.failure)) await pauseCalendar(deps, session, answer.failure);
        return answer;
    }
  }
}

/** Asks for a write, and notes whether its outcome is known. */
export async function askToWrite<T>(
  deps: SyncDeps,
  session: Session,
  call: (accessToken: string) => Promise<CalendarAnswer<T>>,
): Promise<CalendarAnswer<T>> {
  const answer = await ask(deps, session, async (token) => {
    const one = await call(token);
    if (!one.ok && one.failure.kind === 'transient') session.hasOpenWrite = true;
    return one;
  });
  session.hasOpenWrite &&= !answer.ok;
  session.hasWritten ||= answer.ok;
  return answer;
}

/** Whether the user has connected another Google account since a connection was read. */
export function isOtherAccount(now: GrantedConnection, before: GrantedConnection): boolean {
  return accountFingerprint(now) !== accountFingerprint(before);
}

/** Seconds for which a user's calendar is paused where Google does not say how long, and at most. */
const pause = { first: 75, longest: 3600 };

function isRateLimit({ kind, status }: CalendarFailure): boolean {
  return kind === 'rate_limited' || (kind === 'transient' && status === 429);
}

/** Keeps the user's other bookings from calling Google for a while. A pause that is not on record costs refused calls. */
async function pauseCalendar(
  deps: SyncDeps,
  { access: { connection } }: Session,
  { retryAfter = 0 }: CalendarFailure,
): Promise<void> {
  const { userId } = connection;
  const wait = Math.min(Math.max(retryAfter, backoff(1, deps.random, pause)), pause.longest);
  await deps.connections
    .pauseCalendar(userId, deps.clock() + wait, deps.clock())
    .catch((error: unknown) => log.warn('Calendar was not paused', { userId, error: describeError(error) }));
}

/** Ends a run whose snapshot may not be valid any more; it begins again. */
export function snapshotExpired(): AppError {
  return new AppError('concurrent_update', 'The booking may have changed since this run has read it.', {
    retryable: true,
  });
}

/**
 * Deletions that this service has requested: an event that is gone because of one was not moved by its owner.
 * By the id of the event; `unknown` where no answer said that it was carried out.
 */
export type OwnDeletions = Map<string, { answer: 'done' | 'unknown'; place: EventPlace }>;

/** Deletes an event of ours, and notes that the deletion was, or may have been, carried out. */
export function requestDeletion(
  deps: SyncDeps,
  session: Session,
  place: EventPlace,
  options: Pick<WriteOptions, 'sendUpdates'>,
): ReturnType<typeof deleteEvent> {
  const { ownDeletions } = session;
  const { calendarId, eventId } = place;
  return askToWrite(deps, session, async (token) => {
    const answer = await deleteEvent(deps.calendar, token, calendarId, eventId, options);
    if (answer.ok) ownDeletions.set(eventId, { answer: 'done', place });
    else if (answer.failure.kind === 'transient' && !ownDeletions.has(eventId))
      ownDeletions.set(eventId, { answer: 'unknown', place });
    return answer;
  });
}

/** Whether this run or an earlier one may have deleted an event. */
export function mayHaveDeleted({ ownDeletions }: Session, booking: Booking, eventId: string): boolean {
  return ownDeletions.has(eventId) || wasDeletionRequested(booking, eventId);
}

/** The outcome of a run that Google has ended with `failure`. */
export async function recordFailure(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  failure: CalendarFailure,
): Promise<Outcome> {
  const moment = { now: deps.clock(), random: deps.random };
  const left = withOpenWrite(session, booking, moment.now);
  const found =
    failure.kind === 'permission_missing' ? await checkPermission(deps, session, failure) : failure;
  if (found === 'permission is gone') {
    await recordReauthorizationRequired(deps, session.access.connection, failure.reason);
    return { booking: waitForConnection({ booking: left, ...moment }) };
  }
  reportRefusal(booking, found);
  return afterFailure(left, found, { wanted: session.wanted, ...moment }, session.access.connection);
}

/** `booking` with its calendar in doubt where a write of this run has no known outcome. */
export function withOpenWrite({ hasOpenWrite }: Session, booking: Booking, now: number): Booking {
  return hasOpenWrite ? withDoubt(booking, now + inDoubtSeconds) : booking;
}

/**
 * What a missing permission for one request means. Every grant covers the primary calendar: where that can be read, only
 * the calendar of the request is not covered, which another consent to the same permission does not change.
 */
async function checkPermission(
  deps: SyncDeps,
  session: Session,
  failure: CalendarFailure,
): Promise<CalendarFailure | 'permission is gone'> {
  const primary = await ask(deps, session, (token) => readCalendar(deps.calendar, token, 'primary'));
  if (primary.ok) return failure;
  if (primary.failure.kind === 'permission_missing') return 'permission is gone';
  const isAboutCalendar = ['not_found', 'gone', 'refused'].includes(primary.failure.kind);
  return isAboutCalendar ? failure : primary.failure;
}

/** Makes a refusal visible that no retry of this service ends: once for a booking and reason where it is not new. */
function reportRefusal({ bookingId, userId, problems }: Booking, failure: CalendarFailure): void {
  const { kind, reason, status } = failure;
  if (kind === 'operator') reportOperatorError('Google refuses the project of this service', reason);
  if (kind !== 'account_refused' && kind !== 'permission_missing') return;
  const { code, message } = problemOf(failure);
  if (problems.some((known) => known.code === code && known.message === message)) return;
  metric('CalendarRefused', 1);
  log.warn('Google refuses the account or calendar of a user', { bookingId, userId, status, reason });
  if (failure.unknown) reportOperatorError('Google refuses for a reason that is not known here', reason);
}
