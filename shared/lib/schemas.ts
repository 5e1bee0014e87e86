/** Parts of several schemas. */
import * as v from 'valibot';
import { dayExists } from './clock.ts';

/**
 * Options for parsing input from outside: one problem per field, which names what was expected and never quotes the
 * value, which may be long or personal.
 */
export const redactedMessages = {
  abortPipeEarly: true,
  message: ({ expected, path }) => {
    if (path?.[0].origin === 'key')
      return expected === 'never' ? 'There is no such field.' : 'It is missing.';
    if (expected === 'Object') return 'It must be an object.';
    return expected === null ? 'Invalid input' : `Invalid input: expected ${expected}`;
  },
} satisfies v.Config<v.BaseIssue<unknown>>;

export const isJsonObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The value of a JSON text; null where the text is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Any object. It goes before a schema with optional fields only, for which valibot would accept an array. */
export const anyObject = v.custom<Record<string, unknown>>(isJsonObject, 'It must be an object.');

const rfc3339Pattern =
  /^(\d{4}-\d\d-\d\d)T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$/;

/** RFC 3339 with seconds and an offset, of an existing day. valibot's own timestamp accepts other forms too. */
export const instant = (message: string) =>
  v.pipe(
    v.string(message),
    v.regex(rfc3339Pattern, message),
    v.check((text) => dayExists(text.slice(0, 10)), message),
    v.metadata({ format: 'date-time' }),
  );

const identifierPattern = /^[A-Za-z0-9_.:@-]{1,128}$/;

/** Whether `value` may be a user id or a booking id: 1 to 128 characters of `A-Za-z0-9_.:@-`. */
export function isIdentifier(value: unknown): value is string {
  return typeof value === 'string' && identifierPattern.test(value);
}

// Atoms with dots between them, at a domain of at least two labels: RFC 5322 without quotes and comments.
const atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
const label = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
const topLevel = '(?:[A-Za-z]{2,63}|[Xx][Nn]--[A-Za-z0-9-]{0,58}[A-Za-z0-9])';
const emailPattern = new RegExp(`^${atom}(\\.${atom})*@(${label}\\.)+${topLevel}$`);
/** Maximum characters of an address, and of the part before the @ (RFC 5321). */
const maxAddressLength = 254;
const maxLocalPartLength = 64;

/** An email address. valibot's own rejects an apostrophe. */
export const emailAddress = (message: string) =>
  v.pipe(
    v.string(message),
    v.maxLength(maxAddressLength, message),
    v.regex(emailPattern, message),
    v.check((address) => address.indexOf('@') <= maxLocalPartLength, message),
    v.metadata({ format: 'email' }),
  );
