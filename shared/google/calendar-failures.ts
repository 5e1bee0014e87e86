import * as v from 'valibot';
import { omitUndefined } from '../lib/omit-undefined.ts';
import { parseJson } from '../lib/schemas.ts';

/**
 * The meaning of a failure of Google Calendar. A status counts only with Google's error envelope, since proxies answer
 * 403 and 404 too; an unknown failure gets the meaning that does the least harm.
 */
export type CalendarFailureKind =
  /** 401: the access token is not accepted. */
  | 'unauthorized'
  /** The grant does not cover the calendar; refreshing cannot help, the user must consent again. */
  | 'permission_missing'
  /** Too many requests: retry soon. */
  | 'rate_limited'
  /** A lasting limit: retry much later. */
  | 'quota_exceeded'
  /** The project of the OAuth client is not set up, or suspended: only the operator can fix it. */
  | 'operator'
  /** The account or the calendar does not allow it at present: the user can change that. */
  | 'account_refused'
  /** 409: the event id is taken, possibly by a deleted event. */
  | 'exists'
  /** 404: no such calendar or event, or not visible to this user, or a temporary fault. */
  | 'not_found'
  /** 410: the event was deleted, or a temporary fault. */
  | 'gone'
  /** 412: the event has changed since its ETag was read. */
  | 'stale'
  /** 400: Google rejects the data of this event, now and later. */
  | 'refused'
  /** 5xx, network failure, timeout, or an answer not from Google: the outcome is unknown. */
  | 'transient';

export type CalendarFailure = {
  kind: CalendarFailureKind;
  /** HTTP status; absent where no answer came. */
  status?: number;
  /** Google's reason, or the kind of network failure. */
  reason: string;
  /** Google's message, for people. */
  message: string;
  /** The rejected field, where Google names it. */
  location?: string;
  /** Seconds to wait, where Google sends them; not bounded. */
  retryAfter?: number;
  /** Set where Google sent a reason that this service does not know: the operator should see it. */
  unknown?: true;
};

/** A request without an answer. `timeout` in milliseconds. */
export function networkFailure(error: unknown, timeout: number): CalendarFailure {
  const timedOut = error instanceof Error && error.name === 'TimeoutError';
  return {
    kind: 'transient',
    reason: timedOut ? 'timeout' : 'network',
    message: timedOut
      ? `Google did not answer within ${timeout / 1000} seconds.`
      : 'Google could not be reached.',
  };
}

// Google's older envelope has errors[].reason, the newer one status and details[].reason; some answers have both.
const text = v.optional(v.string());
const details = v.optional(v.array(v.object({ reason: text, domain: text, location: text })));
const errorEnvelope = v.object({
  error: v.object({
    code: v.number(),
    message: text,
    status: text,
    errors: details,
    details,
  }),
});

/** Reads Google's error envelope. An answer without it is `transient`, with any status. */
export function httpFailure(status: number, headers: Pick<Headers, 'get'>, body: string): CalendarFailure {
  const error = readEnvelope(status, headers, body);
  if (!error) return { kind: 'transient', status, reason: `http${status}`, message: answered(status) };
  const { errors = [], details = [] } = error;
  const reasons = [...errors, ...details].flatMap(({ reason }) => reason ?? []);
  if (error.status) reasons.push(error.status);
  const isUsageLimit = [...errors, ...details].some(({ domain }) => domain === 'usageLimits');
  const kind = classify(status, reasons, isUsageLimit);
  return omitUndefined({
    kind,
    status,
    reason: reasons.find((reason) => kindOfReason[reason] === kind) ?? reasons[0] ?? `http${status}`,
    message: (error.message ?? answered(status)).slice(0, 300),
    retryAfter: readRetryAfter(headers),
    location: errors.find((detail) => detail.location)?.location?.slice(0, 100),
    unknown: isUnknown(kind, reasons) ? (true as const) : undefined,
  });
}

const answered = (status: number): string => `Google answered ${status}.`;

function readEnvelope(status: number, headers: Pick<Headers, 'get'>, body: string) {
  const isJson = /^application\/(.+\+)?json\b/i.test(headers.get('content-type') ?? '');
  const envelope = v.safeParse(errorEnvelope, isJson ? parseJson(body) : undefined);
  return envelope.success && envelope.output.error.code === status ? envelope.output.error : undefined;
}

function readRetryAfter(headers: Pick<Headers, 'get'>): number | undefined {
  const seconds = Number(headers.get('retry-after') ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds : undefined;
}

const kindOfReason: Record<string, CalendarFailureKind> = {
  rateLimitExceeded: 'rate_limited',
  userRateLimitExceeded: 'rate_limited',
  RATE_LIMIT_EXCEEDED: 'rate_limited',
  quotaExceeded: 'quota_exceeded',
  insufficientPermissions: 'permission_missing',
  ACCESS_TOKEN_SCOPE_INSUFFICIENT: 'permission_missing',
  accessNotConfigured: 'operator',
  SERVICE_DISABLED: 'operator',
  BILLING_DISABLED: 'operator',
  CONSUMER_SUSPENDED: 'operator',
  CONSUMER_INVALID: 'operator',
};

/** Reasons about a user's account or calendar: the user can fix them, not the operator. */
const accountReasons = new Set([
  'forbidden',
  'notACalendarUser',
  'requiredAccessLevel',
  'forbiddenForNonOrganizer',
  'forbiddenForServiceAccounts',
  'domainPolicy',
  'accountDisabled',
]);

/** Reasons of a 400 about the data of the event. */
const dataReason =
  /^(invalid|required|missing|malformed|parseError|badRequest|cannot|timeRange|eventTime|participant|recur|conference)|(Empty|TooLong|TooLarge|TooMany|OutOfRange)$/i;

function isUnknown(kind: CalendarFailureKind, reasons: string[]): boolean {
  return kind === 'account_refused' && !reasons.some((reason) => accountReasons.has(reason));
}

const kindOfStatus: Record<number, CalendarFailureKind> = {
  401: 'unauthorized',
  404: 'not_found',
  408: 'transient',
  410: 'gone',
  412: 'stale',
};

function classify(status: number, reasons: string[], isUsageLimit: boolean): CalendarFailureKind {
  if (status === 400 || status === 403 || status === 429) return kindOfReasons(status, reasons, isUsageLimit);
  // `conflict` is documented for batches only; it does not say that the id is taken.
  if (status === 409) return reasons.includes('conflict') ? 'transient' : 'exists';
  const isClientError = status >= 400 && status < 500;
  return kindOfStatus[status] ?? (isClientError ? 'account_refused' : 'transient');
}

function kindOfReasons(status: number, reasons: string[], isUsageLimit: boolean): CalendarFailureKind {
  const known = reasons.map((reason) => kindOfReason[reason]).find((kind) => kind !== undefined);
  if (known) return known;
  if (reasons.some((reason) => /limit_?exceeded$/i.test(reason))) return 'quota_exceeded';
  if (status === 429) return 'rate_limited';
  if (isUsageLimit) return 'quota_exceeded';
  const isAboutData = status === 400 && !reasons.some((reason) => accountReasons.has(reason));
  return isAboutData && reasons.some((reason) => dataReason.test(reason)) ? 'refused' : 'account_refused';
}
