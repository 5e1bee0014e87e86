/** What a rotation does to the value of a secret with keys: text in, text out. Instants are epoch seconds. */

import { secretTtlSeconds } from '../../shared/aws/secrets.ts';
import { type KeysSecret, parseKeys } from '../../shared/crypto/keys.ts';
import { stateLifetimeSeconds } from '../../shared/crypto/oauth-state.ts';
import { maxLifetimeSeconds } from '../../shared/crypto/user-token.ts';
import { toIso } from '../../shared/lib/clock.ts';
import type { KeyPurpose } from '../../shared/lib/names.ts';
import { parseSecretObject } from '../../shared/lib/secret-json.ts';
import { messageRetentionDays } from '../message-retention.ts';

/**
 * Seconds from adding a key to using it: longer than any function keeps the secret, so that all of them know the key
 * before the first one uses it. The rest is for a write that is not visible everywhere at once, and for clock skew.
 */
export const rotationLeadSeconds = secretTtlSeconds + 60;

/**
 * Seconds after the change of keys in which something outside the tables may need the old key. A function may use its
 * copy of the secret until that expires, and what it made last may live on.
 */
export const propagationSeconds: Record<KeyPurpose, number> = {
  // Stored tokens may need the key for longer: the table says which.
  'token-encryption': rotationLeadSeconds,
  'state-encryption': rotationLeadSeconds + stateLifetimeSeconds,
  'link-signing': rotationLeadSeconds + maxLifetimeSeconds,
  'api-signing': rotationLeadSeconds + maxLifetimeSeconds,
  // First in the queue, then in its dead-letter queue, where SQS may count the days again.
  'payment-messages': rotationLeadSeconds + 2 * messageRetentionDays * 86_400,
};

/** What may still need an old key until then. */
const inUse: Record<KeyPurpose, string> = {
  'token-encryption': 'functions encrypt tokens',
  'state-encryption': 'connection attempts are under way',
  'link-signing': 'links are in use',
  'api-signing': 'bearer tokens are in use',
  'payment-messages': 'payment messages wait in the queue or the dead-letter queue',
};

/** A key as an operator sees it. `old` keys only decrypt and verify. */
export type KeyView = { id: string; use: 'current' | 'next' | 'old'; from?: number };

/** The keys in the order in which they were added. Errors: `not_configured` where the value cannot be used. */
export function viewKeys(purpose: KeyPurpose, text: string, now: number): KeyView[] {
  const { ids, current } = parseKeys(purpose, text);
  const { next } = parse(purpose, text);
  return ids.map((id) => {
    if (id === current(now)) return { id, use: 'current' };
    return id === next?.id ? { id, use: 'next', from: next.from } : { id, use: 'old' };
  });
}

export type Rotation = {
  /** The new value of the secret. */
  text: string;
  id: string;
  previous: string;
  /** When the new key comes into use. */
  from: number;
  /** When the previous key may be retired, if no stored token needs it. */
  propagatedAt: number;
};

/**
 * Adds a key that comes into use after `rotationLeadSeconds`, or at once in an emergency.
 * Errors: a rotation that is not in force yet, unless this is an emergency; `not_configured`.
 * @param newKey 64 random characters
 */
export function rotate(
  purpose: KeyPurpose,
  text: string,
  now: number,
  newKey: () => string,
  options: { atOnce?: boolean } = {},
): Rotation {
  const keys = parseKeys(purpose, text);
  const folded = fold(parse(purpose, text), now);
  if (folded.next && !options.atOnce) {
    throw new Error(
      `The key "${folded.next.id}" was added already and comes into use at ${toIso(folded.next.from)}. ` +
        'Rotate again after that, or with --now if a key has leaked.',
    );
  }
  const id = newId(now, keys.ids);
  const from = options.atOnce ? now : now + rotationLeadSeconds;
  const { current, next: _, ...others } = folded;
  return {
    text: JSON.stringify({ current, next: { id, from }, ...others, [id]: newKey() }),
    id,
    previous: keys.current(now),
    from,
    propagatedAt: from + propagationSeconds[purpose],
  };
}

/**
 * Removes a key that is out of use, as far as the value of the secret shows; stored tokens must be checked besides.
 * Answers the new value. In an emergency nothing is waited for but the copies that functions keep: a leaked
 * key can be used until it is removed.
 * Errors: the key is unknown, in use, about to be, or was so recently that something may still need it;
 * `not_configured`.
 */
export function retire(
  purpose: KeyPurpose,
  text: string,
  id: string,
  now: number,
  options: { atOnce?: boolean } = {},
): string {
  const view = viewKeys(purpose, text, now);
  const key = view.find((key) => key.id === id);
  if (!key) throw new Error(`There is no key "${id}". The keys are ${view.map(({ id }) => id).join(', ')}.`);
  if (key.use === 'current') {
    throw new Error(
      `The key "${id}" is the current one, and everything new needs it. ` +
        `Rotate first (ops keys rotate --secret ${purpose}): that says when the old key may be retired.`,
    );
  }
  const secret = parse(purpose, text);
  if (key.use === 'next') {
    throw new Error(`The key "${id}" comes into use at ${toIso(secret.next?.from ?? now)}. Keep it.`);
  }
  const propagatedAt = secret.next
    ? secret.next.from + (options.atOnce ? rotationLeadSeconds : propagationSeconds[purpose])
    : now;
  if (now < propagatedAt) {
    const what = options.atOnce ? 'functions use copies of the secret' : inUse[purpose];
    throw new Error(
      `It may be that ${what} with older keys until ${toIso(propagatedAt)}. Retire "${id}" after that.`,
    );
  }
  const { [id]: _, ...others } = secret;
  // `next` stays, so that the other old keys keep their time: this one may have been retired in an emergency.
  return JSON.stringify({ ...others, current: parseKeys(purpose, text).current(now) });
}

/** A rotation that is in force is over: its key is the current one, without a date. */
function fold(secret: KeysSecret, now: number): KeysSecret {
  const { next, ...others } = secret;
  return next && now >= next.from ? { ...others, current: next.id } : secret;
}

/** The day, with a letter from the second key of a day on: never an id that is taken, nor one before it. */
function newId(now: number, usedIds: string[]): string {
  const day = toIso(now).slice(0, 10);
  const candidates = ['', ...'bcdefghijklmnopqrstuvwxyz'].map((letter) => `${day}${letter}`);
  const latest = Math.max(...usedIds.map((id) => candidates.indexOf(id)));
  const id = candidates[latest + 1];
  if (id) return id;
  throw new Error('There have been 26 rotations today. The next one is possible tomorrow (UTC).');
}

/** Only after `parseKeys` has accepted the text. */
function parse(purpose: KeyPurpose, text: string): KeysSecret {
  return parseSecretObject(purpose, text) as KeysSecret;
}
