/** Stable error codes; infra/reference.ts has the meaning of each. Callers switch on the code, never on a message. */
export type ErrorCode =
  // The request
  | 'invalid_request'
  | 'payload_too_large'
  | 'unsupported_media_type'
  | 'signature_missing'
  | 'signature_malformed'
  | 'signature_mismatch'
  | 'timestamp_out_of_tolerance'
  | 'invalid_json'
  | 'unsupported_event_format'
  | 'provider_not_configured'
  | 'stripe_unreachable'
  | 'token_missing'
  | 'token_invalid'
  | 'token_expired'
  // Connecting
  | 'return_to_not_allowed'
  | 'state_missing'
  | 'state_invalid'
  | 'state_expired'
  | 'state_used'
  | 'wrong_browser'
  | 'access_denied'
  | 'administrator_denied'
  | 'browser_unsupported'
  | 'authorization_failed'
  | 'id_token_invalid'
  | 'calendar_permission_missing'
  | 'refresh_token_missing'
  // Connections
  | 'connection_not_found'
  | 'calendar_list_permission_missing'
  | 'calendar_unavailable'
  | 'calendar_switched_off'
  // Bookings
  | 'booking_not_found'
  | 'booking_cancelled'
  | 'revision_mismatch'
  // Payment accounts
  | 'payment_account_not_found'
  | 'too_many_payment_accounts'
  // Google's token endpoint: four kinds of failure, and two OAuth errors with a meaning of their own
  | 'google_unreachable'
  | 'google_oauth_error'
  | 'google_unexpected_status'
  | 'google_unexpected_body'
  | 'google_grant_invalid'
  | 'google_client_misconfigured'
  // This service
  | 'reauthorization_required'
  | 'refresh_in_progress'
  | 'token_unreadable'
  | 'payment_message_invalid'
  | 'not_configured'
  | 'schema_version_unsupported'
  | 'concurrent_update'
  | 'internal_error';

type AppErrorOptions = {
  /** HTTP status when the error ends a request. */
  status?: number;
  /** Whether the same call may succeed later without any change. */
  retryable?: boolean;
  /** Machine-readable particulars, safe to log: never a token, a secret or personal data. */
  details?: Record<string, string>;
  /** All that is wrong with the input, field by field. */
  problems?: Problem[];
  cause?: unknown;
};

/** An expected error. `message` is for people: what happened, why, what to do. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  readonly status: number;
  readonly retryable: boolean;
  readonly details: Record<string, string>;
  readonly problems: Problem[];

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.status = options.status ?? 500;
    this.retryable = options.retryable ?? false;
    this.details = options.details ?? {};
    this.problems = options.problems ?? [];
  }
}

/** Errors that only the operator can fix: they never change the status of a user. */
const operatorCodes: ErrorCode[] = [
  'not_configured',
  'google_client_misconfigured',
  'token_unreadable',
  'schema_version_unsupported',
];

/** Whether only the operator can fix `error`. */
export function isOperatorError(error: unknown): error is AppError {
  return hasCode(error, ...operatorCodes);
}

/** Whether `error` is an AppError with one of `codes`. */
export function hasCode(error: unknown, ...codes: ErrorCode[]): error is AppError {
  return error instanceof AppError && codes.includes(error.code);
}

/** What is wrong, for people (`message`) and programs (`code`). `field` names the input. */
export type Problem = { code: string; message: string; field?: string };
