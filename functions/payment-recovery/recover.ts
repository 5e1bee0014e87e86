import type Stripe from 'stripe';
import type { PaymentPointer } from '../../shared/booking/booking.ts';
import type { Finding } from '../../shared/booking/findings.ts';
import type { PaymentAccountStore } from '../../shared/booking/payment-accounts.ts';
import type { PaymentQueue, PaymentReported } from '../../shared/booking/queue.ts';
import { AppError, hasCode } from '../../shared/lib/app-error.ts';
import type { Clock, Random } from '../../shared/lib/clock.ts';
import type { StripeMode } from '../../shared/lib/config.ts';
import { forEachConcurrent } from '../../shared/lib/for-each-concurrent.ts';
import { log, metric, reportOperatorError } from '../../shared/lib/observability.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';
import type { StripeKeys } from '../../shared/payments/stripe/api-keys.ts';
import { AccountUnavailable, listEvents, stripeClient } from '../../shared/payments/stripe/list-events.ts';
import { type StripeDeps, translateListedEvent } from '../../shared/payments/stripe/translate.ts';
import type { EventScope, RecoveryProgress } from './progress.ts';

type RecoveryDeps = StripeDeps & { queue: Pick<PaymentQueue, 'sendAll'> };

/** A window whose payments are in the queue. `read`, `queued` and `unusable` count its events. */
export type Recovered = {
  through: number;
  read: number;
  queued: number;
  unusable: number;
  /** Each with the epoch second of its event. */
  payments: { payment: PaymentReported; at: number }[];
};

/** Seconds. Events that are swept again: Stripe does not say when an event is listed. */
const overlap = 2 * 3600;
/** A webhook delivers an event before recovery looks for it. */
const grace = 5 * 60;
const firstSweep = 24 * 3600;
/** Stripe lists the events of 30 days. */
export const oldestEvent = 30 * 86_400;

type SweepDeps = RecoveryDeps & {
  /** The connected accounts whose events are read too. */
  accounts?: Pick<PaymentAccountStore, 'all'> | undefined;
  progress: RecoveryProgress;
  /** What is known under a payment's id. */
  pointer: (paymentId: string) => Promise<PaymentPointer | undefined>;
  found: (finding: Finding) => Promise<void>;
  clock: Clock;
  random: Random;
  /** Whether there is time for another window. */
  timeLeft: () => boolean;
};

/** Within so many seconds, the events of an account are not read again. */
const repeatSeconds = 60;
/** Connected accounts whose events are read side by side. */
const accountsAtOnce = 5;

/**
 * Queues the payments of Stripe's events since the last sweep. What a webhook has delivered already changes nothing. A run
 * that ends early goes on from its last window.
 */
export async function sweepEvents(deps: SweepDeps): Promise<Swept> {
  const sum: Swept = { read: 0, queued: 0 };
  try {
    for (const [mode, key] of servedKeys(await deps.stripeKeys.get(), deps.stripeMode)) {
      await sweepScope(deps, key, { mode }, sum);
      if (deps.accounts) await sweepAccounts(deps, deps.accounts, key, mode, sum);
    }
  } catch (error) {
    if (hasCode(error, 'not_configured')) reportOperatorError('Missed payments cannot be recovered', error);
    throw error;
  } finally {
    metric('EventsSwept', sum.read);
  }
  return sum;
}

type Swept = { read: number; queued: number };

async function sweepScope(deps: SweepDeps, key: string, scope: EventScope, sum: Swept): Promise<void> {
  const now = deps.clock();
  const swept = await deps.progress.get(scope);
  const through = swept ?? now - firstSweep;
  // An account that several users have bound comes several times.
  if (scope.account !== undefined && through > now - grace - repeatSeconds) return;
  const from = Math.max(through - overlap, now - oldestEvent);
  const to = now - grace;
  // What was read before, and will not be read again.
  const lastReadUntil = Math.min(swept ?? 0, to - overlap);
  for await (const window of recoverEvents(deps, key, { from, to }, scope.account)) {
    sum.read += window.read;
    sum.queued += window.queued;
    for (const { payment, at } of window.payments)
      if (at < lastReadUntil) await requireRecorded(deps, scope, payment);
    await deps.progress.advance(scope, window.through);
    if (!deps.timeLeft()) return;
  }
}

/** A payment that several sweeps have queued in two hours must be on record. One that is not needs a person. */
async function requireRecorded(
  { pointer, found }: SweepDeps,
  { mode, account }: EventScope,
  { paymentId, eventId, facts, booking }: PaymentReported,
): Promise<void> {
  if (facts.confirmedAt === undefined || (await pointer(paymentId))) return;
  const event = omitUndefined({ id: eventId, mode, account });
  const named = booking ? { bookingId: booking.bookingId, userId: booking.userId } : {};
  await found(omitUndefined({ kind: 'payment_not_recorded' as const, paymentId, event, ...named }));
}

/** Begins anywhere, so that none is always the last where there is not enough time for all. */
async function sweepAccounts(
  deps: SweepDeps,
  accounts: Pick<PaymentAccountStore, 'all'>,
  key: string,
  mode: 'live' | 'test',
  sum: Swept,
): Promise<void> {
  const unavailable: string[] = [];
  for await (const page of accounts.all(Math.floor(deps.random() * 256))) {
    await forEachConcurrent(page, accountsAtOnce, async (account) => {
      if (!deps.timeLeft()) return;
      await sweepScope(deps, key, { mode, account }, sum).catch((error: unknown) => {
        if (!(error instanceof AccountUnavailable)) throw error;
        unavailable.push(account);
      });
    });
  }
  if (unavailable.length > 0)
    log.warn('Connected accounts cannot be read', { mode, count: unavailable.length, first: unavailable[0] });
}

/**
 * The keys of the modes that this deployment serves.
 * Errors: `not_configured` where a key is of another mode only.
 */
export function servedKeys(keys: StripeKeys, served: StripeMode): ['live' | 'test', string][] {
  const all = Object.entries(keys) as ['live' | 'test', string][];
  const usable = all.filter(([mode]) => served === 'both' || mode === served);
  if (all.length > 0 && usable.length === 0) {
    throw new AppError(
      'not_configured',
      `The API key in the secret stripe-api is of ${all[0]?.[0]} mode, and this deployment serves ${served} mode. Store a key of that mode, or change the option stripeMode.`,
    );
  }
  return usable;
}

/**
 * Queues the payments of Stripe's events in a time (epoch seconds), of a connected account where one is given, and says so
 * after each window.
 */
export async function* recoverEvents(
  deps: RecoveryDeps,
  key: string,
  time: { from: number; to: number },
  account?: string,
): AsyncGenerator<Recovered> {
  const stripe = stripeClient(key, deps.stripeApi.baseUrl, account);
  for await (const { through, events } of listEvents(stripe, time)) {
    const payments: Recovered['payments'] = [];
    let unusable = 0;
    for (const event of events) {
      const payment = await paymentOf(deps, event, account);
      if (payment === 'unusable') unusable++;
      else if (payment) payments.push({ payment: { ...payment, recovered: true }, at: event.created });
    }
    await deps.queue.sendAll(payments.map(({ payment }) => payment));
    yield { through, read: events.length, queued: payments.length, unusable, payments };
  }
}

/** The payment of an event. One that cannot be read holds no other one up; the operator gets an alarm. */
async function paymentOf(
  deps: RecoveryDeps,
  event: Stripe.Event,
  account: string | undefined,
): Promise<PaymentReported | 'unusable' | undefined> {
  try {
    const parsed = await translateListedEvent(deps, event, account);
    return 'payment' in parsed ? parsed.payment : undefined;
  } catch (error) {
    if (!hasCode(error, 'unsupported_event_format')) throw error;
    log.warn('Event cannot be read', { event: event.id, type: event.type });
    reportOperatorError('An event of Stripe cannot be read', error);
    return 'unusable';
  }
}
