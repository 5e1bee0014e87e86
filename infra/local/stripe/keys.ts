import type { Context } from 'hono';
import type { Scope } from './event-log.ts';
import { stripeError } from './stripe-errors.ts';

/** Permissions of restricted keys, by the object that they allow to read. Stripe's errors give them as `rak_event_read`. */
export const permissions = [
  'event_read',
  'payment_intent_read',
  'checkout_session_read',
  'charge_read',
  'dispute_read',
  'invoice_read',
] as const;
export type Permission = (typeof permissions)[number];

/** A restricted key has permissions, a secret key may do everything. */
export type StripeKey = { key: string; livemode: boolean; permissions?: Permission[] };

/** A key such as `rk_test_…`. */
export function newKey(of: Omit<StripeKey, 'key'>, random: () => number): StripeKey {
  const kind = of.permissions ? 'rk' : 'sk';
  return { ...of, key: `${kind}_${of.livemode ? 'live' : 'test'}_${randomText(random, 40)}` };
}

/** Random letters and digits. */
export function randomText(random: () => number, length: number): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
  return Array.from({ length }, () => alphabet[Math.floor(random() * alphabet.length)]).join('');
}

/**
 * The mode and account of a call, from its headers `Authorization` and `Stripe-Account`.
 * Errors: 401 without a known key, 403 without the permission or for a disconnected account.
 */
export function authorize(
  c: Context,
  { keys, disconnected }: { keys: { values(): Iterable<StripeKey> }; disconnected: ReadonlySet<string> },
  permission: Permission,
): Scope {
  const given = /^Bearer (\S+)$/i.exec(c.req.header('authorization') ?? '')?.[1];
  if (!given) {
    const message = 'You did not provide an API key, in the header Authorization, as a bearer token.';
    throw stripeError({ status: 401, message });
  }
  const known = [...keys.values()].find(({ key }) => key === given);
  if (!known) throw stripeError({ status: 401, message: `Invalid API Key provided: ${masked(given)}` });
  const account = c.req.header('stripe-account') ?? '';
  if (known.permissions && !known.permissions.includes(permission)) {
    throw stripeError({
      status: 403,
      code: 'more_permissions_required',
      message:
        `The provided key '${masked(given)}' does not have the required permissions for this endpoint. ` +
        `Having the 'rak_${permission}' permission would allow this request to continue.`,
    });
  }
  if (disconnected.has(account)) {
    throw stripeError({
      status: 403,
      code: 'account_invalid',
      message: `The provided key '${masked(given)}' does not have access to account '${account}' (or that account does not exist). Application access may have been revoked.`,
    });
  }
  return { livemode: known.livemode, account };
}

/** A key as Stripe's errors show it. */
function masked(key: string): string {
  const [prefix = ''] = /^[rs]k_(test|live)_/.exec(key) ?? [];
  const shown = key.length - prefix.length > 8 ? key.slice(-4) : '';
  return `${prefix}${'*'.repeat(key.length - prefix.length - shown.length)}${shown}`;
}

/** A text without keys, for records of calls. */
export function withoutKeys(text: string): string {
  return text.replace(/[rs]k_(test|live)_\w*/g, '[key]');
}
