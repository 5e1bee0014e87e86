import { hkdfSync } from 'node:crypto';
import { AppError } from './app-error.ts';

/**
 * The keys of this service. The secret `token-keys` holds one generated string per key id and names the
 * current one: `{"current":"initial","initial":"<64 random characters>"}`. From each string a key per purpose
 * is derived (HKDF-SHA256, RFC 5869), so that whoever holds the link-signing key (LeadsCalendar's backend)
 * cannot derive the key that opens tokens.
 *
 * A rotation adds `"next":{"id":"k2","from":<epoch seconds>}`: the new key opens at once, and is used for what is new
 * from that moment on, when every function has read the secret again. So nobody meets a key it does not know.
 */
export type TokenKeys = {
  /** Key id used for everything new at `now`, in epoch seconds. */
  current(now: number): string;
  /** All key ids that still open what they sealed. */
  ids: string[];
  /** The 32 bytes for a purpose, or undefined where the key id is unknown. */
  key(id: string, purpose: KeyPurpose): Uint8Array | undefined;
};

/** `token`: Google's tokens at rest. `state`: the OAuth state. `link`: JWTs that LeadsCalendar signs. */
export type KeyPurpose = 'token' | 'state' | 'link';

const minimumLength = 32;

/** The value of the secret `token-keys`. */
export type TokenKeysSecret = { current: string; next?: NextKey } & Record<string, unknown>;
export type NextKey = { id: string; from: number };

/** Parses the value of the secret `token-keys`. Throws `not_configured` with what is wrong, never with the value. */
export function parseTokenKeys(secret: string): TokenKeys {
  const { current, next, ...masters } = parseObject(secret);
  const isKey = (id: unknown): id is string => typeof id === 'string' && Object.hasOwn(masters, id);
  if (!isKey(current)) throw misconfigured('"current" must name one of the keys.');
  if (next !== undefined && !(isKey(next?.id) && Number.isInteger(next?.from))) {
    throw misconfigured('"next" must name one of the keys and the epoch second from which it is used.');
  }
  for (const [id, master] of Object.entries(masters)) {
    if (typeof master !== 'string' || master.length < minimumLength) {
      throw misconfigured(`The key "${id}" must be a random string of at least ${minimumLength} characters.`);
    }
  }
  const derived = new Map<string, Uint8Array>();
  return {
    current: (now) => (next && now >= next.from ? next.id : current),
    ids: Object.keys(masters),
    key(id, purpose) {
      const master = Object.hasOwn(masters, id) ? masters[id] : undefined;
      if (typeof master !== 'string') return undefined;
      const cacheKey = `${purpose} ${id}`;
      let key = derived.get(cacheKey);
      if (!key) {
        key = new Uint8Array(hkdfSync('sha256', master, '', `leadscalendar-google:${purpose}`, 32));
        // A JWT library takes its HMAC secret as text, so the link key is the text form itself.
        if (purpose === 'link') key = new TextEncoder().encode(Buffer.from(key).toString('base64url'));
        derived.set(cacheKey, key);
      }
      return key;
    },
  };
}

/** The link-signing key as the text that LeadsCalendar's backend gives to its JWT library. */
export function linkSigningKey(keys: TokenKeys, id: string): string {
  return new TextDecoder().decode(keys.key(id, 'link'));
}

function parseObject(secret: string): Partial<TokenKeysSecret> {
  try {
    const value: unknown = JSON.parse(secret);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  } catch {
    // Falls through: the parser's message could quote the secret.
  }
  throw misconfigured('It must be a JSON object.');
}

function misconfigured(what: string): AppError {
  return new AppError('not_configured', `The secret token-keys cannot be used. ${what}`);
}
