import { type Access, getAccess } from '../../shared/access-token.ts';
import { AppError } from '../../shared/app-error.ts';
import type { CalendarAnswer } from '../../shared/calendar.ts';
import { afterRefusal } from './decide.ts';
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
};

/** Calls Calendar, once more with a new token or after a moment where that may help. */
export async function ask<T>(
  deps: SyncDeps,
  session: Session,
  call: (accessToken: string) => Promise<CalendarAnswer<T>>,
): Promise<CalendarAnswer<T>> {
  for (let tries = 1; ; tries++) {
    if (deps.clock() > session.until) throw overtaken();
    const answer = await call(session.access.accessToken);
    if (answer.ok) return answer;
    switch (afterRefusal(answer.failure, tries, session.refreshed)) {
      case 'refresh token': {
        const { connection } = session.access;
        session.access = await getAccess(deps, connection, connection.tokenVersion);
        session.refreshed = true;
        break;
      }
      case 'try again':
        await deps.sleep(quickRetryAfter * (0.5 + deps.random()));
        break;
      case 'accept':
        return answer;
    }
  }
}

/** Ends a run that may be working from what is not true any more; it begins anew. */
export function overtaken(): AppError {
  return new AppError('conflict', 'The booking may have changed since this run has read it.', {
    retryable: true,
  });
}
