import type { AppError } from '../../shared/app-error.ts';
import { type CalendarFailure, readCalendar } from '../../shared/calendar.ts';
import { adviceForChoice } from '../../shared/calendar-advice.ts';
import type { GrantedConnection } from '../../shared/connection.ts';
import { coveredCalendars } from '../../shared/google-oauth.ts';
import { invalidRequest } from '../../shared/invalid-request.ts';
import { isTimeZone } from '../../shared/time-zone.ts';
import { ask, type CalendarDeps, googleFailure } from './ask-calendar.ts';

/** Checks that events can go to a calendar, and answers what to store of it: `timeZone` where Google says it. */
export async function readChoice(
  deps: CalendarDeps,
  connection: GrantedConnection,
  calendarId: string,
): Promise<{ calendarId: string; timeZone?: string }> {
  const asked = await ask(deps, connection, (token) => readCalendar(deps.calendar, token, calendarId));
  const { answer } = asked;
  const ownedOnly = coveredCalendars(connection.scopes) === 'owned';
  if (!answer.ok) {
    const { connection: used } = asked;
    const refused = refusalOf(answer.failure, calendarId, connection.scopes);
    throw refused ?? (await generalError(deps, used, { calendarId, failure: answer.failure }));
  }
  const { isWritable, isOwned, timeZone } = answer.value;
  if (ownedOnly && !isOwned) throw notOwned();
  if (!isWritable) throw notWritable();
  return { calendarId, ...(timeZone && isTimeZone(timeZone) ? { timeZone } : {}) };
}

/**
 * The error of any other failure. A missing permission counts against the connection only where the primary calendar,
 * which every grant covers, cannot be read either.
 */
async function generalError(
  deps: CalendarDeps,
  connection: GrantedConnection,
  { calendarId, failure }: { calendarId: string; failure: CalendarFailure },
): Promise<AppError> {
  if (failure.kind !== 'permission_missing' || calendarId === 'primary')
    return googleFailure(deps, { connection, failure });
  const primary = await ask(deps, connection, (token) => readCalendar(deps.calendar, token, 'primary'));
  if (primary.answer.ok) return notWritable();
  return googleFailure(deps, { connection: primary.connection, failure: primary.answer.failure });
}

/** The error of a failure that is about this calendar; none for any other failure. */
function refusalOf(
  { kind, status, reason }: CalendarFailure,
  calendarId: string,
  scopes: string[],
): AppError | undefined {
  const ownedOnly = coveredCalendars(scopes) === 'owned';
  // Which answer Google gives for a calendar that the granted scope does not cover is not documented.
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
    'This user may not enter events into that calendar. Choose another.',
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
