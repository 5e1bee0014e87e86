import * as v from 'valibot';
import type { PaymentReported } from '../booking/queue.ts';
import type { IgnoredReason } from '../http/api-schemas.ts';
import { AppError } from '../lib/app-error.ts';
import { redactedMessages } from '../lib/schemas.ts';

/** A parsed event: payment facts to queue, or a reason to ignore it. */
export type ParsedEvent = { payment: PaymentReported } | (Ignored & { event: { id: string; type: string } });
/** Why an event is ignored: a sentence for people, and its code. */
export type Ignored = { ignored: string; reason: IgnoredReason };

/** Parses a part of an event by `schema`. Errors (400): `unsupported_event_format` with `message` and problems. */
export function parsePart<Schema extends v.GenericSchema>(
  schema: Schema,
  part: unknown,
  message: string,
): v.InferOutput<Schema> {
  const parsed = v.safeParse(schema, part, redactedMessages);
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
