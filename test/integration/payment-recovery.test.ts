import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseBookingMessage } from '../../functions/booking-sync/read-message.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { bindAccount } from '../../functions/bookings/payment-accounts.ts';
import { type EventScope, recoveryProgress } from '../../functions/payment-recovery/progress.ts';
import { sweepEvents } from '../../functions/payment-recovery/recover.ts';
import type { StripeEvent } from '../../infra/local/stripe/event-log.ts';
import type { FaultEffect } from '../../infra/local/stripe/faults.ts';
import { type StripeSimulator, startStripeSimulator } from '../../infra/local/stripe/simulator.ts';
import type { Finding } from '../../shared/booking/findings.ts';
import { paymentAccountStore } from '../../shared/booking/payment-accounts.ts';
import { readPointer } from '../../shared/booking/payment-pointers.ts';
import type { PaymentReported } from '../../shared/booking/queue.ts';
import type { StripeMode } from '../../shared/lib/config.ts';
import type { StripeKeys } from '../../shared/payments/stripe/api-keys.ts';
import { parseStripeEvent } from '../../shared/payments/stripe/events.ts';
import { objectParsers } from '../../shared/payments/stripe/object-parsers.ts';
import { queuedText } from '../fakes/queue.ts';
import { cachedSecret } from '../fakes/secret.ts';
import { stripeSettings } from '../fixtures/stripe-settings.ts';
import { logged } from '../support/setup.ts';
import { charge, intent, snapshot } from '../unit/stripe.ts';
import { indexShards, startWorld, type World } from './world.ts';

const hour = 3600;
const day = 24 * hour;
let world: World;
let stripe: StripeSimulator;
let keys: StripeKeys;
let stripeMode: StripeMode;
let found: Finding[];
beforeEach(async () => {
  world = await startWorld();
  stripe = await startStripeSimulator({ now: () => world.time.now * 1000 });
  await world.connect('user-1');
  keys = { test: restrictedKey(false) };
  stripeMode = 'both';
  logged.length = 0;
  found = [];
});
afterEach(async () => {
  await stripe.close();
  await world.close();
});

function restrictedKey(livemode: boolean): string {
  const key = stripe.control.keys().find((it) => it.livemode === livemode && it.permissions);
  return key?.key as string;
}
const progressOf = () => recoveryProgress(world.dynamo, world.tableNames.bookings);
const deps = (change: Partial<Parameters<typeof sweepEvents>[0]> = {}) => ({
  stripeKeys: cachedSecret(keys),
  stripeApi: { fetch, baseUrl: stripe.url },
  stripeMode,
  invoicesPaidOutOfBand: 'ignore' as const,
  queue: world.queue,
  progress: progressOf(),
  clock: () => world.time.now,
  random: () => 0,
  pointer: (paymentId: string) => readPointer(world.dynamo, world.tableNames.bookings, paymentId),
  found: async (finding: Finding) => void found.push(finding),
  timeLeft: () => true,
  ...change,
});
const sweep = (change: Parameters<typeof deps>[0] = {}) => sweepEvents(deps(change));

/** An event that happened this many seconds ago. */
function event(number: number, ago: number, type = 'payment_intent.succeeded', object?: object): StripeEvent {
  const at = (seconds: number) =>
    `${new Date((world.time.now + seconds) * 1000).toISOString().slice(0, 19)}Z`;
  const metadata = {
    booking_id: `b${number}`,
    user_id: 'user-1',
    summary: `Meeting ${number}`,
    start: at(day + number * 7200),
    end: at(day + number * 7200 + hour),
  };
  const change = { id: `evt_${number}_${type.replace(/\W/g, '_')}`, created: world.time.now - ago };
  return snapshot(type, object ?? intent({ id: `pi_${number}`, metadata }), change) as StripeEvent;
}

/** Syncs what is in the queue. */
async function work(): Promise<void> {
  for (const message of world.queue.messages.splice(0))
    await syncBooking(world.deps, parseBookingMessage(queuedText(message)) as PaymentReported);
}
async function deliver(it: StripeEvent): Promise<void> {
  const parsed = await parseStripeEvent(it, stripeSettings, async () => ({}));
  world.queue.messages.push((parsed as { payment: PaymentReported }).payment);
  await work();
}
const statusOf = async (id: string) => (await world.booking(id))?.status;
const metrics = (name: string) => {
  const values = logged.map((line) => JSON.parse(line)).filter((line) => name in line);
  return values.reduce((sum, line) => sum + line[name], 0);
};
const reported = () => logged.map((line) => JSON.parse(line)).filter(({ level }) => level === 'ERROR');

describe('a payment whose webhook was lost', () => {
  it('is found, and its event created', async () => {
    stripe.control.register(event(1, hour));
    expect(await sweep()).toEqual({ read: 1, queued: 1 });
    await work();
    expect(await statusOf('b1')).toBe('scheduled');
    expect((await world.booking('b1'))?.payments).toMatchObject({ pi_1: { recovered: true } });
    expect(metrics('PaymentsRecovered')).toBe(1);
  });

  it('changes nothing when it is found again, and is counted once', async () => {
    stripe.control.register(event(1, hour));
    await sweep();
    await work();
    const before = await world.booking('b1');
    await sweep();
    await work();
    expect(await world.booking('b1')).toEqual(before);
    expect(world.events()).toHaveLength(1);
    expect(metrics('PaymentsRecovered')).toBe(1);
  });

  it('is found by its refund too, which cancels the event', async () => {
    await deliver(event(1, 2 * hour));
    stripe.control.register(event(1, hour, 'charge.refunded', charge({ payment_intent: 'pi_1' })));
    await sweep();
    await work();
    expect(await statusOf('b1')).toBe('cancelled');
    expect((await world.booking('b1'))?.payments.pi_1).not.toHaveProperty('recovered');
    expect(metrics('PaymentsRecovered')).toBe(1);
  });
});

it('counts nothing that a webhook has delivered', async () => {
  const paid = event(1, hour);
  await deliver(paid);
  stripe.control.register(paid);
  expect(await sweep()).toEqual({ read: 1, queued: 1 });
  const before = await world.booking('b1');
  await work();
  expect(await world.booking('b1')).toEqual(before);
  expect(before?.payments.pi_1).not.toHaveProperty('recovered');
  expect(metrics('PaymentsRecovered')).toBe(0);
});

it('leaves the last five minutes to the webhook', async () => {
  stripe.control.register(event(1, 200));
  expect(await sweep()).toEqual({ read: 0, queued: 0 });
  world.time.now += 200;
  expect(await sweep()).toEqual({ read: 1, queued: 1 });
});

it('reads two hours once more, since Stripe may list an event late', async () => {
  await sweep();
  stripe.control.register(event(1, hour + 1800));
  expect(await sweep()).toEqual({ read: 1, queued: 1 });
});

it('begins a day back, and ignores events that are not about a booking', async () => {
  stripe.control.register(
    event(1, 2 * day),
    event(2, 20 * hour),
    event(3, 3 * hour, 'payment_intent.succeeded', intent({ metadata: {} })),
    event(4, 3 * hour, 'customer.created', { id: 'cus_1', object: 'customer' }),
  );
  expect(await sweep()).toEqual({ read: 2, queued: 1 });
});

it('queues the oldest first, over many pages', async () => {
  stripe.control.register(...Array.from({ length: 250 }, (_, index) => event(index, 20 * hour - index * 60)));
  expect(await sweep()).toEqual({ read: 250, queued: 250 });
  const order = world.queue.messages.map((message) => (message as PaymentReported).paymentId);
  expect(order).toEqual(Array.from({ length: 250 }, (_, index) => `pi_${index}`));
});

it('holds a thousand events at a time, and needs calls in proportion to the pages', async () => {
  const first = 30 * 60;
  stripe.control.register(
    ...Array.from({ length: 5000 }, (_, index) => event(index, first + (index % 3000))),
  );
  const batches: number[] = [];
  const queue = { sendAll: async (messages: PaymentReported[]) => void batches.push(messages.length) };
  expect(await sweep({ queue })).toEqual({ read: 5000, queued: 5000 });
  expect(Math.max(...batches)).toBeLessThanOrEqual(1000);
  expect(stripe.control.calls().length).toBeLessThan(115);
});

it('goes on where a run was ended between queueing and progress', async () => {
  stripe.control.register(event(1, 10 * hour), event(2, hour));
  const killed = { get: progressOf().get, advance: () => Promise.reject(new Error('killed')) };
  await expect(sweep({ progress: killed })).rejects.toThrow('killed');
  await sweep();
  await work();
  expect([await statusOf('b1'), await statusOf('b2')]).toEqual(['scheduled', 'scheduled']);
  expect(world.events()).toHaveLength(2);
});

it.each<[string, FaultEffect]>([
  ['limits the rate', { status: 429 }],
  ['fails', { status: 500 }],
  ['closes the connection', { reset: true }],
])('keeps what it has queued where Stripe %s, and goes on there', async (_, how) => {
  stripe.control.register(event(1, 20 * hour), event(2, hour));
  // Each window of three hours is one call.
  stripe.control.fail({ on: 'events.list', after: 4, times: 10, how });
  await expect(sweep()).rejects.toThrow(
    expect.objectContaining({ code: 'stripe_unreachable', retryable: true }),
  );
  expect(world.queue.messages).toHaveLength(1);
  expect(metrics('OperatorError')).toBe(0);
  expect(await progressOf().get({ mode: 'test' })).toBe(world.time.now - day - 2 * hour + 4 * 3 * hour);
  stripe.control.clearFaults();
  await sweep();
  await work();
  expect([await statusOf('b1'), await statusOf('b2')]).toEqual(['scheduled', 'scheduled']);
});

it('ends itself in time, and goes on in the next run', async () => {
  stripe.control.register(event(1, 20 * hour), event(2, hour));
  let windows = 2;
  expect(await sweep({ timeLeft: () => --windows > 0 })).toEqual({ read: 0, queued: 0 });
  expect(await sweep()).toEqual({ read: 2, queued: 2 });
});

it('never moves its progress back', async () => {
  await progressOf().advance({ mode: 'test' }, 200);
  await progressOf().advance({ mode: 'test' }, 100);
  expect(await progressOf().get({ mode: 'test' })).toBe(200);
});

it('keeps the progress of each mode', async () => {
  keys = { test: restrictedKey(false), live: restrictedKey(true) };
  stripe.control.register({ ...event(1, hour), livemode: true }, event(2, hour));
  expect(await sweep()).toEqual({ read: 2, queued: 2 });
  expect([await progressOf().get({ mode: 'live' }), await progressOf().get({ mode: 'test' })]).toEqual([
    world.time.now - 300,
    world.time.now - 300,
  ]);
});

describe('connected accounts', () => {
  const accounts = () => paymentAccountStore(world.dynamo, world.tableNames.bookings, indexShards);
  const bind = (userId: string, accountId: string) =>
    bindAccount({ accounts: accounts(), clock: () => world.time.now }, userId, accountId);
  const sweepAll = (change: Parameters<typeof deps>[0] = {}) => sweep({ accounts: accounts(), ...change });
  const ofAccount = (account: string, number: number) => ({ ...event(number, hour), account });
  const headersOf = () =>
    stripe.control
      .calls()
      .flatMap(({ route, account }) => (route === 'events.list' ? [account || 'own'] : []));

  it.each(['absent', 'shown'] as const)(
    'have their lost payments found, where Stripe leaves the account of listed events %s',
    async (listed) => {
      stripe.control.setSwitch('listedAccount', listed);
      await bind('user-1', 'acct_1');
      stripe.control.register(event(1, hour), ofAccount('acct_1', 2), ofAccount('acct_unbound', 3));
      expect(await sweepAll()).toEqual({ read: 2, queued: 2 });
      await work();
      expect([await statusOf('b1'), await statusOf('b2'), await statusOf('b3')]).toEqual([
        'scheduled',
        'scheduled',
        undefined,
      ]);
      expect((await world.booking('b2'))?.payments).toMatchObject({ 'acct_1:pi_2': { recovered: true } });
    },
  );

  it('are not asked for without the option', async () => {
    await bind('user-1', 'acct_1');
    stripe.control.register(ofAccount('acct_1', 1));
    expect(await sweep()).toEqual({ read: 0, queued: 0 });
  });

  it('count a payment that came before its account was bound, in the next run', async () => {
    const early = ofAccount('acct_1', 1);
    const parsed = await parseStripeEvent(
      early,
      { ...stripeSettings, accounts: 'connected' },
      async () => ({}),
    );
    world.queue.messages.push((parsed as { payment: PaymentReported }).payment);
    await work();
    expect(await statusOf('acct_1:pi_1')).toBe('failed');
    stripe.control.register(early);
    await bind('user-1', 'acct_1');
    await sweepAll();
    await work();
    expect([await statusOf('b1'), await statusOf('acct_1:pi_1')]).toEqual(['scheduled', 'cancelled']);
  });

  it('are read once in a run, also one that several users have bound, each with its own progress', async () => {
    for (const userId of ['user-1', 'user-2', 'user-3', 'user-4', 'user-5', 'user-6'])
      await bind(userId, 'acct_1');
    await bind('user-1', 'acct_2');
    await sweepAll();
    const asked = headersOf();
    const calls = (account: string) => asked.filter((one) => one === account).length;
    expect(calls('acct_1')).toBe(calls('own'));
    expect(calls('acct_2')).toBe(calls('own'));
    const scopes = [
      { mode: 'test' },
      { mode: 'test', account: 'acct_1' },
      { mode: 'test', account: 'acct_2' },
    ];
    expect(await Promise.all(scopes.map((scope) => progressOf().get(scope as EventScope)))).toEqual(
      scopes.map(() => world.time.now - 300),
    );
  });

  it('are passed over where they were disconnected', async () => {
    for (const account of ['acct_1', 'acct_2', 'acct_3']) await bind('user-1', account);
    stripe.control.disconnectAccount('acct_2');
    stripe.control.register(ofAccount('acct_1', 1), ofAccount('acct_3', 3));
    expect(await sweepAll()).toEqual({ read: 2, queued: 2 });
    expect(logged.map((line) => JSON.parse(line))).toContainEqual(
      expect.objectContaining({ message: 'Connected accounts cannot be read', count: 1, first: 'acct_2' }),
    );
    expect(metrics('OperatorError')).toBe(0);
  });

  it.each([
    ['before the first account', 0],
    ['in between', 1],
  ])('are all read in the end where a run has no time left %s', async (_, windows) => {
    for (const account of ['acct_1', 'acct_2', 'acct_3']) {
      await bind('user-1', account);
      stripe.control.register(ofAccount(account, Number(account.slice(-1))));
    }
    let left = windows;
    await sweepAll({ timeLeft: () => left-- > 0 });
    await sweepAll();
    await work();
    expect(await Promise.all(['b1', 'b2', 'b3'].map(statusOf))).toEqual([
      'scheduled',
      'scheduled',
      'scheduled',
    ]);
  });
});

describe('a payment that is not recorded in the end', () => {
  /** Sweeps every quarter of an hour, from now on for three hours. */
  async function sweepOn(handle: () => Promise<void>): Promise<void> {
    for (let quarter = 0; quarter < 12; quarter++) {
      await sweep();
      await handle();
      world.time.now += 900;
    }
  }

  it('is found after two hours in which sync could not record it', async () => {
    await sweep();
    const lost = event(1, 0);
    stripe.control.register(lost);
    await sweepOn(async () => void world.queue.messages.splice(0));
    const about = { paymentId: 'pi_1', bookingId: 'b1', userId: 'user-1' };
    expect(found).toEqual([{ kind: 'payment_not_recorded', ...about, event: { id: lost.id, mode: 'test' } }]);
  });

  it('is no finding where it is recorded, or was read once only', async () => {
    stripe.control.register(event(2, 20 * hour));
    await sweep();
    stripe.control.register(event(1, 0));
    await sweepOn(work);
    expect(found).toEqual([]);
  });
});

it('passes over an event that cannot be read, and alerts the operator', async () => {
  stripe.control.register(
    event(1, hour, 'charge.refunded', { id: 'ch_1', object: 'charge' }),
    event(2, hour),
  );
  expect(await sweep()).toEqual({ read: 2, queued: 1 });
  expect(reported()).toHaveLength(1);
  expect(metrics('OperatorError')).toBe(1);
});

it('does nothing without a key, but says that it ran', async () => {
  keys = {};
  expect(await sweep()).toEqual({ read: 0, queued: 0 });
  expect(stripe.control.calls()).toEqual([]);
  expect(logged.some((line) => 'EventsSwept' in JSON.parse(line))).toBe(true);
  expect(reported()).toEqual([]);
});

describe('a key that cannot be used', () => {
  it.each<[string, () => StripeKeys, StripeMode, RegExp]>([
    ['is unknown', () => ({ test: 'rk_test_0123456789abcdef' }), 'both', /refuses the API key/],
    [
      'is of the other mode',
      () => ({ test: restrictedKey(false) }),
      'live',
      /of test mode.*serves live mode/,
    ],
    [
      'may not read events',
      () => ({ test: stripe.control.createKey({ livemode: false, permissions: [] }).key }),
      'both',
      /may not read events/,
    ],
  ])('is an operator error where it %s, and moves no progress', async (_, given, mode, message) => {
    keys = given();
    stripeMode = mode;
    await expect(sweep()).rejects.toThrow(expect.objectContaining({ code: 'not_configured' }));
    await expect(sweep()).rejects.toThrow(message);
    expect(metrics('OperatorError')).toBe(2);
    expect(logged.join()).not.toContain(given().test?.slice(8));
    expect(await progressOf().get({ mode: 'test' })).toBeUndefined();
  });
});

it('asks Stripe for no more event types than it takes in a call', () => {
  expect(objectParsers.size).toBeLessThanOrEqual(20);
});
