import {
  callWithTokenRefresh,
  getAccess,
  reauthorizationRequired,
  recordReauthorizationRequired,
  type TokenDeps,
} from '../../shared/connection/access-token.ts';
import type { GrantedConnection } from '../../shared/connection/connection.ts';
import { type CalendarApi, type CalendarFailure, readCalendar } from '../../shared/google/calendar.ts';
import {
  adviceForChoice,
  adviceForProject,
  isSwitchedOff,
  switchedOffAdvice,
} from '../../shared/google/calendar-advice.ts';
import { coveredCalendars } from '../../shared/google/token-endpoint.ts';
import { invalidRequest } from '../../shared/http/invalid-request.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import { isTimeZone } from '../../shared/lib/time-zone.ts';

export type CalendarDeps = TokenDeps & { calendar: CalendarApi };

/** Checks that events can be created in a calendar, and answers its settings: `timeZone` where Google sends it. */
export async function fetchChosenCalendar(
  deps: CalendarDeps,
  connection: GrantedConnection,
  calendarId: string,
): Promise<{ calendarId: string; timeZone?: string }> {
  const { answer, access } = await fetchCalendar(deps, connection, calendarId);
  if (!answer.ok) {
    const { failure } = answer;
    const error = calendarError(failure, calendarId, connection.scopes);
    throw error ?? (await generalError(deps, access.connection, { calendarId, failure }));
  }
  const { isWritable, isOwned, timeZone } = answer.value;
  if (coveredCalendars(connection.scopes) === 'owned' && !isOwned) throw notOwned();
  if (!isWritable) throw notWritable();
  return { calendarId, ...(timeZone && isTimeZone(timeZone) ? { timeZone } : {}) };
}

async function fetchCalendar(deps: CalendarDeps, connection: GrantedConnection, calendarId: string) {
  const access = await getAccess(deps, connection);
  return callWithTokenRefresh(deps, access, ({ accessToken }) =>
    readCalendar(deps.calendar, accessToken, calendarId),
  );
}

/**
 * The error of any other failure. A missing permission breaks the connection only where the primary calendar, which every
 * grant covers, cannot be read either.
 */
async function generalError(
  deps: CalendarDeps,
  connection: GrantedConnection,
  { calendarId, failure }: { calendarId: string; failure: CalendarFailure },
): Promise<AppError> {
  if (failure.kind !== 'permission_missing' || calendarId === 'primary')
    return googleFailure(deps, connection, failure);
  const { answer, access } = await fetchCalendar(deps, connection, 'primary');
  return answer.ok ? notWritable() : googleFailure(deps, access.connection, answer.failure);
}

/**
 * The error of a failure that is not about one calendar. For a missing permission the connection is marked as broken
 * first. Codes: `reauthorization_required` (409), `calendar_switched_off` (409),
 * `google_client_misconfigured` (503, for the operator), `calendar_unavailable` (503).
 */
export async function googleFailure(
  deps: CalendarDeps,
  connection: GrantedConnection,
  { kind, reason }: CalendarFailure,
): Promise<AppError> {
  if (kind === 'permission_missing') {
    await recordReauthorizationRequired(deps, connection, reason);
    return reauthorizationRequired(reason);
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

/** The error of a failure about this calendar; undefined for any other failure. */
function calendarError(
  { kind, status, reason }: CalendarFailure,
  calendarId: string,
  scopes: string[],
): AppError | undefined {
  const ownedOnly = coveredCalendars(scopes) === 'owned';
  // Google's answer for a calendar outside the granted scope is not documented.
  if (kind === 'permission_missing') return ownedOnly && calendarId !== 'primary' ? notOwned() : undefined;
  if (kind === 'not_found')
    return problem(
      'calendar_not_found',
      `Google knows no such calendar of this user. ${adviceForChoice(scopes)}`,
    );
  if (status === 400 && reason === 'invalid') {
    return problem(
      'invalid_field',
      `Google does not accept it as the id of a calendar. ${adviceForChoice(scopes)}`,
    );
  }
  const isForbidden = status === 403 && ['forbidden', 'requiredAccessLevel'].includes(reason);
  return isForbidden ? notWritable() : undefined;
}

function notWritable(): AppError {
  return problem(
    'calendar_not_writable',
    'This user may not create events in that calendar. Choose another.',
  );
}

function notOwned(): AppError {
  return problem(
    'calendar_not_owned',
    'The user has given access to calendars of their own only, and this one belongs to another account. Choose another; or deploy with calendarAccess=shared and let the user connect again.',
  );
}

function problem(code: string, message: string): AppError {
  return invalidRequest([{ code, field: 'calendarId', message }]);
}
