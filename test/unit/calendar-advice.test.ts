import { describe, expect, it } from 'vitest';
import { problemOf } from '../../functions/booking-sync/retries.ts';
import { adviceForChoice } from '../../shared/google/calendar-advice.ts';
import { httpFailure } from '../../shared/google/calendar-failures.ts';
import { optionalScopes } from '../../shared/lib/names.ts';

const json = new Headers({ 'content-type': 'application/json' });
const refusal = (...reasons: string[]) => {
  const details = reasons.slice(1).map((reason) => ({ reason }));
  const error = { code: 403, message: 'No.', errors: [{ reason: reasons[0] }], details };
  return httpFailure(403, json, JSON.stringify({ error }));
};

describe('advice for a refusal', () => {
  it.each([
    ['accessNotConfigured', 'enable the Google Calendar API'],
    ['SERVICE_DISABLED', 'enable the Google Calendar API'],
    ['BILLING_DISABLED', 'enable billing'],
    ['CONSUMER_SUSPENDED', 'lift the suspension'],
    ['CONSUMER_INVALID', 'use an OAuth client of another project'],
  ])('a refusal for %s advises the operator about the project', (reason, advice) => {
    for (const failure of [refusal(reason), refusal('forbidden', reason)]) {
      expect(problemOf(failure)).toMatchObject({
        code: 'google_operator',
        message: expect.stringContaining(advice),
      });
      expect(problemOf(failure).message).toContain(`(403, ${reason})`);
      expect(
        problemOf(failure).message.match(/enable the Google Calendar API|enable billing|lift the/g)?.length ??
          0,
      ).toBe(reason === 'CONSUMER_INVALID' ? 0 : 1);
    }
  });

  it.each(['notACalendarUser', 'accountDisabled', 'domainPolicy'])(
    'a refusal for %s does not advise another calendar of the same account',
    (reason) => {
      const { code, message } = problemOf(refusal(reason));
      expect(code).toBe('google_account_refused');
      expect(message).toContain('must turn it on');
      expect(message).not.toContain('another');
    },
  );

  it('a refusal of the calendar alone advises another calendar', () => {
    expect(problemOf(refusal('forbidden')).message).toContain('choose another one');
  });
});

it('advises the calendar list only with permission to read it', () => {
  expect(adviceForChoice([optionalScopes.calendarList])).toContain('/connections/me/calendars');
  expect(adviceForChoice(['openid', optionalScopes.freeBusy])).not.toContain('/connections');
});
