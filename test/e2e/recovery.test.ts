import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { connectUser } from '../../infra/cli/demo-user.ts';
import { checkoutCompleted, demoBooking } from '../../infra/cli/payment.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import { writeStackAddress } from '../../infra/local/state-files.ts';
import type { StripeEvent } from '../../infra/local/stripe/event-log.ts';
import { opsOf } from '../integration/ops-stack.ts';
import { temporaryDirectory } from '../local-stack/local-assembly.ts';

/** payment-recovery as the template has it, and the operator's command. */

const account = 'ada@example.com';
const userId = 'user-1';
const state = temporaryDirectory();
let stack: LocalStack;
beforeAll(async () => {
  stack = await startLocalStack({
    google: { kind: 'simulator' },
    schedules: false,
    assembly: inject('assembly'),
    stateDir: state,
  });
  writeStackAddress(state, stack);
  await connectUser(stack, { userId, account, now: Date.now() });
});
afterAll(() => stack?.close());

/** A payment at Stripe this many minutes ago whose webhook was lost. */
function lose(bookingId: string, minutes: number): void {
  const booking = demoBooking(userId, bookingId, Date.now());
  const event = checkoutCompleted(booking, Date.now() - minutes * 60_000, bookingId);
  stack.stripe.control.register(event as StripeEvent);
}
const ops = opsOf(state);

it('creates the event of a payment whose webhook was lost', async () => {
  lose('lost-1', 10);
  expect(await stack.invoke('payment-recovery', {})).toMatchObject({
    ok: true,
    payload: { read: 1, queued: 1 },
  });
  await expect.poll(() => stack.google?.control.events(account), { timeout: 15_000 }).toHaveLength(1);
  expect((await ops('doctor')).text).toMatch(/recovery +Stripe's events are read until/);
});

it('finds older payments for an operator, and shows each window', async () => {
  lose('lost-2', 5 * 24 * 60);
  const since = new Date(Date.now() - 6 * 86_400_000).toISOString();
  const { code, text } = await ops('recover', '--since', since);
  expect(text).toMatch(/test mode until .*: 1 events, 1 queued/);
  expect([code, text]).toEqual([0, expect.stringContaining('2 events read, 2 queued')]);
  await expect
    .poll(async () => (await ops('booking', 'lost-2')).text, { timeout: 20_000, interval: 1000 })
    .toContain('scheduled');
});

it.each([
  [['--since', '2020-01-01'], 'keeps events for 30 days'],
  [['--since', 'soon'], '--since soon is no date'],
  [[], 'Since when?'],
])('refuses ops recover %j, and says why', async (args, message) => {
  const { code, text } = await ops('recover', ...args);
  expect([code, text]).toEqual([1, expect.stringContaining(message)]);
});
