/** What a rotation does to the value of the secret `token-keys`: text in, text out. Instants are epoch seconds. */
import { toIso } from '../shared/clock.ts';
import { stateLifetime } from '../shared/oauth-state.ts';
import { secretTimeToLive } from '../shared/secrets.ts';
import { parseTokenKeys, type TokenKeysSecret } from '../shared/token-keys.ts';

/**
 * Seconds from adding a key to using it: longer than any function keeps the secret, so that all of them can open what
 * the first of them seals. The rest is for a write that may not be seen everywhere at once, and for clocks that differ.
 */
export const rotationLead = secretTimeToLive + 60;

/**
 * Seconds for which the key before may still be needed by what is stored nowhere: a function that has not read the
 * secret again, a link signed in the last moment, and a state made in the last moment of that link.
 */
export const settlingTime = secretTimeToLive + 2 * stateLifetime + 60;

/** A key as an operator sees it. `old` keys only open. */
export type KeyView = { id: string; use: 'current' | 'next' | 'old'; from?: number };

/** The keys in the order in which they were added. Errors: `not_configured` where the value cannot be used. */
export function viewKeys(text: string, now: number): KeyView[] {
  const { ids, current } = parseTokenKeys(text);
  const { next } = parse(text);
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
  /** When the one before may be retired, if no token needs it any more. */
  settledAt: number;
};

/**
 * Adds a key that comes into use after `rotationLead`, or at once in an emergency.
 * Errors: a rotation that is not in force yet, unless this is an emergency; `not_configured`.
 * @param newKey 64 random characters
 */
export function rotate(
  text: string,
  now: number,
  newKey: () => string,
  options: { atOnce?: boolean } = {},
): Rotation {
  const keys = parseTokenKeys(text);
  const settled = fold(parse(text), now);
  if (settled.next && !options.atOnce) {
    throw new Error(
      `The key "${settled.next.id}" was added already and comes into use at ${toIso(settled.next.from)}. ` +
        'Rotate again after that, or with --now if a key has leaked.',
    );
  }
  const id = newId(now, keys.ids);
  const from = options.atOnce ? now : now + rotationLead;
  const { current, next: _, ...masters } = settled;
  return {
    text: JSON.stringify({ current, next: { id, from }, ...masters, [id]: newKey() }),
    id,
    previous: keys.current(now),
    from,
    settledAt: from + settlingTime,
  };
}

/**
 * Removes a key that nothing needs any more, as far as the value of the secret tells; the tokens in the table must be
 * looked at besides. Answers the new value. In an emergency links and states are not waited for: whoever has a leaked
 * key can make them.
 * Errors: the key is unknown, in use, about to be, or was so lately that links and states made with it may be alive;
 * `not_configured`.
 */
export function retire(text: string, id: string, now: number, options: { atOnce?: boolean } = {}): string {
  const view = viewKeys(text, now);
  const key = view.find((key) => key.id === id);
  if (!key) throw new Error(`There is no key "${id}". The keys are ${view.map(({ id }) => id).join(', ')}.`);
  if (key.use === 'current') {
    throw new Error(
      `The key "${id}" is the current one: everything new is sealed with it. ` +
        'Rotate first (npm run keys -- rotate), and retire it half an hour after the new one has come into use.',
    );
  }
  const secret = parse(text);
  if (key.use === 'next') {
    throw new Error(`The key "${id}" comes into use at ${toIso(secret.next?.from ?? now)}. Keep it.`);
  }
  const settledAt = secret.next ? secret.next.from + (options.atOnce ? rotationLead : settlingTime) : now;
  if (now < settledAt) {
    const what = options.atOnce ? 'functions seal tokens' : 'links and connection attempts are under way';
    throw new Error(
      `It may be that ${what} with older keys until ${toIso(settledAt)}. Retire "${id}" after that.`,
    );
  }
  const { [id]: _, ...others } = fold(secret, now);
  return JSON.stringify(others);
}

/** A rotation that is in force is over: its key is the current one, without a date. */
function fold(secret: TokenKeysSecret, now: number): TokenKeysSecret {
  const { next, ...others } = secret;
  return next && now >= next.from ? { ...others, current: next.id } : secret;
}

/** The day, with a letter from the second key of a day on: never one that is taken, nor one before it. */
function newId(now: number, taken: string[]): string {
  const day = toIso(now).slice(0, 10);
  const candidates = ['', ...'bcdefghijklmnopqrstuvwxyz'].map((letter) => `${day}${letter}`);
  const latest = Math.max(...taken.map((id) => candidates.indexOf(id)));
  const id = candidates[latest + 1];
  if (id) return id;
  throw new Error('There have been 26 rotations today. The next one is possible tomorrow (UTC).');
}

/** Only after `parseTokenKeys` has accepted the text. */
function parse(text: string): TokenKeysSecret {
  return JSON.parse(text) as TokenKeysSecret;
}
