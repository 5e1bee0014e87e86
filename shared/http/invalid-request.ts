import * as v from 'valibot';
import { AppError, type Problem } from '../lib/app-error.ts';
import { isJsonObject, redactedMessages } from '../lib/schemas.ts';

type RequestSchema = v.StrictObjectSchema<v.ObjectEntries, v.ErrorMessage<v.StrictObjectIssue> | undefined>;

/** Parses the input of a request. Errors (400): `invalid_request` with a problem for each field. */
export function parseRequest<Schema extends RequestSchema>(
  schema: Schema,
  input: unknown,
): v.InferOutput<Schema> {
  if (!isJsonObject(input)) {
    throw invalidRequest([{ code: 'invalid_field', field: 'body', message: 'It must be an object.' }]);
  }
  const parsed = v.safeParse(schema, input, redactedMessages);
  if (parsed.success) return parsed.output;
  // valibot reports only the first unknown field.
  const unknown = Object.keys(input).filter((name) => !Object.hasOwn(schema.entries, name));
  throw invalidRequest(
    parsed.issues.map((issue) => {
      const field = v.getDotPath(issue) ?? 'body';
      return {
        code: 'invalid_field',
        field: unknown.includes(field) ? unknown.join(', ') : field,
        message: issue.message,
      };
    }),
  );
}

/** The error for an invalid request. */
export function invalidRequest(problems: Problem[]): AppError {
  return new AppError(
    'invalid_request',
    'The request is invalid: "problems" lists what each field must be. Correct it and send it again.',
    {
      status: 400,
      problems,
    },
  );
}
