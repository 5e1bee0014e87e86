/** Payments of Stripe's events of up to 30 days, once more through the service: what is known already changes nothing. */
import {
  oldestEvent,
  type Recovered,
  recoverEvents,
  servedKeys,
} from '../../../functions/payment-recovery/recover.ts';
import { secret } from '../../../shared/aws/secrets.ts';
import { paymentAccountStore } from '../../../shared/booking/payment-accounts.ts';
import { paymentQueue } from '../../../shared/booking/queue.ts';
import { parseKeys } from '../../../shared/crypto/keys.ts';
import { systemClock } from '../../../shared/lib/clock.ts';
import { parseStripeKeys } from '../../../shared/payments/stripe/api-keys.ts';
import { AccountUnavailable } from '../../../shared/payments/stripe/list-events.ts';
import { secretText, type Target } from './target.ts';

/** Epoch seconds of an option such as 2026-12-01 or 2026-12-01T10:00:00Z. */
export function instantOf(option: string, text: string): number {
  const at = Date.parse(text);
  if (Number.isNaN(at))
    throw new Error(`--${option} ${text} is no date such as 2026-12-01 or 2026-12-01T10:00:00Z.`);
  return Math.floor(at / 1000);
}

/** Each account that is bound to a user, once. An operator's process may remember them all. */
async function* boundAccounts({ dynamo, output, indexShards }: Target): AsyncGenerator<string> {
  const seen = new Set<string>();
  for await (const page of paymentAccountStore(dynamo, output('BookingsTableName'), indexShards).all()) {
    for (const account of page) {
      if (!seen.has(account)) yield account;
      seen.add(account);
    }
  }
}

/** The windows of each mode and account, as their payments are queued. */
export async function* recover(
  target: Target,
  time: { from: number; to: number },
  now: number,
): AsyncGenerator<Recovered & { mode: string; account?: string; isUnavailable?: true }> {
  if (time.from < now - oldestEvent)
    throw new Error('Stripe keeps events for 30 days: --since is further back.');
  if (time.to <= time.from) throw new Error('--until must be after --since.');
  const deps = paymentDeps(target);
  const keys = servedKeys(await deps.stripeKeys.get(), deps.stripeMode);
  if (keys.length === 0) throw new Error('No API key of Stripe is stored: docs/setup.md, Recovery.');
  for (const [mode, key] of keys) {
    for await (const window of recoverEvents(deps, key, time)) yield { ...window, mode };
    // None are bound without the option stripeConnect.
    for await (const account of boundAccounts(target)) yield* ofAccount(mode, key, account);
  }

  async function* ofAccount(mode: string, key: string, account: string) {
    try {
      for await (const window of recoverEvents(deps, key, time, account)) yield { ...window, mode, account };
    } catch (error) {
      if (!(error instanceof AccountUnavailable)) throw error;
      yield {
        mode,
        account,
        through: time.to,
        read: 0,
        queued: 0,
        unusable: 0,
        payments: [],
        isUnavailable: true as const,
      };
    }
  }
}

/** What translates payments and puts them on the queue, in the operator's process. */
export function paymentDeps(target: Target) {
  const { stripeMode, invoicesPaidOutOfBand, stripeUrl, output, sqs } = target;
  return {
    stripeKeys: cached('StripeApiSecret', parseStripeKeys, '{}'),
    stripeApi: { fetch, baseUrl: stripeUrl },
    stripeMode,
    invoicesPaidOutOfBand,
    queue: paymentQueue(
      output('QueueUrl'),
      cached('PaymentMessagesSecret', (text) => parseKeys('payment-messages', text)),
      systemClock,
      sqs,
    ),
  };

  function cached<T>(of: Parameters<typeof secretText>[1], parse: (text: string) => T, empty?: string) {
    return secret(of, parse, systemClock, () => secretText(target, of, empty));
  }
}
