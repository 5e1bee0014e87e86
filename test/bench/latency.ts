/**
 * Latency and throughput: time to the webhook's answer and from a payment to its event, for several latencies of
 * Google, compared in the same run with a webhook that calls Google before it answers. Sender, service, Google and
 * in-line webhook are one process each, connected by HTTP.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ObservedRequest, seededRandom } from '../../infra/local/google/faults.ts';
import { freePort } from '../../infra/local/ports.ts';
import { routes, webhookRoute } from '../../shared/lib/names.ts';
import { type Floor, type FloorTimes, openFloor } from './latency-floor.ts';
import {
  type Answered,
  atOnce,
  closeConnections,
  exchange,
  newPayment,
  sendPayment,
  steadily,
  steadyEvery,
} from './latency-load.ts';
import { startProcess } from './latency-process.ts';
import { type MeasureOptions, median, type Part, type Row } from './part.ts';

/** Google's latencies in milliseconds. */
const googleLatencies = [0, 120, 500];
const sliceSeconds = 5;
/** A thousand payments per latency and variant: ten of them lie beyond p99. */
const defaultSlices = 20;
/** Until the last payments are recorded, so that the next ones find an idle machine. */
const settleMs = 500;
const longestDrainMs = 120_000;

const accounts = { ours: 'ada@example.com', inline: 'ben@example.com' } as const;
export type Way = keyof typeof accounts;
const ways: Way[] = ['ours', 'inline'];
const userId = 'user-of-ours';

export const latency: Part = {
  name: 'latency',
  title: 'Latency and throughput: webhook answer, payment to event',
  options: {
    slices: { text: `times ${sliceSeconds} s of steady load for each latency (default: ${defaultSlices})` },
  },
  async measure(options) {
    const extent = extentOf(options);
    await using running = new AsyncDisposableStack();
    options.progress('starting');
    const scene = await startScene(running);
    const { sent, floor } = await sendAll(scene, extent, options.progress);
    const created = await scene.google.created();
    return rowsOf(outcomesOf(sent, created), floor);
  },
};

type Scene = {
  google: SimulatedGoogle;
  webhooks: Record<Way, string>;
  signingSecret: string;
  /** Needs a recorded booking of ours. */
  openFloor: () => Promise<Floor>;
};

async function startScene(running: AsyncDisposableStack): Promise<Scene> {
  const port = await freePort();
  const client = {
    clientId: `${randomBytes(6).toString('hex')}.apps.googleusercontent.com`,
    clientSecret: `GOCSPX-${randomBytes(21).toString('base64url')}`,
    redirectUris: [`http://localhost:${port}${routes.callback}`],
  };
  const { told: googleTold, end: endGoogle } = await startProcess('google', { client });
  running.defer(endGoogle);
  const google = simulatedGoogle(googleTold.url);
  const { told: service, end: endService } = await startProcess('service', {
    port,
    googleUrl: googleTold.url,
    client,
    userId,
    account: accounts.ours,
  });
  running.defer(endService);
  const { signingSecret } = service;
  const accessToken = await google.accessToken(client.clientId, accounts.inline);
  const settings = { googleUrl: googleTold.url, accessToken, signingSecret };
  const { told: inline, end: endInline } = await startProcess('inline', settings);
  running.defer(endInline);
  return {
    google,
    webhooks: { ours: `${service.url}${webhookRoute('stripe')}`, inline: inline.url },
    signingSecret,
    openFloor: () => openFloor(service, userId),
  };
}

type SimulatedGoogle = {
  latency(ms: number): Promise<unknown>;
  clearRequests(): Promise<unknown>;
  /** Events created since. */
  inserted(): Promise<number>;
  accessToken(clientId: string, email: string): Promise<string>;
  /** For each booking, when each of its events was created (epoch milliseconds). */
  created(): Promise<Map<string, number[]>>;
};

function simulatedGoogle(url: string): SimulatedGoogle {
  const ask = async <T>(method: string, path: string, body?: object): Promise<T> => {
    const answer = await exchange(
      `${url}/_simulator${path}`,
      { agent: false, method },
      body ? JSON.stringify(body) : '',
    );
    if (answer.status >= 300) throw new Error(`The simulator answered ${answer.status} to ${path}.`);
    return JSON.parse(answer.body) as T;
  };
  return {
    latency: (ms) => ask('PUT', '/latency', { ms }),
    clearRequests: () => ask('DELETE', '/requests'),
    async inserted() {
      const { requests } = await ask<{ requests: ObservedRequest[] }>('GET', '/requests');
      return requests.filter(({ route, status }) => route === 'events.insert' && status === 200).length;
    },
    async accessToken(clientId, email) {
      const scopes = ['https://www.googleapis.com/auth/calendar.events'];
      return (await ask<{ accessToken: string }>('POST', '/grants', { clientId, email, scopes })).accessToken;
    },
    async created() {
      const created = new Map<string, number[]>();
      for (const email of Object.values(accounts)) {
        const path = `/events?email=${email}`;
        const { events } = await ask<{ events: { summary: string; created: string }[] }>('GET', path);
        for (const { summary, created: at } of events)
          created.set(summary, [...(created.get(summary) ?? []), Date.parse(at)]);
      }
      return created;
    },
  };
}

export type Load = 'steady' | 'burst';

/** A payment that was sent while Google had this latency in milliseconds. */
export type Sent = Answered & { way: Way; load: Load; google: number };

/** Extent of the measurement: Google's latencies, repetitions and payments of each load. */
type Extent = {
  latencies: number[];
  warmUp: number;
  slices: number;
  steady: number;
  floor: number;
  bursts: number;
  burst: number;
};

function extentOf({ short, values }: MeasureOptions): Extent {
  if (short) return { latencies: [0], warmUp: 5, slices: 1, steady: 5, floor: 3, bursts: 1, burst: 10 };
  const slices = Number(values.slices ?? defaultSlices);
  if (!Number.isInteger(slices) || slices < 1)
    throw new Error(`--slices ${values.slices} cannot be: it is a whole number from 1.`);
  const steady = (sliceSeconds * 1000) / steadyEvery;
  return { latencies: googleLatencies, warmUp: 300, slices, steady, floor: steady, bursts: 3, burst: 1000 };
}

/**
 * All payments of the run. Latencies and variants alternate in short slices, so that a busy machine affects all
 * alike.
 */
async function sendAll(
  scene: Scene,
  { latencies, slices, bursts, ...count }: Extent,
  progress: MeasureOptions['progress'],
): Promise<{ sent: Sent[]; floor: FloorTimes[] }> {
  const random = seededRandom(1);
  const sent: Sent[] = [];
  const floor: FloorTimes[] = [];

  const send = async (way: Way, load: Load, google: number, length: number): Promise<Sent[]> => {
    const payments = Array.from({ length }, () => newPayment(way, userId, scene.signingSecret));
    await scene.google.latency(google);
    await scene.google.clearRequests();
    const url = scene.webhooks[way];
    const answered = await (load === 'steady'
      ? steadily(payments, (payment) => sendPayment(url, payment), random)
      : atOnce(url, payments));
    closeConnections();
    await untilInserted(scene.google, length);
    await sleep(settleMs);
    return answered.map((each) => ({ way, load, google, ...each }));
  };

  progress('warming up');
  for (const way of ways) {
    // Google's highest latency keeps every worker busy that a burst will need.
    for (const google of latencies.toReversed()) await send(way, 'burst', google, count.warmUp);
    await send(way, 'steady', 0, count.steady);
  }
  using bare = await scene.openFloor();
  await bare.measure(count.floor, random);
  for (let slice = 1; slice <= slices; slice++) {
    for (const google of latencies) {
      progress(`steady load, slice ${slice} of ${slices}, Google at ${google} ms`);
      for (const way of slice % 2 ? ways : ways.toReversed()) {
        sent.push(...(await send(way, 'steady', google, count.steady)));
      }
    }
    floor.push(...(await bare.measure(count.floor, random)));
  }
  for (let burst = 1; burst <= bursts; burst++) {
    for (const google of latencies) {
      progress(`burst ${burst} of ${bursts}, Google at ${google} ms`);
      for (const way of ways) sent.push(...(await send(way, 'burst', google, count.burst)));
    }
  }
  return { sent, floor };
}

async function untilInserted(google: SimulatedGoogle, count: number): Promise<void> {
  const giveUpAt = performance.now() + longestDrainMs;
  for (;;) {
    const inserted = await google.inserted();
    if (inserted >= count) return;
    if (performance.now() > giveUpAt) {
      throw new Error(
        `${count - inserted} of ${count} payments have no event after ${longestDrainMs / 1000} s.`,
      );
    }
    await sleep(200);
  }
}

/** A payment and its outcome: milliseconds from sending it to its event. */
export type Outcome = Sent & { eventAfter: number };

/** @throws Error if a payment has no event, or more than one */
export function outcomesOf(sent: Sent[], created: Map<string, number[]>): Outcome[] {
  return sent.map((payment) => {
    const [at, ...others] = created.get(payment.bookingId) ?? [];
    if (at === undefined || others.length > 0) {
      const count = at === undefined ? 0 : 1 + others.length;
      throw new Error(`The payment for ${payment.bookingId} has ${count} events instead of one.`);
    }
    return { ...payment, eventAfter: at - payment.paidAt };
  });
}

const loads: Load[] = ['steady', 'burst'];
const shares = [
  ['p50', 0.5],
  ['p99', 0.99],
] as const;

/** The table: our payments next to the in-line ones, and our own share next to the lower bound. */
export function rowsOf(outcomes: Outcome[], floors: FloorTimes[]): Row[] {
  const latencies = [...new Set(outcomes.map(({ google }) => google))];
  const of = (way: Way, load: Load, google: number) =>
    outcomes.filter((each) => each.way === way && each.load === load && each.google === google);
  /** A row per latency of Google, computed from the payments of each variant. */
  const rows = (load: Load, what: string, figure: (outcomes: Outcome[]) => number): Row[] =>
    latencies.map((google) => ({
      what: `${load}, Google ${google} ms: ${what}`,
      unit: 'ms',
      ours: figure(of('ours', load, google)),
      usual: figure(of('inline', load, google)),
      note: `${of('ours', load, google).length} payments`,
    }));
  const answers = (share: number) => (all: Outcome[]) =>
    percentile(
      all.map(({ answeredAfter }) => answeredAfter),
      share,
    );
  const events = (share: number) => (all: Outcome[]) =>
    percentile(
      all.map(({ eventAfter }) => eventAfter),
      share,
    );
  /** How much slower answers are with the slowest Google than with the fastest. */
  const slowness = (load: Load): Row[] => {
    const [slowest, fastest] = [Math.max(...latencies), Math.min(...latencies)];
    if (slowest === fastest) return [];
    const ratio = (way: Way) => answers(0.99)(of(way, load, slowest)) / answers(0.99)(of(way, load, fastest));
    const what = `${load}: answer, p99, Google ${slowest} ms : ${fastest} ms`;
    return [{ what, unit: '×', ours: ratio('ours'), usual: ratio('inline'), goal: { atMost: 1.2 } }];
  };
  /** Our own share of the time to an event. */
  const ownShare = (name: string, share: number): Row[] =>
    latencies.map((google) => ({
      what: `steady, Google ${google} ms: event without Google, ${name}`,
      unit: 'ms',
      ours: events(share)(of('ours', 'steady', google)) - google,
      usual: events(share)(of('inline', 'steady', google)) - google,
      ...floorOf(floors, share),
      goal: { timesFloor: 3 },
    }));
  return [
    ...loads.flatMap((load) => [
      ...shares.flatMap(([name, share]) => rows(load, `answer, ${name}`, answers(share))),
      ...slowness(load),
    ]),
    ...loads.flatMap((load) =>
      shares.flatMap(([name, share]) => rows(load, `event, ${name}`, events(share))),
    ),
    ...shares.flatMap(([name, share]) => ownShare(name, share)),
    ...rows('burst', 'all answered', (all) => lastOf(all, ({ paidAt, answeredAt }) => answeredAt - paidAt)),
    ...rows('burst', 'all in the calendar', (all) => lastOf(all, ({ eventAfter }) => eventAfter)),
  ];
}

/** The lower bound, with its parts and the other calls that this design needs before the event can be created. */
function floorOf(times: FloorTimes[], share: number): { floor: number; note: string } {
  const of = (figure: (times: FloorTimes) => number) => percentile(times.map(figure), share);
  const text = (name: keyof FloorTimes) => `${name} ${of((each) => each[name]).toFixed(1)}`;
  return {
    floor: of(({ http, writes }) => http + writes),
    note: `floor: ${text('http')}, ${text('writes')}; besides: ${text('queue')}, ${text('read')}`,
  };
}

/** Milliseconds from the start of a burst to its last event; the median of all bursts. */
function lastOf(outcomes: Outcome[], after: (outcome: Outcome) => number): number {
  const bursts = Map.groupBy(outcomes, ({ paidAt }) => paidAt);
  return median([...bursts.values()].map((burst) => Math.max(...burst.map(after))));
}

/** The lowest figure that this share (0..1) of all does not exceed. */
export function percentile(figures: number[], share: number): number {
  const sorted = figures.toSorted((one, other) => one - other);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
