/** Counts the network calls of the whole service, scenario by scenario, over real HTTP: for tests and benchmarks. */
import { setTimeout as sleep } from 'node:timers/promises';
import { UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { marshall } from '@aws-sdk/util-dynamodb';
import { dynamoDbClient } from '../../infra/local/dynamodb.ts';
import type { AwsCall } from '../../infra/local/gateway.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';
import { checkoutCompleted, deliver, demoBooking } from '../../infra/local/payment.ts';
import type { LocalStack } from '../../infra/local/stack.ts';
import { routes } from '../../shared/names.ts';
import { apiTokenFor, connect, linkFor, openCallback, openLink, secretsOf } from './browser.ts';

/** How often each call was made: `{ 'sqs:SendMessage BookingsQueue.fifo': 1, 'google:token': 1 }`. */
export type CallCounts = Record<string, number>;

/** Connections that the scenario of refreshing refreshes in one sweep. */
export const refreshedConnections = 3;

/**
 * Runs all scenarios, one after the other, on a stack with the simulated Google and without schedules. Every function
 * is warm when it is counted, but for the scenario that says otherwise.
 */
export async function countCalls(stack: LocalStack) {
  const observe = observer(stack);
  const webhook = {
    webhookUrl: `${stack.url}${routes.stripeWebhook}`,
    signingSecret: secretsOf(stack).stripe,
  };
  const now = Date.now();
  const pay = async (bookingId: string, eventId = `evt_${bookingId}`) => {
    const event = checkoutCompleted(demoBooking('payer', bookingId, now), now, bookingId);
    const { status, body } = await deliver({ ...event, id: eventId }, webhook, now);
    if (status !== 200) throw new Error(`The webhook answered ${status}: ${body}`);
  };
  const sweep = async (functionName: string) => {
    const result = await stack.invoke(functionName, {});
    if (!result.ok) throw new Error(`${functionName} failed: ${result.error.errorMessage}`);
  };

  await connect(stack, 'payer');
  const firstPayment = await observe(() => pay('first'));
  const payment = await observe(() => pay('second'));
  // Another event about the same payment: the same again would not even leave the queue.
  const duplicate = await observe(() => pay('second', 'evt_again'));
  await expire(stack, 'payer', 'accessTokenExpiresAt');
  await observe(() => pay('third'));
  await expire(stack, 'payer', 'accessTokenExpiresAt');
  const expired = await observe(() => pay('fourth'));

  const link = await linkFor(stack, 'newcomer');
  const { visit, ...start } = await observing(observe, () => openLink(link));
  const callbackUrl = await walkConsent(visit.location);
  const callback = await observe(() => openCallback(callbackUrl, visit.cookie));

  const headers = { authorization: `Bearer ${await apiTokenFor(stack, 'payer')}` };
  const show = async () => {
    const { status } = await fetch(`${stack.url}${routes.connection}`, { headers });
    if (status !== 200) throw new Error(`The connection was not shown: ${status}`);
  };
  await show();
  const shown = await observe(show);

  await sweep('booking-reconcile');
  const idleReconcile = await observe(() => sweep('booking-reconcile'));
  await expire(stack, 'payer', 'refreshAt');
  await sweep('token-refresh');
  const idleRefresh = await observe(() => sweep('token-refresh'));
  const users = Array.from({ length: refreshedConnections }, (_, index) => `idle-${index}`);
  for (const userId of users) {
    await connect(stack, userId);
    await expire(stack, userId, 'refreshAt');
  }
  const refresh = await observe(() => sweep('token-refresh'));

  return {
    'webhook accepts, cold': firstPayment.aws('payment-confirmed'),
    'webhook accepts': payment.aws('payment-confirmed'),
    'sync with a fresh token': { ...payment.aws('booking-sync'), ...payment.google },
    'sync of a duplicate': { ...duplicate.aws('booking-sync'), ...duplicate.google },
    'sync with an expired token': { ...expired.aws('booking-sync'), ...expired.google },
    connect: { ...start.aws('connect'), ...start.google },
    callback: { ...callback.aws('oauth-callback'), ...callback.google },
    'release with nothing waiting': callback.aws('booking-sync'),
    'show a connection': { ...shown.aws('connections'), ...shown.google },
    'reconcile with nothing due': { ...idleReconcile.aws('booking-reconcile'), ...idleReconcile.google },
    'refresh with nothing due': { ...idleRefresh.aws('token-refresh'), ...idleRefresh.google },
    'refresh of several connections': { ...refresh.aws('token-refresh'), ...refresh.google },
  } satisfies Record<string, CallCounts>;
}

/** What was called meanwhile: calls to AWS by function, and all calls to Google. */
type Observed = { aws(functionName: string): CallCounts; google: CallCounts };
type Observe = (act: () => Promise<unknown>) => Promise<Observed>;

/** Observes from one moment at which the queue is empty to the next. */
function observer(stack: LocalStack): Observe {
  const { google } = stack;
  if (!google)
    throw new Error('Calls to Google are counted by its simulator, which this stack does not have.');
  return async (act) => {
    await settled(stack);
    stack.clearCalls();
    google.control.clearRequests();
    await act();
    await settled(stack);
    const calls = stack.calls();
    return {
      aws: (functionName) =>
        countBy(
          calls.filter((call) => call.functionName === functionName),
          callName,
        ),
      google: countBy(google.control.requests(), ({ route }) => `google:${route}`),
    };
  };
}

/** Observes an act whose result is wanted too. */
async function observing<Result>(observe: Observe, act: () => Promise<Result>) {
  let visit: Result | undefined;
  const observed = await observe(async () => {
    visit = await act();
  });
  return { ...observed, visit: visit as Result };
}

/** One that did not succeed says so, so that no refusal hides among the counts. */
function callName({ service, operation, resource, status }: AwsCall): string {
  // There is one bus, and CDK makes up its name.
  const onWhat = service === 'events' ? '' : ` ${resource}`;
  return `${service}:${operation}${onWhat}${status === 200 ? '' : ` answered ${status}`}`;
}

function countBy<Item>(items: Item[], name: (item: Item) => string): CallCounts {
  const groups = Object.entries(Object.groupBy(items, name));
  return Object.fromEntries(groups.map(([key, group]) => [key, group?.length ?? 0]));
}

async function settled({ queues }: LocalStack): Promise<void> {
  const giveUpAt = performance.now() + 15_000;
  for (;;) {
    const { ready, inFlight } = queues.messages('BookingsQueue.fifo');
    if (ready.length + inFlight.length === 0) return;
    if (performance.now() > giveUpAt) throw new Error(`The queue does not empty: ${[...ready, ...inFlight]}`);
    await sleep(5);
  }
}

/** Moves a time of a connection, in epoch seconds, into the past. */
async function expire(
  { endpoints }: LocalStack,
  userId: string,
  time: 'accessTokenExpiresAt' | 'refreshAt',
): Promise<void> {
  const client = dynamoDbClient(endpoints.dynamodb);
  await client.send(
    new UpdateItemCommand({
      TableName: 'ConnectionsTable',
      Key: marshall({ userId }),
      UpdateExpression: 'SET #time = :past',
      ExpressionAttributeNames: { '#time': time },
      ExpressionAttributeValues: marshall({ ':past': Math.floor(Date.now() / 1000) - 1 }),
    }),
  );
  client.destroy();
}
