import { optionalScopes } from '../lib/names.ts';

/** Advice for failures of Google, by their reason. */

const projectAdvice: Record<string, string> = {
  accessNotConfigured: 'Its operator must enable the Google Calendar API for it.',
  SERVICE_DISABLED: 'Its operator must enable the Google Calendar API for it.',
  BILLING_DISABLED: 'Its operator must enable billing for it.',
  CONSUMER_SUSPENDED: 'Google has suspended it: its operator must ask Google to lift the suspension.',
  CONSUMER_INVALID:
    'Google does not know it: its operator must restore it, or use an OAuth client of another project.',
};

/** What the operator can do where Google refuses the project of the OAuth client. */
export function adviceForProject(reason: string): string {
  const advice =
    projectAdvice[reason] ?? "Its operator must look into it in Google's console, by the reason below.";
  return `Google refuses the Google Cloud project of this service. ${advice}`;
}

/** Reasons with which Google says that the account has no Google Calendar, so that no other calendar of it helps. */
const switchedOff = ['notACalendarUser', 'accountDisabled', 'domainPolicy'];

export function isSwitchedOff(reason: string): boolean {
  return switchedOff.includes(reason);
}

export const switchedOffAdvice =
  'Google Calendar is switched off for this Google account. Its owner or administrator must turn it on';

/** How to choose an existing calendar. The list of calendars needs an optional scope. */
export function adviceForChoice(scopes: string[]): string {
  return scopes.includes(optionalScopes.calendarList)
    ? 'Choose one of GET /connections/me/calendars.'
    : 'Send the calendar ID that Google Calendar shows in the settings of the calendar, under "Integrate calendar", or "primary".';
}
