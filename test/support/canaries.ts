/** Searches for secrets in a system's outputs: in clear, in part, and in common encodings. */
import { escapeHtml } from '../../shared/http/page.ts';

/** A secret that must not leak. Of a text only the secret part, without a prefix that all of its kind have. */
export type Canary = { name: string; secret: string | Buffer };
/** An output and its place. */
export type Observation = { where: string; text: string };
export type Leak = { canary: string; where: string; as: string };

/** This many characters of a secret, at its start or end, are a leak. */
const minLeakLength = 16;

/** Every leak once. Throws if a secret is too short to exclude chance matches. */
export function findLeaks(canaries: Canary[], observations: Observation[]): Leak[] {
  const needles = new Map<string, { canary: string; as: string }>();
  for (const { name, secret } of canaries) {
    if (secret.length < minLeakLength) throw new Error(`${name} is too short to be looked for.`);
    for (const [as, text] of spellings(secret.slice(0, minLeakLength)))
      needles.set(text.slice(0, minLeakLength), { canary: name, as });
    for (const [as, text] of spellings(secret.slice(-minLeakLength)))
      needles.set(text.slice(-minLeakLength), { canary: name, as });
  }
  const leaks = new Map<string, Leak>();
  for (const { where, text } of observations) {
    for (let start = 0; start + minLeakLength <= text.length; start++) {
      const found = needles.get(text.slice(start, start + minLeakLength));
      if (found) leaks.set(`${found.canary} ${where}`, { ...found, where });
    }
  }
  return [...leaks.values()];
}

/** Spellings of a part of a secret. */
export function spellings(part: string | Buffer): [as: string, text: string][] {
  const bytes = Buffer.from(part);
  const binary: [string, string][] = [
    ['hex', bytes.toString('hex')],
    ['upper case hex', bytes.toString('hex').toUpperCase()],
    ...[0, 1, 2].flatMap((offset): [string, string][] => [
      [`base64, shifted by ${offset}`, within(bytes, offset, 'base64')],
      [`base64url, shifted by ${offset}`, within(bytes, offset, 'base64url')],
    ]),
  ];
  if (typeof part !== 'string') return binary;
  const percent = encodeURIComponent(part);
  return [
    ['base64 of percent-encoded', within(Buffer.from(percent), 0, 'base64')],
    ['twice percent-encoded', encodeURIComponent(percent)],
    ['twice JSON', JSON.stringify(JSON.stringify(part)).slice(3, -3)],
    ['lower case percent-encoded', percent.replace(/%\w\w/g, (code) => code.toLowerCase())],
    ['form-encoded', new URLSearchParams([['', part]]).toString().slice(1)],
    ['percent-encoded', percent],
    ['HTML', escapeHtml(part)],
    ['JSON', JSON.stringify(part).slice(1, -1)],
    ...binary,
    // The last of equal texts gives the name.
    ['as it is', part],
  ];
}

/** The characters that `bytes` alone define within a longer text. */
function within(bytes: Buffer, offset: number, encoding: 'base64' | 'base64url'): string {
  const text = Buffer.concat([Buffer.alloc(offset), bytes, Buffer.alloc(3)]).toString(encoding);
  return text.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.length) * 8) / 6));
}
