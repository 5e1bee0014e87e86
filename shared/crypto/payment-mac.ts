import { createHmac, timingSafeEqual } from 'node:crypto';
import { AppError } from '../lib/app-error.ts';
import { parseJson } from '../lib/schemas.ts';
import type { Keys } from './keys.ts';

type MessageKeys = Keys<'payment-messages'>;

/** Separates a message from its MAC. It cannot occur within a text, where JSON escapes the quotes. */
const marker = ',"mac":';

/**
 * Adds a MAC to a message as the last member of its object: `<HMAC-SHA256 over the text before, base64url>.<key id>`.
 * It is in the body, since a redrive from the dead-letter queue by hand may lose attributes.
 * @param message JSON of an object @param now epoch seconds
 */
export function withMac(keys: MessageKeys, message: string, now: number): string {
  const keyId = keys.current(now);
  const mac = `${hmac(keys.key(keyId) as Uint8Array, message)}.${keyId}`;
  return `${message.slice(0, -1)}${marker}${JSON.stringify(mac)}}`;
}

/** The message and its MAC, not verified. */
export function splitMac(body: string): { message: string; mac?: string } {
  const at = body.lastIndexOf(marker);
  const mac = at < 0 ? undefined : readText(body.slice(at + marker.length, -1));
  return mac === undefined ? { message: body } : { message: `${body.slice(0, at)}}`, mac };
}

/**
 * Verifies that payment-confirmed made this message. Every key in the secret is tried, so that a message stays valid
 * after a rotation. Errors: `payment_message_invalid`.
 */
export function verifyMac(keys: MessageKeys, message: string, mac: string | undefined): void {
  if (mac === undefined) throw invalid('It has no MAC.');
  const end = mac.indexOf('.');
  const key = end < 0 ? undefined : keys.key(mac.slice(end + 1));
  if (!key) throw invalid('No key of the secret payment-messages has the id that its MAC names.');
  // Compared as text, since decoders accept several spellings of the same bytes.
  const [given, right] = [Buffer.from(mac.slice(0, end)), Buffer.from(hmac(key, message))];
  if (given.length === right.length && timingSafeEqual(given, right)) return;
  throw invalid('Its MAC does not match its text.');
}

function hmac(key: Uint8Array, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url');
}

function readText(json: string): string | undefined {
  const value = parseJson(json);
  return typeof value === 'string' ? value : undefined;
}

function invalid(why: string): AppError {
  return new AppError(
    'payment_message_invalid',
    `The payment message does not come from payment-confirmed, or its key was retired: ${why}`,
  );
}
