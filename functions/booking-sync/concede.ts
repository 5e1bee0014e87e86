import { requireReauthorization } from '../../shared/access-token.ts';
import type { Booking } from '../../shared/booking.ts';
import type { CalendarFailure } from '../../shared/calendar.ts';
import { log, metric, reportOperatorError } from '../../shared/observability.ts';
import { afterFailure, type Outcome, problemOf, waiting } from './decide.ts';
import type { Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/** The outcome of a run that Google has ended with `failure`. */
export async function concede(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  failure: CalendarFailure,
): Promise<Outcome> {
  if (failure.kind === 'permission_missing') {
    await requireReauthorization(deps, session.access.connection, failure.reason);
    return waiting(booking, deps.clock(), deps.random);
  }
  reportRefusal(booking, failure);
  return afterFailure(booking, failure, deps.clock(), deps.random, session.access.connection);
}

/** Makes a refusal visible that no retry of this service ends: once for a booking and reason where it is not new. */
function reportRefusal({ bookingId, userId, problems }: Booking, failure: CalendarFailure): void {
  const { kind, reason, status } = failure;
  if (kind === 'operator') reportOperatorError('Google refuses the project of this service', reason);
  if (kind !== 'account_refused') return;
  const { code, message } = problemOf(failure);
  if (problems.some((known) => known.code === code && known.message === message)) return;
  metric('CalendarRefused', 1);
  log.warn('Google refuses the account or calendar of a user', { bookingId, userId, status, reason });
  if (failure.unknown) reportOperatorError('Google refuses for a reason that is not known here', reason);
}
