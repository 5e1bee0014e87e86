/**
 * The local stack under load and kills. Three parts: the service in a process that is killed again and again;
 * Google in another one, killed at times, which fails and loses responses; and AWS's tables and queues with the
 * callers, which survive, as AWS and Stripe do.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { calendar_v3 } from '@googleapis/calendar';
import { type ObservedRequest, seededRandom } from '../../infra/local/google/faults.ts';
import { freePort } from '../../infra/local/ports.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import { routes } from '../../shared/lib/names.ts';
import { chaosAssembly } from './assembly.ts';
import { type Aws, type QueueState, startAws } from './aws.ts';
import { type CalendarHistory, followCalendars } from './calendar-history.ts';
import { type ChaosUser, expectedTime, type PlannedBooking, planBookings, planUsers } from './plan.ts';
import { type GoogleSettings, type Mortal, mortal, type ServiceSettings } from './processes.ts';
import { type Callers, connectUsers, type Errand, startTraffic, type Traffic } from './traffic.ts';

export type ChaosOptions = {
  payments: number;
  seed: number;
  /** Percentages of Google's requests: answered with an error; applied with a lost response. */
  errors: number;
  lost: number;
  /** Percentage of Stripe's events whose webhook is lost for good: only recovery finds them. */
  lostWebhooks: number;
  /** Average life of the service in seconds, and the highest number of kills. */
  killEvery: number;
  maxKills: number;
  /** Ends the run, finished or not. */
  minutes: number;
  /** Seconds for which a message stays hidden after its receiver was killed; 180 at AWS. */
  visibility: number;
  /** Folder of a synthesized cloud assembly, and one for the files of the run. */
  assembly: string;
  directory: string;
};

/** Effects of the kills. `cutOff`: receipts of messages whose receiver was killed. */
export type Violence = { kills: number; googleKills: number; cutOff: Set<string>; isOver: boolean };

/** All observations. Times are seconds since the first payment; undefined if not reached. */
export type ChaosResult = {
  options: ChaosOptions;
  planned: PlannedBooking[];
  traffic: Pick<Traffic, 'stripe' | 'backend' | 'users'>;
  /** Users who connected before the first payment. */
  early: Errand;
  violence: Violence;
  mostReceives: number;
  /** Dead letters that the operator has redriven. */
  movedBack: number;
  googleCalls: Pick<ObservedRequest, 'route' | 'status'>[];
  acceptedAfter: number | undefined;
  settledAfter: number | undefined;
  events: calendar_v3.Schema$Event[];
  doubles: Map<string, number>;
  rows: Booking[];
  connections: { userId: string; status: string }[];
  /** Published events in order. */
  told: { type: string; id: string; bookingId?: string }[];
  queue: QueueState;
};

/** Every kill with this number also kills Google. */
const googleDiesAtEach = 5;
/** Seconds that a life may take to start. */
const longestBirth = 15;
/** Kills end with this share of the expected events, or after this share of the time. */
const mostOfIt = 0.95;
const longest = 0.3;
/** After at least this many kills. */
const leastKills = 3;
/** Seconds. A token with less than a minute left is refreshed at its next use. */
const accessTokenSeconds = 75;

/**
 * Runs it.
 * @param tell gets a line of progress each second
 * @throws Error when a process does not start
 */
export async function runChaos(options: ChaosOptions, tell: (line: string) => void): Promise<ChaosResult> {
  const { payments, seed, directory } = options;
  await using running = new AsyncDisposableStack();
  const endsAt = Date.now() + options.minutes * 60_000;
  const callers: Callers = {
    stateDir: directory,
    random: seededRandom(seed + 1),
    signal: AbortSignal.timeout(options.minutes * 60_000),
  };
  mkdirSync(directory, { recursive: true });
  const users = planUsers(payments);
  const aws = await startAws();
  running.defer(() => aws.close());
  const stage = await startProcesses(options, users, aws, running);
  const { google, history, eventsFile } = stage;

  const isLate = ({ connectsLate }: ChaosUser) => connectsLate;
  const early = await connectUsers(
    callers,
    users.filter((user) => !isLate(user)),
  );
  const planned = planBookings(payments, users, seededRandom(seed), Date.now());
  const firstAt = Date.now();
  const traffic = startTraffic(callers, planned, users.filter(isLate), options.lostWebhooks / 100);
  const violence: Violence = { kills: 0, googleKills: 0, cutOff: new Set(), isOver: false };
  const raging = rage({ ...stage, options, aws, users, planned, traffic, callers, endsAt }, violence);
  // A process that does not restart ends the run at once.
  const failure = raging.then(() => new Promise<never>(() => {}));

  let settledAt: number | undefined;
  let mostReceives = 0;
  let movedBack = 0;
  let queue = await aws.queue();
  while (!callers.signal.aborted && settledAt === undefined) {
    await Promise.race([sleep(1000), failure]);
    history.look();
    queue = await aws.queue();
    mostReceives = Math.max(mostReceives, queue.mostReceives);
    tell(progress(Date.now() - firstAt, traffic, violence, history.standing(), queue));
    if (!violence.isOver) continue;
    // The operator's reaction to the dead-letter alarm, once the cause is gone.
    if (queue.deadLetters > 0) movedBack += await aws.moveDeadLettersBack();
    const isQuiet = traffic.acceptedAt !== undefined && queue.ready + queue.receipts.length === 0;
    if (!isQuiet) continue;
    const rows = await aws.rows('BookingsTable');
    // What no webhook delivered comes with a later run of payment-recovery.
    const isFound = rows.filter(isBooking).length >= planned.length;
    if (isFound && !rows.some(isUnderWay)) settledAt = Date.now();
  }
  await Promise.all([raging, traffic.ended]);
  history.look();

  const since = (time: number | undefined) => (time === undefined ? undefined : (time - firstAt) / 1000);
  return {
    options,
    planned,
    traffic,
    early,
    violence,
    mostReceives,
    movedBack,
    googleCalls: await google.takeCalls(),
    acceptedAfter: since(traffic.acceptedAt),
    settledAfter: since(settledAt),
    events: (await Promise.all(users.map(({ account }) => google.events(account.email)))).flat(),
    doubles: history.doubles(),
    rows: (await aws.rows('BookingsTable')).filter(isBooking) as unknown as Booking[],
    // Besides connections, the table counts attempts of links.
    connections: ((await aws.rows('ConnectionsTable')) as ChaosResult['connections']).filter(
      ({ userId }) => !userId.startsWith('link#'),
    ),
    told: readTold(eventsFile),
    queue: await aws.queue(),
  };
}

/** Google and the service, which can be killed and restarted with their state. */
type Stage = {
  google: MortalGoogle;
  service: { kill(): Promise<void>; start(): Promise<void> };
  history: CalendarHistory;
  /** JSON lines of published events. */
  eventsFile: string;
};

type MortalGoogle = {
  kill(): Promise<void>;
  /** Starts it again; `life` counts the starts, so that each draws other faults. */
  start(life: number): Promise<void>;
  expireAccessTokens(email: string): Promise<void>;
  events(email: string): Promise<calendar_v3.Schema$Event[]>;
  /** All calls so far. A kill loses them, so read them before. */
  takeCalls(): Promise<ChaosResult['googleCalls']>;
};

async function startProcesses(
  { assembly, directory, errors, lost, visibility, seed }: ChaosOptions,
  users: ChaosUser[],
  aws: Aws,
  running: AsyncDisposableStack,
): Promise<Stage> {
  const [apiPort, googlePort] = [await freePort(), await freePort()];
  const client = {
    clientId: `${randomBytes(6).toString('hex')}.apps.googleusercontent.com`,
    clientSecret: `GOCSPX-${randomBytes(21).toString('base64url')}`,
    redirectUris: [`http://localhost:${apiPort}${routes.callback}`],
  };
  const google = mortalGoogle({
    port: googlePort,
    stateFile: join(directory, 'google.json'),
    client,
    accounts: users.map(({ account }) => account),
    errors: errors / 100,
    lost: lost / 100,
    accessTokenSeconds,
    seed,
  });
  running.defer(() => google.kill());
  const eventsFile = join(directory, 'events.jsonl');
  const settings: ServiceSettings = {
    port: apiPort,
    stateDir: directory,
    assembly: chaosAssembly(assembly, join(directory, 'assembly'), visibility),
    endpoints: aws.endpoints,
    googleUrl: `http://127.0.0.1:${googlePort}`,
    clientFile: writeClientFile(join(directory, 'client_secret.json'), client),
    eventsFile,
    reconcileEvery: 5_000,
    refreshEvery: 15_000,
    recoverEvery: 10_000,
  };
  const process: Mortal<ServiceSettings> = mortal('service.ts');
  const service = { kill: process.kill, start: () => process.start(settings) };
  running.defer(() => service.kill());
  await google.start(0);
  await service.start();
  const history = followCalendars(join(directory, 'google.json'));
  running.defer(() => history.close());
  return { google, service, history, eventsFile };
}

function mortalGoogle(settings: GoogleSettings): MortalGoogle {
  const process: Mortal<GoogleSettings> = mortal('google.ts');
  const taken: ChaosResult['googleCalls'] = [];
  const ask = async <T>(method: string, path: string, body?: object): Promise<T> => {
    const response = await fetch(`http://127.0.0.1:${settings.port}/_simulator${path}`, {
      method,
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    if (!response.ok) throw new Error(`The simulator answered ${response.status} to ${path}.`);
    return (await response.json()) as T;
  };
  return {
    kill: process.kill,
    start: (life) => process.start({ ...settings, seed: settings.seed + life }),
    expireAccessTokens: (email) => ask('POST', '/expire-access-tokens', { email }),
    events: async (email) =>
      (await ask<{ events: calendar_v3.Schema$Event[] }>('GET', `/events?email=${email}`)).events,
    async takeCalls() {
      const { requests } = await ask<{ requests: ObservedRequest[] }>('GET', '/requests');
      await ask('DELETE', '/requests');
      for (const { route, status } of requests) taken.push({ route, status });
      return taken;
    },
  };
}

type Battlefield = Stage & {
  options: ChaosOptions;
  aws: Aws;
  users: ChaosUser[];
  planned: PlannedBooking[];
  traffic: Traffic;
  callers: Callers;
  /** Epoch milliseconds. */
  endsAt: number;
};

/** Kills the service every few seconds, and sometimes Google, until most of the work is done. */
async function rage(at: Battlefield, violence: Violence): Promise<void> {
  const { options, aws, google, service, history, users, traffic, callers, endsAt } = at;
  const { stripe } = traffic;
  const mostEvents = mostOfIt * at.planned.filter((booking) => expectedTime(booking)).length;
  const lastsUntil = Math.min(endsAt, Date.now() + options.minutes * 60_000 * longest);
  const isEnough = () =>
    (history.standing() >= mostEvents && violence.kills >= leastKills) ||
    violence.kills >= options.maxKills ||
    Date.now() > lastsUntil;
  while (!isEnough()) {
    await sleep(options.killEvery * 1000 * (0.5 + callers.random()));
    const user = users[Math.floor(callers.random() * users.length)] as ChaosUser;
    await google.expireAccessTokens(user.account.email);
    await service.kill();
    violence.kills += 1;
    for (const receipt of (await aws.queue()).receipts) violence.cutOff.add(receipt);
    if (violence.kills % googleDiesAtEach === 0) {
      await google.takeCalls();
      await google.kill();
      violence.googleKills += 1;
      await google.start(violence.googleKills);
    }
    const { accepted } = stripe;
    await service.start();
    // On a busy machine a function may need seconds to start: a life begins with its first work.
    const isAtWork = () => stripe.accepted > accepted || stripe.accepted === stripe.planned || isEnough();
    for (let waits = 0; !isAtWork() && waits < longestBirth * 10; waits += 1) await sleep(100);
  }
  violence.isOver = true;
}

function progress(
  elapsed: number,
  { stripe, backend }: Traffic,
  { kills }: Violence,
  standing: number,
  { ready, receipts, deadLetters }: QueueState,
): string {
  const calls = [...stripe.answers.values()].reduce((sum, count) => sum + count, 0);
  return (
    `${Math.round(elapsed / 1000)} s: ${stripe.accepted}/${stripe.planned} deliveries accepted, ` +
    `${calls - stripe.accepted} retried, ${backend.accepted}/${backend.planned} changes, ${standing} events, ` +
    `${kills} kills, queue ${ready}+${receipts.length}, ${deadLetters} dead`
  );
}

const isBooking = ({ id }: Record<string, unknown>): boolean => String(id).startsWith('booking#');

/** Another attempt will follow, or the message of a killed one has not reappeared yet. */
function isUnderWay(row: Record<string, unknown>): boolean {
  return isBooking(row) && (row.status === 'pending' || row.status === 'waiting_for_connection');
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
