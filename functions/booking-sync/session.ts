import { type Access, getAccess } from '../../shared/connection/access-token.ts';
import { accountFingerprint, type GrantedConnection } from '../../shared/connection/connection.ts';
import type { CalendarAnswer, CalendarFailure } from '../../shared/google/calendar.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import { backoff } from '../../shared/lib/backoff.ts';
import { describeError, log } from '../../shared/lib/observability.ts';
import { afterRefusal } from './decide.ts';
import type { OwnDeletions } from './own-deletions.ts';
import type { SyncDeps } from './sync-booking.ts';

/** Milliseconds before the one quick second try. */
const quickRetryAfter = 300;

/** A user's calendar and the access to it, which is renewed on the way where Google asks for it. */
export type Session = {
  access: Access;
  refreshed: boolean;
  /** Epoch second until which what was read of the booking is taken to be true. */
  until: number;
  /** Whether an earlier request of which nobody knows the outcome may yet take effect. */
  uncertain: boolean;
  /** Whether this run is the re-check after such a request: what it reads is final. */
  isSettling: boolean;
  /** Deletions that were requested while this message was processed. */
  ownDeletions: OwnDeletions;
};

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
    if (deps.clock() > session.until) throw overtaken();
    const answer = await call(session.access.accessToken);
    if (answer.ok) return answer;
    switch (afterRefusal(answer.failure, tries, session.refreshed)) {
      case 'refresh token': {
        const { connection } = session.access;
        session.access = await getAccess(deps, connection, connection.tokenVersion);
        if (isOtherAccount(session.access.connection, connection)) throw overtaken();
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

/** Ends a run that may be working from what is not true any more; it begins anew. */
export function overtaken(): AppError {
  return new AppError('concurrent_update', 'The booking may have changed since this run has read it.', {
    retryable: true,
  });
}
