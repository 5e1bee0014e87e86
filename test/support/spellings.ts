/** Texts that lenient decoders read as the same token: all of them, not a sample. */

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=';
/** Characters that decoders skip: Node's, and those that remove white space first. */
const skipped = [' ', '\t', '\n', '\r', '\f', '\v', '\u00a0', '\ufeff', '=', '*', '\0'];

const bytesOf = (text: string): string =>
  text
    .split('.')
    .map((part) => Buffer.from(part, 'base64').toString('hex'))
    .join('.');

/**
 * Every other text that Node decodes to the bytes of `token`: each character replaced by each other one, each
 * ignored character inserted at each position, padding, and incomplete groups at its end.
 */
export function otherSpellings(token: string): string[] {
  const replaced = [...token].flatMap((old, at) =>
    [...alphabet]
      .filter((other) => other !== old)
      .map((other) => token.slice(0, at) + other + token.slice(at + 1)),
  );
  const inserted = Array.from({ length: token.length + 1 }, (_, at) =>
    skipped.map((extra) => token.slice(0, at) + extra + token.slice(at)),
  ).flat();
  const padded = token
    .split('.')
    .flatMap((part, at, parts) => ['=', '==', '===', 'A'].map((end) => parts.with(at, part + end).join('.')));
  const otherAlphabet = [token.replaceAll('-', '+'), token.replaceAll('_', '/')];
  const same = [...replaced, ...inserted, ...padded, ...otherAlphabet].filter(
    (text) => text !== token && bytesOf(text) === bytesOf(token),
  );
  return [...new Set([...same, `${token}.`, `.${token}`, `${token}..`])];
}

/** `token` with each of its characters replaced by another one, one at a time. */
export function withEachCharacterChanged(token: string): string[] {
  return [...token].map((old, at) => token.slice(0, at) + (old === 'A' ? 'B' : 'A') + token.slice(at + 1));
}
