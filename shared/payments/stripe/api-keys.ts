import { type CachedSecret, secret } from '../../aws/secrets.ts';
import { systemClock } from '../../lib/clock.ts';
import { required } from '../../lib/config.ts';
import { env } from '../../lib/names.ts';
import { parseSecretObject, unusableSecret } from '../../lib/secret-json.ts';

/** API keys of Stripe. A key sees the events of its mode. */
export type StripeKeys = Readonly<Partial<Record<'live' | 'test', string>>>;

const name = 'stripe-api';
const pattern = /^[rs]k_(live|test)_[\x21-\x7e]{8,}$/;

/** The keys in the secret `stripe-api`: none while it has no value. */
export function stripeKeys(): CachedSecret<StripeKeys> {
  return secret(required(env.stripeApiSecretId), parseStripeKeys, systemClock, undefined, '{}');
}

/**
 * Parses the secret `stripe-api`: `{"keys":["rk_live_…"]}`, with one key for each mode at most. Without a key, what needs
 * one does nothing. Errors: `not_configured`.
 */
export function parseStripeKeys(text: string): StripeKeys {
  const { keys = [] } = parseSecretObject(name, text);
  const found: { live?: string; test?: string } = {};
  for (const [index, key] of [keys].flat().entries()) {
    const value = typeof key === 'string' ? key.trim() : '';
    const mode = pattern.exec(value)?.[1] as 'live' | 'test' | undefined;
    if (!mode)
      throw unusableSecret(
        name,
        `"keys"[${index}] must begin with rk_live_, rk_test_, sk_live_ or sk_test_.`,
      );
    if (found[mode]) throw unusableSecret(name, `"keys" has two keys of ${mode} mode: which one counts?`);
    found[mode] = value;
  }
  return found;
}
