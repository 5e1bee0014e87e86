import { AppError } from './app-error.ts';
import { systemMilliseconds } from './clock.ts';
import { metricNamespace } from './names.ts';

type Fields = Record<string, unknown>;

/**
 * One JSON line an entry on standard output, which Lambda stores as it is.
 * Fields carry ids, codes, counts and times: never tokens, secrets, addresses, names or texts of appointments.
 */
export const log = {
  info: (message: string, fields?: Fields): void => write('INFO', message, fields),
  warn: (message: string, fields?: Fields): void => write('WARN', message, fields),
  error: (message: string, fields?: Fields): void => write('ERROR', message, fields),
};

/** Fields that every line of the current invocation carries. A Lambda environment serves one at a time. */
let context: Fields = {};
export function setLogContext(fields: Fields): void {
  context = fields;
}

/** What may be logged of an error: name, code, message and stack of it and its causes, and nothing they carry. */
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

/**
 * Counts something in CloudWatch, by a log line in Embedded Metric Format: no call, no client.
 * Dimensions have few values: a user or a booking is never one.
 */
export function metric(name: string, value: number, dimensions: Record<string, string> = {}): void {
  emit({
    _aws: {
      Timestamp: systemMilliseconds(),
      CloudWatchMetrics: [
        {
          Namespace: metricNamespace,
          Dimensions: [Object.keys(dimensions)],
          Metrics: [{ Name: name, Unit: 'Count' }],
        },
      ],
    },
    ...dimensions,
    [name]: value,
  });
}

/** Something only the operator can mend: logged as an error and counted in the metric that the alarm watches. */
export function reportOperatorError(message: string, error: unknown): void {
  log.error(message, { error: describeError(error) });
  metric('OperatorError', 1);
}

function write(level: string, message: string, fields: Fields = {}): void {
  emit({ timestamp: new Date(systemMilliseconds()).toISOString(), level, message, ...context, ...fields });
}

// Not console: Lambda's console wraps each line in another JSON object, which hides metrics from CloudWatch.
let sink = (line: string): void => {
  process.stdout.write(line);
};

/** Sends every line elsewhere than to standard output: for tests, which read it. */
export function logTo(write: (line: string) => void): void {
  sink = write;
}

function emit(entry: Fields): void {
  sink(`${JSON.stringify(entry)}\n`);
}
