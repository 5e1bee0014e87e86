import * as v from 'valibot';
import { AppError } from '../../lib/app-error.ts';
import type { StripeMode } from '../../lib/config.ts';
import { accountPattern } from '../../lib/connected-account.ts';
import type { Ignored } from '../parse-event.ts';

/** The fields of an event, snapshot or thin, with its mode and account. */
export const recipientFields = {
  livemode: v.optional(v.boolean('It must be true or false.'), false),
  account: v.nullish(v.string('It must be text.'), ''),
  context: v.nullish(v.string('It must be text.'), ''),
};

export type Recipient = { livemode: boolean; account: string; context: string };

/** Whose events are expected: of the platform itself, of connected accounts, or of both. */
export type ExpectedAccounts = 'own' | 'connected' | 'both';

/** The connected account of an event; thin events name it as their context. Undefined for the platform itself. */
export function connectedAccountOf({ account, context }: Recipient): string | undefined {
  return account || context || undefined;
}

/**
 * Why an event is not for this deployment; undefined where it is. An event without `livemode`, which Stripe always
 * sends, counts as test mode: money that may not be real must not become a real appointment.
 * Errors (400): `unsupported_event_format` for an event of the platform where only connected accounts are expected.
 */
export function notForUs(
  recipient: Recipient,
  { stripeMode, accounts }: { stripeMode: StripeMode; accounts: ExpectedAccounts },
): Ignored | undefined {
  const mode = recipient.livemode ? 'live' : 'test';
  if (stripeMode !== 'both' && stripeMode !== mode) {
    return {
      ignored: `an event of ${mode} mode, and this deployment serves ${stripeMode} mode: see the option stripeMode`,
      reason: 'other_mode',
    };
  }
  const account = connectedAccountOf(recipient);
  if (account === undefined && accounts === 'connected') {
    throw new AppError(
      'unsupported_event_format',
      'This event names no connected account. Its signing secret belongs to an endpoint for your own account: store it under "stripe", and use the URL of that webhook.',
      { status: 400 },
    );
  }
  if (account === undefined) return undefined;
  if (accounts === 'own') {
    return {
      ignored:
        'an event of a connected account: only payments of the own account count here. See Stripe Connect in docs/setup.md',
      reason: 'connected_account',
    };
  }
  if (accountPattern.test(account)) return undefined;
  return {
    ignored: 'an event of an organization, or of an account with an unknown form of id',
    reason: 'connected_account',
  };
}
