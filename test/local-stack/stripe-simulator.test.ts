import { createServer } from 'node:http';
import { join } from 'node:path';
import { Stripe } from 'stripe';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { closeServer, listen } from '../../infra/local/ports.ts';
import type { StripeEvent } from '../../infra/local/stripe/event-log.ts';
import type { FaultEffect } from '../../infra/local/stripe/faults.ts';
import { type StripeSimulator, startStripeSimulator } from '../../infra/local/stripe/simulator.ts';
import { charge, dispute, intent, refund, session, snapshot } from '../unit/stripe.ts';
import { temporaryDirectory } from './local-assembly.ts';

const now = 1_790_000_000;
const day = 86_400;
let stripe: StripeSimulator;

beforeEach(async () => {
  stripe = await startStripeSimulator({ now: () => now * 1000 });
});
afterEach(() => stripe.close());

/** The official client, with the restricted key of test mode. */
function client(options: { key?: string; live?: boolean } = {}): Stripe {
  const { live = false } = options;
  const { hostname, port } = new URL(stripe.url);
  const restricted = stripe.control.keys().find((it) => it.livemode === live && it.permissions);
  return new Stripe(options.key ?? (restricted?.key as string), {
    host: hostname,
    port,
    protocol: 'http',
    maxNetworkRetries: 0,
    telemetry: false,
  });
}

function event(number: number, change: Partial<StripeEvent> = {}): StripeEvent {
  const { object, ...rest } = { object: intent({ id: `pi_${number}` }), ...change };
  return {
    ...snapshot('payment_intent.succeeded', object, { id: `evt_${number}`, created: now - 1000 + number }),
    ...rest,
  } as StripeEvent;
}
const numbered = (count: number, change: (number: number) => Partial<StripeEvent> = () => ({})) =>
  Array.from({ length: count }, (_, index) => event(index + 1, change(index + 1)));
const idsOf = ({ data }: { data: { id: string }[] }) => data.map(({ id }) => id);
const ids = (...numbers: number[]) => numbers.map((number) => `evt_${number}`);

describe('the list of events', () => {
  it('lists the newest ten events first, and whether there are more', async () => {
    stripe.control.register(...numbered(12));
    const page = await client().events.list();
    expect(idsOf(page)).toEqual(ids(12, 11, 10, 9, 8, 7, 6, 5, 4, 3));
    expect(page).toMatchObject({ object: 'list', has_more: true, url: '/v1/events' });
    expect((await client().events.list({ limit: 12 })).has_more).toBe(false);
    expect(page.lastResponse.requestId).toMatch(/^req_\w{14}$/);
  });

  it('orders events by time, and those of one second as they were registered', async () => {
    const times = [5, 9, 5, 1, 7, 5];
    stripe.control.register(...times.map((time, index) => event(index + 1, { created: now - 100 + time })));
    expect(idsOf(await client().events.list())).toEqual(ids(2, 5, 6, 3, 1, 4));
  });

  const at = (number: number) => now - 1000 + number;
  it.each<[string, Stripe.EventListParams, number[]]>([
    ['gt', { created: { gt: at(3) } }, [6, 5, 4]],
    ['gte', { created: { gte: at(3) } }, [6, 5, 4, 3]],
    ['lt', { created: { lt: at(3) } }, [2, 1]],
    ['lte', { created: { lte: at(3) } }, [3, 2, 1]],
    ['a range', { created: { gte: at(2), lt: at(5) } }, [4, 3, 2]],
    ['a second', { created: at(3) }, [3]],
    ['nothing', { created: { gt: at(6) } }, []],
    ['a type', { type: 'charge.refunded' }, [4, 2]],
    ['a group of types', { type: 'charge.*' }, [6, 4, 2]],
    ['types', { types: ['charge.refunded', 'charge.expired'] }, [6, 4, 2]],
    ['types in a range', { types: ['charge.refunded'], created: { lt: at(4) } }, [2]],
    ['a cursor', { starting_after: 'evt_4', limit: 2 }, [3, 2]],
    ['a cursor back', { ending_before: 'evt_2', limit: 2 }, [4, 3]],
  ])('filters events by %s', async (_, filter, expected) => {
    const types: Record<number, string> = { 2: 'charge.refunded', 4: 'charge.refunded', 6: 'charge.expired' };
    stripe.control.register(
      ...numbered(6, (number) => ({ type: types[number] ?? 'payment_intent.succeeded' })),
    );
    expect(idsOf(await client().events.list(filter))).toEqual(ids(...expected));
  });

  it('pages through 250 events in both directions without a gap or a repetition', async () => {
    stripe.control.register(...numbered(250));
    const all = ids(...Array.from({ length: 250 }, (_, index) => 250 - index));
    const older: string[] = [];
    for await (const { id } of client().events.list({ limit: 100 })) older.push(id);
    expect(older).toEqual(all);
    expect(stripe.control.calls()).toHaveLength(3);
    const newer: string[] = [];
    for await (const { id } of client().events.list({ limit: 100, ending_before: 'evt_1' })) newer.push(id);
    expect(newer.toReversed()).toEqual(all.slice(0, -1));
  });

  it('pages on where it was when new events arrive in between', async () => {
    stripe.control.register(...numbered(4));
    const first = await client().events.list({ limit: 2 });
    stripe.control.register(event(5));
    const rest = await client().events.list({ limit: 2, starting_after: first.data[1]?.id as string });
    expect([...idsOf(first), ...idsOf(rest)]).toEqual(ids(4, 3, 2, 1));
  });

  it('lists and retrieves only events of the last 30 days', async () => {
    stripe.control.register(event(1, { created: now - 30 * day - 1 }), event(2, { created: now - 30 * day }));
    expect(idsOf(await client().events.list())).toEqual(ids(2));
    const missing = { code: 'resource_missing', statusCode: 404 };
    await expect(client().events.retrieve('evt_1')).rejects.toMatchObject(missing);
    await expect(client().events.list({ starting_after: 'evt_1' })).rejects.toMatchObject({
      code: 'resource_missing',
      statusCode: 400,
      param: 'starting_after',
    });
    expect((await client().paymentIntents.retrieve('pi_1')).id).toBe('pi_1');
  });

  it.each<[string, object, string]>([
    ['a limit of 0', { limit: 0 }, 'parameter_invalid_integer'],
    ['a limit of 101', { limit: 101 }, 'parameter_invalid_integer'],
    ['a time that is no number', { created: { gte: 'today' } }, 'parameter_invalid_integer'],
    ['21 types', { types: Array.from({ length: 21 }, (_, index) => `type.${index}`) }, 'array_too_long'],
    ['type and types', { type: 'a', types: ['b'] }, 'parameters_exclusive'],
    ['both cursors', { starting_after: 'evt_1', ending_before: 'evt_1' }, 'parameters_exclusive'],
    ['an unknown parameter', { since: 1 }, 'parameter_unknown'],
  ])('refuses %s', async (_, filter, code) => {
    stripe.control.register(event(1));
    const refused = client().events.list(filter);
    await expect(refused).rejects.toThrow(Stripe.errors.StripeInvalidRequestError);
    await expect(refused).rejects.toMatchObject({ code, statusCode: 400 });
  });

  it('answers pages of 100,000 events within milliseconds', async () => {
    stripe.control.register(...numbered(100_000, (number) => ({ created: now - 100_000 + (number ^ 1) })));
    await client().events.list();
    const startedAt = performance.now();
    for (let call = 0; call < 20; call++) {
      const page = await client().events.list({ limit: 100, created: { lt: now - call * 4000 } });
      expect(page.data).toHaveLength(100);
    }
    // Sorting all at each call would take seconds.
    expect(performance.now() - startedAt).toBeLessThan(2000);
  });
});

describe('accounts, modes and keys', () => {
  it('shows events and objects of a connected account only to calls for that account', async () => {
    stripe.control.register(event(1), event(2, { account: 'acct_1' }));
    const ofAccount = { stripeAccount: 'acct_1' };
    expect(idsOf(await client().events.list())).toEqual(ids(1));
    expect(idsOf(await client().events.list({}, ofAccount))).toEqual(ids(2));
    expect(idsOf(await client().events.list({}, { stripeAccount: 'acct_2' }))).toEqual([]);
    expect((await client().paymentIntents.retrieve('pi_2', {}, ofAccount)).id).toBe('pi_2');
    for (const id of ['evt_2', 'pi_2']) {
      const { events, paymentIntents } = client();
      const call = id.startsWith('evt') ? events.retrieve(id) : paymentIntents.retrieve(id);
      await expect(call).rejects.toMatchObject({ statusCode: 404 });
    }
    expect(stripe.control.calls().map(({ account }) => account)).toEqual([
      '',
      'acct_1',
      'acct_2',
      'acct_1',
      '',
      '',
    ]);
  });

  it('shows the account of a listed event only after a switch', async () => {
    stripe.control.register(event(1, { account: 'acct_1' }));
    const account = async () =>
      (await client().events.list({}, { stripeAccount: 'acct_1' })).data[0]?.account;
    expect(await account()).toBeUndefined();
    stripe.control.setSwitch('listedAccount', 'shown');
    expect(await account()).toBe('acct_1');
  });

  it('shows a test key only events of test mode, and a live key only live ones', async () => {
    stripe.control.register(event(1), event(2, { livemode: true }));
    expect(idsOf(await client().events.list())).toEqual(ids(1));
    expect(idsOf(await client({ live: true }).events.list())).toEqual(ids(2));
    await expect(client().events.retrieve('evt_2')).rejects.toMatchObject({ code: 'resource_missing' });
  });

  it('refuses an unknown key, and masks it', async () => {
    const key = 'rk_test_0123456789abcdefgh';
    const refused = client({ key }).events.list();
    await expect(refused).rejects.toThrow(Stripe.errors.StripeAuthenticationError);
    await expect(refused).rejects.toThrow(/^Invalid API Key provided: rk_test_\*{14}efgh$/);
    expect((await fetch(`${stripe.url}/v1/events`)).status).toBe(401);
  });

  it('refuses a restricted key without the permission, and names the permission', async () => {
    stripe.control.register(event(1));
    const { key } = stripe.control.createKey({ livemode: false, permissions: ['payment_intent_read'] });
    const refused = client({ key }).events.list();
    await expect(refused).rejects.toThrow(Stripe.errors.StripePermissionError);
    await expect(refused).rejects.toMatchObject({
      rawType: 'invalid_request_error',
      code: 'more_permissions_required',
      message: expect.stringContaining('rak_event_read'),
    });
    expect((await client({ key }).paymentIntents.retrieve('pi_1')).id).toBe('pi_1');
  });

  it('lets a secret key read everything', async () => {
    stripe.control.register(event(1));
    const { key } = stripe.control.createKey({ livemode: false });
    expect(key).toMatch(/^sk_test_\w{40}$/);
    expect(idsOf(await client({ key }).events.list())).toEqual(ids(1));
  });

  it('makes other keys at each start, and keeps keys and events in its state file', async () => {
    const stateFile = join(temporaryDirectory(), 'stripe.json');
    const start = () => startStripeSimulator({ now: () => now * 1000, stateFile });
    const first = await start();
    first.control.register(event(1));
    const keys = first.control.keys();
    await first.close();
    await stripe.close();
    stripe = await start();
    expect(stripe.control.keys()).toEqual(keys);
    expect(idsOf(await client().events.list())).toEqual(ids(1));
    const other = await startStripeSimulator();
    onTestFinished(() => other.close());
    expect(other.control.keys().map(({ key }) => key)).not.toEqual(keys.map(({ key }) => key));
  });
});

describe('objects', () => {
  it('retrieves an object of each type in its newest state', async () => {
    const objects = [
      intent({ id: 'pi_1', amount: 1 }),
      session({ id: 'cs_1' }),
      charge({ id: 'ch_1' }),
      refund({ id: 're_1' }),
      dispute({ id: 'dp_1' }),
      { id: 'in_1', object: 'invoice' },
      intent({ id: 'pi_1', amount: 3 }),
    ];
    stripe.control.register(...objects.map((object, index) => event(index + 1, { object })));
    // An older state that is registered late.
    stripe.control.register(event(0, { object: intent({ id: 'pi_1', amount: 2 }) }));
    const api = client();
    expect(await api.paymentIntents.retrieve('pi_1')).toMatchObject({ amount: 3 });
    expect(await api.checkout.sessions.retrieve('cs_1')).toMatchObject({
      id: 'cs_1',
      payment_status: 'paid',
    });
    expect(await api.charges.retrieve('ch_1')).toMatchObject({ id: 'ch_1', amount_refunded: 9000 });
    expect(await api.refunds.retrieve('re_1')).toMatchObject({ id: 're_1', amount: 4000 });
    expect(await api.disputes.retrieve('dp_1')).toMatchObject({ id: 'dp_1', amount: 9000 });
    expect(await api.invoices.retrieve('in_1')).toMatchObject({ object: 'invoice' });
    await expect(api.charges.retrieve('pi_1')).rejects.toMatchObject({
      code: 'resource_missing',
      statusCode: 404,
      requestId: expect.stringMatching(/^req_/),
    });
  });

  it('refuses an event that no list could show, and other addresses', async () => {
    expect(() => stripe.control.register({ id: 'evt_1' } as StripeEvent)).toThrow(/An event needs id, type/);
    await expect(client().customers.list()).rejects.toMatchObject({
      statusCode: 404,
      type: 'StripeInvalidRequestError',
    });
  });
});

describe('faults', () => {
  it.each<[string, FaultEffect, unknown]>([
    ['429', { status: 429, retryAfter: 7 }, Stripe.errors.StripeRateLimitError],
    ['500', { status: 500 }, Stripe.errors.StripeAPIError],
    ['a text that is no JSON', { status: 200, body: '{"object":' }, Stripe.errors.StripeAPIError],
  ])('answers the next two calls with %s, then as usual', async (_, how, expected) => {
    stripe.control.register(event(1));
    stripe.control.fail({ on: 'events.list', times: 2, how });
    for (let call = 0; call < 2; call++) {
      await expect(client().events.list()).rejects.toThrow(expected as ErrorConstructor);
    }
    expect(idsOf(await client().events.list())).toEqual(ids(1));
  });

  it('cuts the connection of the next calls without an answer', async () => {
    stripe.control.fail({ on: 'events.list', times: 2, how: { reset: true } });
    // The client tries a lost connection once more by itself.
    await expect(client().events.list()).rejects.toThrow(Stripe.errors.StripeConnectionError);
    await client().events.list();
    expect(stripe.control.calls().map(({ status }) => status)).toEqual([0, 0, 200]);
  });

  it('says in its rate limit error when to call again', async () => {
    stripe.control.fail({ on: '*', how: { status: 429, retryAfter: 7 } });
    await expect(client().events.list()).rejects.toMatchObject({
      code: 'rate_limit',
      headers: { 'retry-after': '7' },
    });
  });

  it('answers slowly, fails by probability and after some calls, and stops on request', async () => {
    stripe.control.fail({ on: 'events', how: { delayMs: 200 } });
    const startedAt = performance.now();
    await client().events.list();
    expect(performance.now() - startedAt).toBeGreaterThan(190);

    stripe.control.fail({ on: 'events', after: 1, how: { status: 500 } });
    await client().events.list();
    await expect(client().events.list()).rejects.toMatchObject({ statusCode: 500 });

    stripe.control.fail({ on: 'events', probability: 0.5, how: { status: 500 } });
    stripe.control.clearCalls();
    await Promise.allSettled(Array.from({ length: 100 }, () => client().events.list()));
    const failed = stripe.control.calls().filter(({ status }) => status === 500).length;
    expect(failed).toBeGreaterThan(20);
    expect(failed).toBeLessThan(80);
    stripe.control.clearFaults();
    expect((await client().events.list()).data).toEqual([]);
  });

  it('refuses a fault of an unknown route or without an effect', () => {
    expect(() => stripe.control.fail({ on: 'refunds' as '*', how: { status: 500 } })).toThrow(
      /events\.list, events\.retrieve/,
    );
    expect(() => stripe.control.fail({ on: '*', how: {} as never })).toThrow(/`how`/);
  });

  it('records calls with their query, and no keys', async () => {
    const key = stripe.control.keys()[0]?.key as string;
    await client().events.list({ limit: 3 });
    await client()
      .events.retrieve(key)
      .catch(() => {});
    await client()
      .events.list({ starting_after: key })
      .catch(() => {});
    expect(stripe.control.calls()).toMatchObject([
      { route: 'events.list', method: 'GET', path: '/v1/events', query: '?limit=3', status: 200 },
      { route: 'events.retrieve', path: '/v1/events/[key]', status: 404 },
      { route: 'events.list', query: '?starting_after=[key]', status: 400 },
    ]);
    expect(JSON.stringify(stripe.control.calls())).not.toContain(key);
  });
});

describe('webhooks', () => {
  const signingSecret = 'whsec_0123456789abcdef';
  let received: { body: string; signature: string }[];
  let url: string;
  beforeEach(async () => {
    received = [];
    const server = createServer(async (request, response) => {
      const body = (await request.toArray()).join('');
      received.push({ body, signature: String(request.headers['stripe-signature']) });
      response.writeHead(202).end('{"received":true}');
    });
    url = `http://127.0.0.1:${await listen(server, 0)}/webhooks/stripe`;
    onTestFinished(() => closeServer(server));
  });
  const at = () => now * 1000;
  const post = (path: string, body: object) =>
    fetch(`${stripe.url}/_simulator${path}`, { method: 'POST', body: JSON.stringify(body) });

  it('delivers an event with a signature that the official client accepts', async () => {
    const sent = event(1, { account: 'acct_1' });
    expect(await stripe.control.deliver(sent, { url, signingSecret })).toEqual({
      status: 202,
      body: '{"received":true}',
    });
    const [{ body, signature }] = received as [(typeof received)[0]];
    expect(
      client().webhooks.constructEvent(body, signature, signingSecret, 0, undefined, at()),
    ).toMatchObject({ id: 'evt_1', account: 'acct_1' });
    expect(() =>
      client().webhooks.constructEvent(body, signature, 'whsec_other_0123456789', 0, undefined, at()),
    ).toThrow(Stripe.errors.StripeSignatureVerificationError);
  });

  it('delivers a thin event whose object the official client fetches', async () => {
    const sent = event(1, { type: 'checkout.session.completed', object: session({ id: 'cs_1' }) });
    await stripe.control.deliver(sent, { url, signingSecret, form: 'thin' });
    const [{ body, signature }] = received as [(typeof received)[0]];
    const thin = client().parseEventNotification(
      body,
      signature,
      signingSecret,
      undefined,
      undefined,
      at(),
    ) as unknown as { type: string; snapshot_event: string; fetchRelatedObject(): Promise<unknown> };
    expect(thin).toMatchObject({ type: 'v1.checkout.session.completed', snapshot_event: 'evt_1' });
    expect(await thin.fetchRelatedObject()).toMatchObject({ id: 'cs_1', object: 'checkout.session' });
  });

  it('lists an event whose webhook is dropped or has no answer, and delivers it again', async () => {
    stripe.control.setSwitch('dropWebhooks', true);
    expect(await stripe.control.deliver(event(1), { url, signingSecret })).toBeUndefined();
    expect(received).toEqual([]);
    stripe.control.setSwitch('dropWebhooks', false);
    const nowhere = { url: 'http://127.0.0.1:1', signingSecret };
    expect(await stripe.control.deliver(event(2), nowhere)).toEqual({ status: 0, body: '' });
    expect(idsOf(await client().events.list())).toEqual(ids(2, 1));
    await stripe.control.deliver(event(1), { url, signingSecret });
    expect(received).toHaveLength(1);
    expect(idsOf(await client().events.list())).toEqual(ids(2, 1));
  });

  it('is controlled over HTTP too', async () => {
    expect((await post('/events', { events: [event(1)] })).status).toBe(201);
    const delivered = await post('/webhooks', { event: event(2), to: { url, signingSecret } });
    expect(await delivered.json()).toEqual({ answer: { status: 202, body: '{"received":true}' } });
    await fetch(`${stripe.url}/_simulator/switches`, {
      method: 'PATCH',
      body: JSON.stringify({ dropWebhooks: true }),
    });
    const dropped = await post('/webhooks', { event: event(3), to: { url, signingSecret } });
    expect(await dropped.json()).toEqual({ answer: null });

    const { key } = (await (await post('/keys', { livemode: false, permissions: [] })).json()) as {
      key: string;
    };
    await expect(client({ key }).events.list()).rejects.toMatchObject({ statusCode: 403 });
    await post('/faults', { on: '*', how: { status: 500 } });
    await expect(client().events.list()).rejects.toMatchObject({ statusCode: 500 });
    expect(idsOf(await client().events.list())).toEqual(ids(3, 2, 1));
    const { calls } = (await (await fetch(`${stripe.url}/_simulator/calls`)).json()) as {
      calls: { status: number }[];
    };
    expect(calls.map(({ status }) => status)).toEqual([403, 500, 200]);
    expect((await post('/faults', { on: 'nothing' })).status).toBe(400);
  });
});
