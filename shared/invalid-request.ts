import type * as z from 'zod/mini';
import { AppError } from './app-error.ts';
import type { Problem } from './booking.ts';

/** What `schema` makes of the input of a request. Errors (400): `invalid_request` with a problem for each field. */
export function parseRequest<Schema extends z.ZodMiniType>(schema: Schema, input: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw invalidRequest(
    parsed.error.issues.map((issue) => ({
      code: 'invalid_field',
      field: fieldOf(issue),
      message: issue.message,
    })),
  );
}

/** The error for a request that cannot be used. */
export function invalidRequest(problems: Problem[]): AppError {
  return new AppError('invalid_request', 'The request cannot be used; "problems" says why, field by field.', {
    status: 400,
    problems,
  });
}

function fieldOf({ path, ...issue }: z.core.$ZodIssue): string {
  return path.length > 0 ? path.join('.') : 'keys' in issue ? issue.keys.join(', ') : 'body';
}
