import type { CalendarFailure } from '../../shared/google/calendar.ts';
import { adviceForProject, isSwitchedOff, switchedOffAdvice } from '../../shared/google/calendar-advice.ts';
import type { Problem } from '../../shared/lib/app-error.ts';

/** Failures of Google's Calendar in words. */

const advice: Partial<Record<CalendarFailure['kind'], string>> = {
  not_found:
    'The chosen calendar does not exist or this user may not see it. Choose another calendar, or share it again.',
  permission_missing:
    "The user's permission does not cover the calendar of this event, for example because another account owns it. If the event does not exist yet, choose another calendar. If it does, change or delete it there by hand, or let the user connect with a permission that covers it.",
  account_refused:
    "Google does not allow this for the user's account or calendar at present. The user should check access to the chosen calendar, or choose another one; tried again then, and from time to time.",
  unauthorized: 'Google refuses a token that it has just issued.',
};

function adviceFor({ kind, reason }: CalendarFailure): string | undefined {
  if (kind === 'operator') return adviceForProject(reason);
  if (kind === 'account_refused' && isSwitchedOff(reason))
    return `${switchedOffAdvice}; tried again from time to time.`;
  return advice[kind];
}

/** Google's refusal as a problem of the booking: its code is stable, its message says what to do. */
export function problemOf(failure: CalendarFailure): Problem {
  const says = `Google: ${failure.message} (${failure.status ?? 'no answer'}, ${failure.reason})`;
  return { code: `google_${failure.kind}`, message: [adviceFor(failure), says].filter(Boolean).join(' ') };
}
