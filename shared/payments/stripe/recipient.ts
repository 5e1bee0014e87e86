import * as v from 'valibot';
import type { StripeMode } from '../../lib/config.ts';
import type { Ignored } from '../parse-event.ts';

/** The fields of an event, snapshot or thin, with its mode and account. */
export const recipientFields = {
  livemode: v.optional(v.boolean('It must be true or false.'), false),
  account: v.nullish(v.string('It must be text.'), ''),
  context: v.nullish(v.string('It must be text.'), ''),
};

export type Recipient = { livemode: boolean; account: string; context: string };

/**
 * Why an event is not for this deployment; undefined where it is. An event without `livemode`, which Stripe always
 * sends, counts as test mode: money that may not be real must not become a real appointment.
 */
export function notForUs(
  { livemode, account, context }: Recipient,
  acceptedMode: StripeMode,
): Ignored | undefined {
  const mode = livemode ? 'live' : 'test';
  if (acceptedMode !== 'both' && acceptedMode !== mode) {
    return {
      ignored: `an event of ${mode} mode, and this deployment serves ${acceptedMode} mode: see the option stripeMode`,
      reason: 'other_mode',
    };
  }
  if (account || context) {
    return {
      ignored: 'an event of a connected account: only payments of the own account are served',
      reason: 'connected_account',
    };
  }
  return undefined;
}
