import { hkdfSync } from 'node:crypto';
import { type CachedSecret, secret } from '../aws/secrets.ts';
import type { AppError } from '../lib/app-error.ts';
import { systemClock } from '../lib/clock.ts';
import { required } from '../lib/config.ts';
import { type KeyPurpose, keySecrets } from '../lib/names.ts';
import { reportOperatorError } from '../lib/observability.ts';
import { parseSecretObject, unusableSecret } from '../lib/secret-json.ts';

/**
 * The keys of one purpose. Each purpose has its own secret with one generated string per key id and the current id:
 * `{"purpose":"link-signing","current":"initial","initial":"<64 random characters>"}`.
 *
 * A rotation adds `"next":{"id":"k2","from":<epoch seconds>}`: the new key verifies and decrypts at once. It signs and
 * encrypts from that second on, when every function has read the secret again.
 */
export type Keys<Purpose extends KeyPurpose> = {
  /** Makes the types of two purposes differ, so that using the wrong keys is a type error. */
  readonly purpose: Purpose;
  /** Id of the key that signs and encrypts at `now`, in epoch seconds. */
  current(now: number): string;
  /** All key ids that still verify and decrypt. */
  ids: string[];
  /** The key, or undefined where its id is unknown. */
  key(id: string): Uint8Array | undefined;
};

const minimumLength = 32;

/** Keys of these purposes go to JWT libraries of other languages, which take text. */
const textPurposes: readonly KeyPurpose[] = ['link-signing', 'api-signing'];

/** The value of a secret with keys. */
export type KeysSecret = { purpose?: KeyPurpose; current: string; next?: NextKey } & Record<string, unknown>;
/** The value as it is read, not checked. */
type Entries = { purpose?: unknown; current?: unknown; next?: NextKey } & Record<string, unknown>;
type NextKey = { id: string; from: number };

/**
 * Parses the value of a secret with keys. Errors: `not_configured`, which never quotes the value.
 * @param onUnusable gets the error of an entry that is not needed now, such as an old key; by default it is thrown
 */
export function parseKeys<Purpose extends KeyPurpose>(
  purpose: Purpose,
  value: string,
  onUnusable: (error: AppError) => void = (error) => {
    throw error;
  },
): Keys<Purpose> {
  const wrong = (what: string): AppError => unusableSecret(purpose, what);
  const {
    purpose: declaredPurpose,
    current,
    next: announced,
    ...entries
  } = parseSecretObject(purpose, value) as Entries;
  if (declaredPurpose !== undefined && declaredPurpose !== purpose)
    throw wrong('It holds the keys of another purpose.');
  if (typeof current !== 'string' || !Object.hasOwn(entries, current))
    throw wrong('"current" must name one of the keys.');
  const masters = new Map<string, string>();
  for (const [id, master] of Object.entries(entries)) {
    if (typeof master === 'string' && master.length >= minimumLength) {
      masters.set(id, master);
      continue;
    }
    const error = wrong(`The key "${id}" must be a random string of at least ${minimumLength} characters.`);
    if (id === current) throw error;
    onUnusable(error);
  }
  const next = usableNext(announced, masters);
  if (announced !== undefined && !next) {
    onUnusable(wrong('"next" must name one of the keys and the epoch second from which it is used.'));
  }
  const derived = new Map<string, Uint8Array>();
  return {
    purpose,
    current: (now) => (next && now >= next.from ? next.id : current),
    ids: [...masters.keys()],
    key(id) {
      const master = masters.get(id);
      if (master === undefined) return undefined;
      const key = derived.get(id) ?? derive(purpose, master);
      derived.set(id, key);
      return key;
    },
  };
}

function usableNext(announced: NextKey | undefined, masters: Map<string, string>): NextKey | undefined {
  return announced && masters.has(announced.id) && Number.isInteger(announced.from) ? announced : undefined;
}

/**
 * HKDF-SHA256 (RFC 5869) with the purpose as context, so that two purposes never share a key, even with the same string
 * in both secrets.
 */
function derive(purpose: KeyPurpose, master: string): Uint8Array {
  const key = Buffer.from(hkdfSync('sha256', master, '', `leadscalendar-google:${purpose}`, 32));
  return new Uint8Array(textPurposes.includes(purpose) ? Buffer.from(key.toString('base64url')) : key);
}

/** A signing key as the text that the backend gives to its JWT library. */
export function keyText(keys: Keys<'link-signing' | 'api-signing'>, id: string): string {
  return new TextDecoder().decode(keys.key(id));
}

/** The keys of a purpose, from the secret in the function's environment. */
export function keysOf<Purpose extends KeyPurpose>(purpose: Purpose): CachedSecret<Keys<Purpose>> {
  const report = (error: AppError): void => reportOperatorError('An entry of a secret cannot be used', error);
  return secret(required(keySecrets[purpose]), (value) => parseKeys(purpose, value, report), systemClock);
}
