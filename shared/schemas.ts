/** What several schemas share. */
import * as v from 'valibot';

/**
 * How input from outside is parsed: a problem for each field, which says what was expected and never what came. That
 * may be long, or nobody's business.
 */
export const discreetly = {
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

/** Any object. It goes before one whose fields are all optional: valibot takes an array for that too. */
export const anyObject = v.custom<Record<string, unknown>>(isJsonObject, 'must be an object');

const instantPattern =
  /^(?:(?:\d\d[2468][048]|\d\d[13579][26]|\d\d0[48]|[02468][048]00|[13579][26]00)-02-29|\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8])))T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** RFC 3339 with seconds and an offset, of a day that exists. valibot's own timestamp takes other forms too. */
export const instant = (message: string) =>
  v.pipe(v.string(message), v.regex(instantPattern, message), v.metadata({ format: 'date-time' }));

/** An e-mail address as people have them. valibot's own refuses an apostrophe. */
export const emailAddress = (message: string) =>
  v.pipe(
    v.string(message),
    v.regex(
      /^(?:[A-Za-z0-9_'+-]+\.)*[A-Za-z0-9_'+-]*[A-Za-z0-9_+-]@(?:[A-Za-z0-9][A-Za-z0-9-]*\.)+[A-Za-z]{2,}$/,
      message,
    ),
    v.metadata({ format: 'email' }),
  );
