import { createServer } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { acceptStripeEvent } from '../../functions/stripe-events/accept-event.ts';
import { closeServer, listen } from '../../infra/local/ports.ts';
import type { StripeMode } from '../../shared/lib/config.ts';
import type { StripeKeys } from '../../shared/payments/stripe/api-keys.ts';
import { parseStripeEvent } from '../../shared/payments/stripe/events.ts';
import { type RecordedQueue, recordedQueue } from '../fakes/queue.ts';
import { cachedSecret } from '../fakes/secret.ts';
import { stripeSettings } from '../fixtures/stripe-settings.ts';
import { logged } from '../support/setup.ts';
import { charge, intent, session, snapshot, thin } from './stripe.ts';

const source = 'aws.partner/stripe.com/ed_1';
const apiKey = 'rk_test_0123456789abcdef';

/** Stripe's API: answers a payment intent, and records the keys. */
const keys: (string | undefined)[] = [];
const server = createServer((request, response) => {
  keys.push(request.headers.authorization);
  response.writeHead(200, { connection: 'close' }).end(JSON.stringify(intent()));
});
let baseUrl: string;
beforeAll(async () => {
  baseUrl = `http://127.0.0.1:${await listen(server, 0)}`;
});
afterAll(() => closeServer(server));

let queue: RecordedQueue;
let stripeKeys: StripeKeys;
beforeEach(() => {
  queue = recordedQueue();
  stripeKeys = {};
  keys.length = 0;
  logged.length = 0;
});

const envelope = (detail: unknown, change: object = {}) =>
  JSON.stringify({
    version: '0',
    id: '17793124-05d4-b198-2fde-7ededc63b103',
    'detail-type': 'checkout.session.completed',
    source,
    account: '111122223333',
    time: '2026-11-23T08:00:00Z',
    region: 'eu-central-1',
    resources: [],
    detail,
    ...change,
  });
const accept = (body: string, stripeMode: StripeMode = 'both', stripeConnect = false) =>
  acceptStripeEvent(
    {
      source,
      queue,
      stripeMode,
      stripeConnect,
      invoicesPaidOutOfBand: 'ignore',
      stripeKeys: cachedSecret(stripeKeys),
      stripeApi: { fetch, baseUrl },
    },
    body,
  );
const lines = () => logged.map((line) => JSON.parse(line));
const operatorErrors = () => lines().filter((line) => 'OperatorError' in line).length;
const paid = snapshot('checkout.session.completed', session());
const unusable = expect.objectContaining({ code: 'unsupported_event_format' });

describe('an event of the partner bus', () => {
  it('queues the same message as the webhook does', async () => {
    await accept(envelope(paid));
    const parsed = await parseStripeEvent(paid, stripeSettings, async () => ({}));
    expect(queue.messages).toEqual([(parsed as { payment: unknown }).payment]);
    expect(logged.join()).not.toContain('First meeting');
  });

  it.each<[string, object, StripeMode]>([
    ['an irrelevant type', snapshot('charge.succeeded', charge()), 'both'],
    ['the other mode', paid, 'live'],
    ['a connected account', { ...paid, account: 'acct_1' }, 'both'],
  ])('ignores an event of %s, and says why', async (_, event, mode) => {
    await accept(envelope(event), mode);
    expect(queue.messages).toEqual([]);
    expect(lines().filter((line) => 'WebhookIgnored' in line)).toHaveLength(1);
    expect(operatorErrors()).toBe(0);
  });

  it.each([
    ['another partner', envelope(paid, { source: 'aws.partner/stripe.com/ed_2' })],
    ['a longer source', envelope(paid, { source: `${source}0` })],
    ['no source', envelope(paid, { source: undefined })],
    ['no envelope', JSON.stringify(paid)],
    ['no JSON', 'x'],
    ['no detail', envelope(undefined)],
    ['an object without its fields', envelope(snapshot('charge.refunded', { id: 'ch_1' }))],
  ])('refuses %s with an operator error, and queues nothing', async (_, body) => {
    await expect(accept(body)).rejects.toThrow(unusable);
    expect(queue.messages).toEqual([]);
    expect(operatorErrors()).toBe(1);
  });

  it('throws while the queue is unavailable, so that the event comes again', async () => {
    queue.unavailable = true;
    await expect(accept(envelope(paid))).rejects.toThrow();
    expect(operatorErrors()).toBe(0);
  });
});

describe('a thin event of the partner bus', () => {
  const event = envelope(thin('v1.payment_intent.succeeded', '/v1/payment_intents/pi_1'));

  it('fetches its object with the API key', async () => {
    stripeKeys = { test: apiKey };
    await accept(event);
    expect(keys).toEqual([`Bearer ${apiKey}`]);
    expect(queue.messages).toEqual([expect.objectContaining({ paymentId: 'pi_1' })]);
  });

  it('is an operator error without an API key', async () => {
    await expect(accept(event)).rejects.toThrow(unusable);
    expect(keys).toEqual([]);
    expect(operatorErrors()).toBe(1);
  });
});
