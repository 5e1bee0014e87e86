import type { Booking } from '../../shared/booking/booking.ts';
import { recordReauthorizationRequired } from '../../shared/connection/access-token.ts';
import { type CalendarFailure, readCalendar } from '../../shared/google/calendar.ts';
import { log, metric, reportOperatorError } from '../../shared/lib/observability.ts';
import { problemOf } from './calendar-problems.ts';
import { inDoubtSeconds, withDoubt } from './doubt.ts';
import type { Outcome } from './outcomes.ts';
import { afterFailure, waitForConnection } from './retries.ts';
import { ask, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

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
