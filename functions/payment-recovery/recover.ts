import type Stripe from 'stripe';
import type { PaymentQueue, PaymentReported } from '../../shared/booking/queue.ts';
import { AppError, hasCode } from '../../shared/lib/app-error.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import type { InvoicesPaidOutOfBand, StripeMode } from '../../shared/lib/config.ts';
import { log, metric, reportOperatorError } from '../../shared/lib/observability.ts';
import type { StripeKeys } from '../../shared/payments/stripe/api-keys.ts';
import { parseStripeEvent } from '../../shared/payments/stripe/events.ts';
import { type FetchDeps, fetchEventObject } from '../../shared/payments/stripe/fetch-event-object.ts';
import { listEvents, stripeClient } from '../../shared/payments/stripe/list-events.ts';
import type { RecoveryProgress } from './progress.ts';

type RecoveryDeps = FetchDeps & {
  queue: Pick<PaymentQueue, 'sendAll'>;
  stripeMode: StripeMode;
  invoicesPaidOutOfBand: InvoicesPaidOutOfBand;
};

/** A window whose payments are in the queue. `read`, `queued` and `unusable` count its events. */
export type Recovered = { through: number; read: number; queued: number; unusable: number };

/** Seconds. Events that are swept again: Stripe does not say when an event is listed. */
const overlap = 2 * 3600;
/** A webhook delivers an event before recovery looks for it. */
const grace = 5 * 60;
const firstSweep = 24 * 3600;
/** Stripe lists the events of 30 days. */
export const oldestEvent = 30 * 86_400;

type SweepDeps = RecoveryDeps & {
  progress: RecoveryProgress;
  clock: Clock;
  /** Whether there is time for another window. */
  timeLeft: () => boolean;
};

/**
 * Queues the payments of Stripe's events since the last sweep. What a webhook has delivered already changes nothing. A run
 * that ends early goes on from its last window.
 */
export async function sweepEvents(deps: SweepDeps): Promise<{ read: number; queued: number }> {
  const sum = { read: 0, queued: 0 };
  try {
    for (const [mode, key] of servedKeys(await deps.stripeKeys.get(), deps.stripeMode))
      await sweepMode(deps, mode, key, sum);
  } catch (error) {
    if (hasCode(error, 'not_configured')) reportOperatorError('Missed payments cannot be recovered', error);
    throw error;
  } finally {
    metric('EventsSwept', sum.read);
  }
  return sum;
}

async function sweepMode(
  deps: SweepDeps,
  mode: 'live' | 'test',
  key: string,
  sum: { read: number; queued: number },
): Promise<void> {
  const now = deps.clock();
  const through = (await deps.progress.get(mode)) ?? now - firstSweep;
  const from = Math.max(through - overlap, now - oldestEvent);
  for await (const window of recoverEvents(deps, key, { from, to: now - grace })) {
    sum.read += window.read;
    sum.queued += window.queued;
    await deps.progress.advance(mode, window.through);
    if (!deps.timeLeft()) return;
  }
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

/** Queues the payments of Stripe's events in a time (epoch seconds), and says so after each window. */
export async function* recoverEvents(
  deps: RecoveryDeps,
  key: string,
  time: { from: number; to: number },
): AsyncGenerator<Recovered> {
  const stripe = stripeClient(key, deps.stripeApi.baseUrl);
  for await (const { through, events } of listEvents(stripe, time)) {
    const payments: PaymentReported[] = [];
    let unusable = 0;
    for (const event of events) {
      const payment = await paymentOf(deps, event);
      if (payment === 'unusable') unusable++;
      else if (payment) payments.push({ ...payment, recovered: true });
    }
    await deps.queue.sendAll(payments);
    yield { through, read: events.length, queued: payments.length, unusable };
  }
}

/** The payment of an event. One that cannot be read holds no other one up; the operator gets an alarm. */
async function paymentOf(
  deps: RecoveryDeps,
  event: Stripe.Event,
): Promise<PaymentReported | 'unusable' | undefined> {
  try {
    const parsed = await parseStripeEvent(
      event,
      deps.stripeMode,
      (reference) => fetchEventObject(deps, reference),
      deps.invoicesPaidOutOfBand,
    );
    return 'payment' in parsed ? parsed.payment : undefined;
  } catch (error) {
    if (!hasCode(error, 'unsupported_event_format')) throw error;
    log.warn('Event cannot be read', { event: event.id, type: event.type });
    reportOperatorError('An event of Stripe cannot be read', error);
    return 'unusable';
  }
}
