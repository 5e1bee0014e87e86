import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Stripe } from 'stripe';
import { expect, inject, onTestFinished, test } from 'vitest';
import { readStackAddress } from '../../infra/local/state-files.ts';
import { temporaryDirectory } from './local-assembly.ts';

const commands = join(import.meta.dirname, '..', '..', 'infra', 'cli');

type Command = { child: ChildProcess; output: () => string; exited: Promise<number | null> };

/** Runs a command of the local stack as npm would. */
function command(name: string, ...options: string[]): Command {
  const child = spawn(process.execPath, [join(commands, `${name}.ts`), ...options]);
  let output = '';
  const collect = (chunk: Buffer) => {
    output += chunk;
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  onTestFinished(() => void child.kill('SIGKILL'));
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  return { child, output: () => output, exited };
}

async function startStack(state: string, ...options: string[]): Promise<Command> {
  const stack = command(
    'start',
    '--port',
    '0',
    '--state',
    state,
    '--assembly',
    inject('assembly'),
    ...options,
  );
  await expect.poll(stack.output, { timeout: 15_000 }).toContain('Ctrl-C stops everything');
  return stack;
}

test('start prints its addresses, pay pays, and a signal ends everything', async () => {
  const state = temporaryDirectory();
  const stack = await startStack(state);
  for (const told of [
    /http:\/\/localhost:\d+\/google\/connect\?token=/,
    /whsec_[\w+/=]+/,
    /\/webhooks\/stripe/,
    /Stripe +simulated, http:\/\/127\.0\.0\.1:\d+/,
  ]) {
    expect(stack.output()).toMatch(told);
  }
  const pay = command('pay', '--state', state, '--booking', 'booking-1');
  expect(await pay.exited).toBe(0);
  expect(pay.output()).toMatch(/booking-1[\s\S]*^waiting_for_connection\n {2}no_connection: /m);
  for (const [options, outcome] of [
    [['--start', '2020-01-01T10:00:00Z'], /^missed|^failed/m],
    [['--start', '2032-01-02T10:00:00Z', '--end', '2032-01-02T09:00:00Z'], /^failed\n {2}invalid_booking: /m],
    [['--user', 'bad user'], /^failed\n {2}invalid_booking: .*user/m],
  ] as const) {
    const failing = command('pay', '--state', state, ...options);
    expect([await failing.exited, failing.output()]).toEqual([1, expect.stringMatching(outcome)]);
  }
  await expect.poll(stack.output).toMatch(/booking\.failed .*bookingId [^ ]+: \S/);
  await expect.poll(stack.output).toContain('booking.waiting  userId demo-user, bookingId booking-1');

  const token = command('ops', 'token', 'demo-user', '--local', '--state', state);
  expect([await token.exited, token.output()]).toEqual([
    0,
    expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+\n$/),
  ]);

  stack.child.kill('SIGTERM');
  expect(await stack.exited).toBe(0);
  const withoutBus = command('pay', '--state', state, '--event-bus');
  expect([await withoutBus.exited, withoutBus.output()]).toEqual([
    1,
    expect.stringContaining('npm start -- --stripe-events'),
  ]);
  const late = command('pay', '--state', state);
  expect(await late.exited).toBe(1);
  expect(late.output()).toContain('Is the local stack running?');
});

test('start --stripe-events has the event bus of Stripe, and pay --event-bus pays by it', async () => {
  const state = temporaryDirectory();
  const stack = command('start', '--port', '0', '--state', state, '--stripe-events');
  await expect.poll(stack.output, { timeout: 60_000 }).toContain('Ctrl-C stops everything');
  expect(stack.output()).toContain('aws.partner/stripe.com/ed_local');
  const pay = command('pay', '--state', state, '--booking', 'booking-1', '--event-bus');
  expect([await pay.exited, pay.output()]).toEqual([0, expect.stringMatching(/^waiting_for_connection/m)]);
  await expect.poll(stack.output).toContain('booking.waiting  userId demo-user, bookingId booking-1');
  expect(stack.output()).not.toContain('/webhooks/stripe 200');
}, 90_000);

test('pay pays at the simulated Stripe, which can lose the webhook, or at another API itself', async () => {
  const state = temporaryDirectory();
  await startStack(state);
  const { url, stripeUrl } = readStackAddress(state);
  const pay = async (booking: string, ...options: string[]) => {
    const paying = command('pay', '--state', state, '--booking', booking, ...options);
    return [await paying.exited, paying.output()];
  };
  const accepted = [0, expect.stringContaining('"received":true')];
  expect(await pay('booking-1')).toEqual(accepted);
  expect(await pay('booking-2', '--lost')).toEqual([
    0,
    expect.stringMatching(
      /^Paid: booking booking-2 of demo-user\. Its webhook is lost: only Stripe has evt_/,
    ),
  ]);
  // The same API at another address counts as another one.
  const elsewhere = ['--url', url.replace('localhost', '127.0.0.1')];
  expect(await pay('booking-3', ...elsewhere)).toEqual(accepted);
  expect(await pay('booking-4', ...elsewhere, '--lost')).toEqual([
    1,
    expect.stringContaining('--lost leaves'),
  ]);

  const { keys } = (await (await fetch(`${stripeUrl}/_simulator/keys`)).json()) as {
    keys: { key: string }[];
  };
  const { hostname: host, port } = new URL(stripeUrl);
  const stripe = new Stripe(keys[0]?.key as string, { host, port, protocol: 'http' });
  const { data: events } = await stripe.events.list();
  const paid = events.map(({ data }) => (data.object as Stripe.Checkout.Session).metadata?.booking_id);
  expect(paid.sort()).toEqual(['booking-1', 'booking-2']);
  const unknown = command('ops', 'booking', 'booking-2', '--local', '--state', state);
  expect(await unknown.exited).toBe(1);
});

test('refuses a second start on the same state, but not a start after SIGKILL', async () => {
  const state = temporaryDirectory();
  const first = await startStack(state);
  const second = command('start', '--port', '0', '--state', state, '--fresh');
  expect(await second.exited).toBe(1);
  expect(second.output()).toContain('already running');
  first.child.kill('SIGKILL');
  await first.exited;
  const third = await startStack(state);
  const signingSecret = (output: string) => /whsec_[\w+/=]+/.exec(output)?.[0];
  expect(signingSecret(third.output())).toBe(signingSecret(first.output()));
});

test.each([
  ['start', ['--google', 'real'], '--client'],
  ['start', ['--port', 'many'], 'a whole number from 0 to 65533'],
  ['start', ['--stripe-events', '--assembly', '.'], 'without --assembly'],
  ['start', ['--unknown'], "Unknown option '--unknown'"],
  ['pay', ['--state', '/nowhere'], 'npm start'],
  ['ops', ['token'], '--local'],
])('%s %j ends with an explanation of the error', async (name, options, message) => {
  const { exited, output } = command(name, ...options);
  expect(await exited).toBe(1);
  expect(output()).toContain(message);
});
