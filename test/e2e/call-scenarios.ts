/**
 * Usage of each operation of the whole service, measured over real HTTP, for tests and benchmarks: calls to AWS
 * and Google, DynamoDB items, invocations, logs and messages.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { marshall } from '@aws-sdk/util-dynamodb';
import { checkoutCompleted, deliver, demoBooking, hour, rfc3339 } from '../../infra/cli/payment.ts';
import { dynamoDbClient } from '../../infra/local/aws/dynamodb.ts';
import type { LogLine } from '../../infra/local/aws/functions.ts';
import type { AwsCall } from '../../infra/local/aws/gateway.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import { routes, webhookRoute } from '../../shared/lib/names.ts';
import { type DynamoDbMeter, type ItemUsage, startDynamoDbMeter } from '../bench/dynamodb-meter.ts';
import { median } from '../bench/part.ts';
import { apiTokenFor, linkFor, openCallback, openLink, secretsOf } from './browser.ts';

/** Number of each call: `{ 'sqs:SendMessage BookingsQueue.fifo': 1 }`. */
export type CallCounts = Record<string, number>;

/** Usage of an operation, including the work that it causes behind the queue. */
export type Measurement = {
  /** By function; calls to Google under `google`. */
  calls: Record<string, CallCounts>;
  items: ItemUsage;
  /** By function. `ms` is the total time of its runs, `logLines` and `logBytes` their output. */
  functions: Record<string, { runs: number; ms: number; logLines: number; logBytes: number }>;
  /** Bytes of each queued message and of each published event. */
  messages: number[];
  events: number[];
  /** Metrics written, each with its dimensions. */
  metrics: string[];
};

/** Connections that one sweep of the refresh scenario refreshes, and bookings that wait for a connection. */
export const refreshedConnections = 3;
export const waitingBookings = 3;

export type MeasuredStack = LocalStack & { meter: DynamoDbMeter; observe: Observe };
type Observe = (act: () => Promise<unknown>) => Promise<Measurement>;

/**
 * A local stack without schedules, measured at work. @param assembly folder of a synthesized one
 */
export async function startMeasuredStack(assembly?: string): Promise<MeasuredStack> {
  const meter = await startDynamoDbMeter();
  const record = newRecord();
  try {
    const stack = await startLocalStack({
      google: { kind: 'simulator' },
      schedules: false,
      dynamodb: { endpoint: meter.endpoint },
      onCall: (call, input) => record.calls.push({ ...call, input: input as SentInput }),
      onInvocation: (invocation) => record.invocations.push(invocation),
      onLog: (line) => record.logs.push(line),
      ...(assembly ? { assembly } : {}),
    });
    return {
      ...stack,
      meter,
      observe: observer(stack, meter, record),
      close: async () => {
        await stack.close();
        await meter.close();
      },
    };
  } catch (error) {
    await meter.close();
    throw error;
  }
}

/**
 * Runs all scenarios in sequence. Every function is warm when it is measured, unless the scenario says otherwise.
 * `rounds`: repetitions of scenarios with relevant times; calls and items are those of the last.
 */
export async function measureScenarios(
  stack: MeasuredStack,
  { rounds = 1, progress = () => {} }: { rounds?: number; progress?: (text: string) => void } = {},
) {
  const { observe } = stack;
  const webhook = {
    webhookUrl: `${stack.url}${webhookRoute('stripe')}`,
    signingSecret: secretsOf(stack).stripe,
  };
  const now = Date.now();
  const pay = async (userId: string, bookingId: string, eventId = `evt_${bookingId}`) => {
    // At any hour of the day it begins more than a day from now, so that a check is due and indexed.
    const event = checkoutCompleted(demoBooking(userId, bookingId, now + 24 * hour), now, bookingId);
    const { status, body } = await deliver({ ...event, id: eventId }, webhook, now);
    if (status !== 200) throw new Error(`The webhook answered ${status}: ${body}`);
  };
  const sweep = async (functionName: string) => {
    const result = await stack.invoke(functionName, {});
    if (!result.ok) throw new Error(`${functionName} failed: ${result.error.errorMessage}`);
  };
  const ask = async (userId: string, method: string, path: string, body?: object) => {
    const headers = {
      authorization: `Bearer ${await apiTokenFor(stack, userId)}`,
      ...(body ? { 'content-type': 'application/json' } : {}),
    };
    const request = { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) };
    const response = await fetch(`${stack.url}${path}`, request);
    if (!response.ok)
      throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
  };
  const move = (bookingId: string, hours: number) => {
    const start = now + (48 + hours) * hour;
    const body = { start: rfc3339(start), end: rfc3339(start + hour) };
    return ask('payer', 'PATCH', routes.booking.replace('{id}', bookingId), body);
  };
  const cancel = (bookingId: string) => ask('payer', 'DELETE', routes.booking.replace('{id}', bookingId));
  const again = async (act: (round: number) => Promise<Measurement>) => {
    const measured: Measurement[] = [];
    for (let round = 0; round < rounds; round++) measured.push(await act(round));
    return withMedianTimes(measured);
  };

  progress('payments');
  await connect(stack, 'payer');
  const firstWebhook = await observe(() => pay('payer', 'first'));
  await observe(() => pay('payer', 'second'));
  const payment = await again((round) => observe(() => pay('payer', `paid-${round}`)));
  // Another event of the same payment: the same one would not even leave the queue.
  const duplicate = await again((round) => observe(() => pay('payer', 'second', `evt_again-${round}`)));
  await expire(stack, 'payer', 'accessTokenExpiresAt');
  await observe(() => pay('payer', 'third'));
  const expired = await again(async (round) => {
    await expire(stack, 'payer', 'accessTokenExpiresAt');
    return observe(() => pay('payer', `expired-${round}`));
  });

  progress('changes of bookings');
  await observe(() => move('first', 1));
  const reschedule = await observe(() => move('second', 2));
  const cancelled = await observe(() => cancel('second'));

  progress('connections');
  const link = await linkFor(stack, 'newcomer');
  let visit = { location: '', cookie: '' };
  const start = await observe(async () => {
    visit = await openLink(link);
  });
  const callbackUrl = await walkConsent(visit.location);
  const callback = await observe(() => finish(callbackUrl, visit.cookie));
  await ask('payer', 'GET', routes.connection);
  const shown = await observe(() => ask('payer', 'GET', routes.connection));

  // The only user of this Google account: its grant is revoked.
  await connect(stack, 'returner', 'ben@example.com');
  const disconnect = await observe(() => ask('returner', 'DELETE', routes.connection));
  for (let index = 1; index < waitingBookings; index++)
    await observe(() => pay('returner', `waits-${index}`));
  const unconnected = await observe(() => pay('returner', 'waits-too'));
  // A link connects once, and two made within a second are equal.
  const returning = await openLink(await linkFor(stack, 'returner', now - 60_000));
  const returned = await walkConsent(returning.location, { account: 'ben@example.com' });
  const reconnect = await observe(() => finish(returned, returning.cookie));

  progress('schedules');
  await sweep('booking-reconcile');
  const idleReconcile = await again(() => observe(() => sweep('booking-reconcile')));
  await expire(stack, 'payer', 'refreshAt');
  await sweep('token-refresh');
  const idleRefresh = await again(() => observe(() => sweep('token-refresh')));
  const users = Array.from({ length: refreshedConnections }, (_, index) => `idle-${index}`);
  for (const userId of users) await connect(stack, userId);
  const refresh = await again(async () => {
    for (const userId of users) await expire(stack, userId, 'refreshAt');
    return observe(() => sweep('token-refresh'));
  });

  return {
    'first payment of a webhook': firstWebhook,
    payment,
    duplicate,
    'payment with an expired token': expired,
    'payment of an unconnected user': unconnected,
    reschedule,
    cancel: cancelled,
    connect: start,
    callback,
    'show a connection': shown,
    disconnect,
    'reconnect with waiting bookings': reconnect,
    'reconcile with nothing due': idleReconcile,
    'refresh with nothing due': idleRefresh,
    'refresh of several connections': refresh,
  } satisfies Record<string, Measurement>;
}

/** Link, consent, callback. */
async function connect(stack: LocalStack, userId: string, account?: string): Promise<void> {
  const { location, cookie } = await openLink(await linkFor(stack, userId));
  await finish(await walkConsent(location, account ? { account } : {}), cookie);
}

async function finish(callback: string, cookie: string): Promise<void> {
  const { status } = await openCallback(callback, cookie);
  if (status !== 200) throw new Error(`The callback answered ${status}.`);
}

type SentInput = { MessageBody?: string; Entries?: { MessageBody?: string; Detail?: string }[] };
type Recorded = {
  calls: (AwsCall & { input: SentInput })[];
  invocations: { functionName: string; ms: number }[];
  logs: LogLine[];
};

function newRecord(): Recorded {
  return { calls: [], invocations: [], logs: [] };
}

/** Measures from one moment with an empty queue to the next. */
function observer(stack: LocalStack, meter: DynamoDbMeter, record: Recorded): Observe {
  const { google } = stack;
  if (!google)
    throw new Error('Calls to Google are counted by its simulator, which this stack does not have.');
  return async (act) => {
    await settled(stack);
    for (const list of Object.values(record)) list.length = 0;
    google.control.clearRequests();
    meter.clear();
    await act();
    await settled(stack);
    const { calls, invocations, logs } = record;
    const byFunction = Object.entries(Object.groupBy(calls, ({ functionName }) => functionName));
    const requests = google.control.requests();
    const ran = Object.entries(Object.groupBy(invocations, ({ functionName }) => functionName));
    return {
      calls: {
        ...Object.fromEntries(byFunction.map(([name, own = []]) => [name, countBy(own, callName)])),
        ...(requests.length > 0 ? { google: countBy(requests, ({ route }) => route) } : {}),
      },
      items: meter.usage(),
      functions: Object.fromEntries(
        ran.map(([name, runs = []]) => {
          const written = logs.filter((line) => line.functionName === name && line.stream === 'stdout');
          const ms = runs.reduce((sum, run) => sum + run.ms, 0);
          const logBytes = written.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
          return [name, { runs: runs.length, ms, logLines: written.length, logBytes }];
        }),
      ),
      messages: sizesOf(calls, 'sqs', 'MessageBody'),
      events: sizesOf(calls, 'events', 'Detail'),
      metrics: logs.flatMap(metricsIn),
    };
  };
}

function sizesOf(calls: Recorded['calls'], service: string, field: 'MessageBody' | 'Detail'): number[] {
  return calls
    .filter((call) => call.service === service)
    .flatMap(({ input }) => input.Entries ?? [input as { MessageBody?: string; Detail?: string }])
    .map((entry) => Buffer.byteLength(entry[field] ?? ''));
}

/**
 * The metrics of a log line in Embedded Metric Format, each with the values of its dimensions: one billed metric
 * each.
 */
function metricsIn({ stream, text }: LogLine): string[] {
  if (stream !== 'stdout' || !text.includes('"_aws"')) return [];
  const line = JSON.parse(text) as Record<string, unknown> & {
    _aws: { CloudWatchMetrics: { Dimensions: string[][]; Metrics: { Name: string }[] }[] };
  };
  return line._aws.CloudWatchMetrics.flatMap(({ Dimensions, Metrics }) =>
    Metrics.map(({ Name }) =>
      [Name, ...(Dimensions[0] ?? []).map((name) => `${name}=${line[name]}`)].join(' '),
    ),
  );
}

/** The last of several, with the median of their times. */
function withMedianTimes(measured: Measurement[]): Measurement {
  const last = measured.at(-1) as Measurement;
  const functions = Object.entries(last.functions).map(([name, own]) => {
    const times = measured.flatMap((each) => each.functions[name]?.ms ?? []);
    return [name, { ...own, ms: median(times) }];
  });
  return { ...last, functions: Object.fromEntries(functions) };
}

/** Throws for a failed call, so that no refusal is counted. */
function callName({ service, operation, resource, status }: AwsCall): string {
  // There is one bus, whose name CDK generates.
  const onWhat = service === 'events' ? '' : ` ${resource}`;
  return `${service}:${operation}${onWhat}${status === 200 ? '' : ` answered ${status}`}`;
}

function countBy<Item>(items: Item[], name: (item: Item) => string): CallCounts {
  const groups = Object.entries(Object.groupBy(items, name));
  return Object.fromEntries(groups.map(([key, group]) => [key, group?.length ?? 0]));
}

/** Log lines arrive through a pipe of their own, a little after the answer. */
const logsArriveWithin = 30;

async function settled({ queues }: LocalStack): Promise<void> {
  const giveUpAt = performance.now() + 15_000;
  for (;;) {
    const { ready, inFlight } = queues.messages('BookingsQueue.fifo');
    if (ready.length + inFlight.length === 0) return sleep(logsArriveWithin);
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
