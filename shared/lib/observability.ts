import { AppError } from './app-error.ts';
import { systemMilliseconds } from './clock.ts';
import { env, metricNamespace } from './names.ts';

type Fields = Record<string, unknown>;

/**
 * Writes one JSON line per entry to standard output. Fields are ids, codes, counts and times; never tokens, secrets,
 * addresses, names or texts of appointments.
 */
export const log = {
  info: (message: string, fields?: Fields): void => write('INFO', message, fields),
  warn: (message: string, fields?: Fields): void => write('WARN', message, fields),
  error: (message: string, fields?: Fields): void => write('ERROR', message, fields),
};

/** Fields of every line of the current invocation. A Lambda environment serves one at a time. */
let context: Fields = {};
export function setLogContext(fields: Fields): void {
  context = fields;
}

/** The loggable part of an error and its causes: name, code, message and stack, without other properties. */
export function describeError(error: unknown): Fields {
  if (!(error instanceof Error)) return { message: String(error) };
  const code: unknown = 'code' in error ? error.code : undefined;
  return {
    name: error.name,
    ...(typeof code === 'string' ? { code } : {}),
    message: error.message,
    ...(error instanceof AppError ? error.details : { stack: error.stack }),
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
  };
}

/** Public: docs/configuration.md says what each counts. */
export type MetricName =
  | 'AuditFindings'
  | 'BookingSynced'
  | 'BookingsRequeued'
  | 'CalendarRefused'
  | 'ConnectionActivated'
  | 'EventsSwept'
  | 'GrantRevocation'
  | 'OldestDue'
  | 'OperatorError'
  | 'PaidBookingFailed'
  | 'PaymentToEvent'
  | 'PaymentsRecovered'
  | 'ReauthorizationRequired'
  | 'RefreshSweepFailures'
  | 'RequestFailed'
  | 'TokenRefreshed'
  | 'TokensOnOldKey'
  | 'UnknownOAuthError'
  | 'UsersAudited'
  | 'UserTokenVerified'
  | 'WebhookIgnored'
  | 'WebhookRejected'
  | 'WebhookVerified';

/** Units of metrics that are no counts. */
const units: Partial<Record<MetricName, string>> = { OldestDue: 'Seconds', PaymentToEvent: 'Milliseconds' };

/**
 * Counts in CloudWatch by a log line in Embedded Metric Format, without a call. Dimensions have few values: never a user
 * or a booking. The stack is one of them.
 */
export function metric(name: MetricName, value: number, given: Record<string, string> = {}): void {
  const stack = process.env[env.stackName];
  const dimensions = stack === undefined ? given : { stack, ...given };
  emit({
    _aws: {
      Timestamp: systemMilliseconds(),
      CloudWatchMetrics: [
        {
          Namespace: metricNamespace,
          Dimensions: [Object.keys(dimensions)],
          Metrics: [{ Name: name, Unit: units[name] ?? 'Count' }],
        },
      ],
    },
    ...dimensions,
    [name]: value,
  });
}

const reported = new WeakSet<object>();

/** Logs an error that only the operator can fix, and counts it in the metric of the alarm: once, wherever it passes. */
export function reportOperatorError(message: string, error: unknown): void {
  if (error instanceof Error) {
    if (reported.has(error)) return;
    reported.add(error);
  }
  log.error(message, { error: describeError(error) });
  metric('OperatorError', 1);
}

function write(level: string, message: string, fields: Fields = {}): void {
  emit({ timestamp: new Date(systemMilliseconds()).toISOString(), level, message, ...context, ...fields });
}

// Lambda's `console` wraps each line in another JSON object, which hides metrics from CloudWatch.
let sink = (line: string): void => {
  process.stdout.write(line);
};

/** Redirects every line, for tests. */
export function setLogSink(write: (line: string) => void): void {
  sink = write;
}

function emit(entry: Fields): void {
  sink(`${JSON.stringify(entry)}\n`);
}
