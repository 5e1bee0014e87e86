import { getAccess, requireReauthorization, type TokenDeps } from '../../shared/access-token.ts';
import { AppError } from '../../shared/app-error.ts';
import type { CalendarAnswer, CalendarApi, CalendarFailure } from '../../shared/calendar.ts';
import { adviceForProject, isSwitchedOff, switchedOffAdvice } from '../../shared/calendar-advice.ts';
import type { GrantedConnection } from '../../shared/connection.ts';

export type CalendarDeps = TokenDeps & { calendar: CalendarApi };

/** Google's answer, and the connection with the token that was used: a rejected one is refreshed once. */
export type Asked<T> = { answer: CalendarAnswer<T>; connection: GrantedConnection };

/** Asks Google with the connection's token. Errors: those of `getAccess`. */
export async function ask<T>(
  deps: CalendarDeps,
  connection: GrantedConnection,
  call: (accessToken: string) => Promise<CalendarAnswer<T>>,
): Promise<Asked<T>> {
  const access = await getAccess(deps, connection);
  const answer = await call(access.accessToken);
  if (answer.ok || answer.failure.kind !== 'unauthorized') return { answer, connection: access.connection };
  const renewed = await getAccess(deps, access.connection, access.connection.tokenVersion);
  return { answer: await call(renewed.accessToken), connection: renewed.connection };
}

/**
 * The error of a failed request that is not about one calendar. Missing permission marks the connection first, since
 * only consenting again helps. Codes: `reauthorization_required` (409), `calendar_switched_off` (409),
 * `google_client_misconfigured` (503, for the operator), `calendar_unavailable` (503).
 */
export async function googleFailure(
  deps: CalendarDeps,
  { connection, failure }: { connection: GrantedConnection; failure: CalendarFailure },
): Promise<AppError> {
  const { kind, reason } = failure;
  if (kind === 'permission_missing') {
    await requireReauthorization(deps, connection, reason);
    return new AppError(
      'reauthorization_required',
      'Google no longer lets this service use the calendar. The user must connect the calendar again.',
      { status: 409, details: { reason } },
    );
  }
  if (isSwitchedOff(reason)) {
    return new AppError('calendar_switched_off', `${switchedOffAdvice}; then send the request again.`, {
      status: 409,
      details: { reason },
    });
  }
  if (kind === 'operator') {
    return new AppError('google_client_misconfigured', `${adviceForProject(reason)} Reason: ${reason}.`, {
      status: 503,
      details: { reason },
    });
  }
  return new AppError('calendar_unavailable', 'Google Calendar could not answer. Please try again later.', {
    status: 503,
    retryable: true,
    details: { kind, reason },
  });
}
