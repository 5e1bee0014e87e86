import { createHmac, timingSafeEqual } from 'node:crypto';
import { AppError } from './app-error.ts';
import type { Keys } from './keys.ts';
import { parseJson } from './schemas.ts';

type MessageKeys = Keys<'payment-messages'>;

/** What stands between a message and its MAC. Within texts, JSON would escape the quotes. */
const marker = ',"mac":';

/**
 * Adds a MAC to a message as the last member of its object: `<HMAC-SHA256 over the text before, base64url>.<key id>`.
 * In the body and not in an attribute, so that it stays with the message in every way of moving dead letters back.
 * @param message JSON of an object @param now epoch seconds
 */
export function withMac(keys: MessageKeys, message: string, now: number): string {
  const keyId = keys.current(now);
  const mac = `${hmac(keys.key(keyId) as Uint8Array, message)}.${keyId}`;
  return `${message.slice(0, -1)}${marker}${JSON.stringify(mac)}}`;
}

/** The message and its MAC, neither of them checked yet. */
export function splitMac(body: string): { message: string; mac?: string } {
  const at = body.lastIndexOf(marker);
  const mac = at < 0 ? undefined : readText(body.slice(at + marker.length, -1));
  return mac === undefined ? { message: body } : { message: `${body.slice(0, at)}}`, mac };
}

/**
 * Checks that payment-confirmed made this message. Every key in the secret verifies, so that a message outlives a
 * rotation. Errors: `payment_message_invalid`.
 */
export function verifyMac(keys: MessageKeys, message: string, mac: string | undefined): void {
  if (mac === undefined) throw invalid('It has no MAC.');
  const end = mac.indexOf('.');
  const key = end < 0 ? undefined : keys.key(mac.slice(end + 1));
  if (!key) throw invalid('No key of the secret payment-messages has the id that its MAC names.');
  // As text: decoders accept several spellings of the same bytes.
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
