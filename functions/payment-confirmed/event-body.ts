import * as v from 'valibot';
import { AppError } from '../../shared/app-error.ts';
import type { PaymentReported } from '../../shared/booking-queue.ts';
import { discreetly } from '../../shared/schemas.ts';

/** What an event asks of us: to queue what it says of a payment, or nothing, and why. */
export type Translation = { payment: PaymentReported } | Ignored;
export type Ignored = { ignored: string };

/** The body of a verified webhook. Errors (400): `invalid_json`. */
export function parseBody(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new AppError('invalid_json', 'The body is not JSON.', { status: 400, cause });
  }
}

/** What `schema` makes of a part of an event. Errors (400): `unsupported_event_format` with `message` and problems. */
export function readPart<Schema extends v.GenericSchema>(
  schema: Schema,
  part: unknown,
  message: string,
): v.InferOutput<Schema> {
  const parsed = v.safeParse(schema, part, discreetly);
  if (parsed.success) return parsed.output;
  throw new AppError('unsupported_event_format', message, {
    status: 400,
    cause: new Error(v.summarize(parsed.issues)),
    problems: parsed.issues.map((issue) => ({
      code: 'invalid_field',
      field: v.getDotPath(issue) ?? '',
      message: issue.message,
    })),
  });
}
