/**
 * The local stack under load and violence. Three sides: the service (API, functions, what invokes them) in a process
 * that is killed again and again; Google in another one, killed now and then, which fails and loses answers; and here
 * AWS's tables and queues with those who call the service, which are not killed, because neither is AWS, nor Stripe.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { paginateScan } from '@aws-sdk/client-dynamodb';
import {
  DeleteMessageCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  type SQSClient,
} from '@aws-sdk/client-sqs';
import { unmarshall } from '@aws-sdk/util-dynamodb';
import type { calendar_v3 } from '@googleapis/calendar';
import { dynamoDbClient, startDynamoDb } from '../../infra/local/dynamodb.ts';
import { type ObservedRequest, seededRandom } from '../../infra/local/google/faults.ts';
import { freePort } from '../../infra/local/ports.ts';
import { sqsClient, startQueues } from '../../infra/local/queues.ts';
import { accountId } from '../../infra/local/template.ts';
import { routes } from '../../shared/names.ts';
import { chaosAssembly } from './assembly.ts';
import { followCalendars } from './calendar-history.ts';
import { type ChaosUser, expectedTime, type PlannedBooking, planBookings, planUsers } from './plan.ts';
import { type GoogleSettings, mortal, type ServiceSettings } from './processes.ts';
import { type Answers, changeBooking, connect, deliverEvent, stripeEvents, type World } from './traffic.ts';

export type ChaosOptions = {
  payments: number;
  seed: number;
  /** Percentages of Google's requests: answered with an error; carried out, and the answer lost. */
  errors: number;
  lost: number;
  /** Seconds of life of the service, on average, and kills that there are at most. */
  killEvery: number;
  maxKills: number;
  /** Ends the run, settled or not. */
  minutes: number;
  /** Seconds for which a message stays hidden after its receiver was killed; 180 at AWS. */
  visibility: number;
  /** Folder of a synthesized cloud assembly, and one for what the run keeps. */
  assembly: string;
  directory: string;
};

/** What the tables say of a booking, as far as it matters here. */
export type Row = {
  bookingId: string;
  status: string;
  problems: { code: string }[];
  observed?: { eventId: string };
};

export type QueueDepths = { ready: number; inFlight: number; deadLetters: number };

/** All that was seen. Times are seconds since the first payment; undefined where it did not come to that. */
export type ChaosResult = {
  options: ChaosOptions;
  planned: PlannedBooking[];
  deliveries: { planned: number; twice: number; accepted: number };
  answers: { stripe: Answers; backend: Answers; users: Answers };
  changes: { planned: number; accepted: number };
  kills: { service: number; google: number };
  /** Messages that a kill left without a receiver, and the most often that one was received. */
  cutOff: number;
  mostReceives: number;
  /** Dead letters that the operator has moved back into the queue. */
  movedBack: number;
  googleCalls: Pick<ObservedRequest, 'route' | 'status'>[];
  acceptedAfter: number | undefined;
  settledAfter: number | undefined;
  events: calendar_v3.Schema$Event[];
  doubles: Map<string, number>;
  rows: Row[];
  connections: { userId: string; status: string }[];
  /** What was published, in its order. */
  told: { type: string; id: string; bookingId?: string }[];
  queue: QueueDepths;
};

const queueNames = { bookings: 'BookingsQueue.fifo', deadLetters: 'DeadLetters.fifo' };
const tableNames = { bookings: 'BookingsTable', connections: 'ConnectionsTable' };
/** Share of deliveries that Stripe makes twice although the first was answered. */
const twice = 0.2;
/**
 * Callers at a time. Each new life of the service starts a function for each of them at once, on the few processors of
 * one machine: more of them would get no answer in a life of seconds.
 */
const callers = { stripe: 8, backend: 3, users: 3 };
/** Each kill with this number takes Google along. */
const googleDiesAtEach = 5;
/** Seconds that a life may take to begin. */
const longestBirth = 15;
/** The killing ends with this share of the expected events, or after this share of the time. */
const mostOfIt = 0.95;
const longest = 0.4;
/** Though not before so many kills. */
const leastKills = 3;
/** Seconds. A token with less than a minute to live is refreshed at its next use. */
const accessTokenSeconds = 75;

/**
 * Runs it.
 * @param tell gets a line of progress each second
 * @throws Error when a process does not start
 */
export async function runChaos(options: ChaosOptions, tell: (line: string) => void): Promise<ChaosResult> {
  const { payments, seed, minutes, directory } = options;
  await using running = new AsyncDisposableStack();
  const random = seededRandom(seed);
  const startedAt = Date.now();
  const endsAt = startedAt + minutes * 60_000;
  const ended = AbortSignal.timeout(minutes * 60_000);
  mkdirSync(directory, { recursive: true });

  // AWS.
  const dynamodb = await startDynamoDb('dynalite');
  running.defer(() => dynamodb.close());
  const queues = await startQueues();
  running.defer(() => queues.close());
  const dynamo = dynamoDbClient(dynamodb.endpoint);
  running.defer(() => dynamo.destroy());
  const sqs = sqsClient(queues.endpoint);
  running.defer(() => sqs.destroy());

  // Google and the service.
  const users = planUsers(payments);
  const [apiPort, googlePort] = [await freePort(), await freePort()];
  const apiUrl = `http://localhost:${apiPort}`;
  const client = {
    clientId: `${randomBytes(6).toString('hex')}.apps.googleusercontent.com`,
    clientSecret: `GOCSPX-${randomBytes(21).toString('base64url')}`,
    redirectUris: [`${apiUrl}${routes.callback}`],
  };
  const googleUrl = `http://127.0.0.1:${googlePort}`;
  const googleSettings: GoogleSettings = {
    port: googlePort,
    stateFile: join(directory, 'google.json'),
    client,
    accounts: users.map(({ account }) => account),
    errors: options.errors / 100,
    lost: options.lost / 100,
    accessTokenSeconds,
    seed,
  };
  const serviceSettings: ServiceSettings = {
    port: apiPort,
    stateDir: directory,
    assembly: chaosAssembly(options.assembly, join(directory, 'assembly'), options.visibility),
    endpoints: { dynamodb: dynamodb.endpoint, sqs: queues.endpoint },
    googleUrl,
    clientFile: writeClientFile(join(directory, 'client_secret.json'), client),
    eventsFile: join(directory, 'events.jsonl'),
    reconcileEvery: 5_000,
    refreshEvery: 15_000,
  };
  const google = mortal<GoogleSettings>('google.ts');
  running.defer(() => google.kill());
  const service = mortal<ServiceSettings>('service.ts');
  running.defer(() => service.kill());
  await google.start(googleSettings);
  await service.start(serviceSettings);
  const history = followCalendars(googleSettings.stateFile);
  running.defer(() => history.close());

  const inQueue = async (name: string) => {
    const response = await fetch(`${queues.endpoint}/_fauxqs/queues/${name}`);
    return ((await response.json()) as { messages: InspectedMessages }).messages;
  };
  const depths = async (): Promise<QueueDepths> => {
    const { ready, delayed, inflight } = await inQueue(queueNames.bookings);
    const dead = await inQueue(queueNames.deadLetters);
    return {
      ready: ready.length + delayed.length,
      inFlight: inflight.length,
      deadLetters: dead.ready.length + dead.inflight.length,
    };
  };
  const googleCalls: ChaosResult['googleCalls'] = [];
  /** Takes over what Google remembers of the requests, which it forgets when it is killed. */
  const takeGoogleCalls = async () => {
    const { requests } = await askGoogle<{ requests: ObservedRequest[] }>(googleUrl, 'GET', '/requests');
    for (const { route, status } of requests) googleCalls.push({ route, status });
  };

  // Those who call.
  const world: World = { stateDir: directory, random, signal: ended };
  const answers = { stripe: new Map(), backend: new Map(), users: new Map() };
  const connectAll = (some: ChaosUser[]) =>
    inParallel(some, callers.users, (user) => connect(world, answers.users, user));
  await connectAll(users.filter(({ connectsLate }) => !connectsLate));
  const planned = planBookings(payments, users, random, Date.now());
  const events = planned.flatMap((booking) => stripeEvents(booking, Date.now()));
  const again = events.filter(() => random() < twice);
  const deliveries = { planned: events.length + again.length, twice: again.length, accepted: 0 };
  const toChange = planned.filter(({ fate }) => fate === 'moved' || fate === 'cancelled');
  const changes = { planned: toChange.length, accepted: 0 };
  const firstAt = Date.now();
  const sinceFirst = () => (Date.now() - firstAt) / 1000;
  const half = Promise.withResolvers<void>();
  ended.addEventListener('abort', () => half.resolve());
  let acceptedAfter: number | undefined;
  const allAccepted = Promise.all([
    inParallel(shuffled([...events, ...again], random), callers.stripe, async (event) => {
      await deliverEvent(world, answers.stripe, event);
      deliveries.accepted += 1;
      if (deliveries.accepted > deliveries.planned / 2) half.resolve();
    }),
    inParallel(toChange, callers.backend, async (booking) => {
      await changeBooking(world, answers.backend, booking);
      changes.accepted += 1;
    }),
    half.promise.then(() => connectAll(users.filter(({ connectsLate }) => connectsLate))),
  ]).then(() => {
    if (!ended.aborted) acceptedAfter = sinceFirst();
  });

  // Violence, until most of the work has been done under it.
  const kills = { service: 0, google: 0 };
  const handles = new Set<string>();
  let mostReceives = 0;
  const mostEvents = mostOfIt * planned.filter((booking) => expectedTime(booking)).length;
  const isEnough = () =>
    (history.standing() >= mostEvents && kills.service >= leastKills) ||
    kills.service >= options.maxKills ||
    Date.now() - startedAt > (endsAt - startedAt) * longest;
  let raging = true;
  const violence = (async () => {
    while (!isEnough()) {
      await sleep(options.killEvery * 1000 * (0.5 + random()));
      const { account } = users[Math.floor(random() * users.length)] as ChaosUser;
      await askGoogle(googleUrl, 'POST', '/expire-access-tokens', { email: account.email });
      await service.kill();
      kills.service += 1;
      for (const { receiptHandle } of (await inQueue(queueNames.bookings)).inflight)
        handles.add(receiptHandle);
      if (kills.service % googleDiesAtEach === 0) {
        await takeGoogleCalls();
        await google.kill();
        kills.google += 1;
        await google.start({ ...googleSettings, seed: seed + kills.google });
      }
      await service.start(serviceSettings);
      // On a busy machine a function may need seconds to start: a life begins with the first work that is done in it.
      const { accepted } = deliveries;
      const isAtWork = () =>
        deliveries.accepted > accepted || deliveries.accepted === deliveries.planned || isEnough();
      for (let waits = 0; !isAtWork() && waits < longestBirth * 10; waits += 1) await sleep(100);
    }
    raging = false;
  })();

  let settledAfter: number | undefined;
  let movedBack = 0;
  let state = await depths();
  while (!ended.aborted && settledAfter === undefined) {
    await sleep(1000);
    history.look();
    const { ready, inflight } = await inQueue(queueNames.bookings);
    for (const { approximateReceiveCount } of [...ready, ...inflight.map(({ message }) => message)])
      mostReceives = Math.max(mostReceives, approximateReceiveCount);
    state = await depths();
    const retries = sum(answers.stripe) - deliveries.accepted;
    tell(
      `${Math.round(sinceFirst())} s: ${deliveries.accepted}/${deliveries.planned} deliveries accepted, ` +
        `${retries} retried, ${changes.accepted}/${changes.planned} changes, ${history.standing()} events, ` +
        `${kills.service} kills, queue ${state.ready}+${state.inFlight}, ${state.deadLetters} dead`,
    );
    if (raging) continue;
    // What the alarm of the dead-letter queue asks of the operator, once the cause is gone.
    if (state.deadLetters > 0) movedBack += await moveBack(sqs, queues.endpoint);
    if (acceptedAfter === undefined || state.ready + state.inFlight > 0) continue;
    const open = (await rowsOf(dynamo, tableNames.bookings)).filter(isUnderWay);
    if (open.length === 0) settledAfter = sinceFirst();
  }
  await violence;
  await allAccepted;
  await takeGoogleCalls();
  history.look();

  const eventsOf = async (email: string) =>
    (await askGoogle<{ events: calendar_v3.Schema$Event[] }>(googleUrl, 'GET', `/events?email=${email}`))
      .events;
  return {
    options,
    planned,
    deliveries,
    answers,
    changes,
    kills,
    cutOff: handles.size,
    mostReceives,
    movedBack,
    googleCalls,
    acceptedAfter,
    settledAfter,
    events: (await Promise.all(users.map(({ account }) => eventsOf(account.email)))).flat(),
    doubles: history.doubles(),
    rows: (await rowsOf(dynamo, tableNames.bookings)).filter(isBooking) as unknown as Row[],
    connections: (await rowsOf(dynamo, tableNames.connections)) as ChaosResult['connections'],
    told: readTold(serviceSettings.eventsFile),
    queue: await depths(),
  };
}

/** What fauxqs shows of a queue. */
type InspectedMessages = {
  ready: { approximateReceiveCount: number }[];
  delayed: unknown[];
  inflight: { receiptHandle: string; message: { approximateReceiveCount: number } }[];
};

type TableRow = Record<string, unknown>;

async function rowsOf(client: ReturnType<typeof dynamoDbClient>, TableName: string): Promise<TableRow[]> {
  const rows: TableRow[] = [];
  for await (const { Items = [] } of paginateScan({ client }, { TableName, ConsistentRead: true })) {
    rows.push(...Items.map((item) => unmarshall(item)));
  }
  return rows;
}

const isBooking = ({ id }: TableRow): boolean => String(id).startsWith('booking#');

/** There is an attempt to come, or one that was cut off and has not come back yet. */
function isUnderWay(row: TableRow): boolean {
  return isBooking(row) && (row.status === 'pending' || row.status === 'waiting_for_connection');
}

/** Moves all dead letters back, as `aws sqs start-message-move-task` does, which fauxqs lacks. */
async function moveBack(sqs: SQSClient, endpoint: string): Promise<number> {
  const from = `${endpoint}/${accountId}/${queueNames.deadLetters}`;
  const to = `${endpoint}/${accountId}/${queueNames.bookings}`;
  for (let moved = 0; ; moved += 1) {
    const { Messages: [message] = [] } = await sqs.send(
      new ReceiveMessageCommand({ QueueUrl: from, MessageSystemAttributeNames: ['MessageGroupId'] }),
    );
    if (!message) return moved;
    await sqs.send(
      new SendMessageCommand({
        QueueUrl: to,
        MessageBody: message.Body,
        MessageGroupId: message.Attributes?.MessageGroupId,
        MessageDeduplicationId: message.MessageId,
      }),
    );
    await sqs.send(new DeleteMessageCommand({ QueueUrl: from, ReceiptHandle: message.ReceiptHandle }));
  }
}

async function askGoogle<T>(googleUrl: string, method: string, path: string, body?: object): Promise<T> {
  const response = await fetch(`${googleUrl}/_simulator${path}`, {
    method,
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  if (!response.ok) throw new Error(`The simulator answered ${response.status} to ${path}.`);
  return (await response.json()) as T;
}

function writeClientFile(path: string, client: GoogleSettings['client']): string {
  const { clientId: client_id, clientSecret: client_secret, redirectUris: redirect_uris } = client;
  writeFileSync(path, JSON.stringify({ web: { client_id, client_secret, redirect_uris } }), { mode: 0o600 });
  return path;
}

function readTold(path: string): ChaosResult['told'] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const { type, detail } = JSON.parse(line);
      return { type, id: detail.id, bookingId: detail.bookingId };
    });
}

/** Handles all, so many at a time. */
async function inParallel<T>(all: T[], width: number, handle: (one: T) => Promise<void>): Promise<void> {
  const left = [...all];
  const work = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) await handle(next);
  };
  await Promise.all(Array.from({ length: width }, work));
}

function shuffled<T>(all: T[], random: () => number): T[] {
  return all
    .map((one) => ({ one, place: random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ one }) => one);
}

const sum = (answers: Answers): number => [...answers.values()].reduce((total, count) => total + count, 0);
