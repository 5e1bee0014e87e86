import { parseSecretObject, unusableSecret } from '../../lib/secret-json.ts';

/** API keys of Stripe. A key sees the events of its mode. */
export type StripeKeys = Readonly<Partial<Record<'live' | 'test', string>>>;

const name = 'stripe-api';
const pattern = /^[rs]k_(live|test)_[\x21-\x7e]{8,}$/;

/**
 * Parses the secret `stripe-api`: `{"keys":["rk_live_…"]}`, with one key for each mode at most. Without a key, what needs
 * one does nothing. Errors: `not_configured`.
 */
export function parseStripeKeys(secret: string): StripeKeys {
  const { keys = [] } = parseSecretObject(name, secret);
  const found: { live?: string; test?: string } = {};
  for (const [index, key] of [keys].flat().entries()) {
    const text = typeof key === 'string' ? key.trim() : '';
    const mode = pattern.exec(text)?.[1] as 'live' | 'test' | undefined;
    if (!mode)
      throw unusableSecret(
        name,
        `"keys"[${index}] must begin with rk_live_, rk_test_, sk_live_ or sk_test_.`,
      );
    if (found[mode]) throw unusableSecret(name, `"keys" has two keys of ${mode} mode: which one counts?`);
    found[mode] = text;
  }
  return found;
}
