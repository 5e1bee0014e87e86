/**
 * A sweep over many events of Stripe, one in a hundred of them ours. More of them:
 * `RECOVERY_EVENTS=100000 npx vitest run test/integration/recovery-at-scale.test.ts`.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, expect, it } from 'vitest';
import { recoverEvents } from '../../functions/payment-recovery/recover.ts';
import type { StripeEvent } from '../../infra/local/stripe/event-log.ts';
import { type StripeSimulator, startStripeSimulator } from '../../infra/local/stripe/simulator.ts';
import type { PaymentReported } from '../../shared/booking/queue.ts';
import { cachedSecret } from '../fakes/secret.ts';
import { intent, metadata, snapshot } from '../unit/stripe.ts';

const most = Number(process.env.RECOVERY_EVENTS ?? 4000);
const timeout = 60_000 + most * 5;
const now = Math.floor(Date.parse('2026-11-23T09:00:00Z') / 1000);
const day = 86_400;
/** Events on a page of Stripe's list. */
const page = 100;

let stripe: StripeSimulator;
afterEach(() => stripe?.close());

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
function heapMb(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed / 1024 ** 2;
}

/** Sweeps a day with so many events. Heap: what the sweep holds at most, after each window. */
async function sweep(count: number): Promise<{ calls: number; queued: number; heap: number }> {
  stripe = await startStripeSimulator({ now: () => now * 1000 });
  for (let number = 0; number < count; number++) {
    const isOurs = number % 100 === 0;
    const ours = { ...metadata, booking_id: `b${number}` };
    const object = intent({ id: `pi_${number}`, metadata: isOurs ? ours : {} });
    const created = now - day + Math.floor((number * day) / count);
    const event = snapshot('payment_intent.succeeded', object, { id: `evt_${number}`, created });
    stripe.control.register(event as StripeEvent);
  }
  const key = stripe.control.keys().find(({ livemode, permissions }) => !livemode && permissions)?.key ?? '';
  let queued = 0;
  const deps = {
    stripeKeys: cachedSecret({ test: key }),
    stripeApi: { fetch, baseUrl: stripe.url },
    stripeMode: 'both' as const,
    invoicesPaidOutOfBand: 'ignore' as const,
    queue: {
      async sendAll(messages: PaymentReported[]) {
        queued += messages.length;
      },
    },
  };
  const before = heapMb();
  let heap = 0;
  for await (const { read } of recoverEvents(deps, key, { from: now - day, to: now })) {
    expect(read).toBeLessThanOrEqual(1000);
    heap = Math.max(heap, heapMb() - before);
  }
  const calls = stripe.control.calls().length;
  await stripe.close();
  return { calls, queued, heap };
}

it('reads many events with calls in proportion to their pages, and holds no more than a few', {
  timeout,
}, async () => {
  const few = await sweep(most / 10);
  const many = await sweep(most);
  expect([few.queued, many.queued]).toEqual([most / 1000, most / 100]);
  expect(many.calls / (most / page)).toBeLessThan(3);
  // The journal of the simulator's calls grows too.
  expect(many.heap).toBeLessThan(few.heap + 20);
  if (process.env.RECOVERY_EVENTS) {
    console.log(
      `${most} events: ${many.calls} calls for ${most / page} pages, ${many.queued} queued, heap +${many.heap.toFixed(1)} MB; ${most / 10} events: ${few.calls} calls, heap +${few.heap.toFixed(1)} MB`,
    );
  }
});
