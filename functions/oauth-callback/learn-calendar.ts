import {
  type CalendarAccess,
  type CalendarAnswer,
  type CalendarApi,
  readCalendar,
} from '../../shared/google/calendar.ts';
import { coveredCalendars, type TokenResponse } from '../../shared/google/token-endpoint.ts';
import { log, reportOperatorError } from '../../shared/lib/observability.ts';
import { isTimeZone } from '../../shared/lib/time-zone.ts';

/** The calendar in which new events are created, and its time zone where Google sends it. */
export type LearnedCalendar = { calendarId: string; timeZone?: string };

const primary = 'primary';

/**
 * Reads the chosen calendar with a new grant. One that was deleted, or is not covered by the grant, is replaced by the
 * primary one. Any other failure keeps the choice, without a time zone.
 */
export async function learnCalendar(
  api: CalendarApi,
  { accessToken, scopes }: Pick<TokenResponse, 'accessToken' | 'scopes'>,
  chosen: string,
): Promise<LearnedCalendar> {
  const read = (calendarId: string) => readCalendar(api, accessToken, calendarId);
  const answer = await read(chosen);
  const isUsable = chosen === primary || !(isGone(answer) || isUncovered(answer, scopes));
  if (isUsable) return { calendarId: chosen, ...zoneOf(answer) };
  const fallback = await read(primary);
  // Such a failure may be temporary: it counts where the primary calendar answers and the second read fails too.
  const isDoubtful = (one: typeof answer) =>
    isGone(one) || (coveredCalendars(scopes) !== 'owned' && isPermissionMissing(one));
  if (isDoubtful(answer) && !(fallback.ok && isDoubtful(await read(chosen)))) return { calendarId: chosen };
  return { calendarId: primary, ...zoneOf(fallback) };
}

function isGone(answer: CalendarAnswer<CalendarAccess>): boolean {
  return !answer.ok && answer.failure.kind === 'not_found';
}

/** Google's answer for a calendar outside the scope is not documented: both possible ones count. */
function isUncovered(answer: CalendarAnswer<CalendarAccess>, scopes: string[]): boolean {
  return answer.ok
    ? coveredCalendars(scopes) === 'owned' && !answer.value.isOwned
    : isPermissionMissing(answer);
}

function isPermissionMissing(answer: CalendarAnswer<CalendarAccess>): boolean {
  return !answer.ok && answer.failure.kind === 'permission_missing';
}

function zoneOf(answer: CalendarAnswer<CalendarAccess>): { timeZone?: string } {
  if (!answer.ok) {
    const { kind, reason, status } = answer.failure;
    if (kind === 'operator')
      reportOperatorError('Calendar of new connection cannot be read', new Error(reason));
    else log.warn('Calendar of new connection not read', { kind, reason, status });
    return {};
  }
  const { timeZone } = answer.value;
  return timeZone && isTimeZone(timeZone) ? { timeZone } : {};
}
