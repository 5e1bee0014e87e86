import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';

/** One error of the Calendar API as documented, unless marked otherwise. */
export type ApiError = {
  status: number;
  reason: string;
  message: string;
  domain?: string;
  locationType?: string;
  location?: string;
};

/** The errors that Google documents word for word. */
export const documented = {
  timeRangeEmpty: {
    status: 400,
    domain: 'calendar',
    reason: 'timeRangeEmpty',
    message: 'The specified time range is empty.',
    locationType: 'parameter',
    location: 'timeMax',
  },
  authError: {
    status: 401,
    reason: 'authError',
    message: 'Invalid Credentials',
    locationType: 'header',
    location: 'Authorization',
  },
  userRateLimitExceeded: {
    status: 403,
    domain: 'usageLimits',
    reason: 'userRateLimitExceeded',
    message: 'User Rate Limit Exceeded',
  },
  rateLimitExceeded: {
    status: 429,
    domain: 'usageLimits',
    reason: 'rateLimitExceeded',
    message: 'Rate Limit Exceeded',
  },
  quotaExceeded: {
    status: 403,
    domain: 'usageLimits',
    reason: 'quotaExceeded',
    message: 'Calendar usage limits exceeded.',
  },
  forbiddenForNonOrganizer: {
    status: 403,
    domain: 'calendar',
    reason: 'forbiddenForNonOrganizer',
    message: 'Shared properties can only be changed by the organizer of the event.',
  },
  notFound: { status: 404, reason: 'notFound', message: 'Not Found' },
  duplicate: { status: 409, reason: 'duplicate', message: 'The requested identifier already exists.' },
  conflict: { status: 409, reason: 'conflict', message: 'Conflict' },
  deleted: { status: 410, reason: 'deleted', message: 'Resource has been deleted' },
  conditionNotMet: {
    status: 412,
    reason: 'conditionNotMet',
    message: 'Precondition Failed',
    locationType: 'header',
    location: 'If-Match',
  },
  backendError: { status: 500, reason: 'backendError', message: 'Backend Error' },
} as const satisfies Record<string, ApiError>;

/** Bodies from reports, undocumented: clients must not rely on their wording. */
export const reported = {
  invalid: (message: string): ApiError => ({ status: 400, reason: 'invalid', message }),
  required: (message: string): ApiError => ({ status: 400, reason: 'required', message }),
  parseError: { status: 400, reason: 'parseError', message: 'Parse Error' },
  loginRequired: {
    status: 401,
    reason: 'required',
    message: 'Login Required.',
    locationType: 'header',
    location: 'Authorization',
  },
  forbidden: { status: 403, reason: 'forbidden', message: 'Forbidden' },
  requiredAccessLevel: {
    status: 403,
    domain: 'calendar',
    reason: 'requiredAccessLevel',
    message: 'You need to have writer access to this calendar.',
  },
  notACalendarUser: {
    status: 403,
    domain: 'calendar',
    reason: 'notACalendarUser',
    message: 'The user must be signed up for Google Calendar.',
  },
  defaultAndOwnReminders: {
    status: 400,
    domain: 'calendar',
    reason: 'cannotUseDefaultRemindersAndSpecifyOverride',
    message: 'Cannot specify both default reminders and overrides at the same time.',
  },
} as const;

/** Throw the result: Hono answers with the envelope of Google's APIs. */
export function apiError(error: ApiError, headers: Record<string, string> = {}): HTTPException {
  return new HTTPException(error.status as ContentfulStatusCode, { res: apiErrorResponse(error, headers) });
}

export function apiErrorResponse(error: ApiError, headers: Record<string, string> = {}): Response {
  const { status, message, domain = 'global', reason, locationType, location } = error;
  const detail = { domain, reason, message, ...(location ? { locationType, location } : {}) };
  return Response.json({ error: { errors: [detail], code: status, message } }, { status, headers });
}

/**
 * A token without the scope that the method needs. The whole body is UNVERIFIED: reports agree on
 * `insufficientPermissions` in `errors`, and on `ACCESS_TOKEN_SCOPE_INSUFFICIENT` in `details`.
 */
export function insufficientPermissions(method: string): HTTPException {
  const message = 'Request had insufficient authentication scopes.';
  const body = {
    error: {
      code: 403,
      message,
      errors: [{ message: 'Insufficient Permission', domain: 'global', reason: 'insufficientPermissions' }],
      status: 'PERMISSION_DENIED',
      details: [
        {
          '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
          reason: 'ACCESS_TOKEN_SCOPE_INSUFFICIENT',
          domain: 'googleapis.com',
          metadata: { service: 'calendar-json.googleapis.com', method: `calendar.${method}` },
        },
      ],
    },
  };
  return new HTTPException(403, { res: Response.json(body, { status: 403 }) });
}

/** Throw the result: Hono answers with the envelope of OAuth (RFC 6749), which differs from that of the APIs. */
export function oauthError(
  status: 400 | 401 | 403 | 500 | 503,
  error: string,
  description?: string,
  subtype?: string,
): HTTPException {
  return new HTTPException(status, { res: oauthErrorResponse(status, error, description, subtype) });
}

export function oauthErrorResponse(
  status: number,
  error: string,
  description?: string,
  subtype?: string,
): Response {
  const body = {
    error,
    ...(description ? { error_description: description } : {}),
    ...(subtype ? { error_subtype: subtype } : {}),
  };
  return Response.json(body, { status, headers: { 'cache-control': 'no-store' } });
}
