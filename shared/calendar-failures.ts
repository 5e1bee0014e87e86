import * as v from 'valibot';
import { parseJson } from './schemas.ts';

/**
 * What an unsuccessful answer of Google Calendar means. A status counts only with Google's error envelope: proxies and
 * front ends answer 403 and 404 too. What is not known gets the meaning that does least harm.
 * Source: developers.google.com/workspace/calendar/api/guides/errors.
 */
export type CalendarFailureKind =
  /** 401: the access token is not accepted. */
  | 'unauthorized'
  /** The grant does not cover the calendar; refreshing cannot help, the user must consent again. */
  | 'permission_missing'
  /** Too many requests: soon again. */
  | 'rate_limited'
  /** A limit that lasts: much later again. */
  | 'quota_exceeded'
  /** The project behind the OAuth client is not set up or suspended: only the operator can help. */
  | 'operator'
  /** The account or the calendar does not allow it at present: the user can help, or time. */
  | 'account_refused'
  /** 409: the event id is taken, possibly by a deleted event. */
  | 'exists'
  /** 404: no such calendar or event, or not visible to this user, or a passing fault. */
  | 'not_found'
  /** 410: the event was deleted, or a passing fault. */
  | 'gone'
  /** 412: the event has changed since its ETag was read. */
  | 'stale'
  /** 400: Google rejects the data of this event, now and later. */
  | 'refused'
  /** 5xx, network, time-out, an answer that is not Google's: it is not known whether it was carried out. */
  | 'transient';

export type CalendarFailure = {
  kind: CalendarFailureKind;
  /** HTTP status; absent where no answer came. */
  status?: number;
  /** Google's reason, or the kind of network failure. */
  reason: string;
  /** Google's words, for people. */
  message: string;
  /** The field that Google rejects, where it says so. */
  location?: string;
  /** Seconds to wait, where Google says so; not bounded. */
  retryAfter?: number;
  /** Set where Google gave a reason that this service does not know: the operator should see it. */
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

// Google's older envelope has errors[].reason, the newer one status and details[].reason; some answers carry both.
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

/** Reads Google's error envelope. An answer without it is `transient`, whatever its status and `Retry-After`. */
export function httpFailure(status: number, headers: Pick<Headers, 'get'>, body: string): CalendarFailure {
  const isJson = /^application\/(.+\+)?json\b/i.test(headers.get('content-type') ?? '');
  const envelope = v.safeParse(errorEnvelope, isJson ? parseJson(body) : undefined);
  if (!envelope.success || envelope.output.error.code !== status)
    return { kind: 'transient', status, reason: `http${status}`, message: `Google answered ${status}.` };
  const { error } = envelope.output;
  const retryAfter = Number(headers.get('retry-after') ?? Number.NaN);
  const location = error.errors?.find((detail) => detail.location)?.location?.slice(0, 100);
  const said = [...(error.errors ?? []), ...(error.details ?? [])];
  const reasons = said.flatMap(({ reason }) => reason ?? []);
  if (error.status) reasons.push(error.status);
  const kind = classify(
    status,
    reasons,
    said.some(({ domain }) => domain === 'usageLimits'),
  );
  const isKnown = kind !== 'account_refused' || reasons.some((reason) => accountReasons.has(reason));
  return {
    kind,
    status,
    reason: reasons.find((reason) => kindOfReason[reason] === kind) ?? reasons[0] ?? `http${status}`,
    message: (error.message ?? `Google answered ${status}.`).slice(0, 300),
    ...(Number.isFinite(retryAfter) && retryAfter >= 0 ? { retryAfter } : {}),
    ...(location ? { location } : {}),
    ...(isKnown ? {} : { unknown: true }),
  };
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

/** Reasons about a user's account or calendar: that user can help, not the operator. */
const accountReasons = new Set([
  'forbidden',
  'notACalendarUser',
  'requiredAccessLevel',
  'forbiddenForNonOrganizer',
  'forbiddenForServiceAccounts',
  'domainPolicy',
  'accountDisabled',
]);

/** Reasons of a 400 that speak of the event's data. */
const dataReason =
  /^(invalid|required|missing|malformed|parseError|badRequest|cannot|timeRange|eventTime|participant|recur|conference)|(Empty|TooLong|TooLarge|TooMany|OutOfRange)$/i;

function classify(status: number, reasons: string[], isUsageLimit: boolean): CalendarFailureKind {
  switch (status) {
    case 401:
      return 'unauthorized';
    case 404:
      return 'not_found';
    case 409:
      // `conflict` is documented for batches only; the id is not said to be taken.
      return reasons.includes('conflict') ? 'transient' : 'exists';
    case 410:
      return 'gone';
    case 412:
      return 'stale';
    case 400:
    case 403:
    case 429:
      return kindOfReasons(status, reasons, isUsageLimit);
    default:
      return status >= 400 && status < 500 && status !== 408 ? 'account_refused' : 'transient';
  }
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
