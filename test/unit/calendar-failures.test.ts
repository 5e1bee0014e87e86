import { describe, expect, it } from 'vitest';
import { type CalendarFailureKind, httpFailure } from '../../shared/google/calendar-failures.ts';

const json = new Headers({ 'content-type': 'application/json; charset=UTF-8' });
/** Google's envelope, as its error guide shows it. */
const envelope = (code: number, reason: string, message: string, domain = 'global') =>
  JSON.stringify({ error: { errors: [{ domain, reason, message }], code, message } });
const statuses = [400, 401, 402, 403, 404, 405, 408, 409, 410, 412, 413, 415, 418, 422, 429, 500, 502, 503];

describe('an error of Google Calendar', () => {
  it.each<[number, string, string, CalendarFailureKind]>([
    [400, 'timeRangeEmpty', 'The specified time range is empty.', 'refused'],
    [400, 'invalid', 'Invalid attendee email.', 'refused'],
    [400, 'required', 'Missing end time.', 'refused'],
    [400, 'failedPrecondition', 'Precondition check failed.', 'account_refused'],
    [401, 'authError', 'Invalid Credentials', 'unauthorized'],
    [403, 'userRateLimitExceeded', 'User Rate Limit Exceeded', 'rate_limited'],
    [403, 'rateLimitExceeded', 'Rate Limit Exceeded', 'rate_limited'],
    [429, 'rateLimitExceeded', 'Rate Limit Exceeded', 'rate_limited'],
    [403, 'quotaExceeded', 'Calendar usage limits exceeded.', 'quota_exceeded'],
    [403, 'dailyLimitExceeded', 'Daily Limit Exceeded', 'quota_exceeded'],
    [403, 'variableTermLimitExceeded', 'Limit Exceeded', 'quota_exceeded'],
    [403, 'forbiddenForNonOrganizer', 'Only the organizer can change it.', 'account_refused'],
    [403, 'forbidden', 'Forbidden', 'account_refused'],
    [403, 'notACalendarUser', 'The user must be signed up for Google Calendar.', 'account_refused'],
    [403, 'insufficientPermissions', 'Insufficient Permission', 'permission_missing'],
    [403, 'accessNotConfigured', 'Access Not Configured.', 'operator'],
    [403, 'CONSUMER_SUSPENDED', 'The consumer is suspended.', 'operator'],
    [404, 'notFound', 'Not Found', 'not_found'],
    [409, 'duplicate', 'The requested identifier already exists.', 'exists'],
    [409, 'conflict', 'Conflict', 'transient'],
    [410, 'deleted', 'Resource has been deleted', 'gone'],
    [412, 'conditionNotMet', 'Precondition Failed', 'stale'],
    [413, 'uploadTooLarge', 'Request Too Large', 'account_refused'],
    [500, 'backendError', 'Backend Error', 'transient'],
  ])('classifies %i %s "%s" of Google as %s', (status, reason, message, kind) => {
    expect(httpFailure(status, json, envelope(status, reason, message))).toEqual({
      kind,
      status,
      reason,
      message,
      ...(reason === 'failedPrecondition' || status === 413 ? { unknown: true } : {}),
    });
  });

  it('classifies the domain usageLimits as a quota unless the reason is more specific', () => {
    const kindOf = (reason: string) => httpFailure(403, json, envelope(403, reason, 'x', 'usageLimits')).kind;
    expect(kindOf('neverHeardOfIt')).toBe('quota_exceeded');
    expect(kindOf('accessNotConfigured')).toBe('operator');
    expect(kindOf('userRateLimitExceeded')).toBe('rate_limited');
  });

  it('reads the reason from the newer error envelope too', () => {
    const body = {
      error: {
        code: 403,
        message: 'Request had insufficient authentication scopes.',
        status: 'PERMISSION_DENIED',
        details: [{ reason: 'ACCESS_TOKEN_SCOPE_INSUFFICIENT' }],
      },
    };
    expect(httpFailure(403, json, JSON.stringify(body)).kind).toBe('permission_missing');
    const disabled = {
      error: {
        code: 403,
        message: 'disabled',
        details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'SERVICE_DISABLED' }],
      },
    };
    expect(httpFailure(403, json, JSON.stringify(disabled)).kind).toBe('operator');
    const invalid = { error: { code: 400, message: 'Invalid value', status: 'INVALID_ARGUMENT' } };
    expect(httpFailure(400, json, JSON.stringify(invalid)).kind).toBe('refused');
  });

  it.each([
    ['30', 30],
    ['soon', undefined],
    ['-5', undefined],
    ['Wed, 21 Oct 2026 07:28:00 GMT', undefined],
  ])('reads Retry-After %j as %j', (header, seconds) => {
    const headers = new Headers([...json, ['retry-after', header]]);
    const body = envelope(429, 'rateLimitExceeded', 'Rate Limit Exceeded');
    expect(httpFailure(429, headers, body).retryAfter).toBe(seconds);
  });
});

describe('an answer without the envelope of Google Calendar', () => {
  const html = new Headers({ 'content-type': 'text/html; charset=utf-8' });
  const bodies: [string, Headers, (status: number) => string][] = [
    ['a page', html, (status) => `<!doctype html><title>Error ${status}</title>`],
    ['an empty body', new Headers(), () => ''],
    ['an empty JSON body', json, () => ''],
    ['cut JSON', json, () => '{"error":{"code":'],
    ['JSON of another shape', json, () => '{"error":"forbidden"}'],
    ['JSON without a code', json, () => '{"error":{"errors":[{"reason":"notFound"}]}}'],
    ['another code than its status', json, (status) => envelope(status + 1, 'notFound', 'x')],
    ['the envelope in another content type', html, (status) => envelope(status, 'notFound', 'Not Found')],
    ['null', json, () => 'null'],
  ];
  it.each(bodies)('%s is transient at every status, and its Retry-After is ignored', (_, given, body) => {
    const headers = new Headers([...given, ['retry-after', '864000']]);
    for (const status of statuses)
      expect(httpFailure(status, headers, body(status))).toEqual({
        kind: 'transient',
        status,
        reason: `http${status}`,
        message: `Google answered ${status}.`,
      });
  });
});

/** Reasons of this and other APIs of Google, and some that do not exist. */
const reasons = [
  ...['rateLimitExceeded', 'userRateLimitExceeded', 'quotaExceeded', 'dailyLimitExceeded'],
  ...['dailyLimitExceededUnreg', 'limitExceeded', 'concurrentLimitExceeded', 'servingLimitExceeded'],
  ...['variableTermLimitExceeded', 'RATE_LIMIT_EXCEEDED', 'calendarUsageLimitsExceeded'],
  ...['insufficientPermissions', 'ACCESS_TOKEN_SCOPE_INSUFFICIENT', 'insufficientAuthorizedParty'],
  ...[
    'accessNotConfigured',
    'SERVICE_DISABLED',
    'CONSUMER_SUSPENDED',
    'CONSUMER_INVALID',
    'BILLING_DISABLED',
  ],
  ...['forbidden', 'forbiddenForNonOrganizer', 'forbiddenForServiceAccounts', 'notACalendarUser'],
  ...['requiredAccessLevel', 'domainPolicy', 'accountDisabled', 'sslRequired', 'lockedDomainForbidden'],
  ...['countryBlocked', 'ipRefererBlocked', 'invalid', 'notFound', 'failedPrecondition', 'neverHeardOfIt'],
];

describe('a refusal of Google for any reason', () => {
  const domains = ['global', 'usageLimits', 'calendar'];
  const all = statuses.flatMap((status) =>
    reasons.flatMap((reason) =>
      domains.map((domain) => ({
        status,
        domain,
        ...httpFailure(status, json, envelope(status, reason, 'x', domain)),
      })),
    ),
  );

  it('treats a refusal as final only at 400 for invalid data', () => {
    const final = all.filter(({ kind }) => kind === 'refused');
    expect(new Set(final.map(({ status, reason }) => `${status} ${reason}`))).toEqual(
      new Set(['400 invalid']),
    );
  });

  it('treats an event or calendar as gone only at 404 and 410', () => {
    const gone = all.filter(({ kind }) => kind === 'not_found' || kind === 'gone');
    expect(new Set(gone.map(({ status }) => status))).toEqual(new Set([404, 410]));
  });

  it('treats 403 as a limit by reason LimitExceeded or domain usageLimits', () => {
    const limits = all.filter(({ status, reason }) => status === 403 && /LimitExceeded$/.test(reason));
    expect(new Set(limits.map(({ kind }) => kind))).toEqual(new Set(['rate_limited', 'quota_exceeded']));
    const inDomain = all.filter(({ status, domain }) => status === 403 && domain === 'usageLimits');
    expect(inDomain.filter(({ kind }) => kind === 'account_refused')).toEqual([]);
  });

  it('retries an unknown 403 reason later and marks it as unknown', () => {
    const waiting = all.filter(({ status, kind }) => status === 403 && kind === 'account_refused');
    const unknown = waiting.filter(({ unknown }) => unknown).map(({ reason }) => reason);
    expect(unknown).toContain('neverHeardOfIt');
    expect(unknown).not.toContain('forbidden');
    expect(new Set(waiting.map(({ reason }) => reason))).toContain('notACalendarUser');
  });
});
