import { AppError } from './app-error.ts';
import { isJsonObject } from './schemas.ts';

/**
 * The value of the secret `name` as a JSON object. Accepts a byte order mark, line ends, and JSON within a JSON text, as
 * consoles, shells and editors produce them. Errors: `not_configured`, which never quotes the value.
 */
export function parseSecretObject(name: string, text: string): Record<string, unknown> {
  const outer = parse(name, text);
  const value = typeof outer === 'string' ? parse(name, outer) : outer;
  if (isJsonObject(value)) return { ...value };
  throw unusableSecret(name, 'It must be a JSON object.');
}

/** The error for an invalid secret. `why` must not quote its value. */
export function unusableSecret(name: string, why: string): AppError {
  return new AppError('not_configured', `The secret ${name} cannot be used. ${why}`);
}

function parse(name: string, text: string): unknown {
  try {
    return JSON.parse(text.replace(/^\ufeff/, ''));
  } catch {
    // Without the cause, whose message could quote the secret.
    throw unusableSecret(name, `It must be a JSON object${whyNotJson(text)}.`);
  }
}

function whyNotJson(text: string): string {
  if (text.includes('\0')) return ', in UTF-8: it seems to be UTF-16';
  if (/^\s*['`]/.test(text)) return ': it begins with a quotation mark, which its shell should have removed';
  if (/[“”„]/.test(text)) return ': it has typographic quotation marks instead of "';
  if (/^\s*\{\s*\\"/.test(text)) return ': its quotation marks have backslashes before them';
  return '';
}
