/**
 * `npm run demo`: the main job without a browser. Starts the stack on free ports, connects a calendar by walking
 * the consent form over HTTP, pays for a booking as Stripe would report it, and waits for the event.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { routes } from '../../shared/names.ts';
import { runCommand } from './command.ts';
import { walkConsent } from './google/walk-consent.ts';
import { connectLink } from './links.ts';
import { checkoutCompleted, deliver, demoBooking, stripeSigningSecret } from './payment.ts';
import { type LocalStack, startLocalStack } from './stack.ts';

const account = 'ada@example.com';
const user = 'demo-user';
const overallMs = 60_000;

await runCommand(async () => {
  const giveUp = setTimeout(() => {
    console.error(`\nGave up: the demo did not finish within ${overallMs / 1000} s.`);
    process.exit(1);
  }, overallMs);
  const startedAt = performance.now();

  const stack = await step('Started the stack: synthesized the CDK app, runs its template', () =>
    startLocalStack({ google: { kind: 'simulator' }, dynamodb: 'dynalite' }),
  );
  try {
    await step(`Connected ${account}: link, consent page, callback`, () => connect(stack));
    const booking = demoBooking(user, 'demo-booking', Date.now());
    await step('Sent a signed checkout.session.completed; the webhook accepted it', () =>
      pay(stack, booking),
    );
    const paidAt = performance.now();
    const event = await step('The event stands in the calendar', () => eventInCalendar(stack));
    console.log(`\nFrom the accepted payment to the event: ${(performance.now() - paidAt).toFixed(0)} ms.`);
    console.log('The event as the Calendar API returns it:\n');
    console.log(JSON.stringify(event, null, 2));
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

/** What a browser does: follows the link to Google, allows, and comes back with the cookies it was given. */
async function connect({ url, secrets, secretNames }: LocalStack): Promise<void> {
  const link = await connectLink(secrets.get(secretNames.tokenKeys) as string, url, user, Date.now());
  const started = await fetch(link, { redirect: 'manual' });
  const consentPage = started.headers.get('location');
  if (!consentPage) throw new Error(`The connect link answered ${started.status}: ${await started.text()}`);
  const cookie = started.headers
    .getSetCookie()
    .map((each) => each.split(';')[0])
    .join('; ');
  const callback = await walkConsent(consentPage, { account });
  const result = await fetch(callback, { headers: { cookie }, redirect: 'manual' });
  if (result.status >= 400) throw new Error(`The callback answered ${result.status}: ${await result.text()}`);
}

async function pay(
  { url, secrets, secretNames }: LocalStack,
  booking: ReturnType<typeof demoBooking>,
): Promise<void> {
  const event = checkoutCompleted(booking, Date.now(), randomBytes(12).toString('hex'));
  const signingSecret = stripeSigningSecret(secrets.get(secretNames.webhookSigning) as string);
  const { status, body } = await deliver(
    event,
    { webhookUrl: `${url}${routes.stripeWebhook}`, signingSecret },
    Date.now(),
  );
  if (status !== 200) throw new Error(`The webhook answered ${status}: ${body}`);
}

async function eventInCalendar({ google }: LocalStack) {
  for (;;) {
    const [event] = google?.control.events(account) ?? [];
    if (event) return event;
    await sleep(10);
  }
}
