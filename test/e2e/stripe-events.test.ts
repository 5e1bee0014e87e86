/** Stripe's event bus as a second source of payments, on the template with the option. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EventBridgeClient, PutEventsCommand, PutPartnerEventsCommand } from '@aws-sdk/client-eventbridge';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectUser, payForBooking } from '../../infra/cli/demo-user.ts';
import { receive, redrive } from '../../infra/cli/ops/dead-letters.ts';
import { openTarget } from '../../infra/cli/ops/target.ts';
import { checkoutCompleted, demoBooking } from '../../infra/cli/payment.ts';
import { putOnStripeBus } from '../../infra/cli/stripe-bus.ts';
import { localCredentials } from '../../infra/local/aws/dynamodb.ts';
import { type LocalStack, localStripeSource, startLocalStack } from '../../infra/local/stack.ts';
import { writeStackAddress } from '../../infra/local/state-files.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { opsOf } from '../integration/ops-stack.ts';
import { temporaryDirectory } from '../local-stack/local-assembly.ts';
import type { Template } from '../project/template.ts';
import { thin } from '../unit/stripe.ts';

const account = 'ada@example.com';
const userId = 'user-1';
const now = Date.now();
const state = temporaryDirectory();

let stack: LocalStack;
let bus: EventBridgeClient;
beforeAll(async () => {
  const assembly = temporaryDirectory();
  synthesize(assembly, { stripeEventSource: localStripeSource });
  tryFaster(join(assembly, 'LeadsCalendarGoogle.template.json'));
  stack = await startLocalStack({
    google: { kind: 'simulator' },
    schedules: false,
    assembly,
    stateDir: state,
  });
  writeStackAddress(state, stack);
  bus = new EventBridgeClient({
    endpoint: stack.endpoints.eventBridge,
    region: 'us-east-1',
    credentials: localCredentials,
  });
  await connectUser(stack, { userId, account, now });
});
afterAll(async () => {
  bus?.destroy();
  await stack?.close();
});

/** In the deployed template a failed event comes again after 90 seconds, four times. */
function tryFaster(file: string): void {
  const template: Template = JSON.parse(readFileSync(file, 'utf8'));
  for (const [id, { Type, Properties }] of Object.entries(template.Resources)) {
    if (Type === 'AWS::Lambda::Function' && id.startsWith('StripeEvents')) Properties.Timeout = 3;
    if (Type === 'AWS::SQS::Queue' && id.startsWith('StripeBusQueue')) {
      Properties.VisibilityTimeout = 3;
      Properties.RedrivePolicy.maxReceiveCount = 2;
    }
  }
  writeFileSync(file, JSON.stringify(template));
}

const paymentOf = (bookingId: string) =>
  checkoutCompleted(demoBooking(userId, bookingId, now), now, bookingId);
const calendarEvents = (bookingId: string) =>
  stack.google?.control
    .events(account)
    .filter((event) => event.extendedProperties?.private?.leadscalendarBooking === bookingId) ?? [];
const typesOf = (bookingId: string) =>
  stack
    .events()
    .filter(({ detail }) => detail.bookingId === bookingId)
    .map(({ detailType }) => detailType);
const accepted = (eventId: string) =>
  stack.logs().filter(({ text }) => text.includes('Payment accepted') && text.includes(eventId)).length;
/** Messages of both queues that are not processed yet. */
const waiting = () =>
  ['StripeBusQueue', 'BookingsQueue.fifo']
    .flatMap((name) => Object.values(stack.queues.messages(name)))
    .flat().length;
const bookingOf = async (bookingId: string) => {
  const { text } = await opsOf(state)('booking', bookingId, '--json');
  return JSON.parse(text).booking as { status: string; payments: Record<string, unknown> };
};

describe("Stripe's event bus", () => {
  it('schedules the booking of a payment that comes by the event bus', async () => {
    expect((await putOnStripeBus(paymentOf('by-bus'), stack)).status).toBe(200);
    await expect.poll(() => typesOf('by-bus')).toEqual(['booking.scheduled']);
    expect(calendarEvents('by-bus')).toHaveLength(1);
  });

  it('makes one event and one payment of an event that comes by bus and webhook, several times', async () => {
    const pay = () => payForBooking(stack, demoBooking(userId, 'by-both', now), { now, newId: 'by-both' });
    await Promise.all([pay(), putOnStripeBus(paymentOf('by-both'), stack)]);
    await expect.poll(() => typesOf('by-both')).toEqual(['booking.scheduled']);
    await expect.poll(() => accepted('evt_by-both')).toBe(2);
    // Another id, so that the queue does not drop it as a repetition of the last five minutes.
    const repeated = { ...paymentOf('by-both'), id: 'evt_repeated' };
    await putOnStripeBus(repeated, stack);
    await expect.poll(() => accepted('evt_repeated')).toBe(1);
    await expect.poll(waiting).toBe(0);
    expect(calendarEvents('by-both')).toHaveLength(1);
    expect(typesOf('by-both')).toEqual(['booking.scheduled']);
    const { status, payments } = await bookingOf('by-both');
    expect([status, Object.keys(payments)]).toEqual(['scheduled', ['pi_by-both']]);
  });

  it('keeps events of an irrelevant type from the function', async () => {
    const event = { ...paymentOf('irrelevant'), type: 'customer.created' };
    expect((await putOnStripeBus(event, stack)).status).toBe(200);
    await putOnStripeBus(paymentOf('relevant'), stack);
    await expect.poll(() => typesOf('relevant')).toEqual(['booking.scheduled']);
    expect(stack.logs().filter(({ text }) => text.includes('evt_irrelevant'))).toEqual([]);
  });

  it('lets only the partner publish under its source, and the function refuses another source', async () => {
    const event = paymentOf('forged');
    const entry = { DetailType: event.type, Detail: JSON.stringify(event) };
    const forged = await bus.send(
      new PutEventsCommand({
        Entries: [{ ...entry, Source: localStripeSource, EventBusName: localStripeSource }],
      }),
    );
    expect(forged.Entries?.[0]?.ErrorCode).toBe('NotAuthorizedForSourceException');
    const foreign = await bus.send(
      new PutPartnerEventsCommand({ Entries: [{ ...entry, Source: `${localStripeSource}2` }] }),
    );
    expect(foreign.Entries?.[0]?.ErrorCode).toBe('ResourceNotFoundException');

    const body = JSON.stringify({ source: 'leadscalendar.google-calendar', detail: event });
    const { payload } = (await stack.invoke('stripe-events', { Records: [{ messageId: 'm1', body }] })) as {
      payload: unknown;
    };
    expect(payload).toEqual({ batchItemFailures: [{ itemIdentifier: 'm1' }] });
    expect(typesOf('forged')).toEqual([]);
  });

  it('reads the API key for thin events only, and makes no calls but those of its rights', async () => {
    const calls = () =>
      new Set(
        stack
          .calls()
          .filter(({ functionName }) => functionName === 'stripe-events')
          .map(({ operation, resource }) => `${operation} ${resource}`),
      );
    const usual = ['GetSecretValue secret:PaymentMessages-local0', 'SendMessage BookingsQueue.fifo'];
    expect([...calls()].sort()).toEqual(usual);
    const detail = thin('v1.payment_intent.succeeded', '/v1/payment_intents/pi_1');
    const body = JSON.stringify({ source: localStripeSource, detail });
    const { payload } = (await stack.invoke('stripe-events', { Records: [{ messageId: 'm2', body }] })) as {
      payload: unknown;
    };
    // The simulated Stripe does not have this payment.
    expect(payload).toEqual({ batchItemFailures: [{ itemIdentifier: 'm2' }] });
    expect([...calls()].sort()).toEqual([...usual, 'GetSecretValue secret:StripeApi-local0'].sort());
  });

  it('warns in ops doctor, and does not fail, when there is no signing secret for webhooks', async () => {
    const name = stack.secretNames.webhookSigning;
    const secret = stack.secrets.get(name) as string;
    stack.secrets.put(name, '{}');
    const { text } = await opsOf(state)('doctor');
    stack.secrets.put(name, secret);
    expect(text).toMatch(/! +secret webhook-signing +Payments come by Stripe's event bus only/);
  });

  it('dead-letters an unusable event, which ops shows, and moves back when it can be used', async () => {
    const { data, ...unusable } = paymentOf('unusable');
    const detail = { ...unusable, data: { object: { ...data.object, id: 'not an id' } } };
    await putOnStripeBus(detail, stack);
    const ops = opsOf(state);
    const dead = () => stack.queues.messages('StripeBusDeadLetters').ready.length;
    await expect.poll(dead, { timeout: 40_000, interval: 500 }).toBe(1);
    expect(stack.logs().some(({ text }) => /OperatorError/.test(text))).toBe(true);
    expect((await ops('doctor')).text).toMatch(/✗ +dead letters +1: ops dead-letters/);
    const shown = await ops('dead-letters');
    expect(shown.text).toContain('checkout.session.completed evt_unusable');
    expect(shown.text).not.toContain(demoBooking(userId, '', now).summary);

    const target = await openTarget({ local: true, state });
    let letter: Awaited<ReturnType<typeof receive>>[number] | undefined;
    await expect.poll(async () => ([letter] = await receive(target, 60)), { interval: 1000 }).toHaveLength(1);
    if (!letter) return;
    // As if a newer release could read it.
    const Body = JSON.stringify({ source: localStripeSource, detail: paymentOf('repaired') });
    await redrive(target, { ...letter, message: { ...letter.message, Body } });
    await expect.poll(() => typesOf('repaired')).toEqual(['booking.scheduled']);
    expect((await ops('dead-letters')).text).toContain('No dead letters.');
  }, 90_000);
});
