/**
 * `npm run demo`: the main job without a browser. Starts the stack on free ports, connects a calendar by walking
 * the consent form over HTTP, pays for a booking as Stripe would report it, and waits for the event. With `--lost-webhook`
 * Stripe's webhook does not arrive, and payment-recovery finds the payment.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type LocalStack, startLocalStack } from '../local/stack.ts';
import type { StripeEvent } from '../local/stripe/event-log.ts';
import { runCommand } from './command.ts';
import { connectUser, payForBooking } from './demo-user.ts';
import { checkoutCompleted, demoBooking } from './payment.ts';

const account = 'ada@example.com';
const userId = 'demo-user';
const overallMs = 60_000;
/** payment-recovery leaves the last five minutes to the webhook. */
const lostBeforeMs = 10 * 60_000;

await runCommand(async () => {
  const { values } = parseArgs({ options: { 'lost-webhook': { type: 'boolean', default: false } } });
  const giveUp = setTimeout(() => {
    console.error(`\nTimed out: the demo did not finish within ${overallMs / 1000} s.`);
    process.exit(1);
  }, overallMs);
  const startedAt = performance.now();

  const stack = await step('Started the stack: synthesized the CDK app, runs its template', () =>
    startLocalStack({ google: { kind: 'simulator' } }),
  );
  try {
    await step(`Connected ${account}: link, consent page, callback`, () => connect(stack));
    if (values['lost-webhook']) {
      await step('Paid at Stripe ten minutes ago; the webhook was lost', async () => loseWebhook(stack));
      await step("Ran payment-recovery, which read Stripe's events", () => recover(stack));
    } else {
      await step('Sent a signed checkout.session.completed, and the webhook accepted it', () => pay(stack));
    }
    const event = await step('Found the event in the calendar', () => eventInCalendar(stack));
    console.log(`\nAs the Calendar API returns it:\n${JSON.stringify(event, null, 2)}`);
  } catch (error) {
    for (const { functionName, text } of stack.logs()) console.error(`${functionName}: ${text}`);
    throw error;
  } finally {
    await stack.close();
    clearTimeout(giveUp);
  }
  console.log(`\nDone in ${((performance.now() - startedAt) / 1000).toFixed(1)} s.`);
});

async function step<Result>(what: string, run: () => Promise<Result>): Promise<Result> {
  const startedAt = performance.now();
  const result = await run();
  console.log(`✓ ${what} (${(performance.now() - startedAt).toFixed(0)} ms)`);
  return result;
}

async function connect(stack: LocalStack): Promise<void> {
  const { response } = await connectUser(stack, { userId, account, now: Date.now() });
  if (response.status < 400) return;
  throw new Error(`The callback answered ${response.status}: ${await response.text()}`);
}

async function pay(stack: LocalStack): Promise<void> {
  const booking = demoBooking(userId, 'demo-booking', Date.now());
  const newId = randomBytes(12).toString('hex');
  const { status, body } = await payForBooking(stack, booking, { now: Date.now(), newId });
  if (status !== 200) throw new Error(`The webhook answered ${status}: ${body}`);
}

function loseWebhook({ stripe }: LocalStack): void {
  const paidAt = Date.now() - lostBeforeMs;
  const booking = demoBooking(userId, 'demo-booking', Date.now());
  stripe.control.register(checkoutCompleted(booking, paidAt, randomBytes(12).toString('hex')) as StripeEvent);
}

async function recover(stack: LocalStack): Promise<void> {
  const result = await stack.invoke('payment-recovery', {});
  if (!result.ok) throw new Error(`payment-recovery failed: ${JSON.stringify(result.error)}`);
}

/** Polls until the event exists or the bus reports that it will not be created. */
async function eventInCalendar({ google, events }: LocalStack) {
  for (;;) {
    const [event] = google?.control.events(account) ?? [];
    if (event) return event;
    const unrecoverable = events().find(({ detailType }) =>
      /^booking\.(failed|waiting|missed)$/.test(detailType),
    );
    if (unrecoverable)
      throw new Error(`${unrecoverable.detailType}: ${JSON.stringify(unrecoverable.detail)}`);
    await sleep(10);
  }
}
