import { describe, expect, it } from 'vitest';
import { type CalendarFailureKind, httpFailure } from '../../shared/calendar.ts';

/** Google's envelope, as its error guide shows it. */
const envelope = (code: number, reason: string, message: string) =>
  JSON.stringify({ error: { errors: [{ domain: 'global', reason, message }], code, message } });

describe('an error of Google Calendar', () => {
  it.each<[number, string, string, CalendarFailureKind]>([
    [400, 'timeRangeEmpty', 'The specified time range is empty.', 'refused'],
    [401, 'authError', 'Invalid Credentials', 'unauthorized'],
    [403, 'userRateLimitExceeded', 'User Rate Limit Exceeded', 'rate_limited'],
    [403, 'rateLimitExceeded', 'Rate Limit Exceeded', 'rate_limited'],
    [429, 'rateLimitExceeded', 'Rate Limit Exceeded', 'rate_limited'],
    [403, 'quotaExceeded', 'Calendar usage limits exceeded.', 'quota_exceeded'],
    [
      403,
      'forbiddenForNonOrganizer',
      'Shared properties can only be changed by the organizer of the event.',
      'refused',
    ],
    [403, 'insufficientPermissions', 'Insufficient Permission', 'permission_missing'],
    [403, 'accessNotConfigured', 'Access Not Configured.', 'operator'],
    [404, 'notFound', 'Not Found', 'not_found'],
    [409, 'duplicate', 'The requested identifier already exists.', 'exists'],
    [410, 'deleted', 'Resource has been deleted', 'gone'],
    [412, 'conditionNotMet', 'Precondition Failed', 'stale'],
    [500, 'backendError', 'Backend Error', 'transient'],
  ])('%i %s "%s" is %s', (status, reason, message, kind) => {
    expect(httpFailure(status, new Headers(), envelope(status, reason, message))).toEqual({
      kind,
      status,
      reason,
      message,
    });
  });

  it('is read from the newer envelope too', () => {
    const body = {
      error: {
        code: 403,
        message: 'Request had insufficient authentication scopes.',
        status: 'PERMISSION_DENIED',
        details: [{ reason: 'ACCESS_TOKEN_SCOPE_INSUFFICIENT' }],
      },
    };
    expect(httpFailure(403, new Headers(), JSON.stringify(body)).kind).toBe('permission_missing');
    const disabled = {
      error: {
        code: 403,
        message: 'disabled',
        details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'SERVICE_DISABLED' }],
      },
    };
    expect(httpFailure(403, new Headers(), JSON.stringify(disabled)).kind).toBe('operator');
  });

  it.each<[number, CalendarFailureKind]>([
    [408, 'transient'],
    [418, 'refused'],
    [429, 'rate_limited'],
    [502, 'transient'],
    [503, 'transient'],
  ])('%i without an envelope, such as a page of a proxy, is %s', (status, kind) => {
    expect(httpFailure(status, new Headers(), '<html>Bad Gateway</html>')).toEqual({
      kind,
      status,
      reason: `http${status}`,
      message: `Google answered ${status}.`,
    });
  });

  it.each([
    ['30', 30],
    ['soon', undefined],
    ['-5', undefined],
  ])('carries Retry-After %j as %j', (header, seconds) => {
    expect(httpFailure(429, new Headers({ 'retry-after': header }), '').retryAfter).toBe(seconds);
  });

  it('survives an envelope of another shape', () => {
    for (const body of ['null', '{"error":"text"}', '{"error":{"errors":{}}}', '[]', '{']) {
      expect(httpFailure(500, new Headers(), body).kind).toBe('transient');
    }
  });
});
