/**
 * The refresh sweep: how near it comes to the limit of Google's latency, its cost per connection, and whether its
 * memory is bounded. Measured with the deployed bundle in a process of its own; counted and calculated for numbers
 * of connections that are too large for that.
 */
import { type ForkOptions, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SweepReport } from '../../functions/token-refresh/refresh-due.ts';
import { readConfig } from '../../infra/config.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { env } from '../../shared/lib/names.ts';
import { monthSeconds, refreshesOf, wholeCpuMb } from './cost-model.ts';
import type { MeasureOptions, Part, Row } from './part.ts';
import { type Asked, simulatedSweep } from './refresh-simulated.ts';
import type { Deployed, WorldSettings } from './refresh-world.ts';

/** Average latency of Google and of DynamoDB in milliseconds. */
const tokenLatency = 120;
const tableLatency = 4;
/** As deployed by default. */
const config = readConfig({});
const { refreshConcurrency: usual } = config;
/** Seconds of a run in which the function starts refreshes: five minutes without the reserve for running ones. */
const sweepsFor = 280;
/** Lifetime of Google's access tokens in seconds. */
const tokenLifetime = 3600;
/** Nine tenths of the limit by concurrency and Google's latency. */
const paceGoal = { timesFloor: 1.11 };

export const refresh: Part = {
  name: 'refresh',
  title: 'Refresh at scale: sweeps over connections that are due',
  async measure(options) {
    const simulated = await simulatedRows(options);
    const { rows, ...measured } = await measuredRows(options);
    return [...rows, ...simulated, ...tenMillion(measured)];
  },
};

/** In simulated time, independent of processor, engine and other load. */
async function simulatedRows({ short, progress }: MeasureOptions): Promise<Row[]> {
  const simulate = async (connections: number, due: number) => {
    progress(`simulating ${count(due)} due of ${count(connections)}`);
    const swept = await simulatedSweep({ connections, due, concurrency: usual, tableLatency, tokenLatency });
    return complete(swept, due);
  };
  const rows: Row[] = [];
  for (const due of short ? [100] : [1000, 10_000, 100_000])
    rows.push(paceRow('simulated', due, usual, await simulate(due, due)));
  const [few, many, due] = short ? [100, 1000, 50] : [20_000, 1_000_000, 10_000];
  const amongFew = await simulate(few, due);
  const amongMany = await simulate(many, due);
  const beside = (what: string, unit: string, ours: number, floor: number): Row => ({
    what: `simulated: ${count(due)} due of ${count(many)}, ${what}`,
    unit,
    ours,
    floor,
    goal: { timesFloor: 1.01 },
    note: `floor: ${count(due)} due of ${count(few)}`,
  });
  rows.push(
    beside('time', 's', amongMany.seconds, amongFew.seconds),
    beside('calls', 'calls', amongMany.asked.calls, amongFew.asked.calls),
    beside('items read', 'items', amongMany.asked.itemsOfIndex, amongFew.asked.itemsOfIndex),
  );
  return rows;
}

/** Processor time of a refresh here, and megabytes of the function. */
type MeasuredFunction = { cpuSeconds: number; memory: number };

/** In real time: with all work of a sweep, and other load of this machine. */
async function measuredRows({
  short,
  progress,
}: MeasureOptions): Promise<{ rows: Row[] } & MeasuredFunction> {
  const assembly = mkdtempSync(join(tmpdir(), 'bench-refresh-'));
  try {
    progress('building');
    synthesize(assembly);
    const sweep = async (due: number, concurrency: number, engine: 'memory' | 'dynalite' = 'memory') => {
      const least = Math.ceil((due * tokenLatency) / 1000 / concurrency);
      progress(`sweeping ${count(due)}, ${concurrency} side by side: ${least} s or more`);
      return complete(
        await sweepOnce({ assembly, engine, due, tableLatency, tokenLatency }, concurrency),
        due,
      );
    };
    const [small, middle, large] = short ? [100, 200, 400] : [1000, 10_000, 100_000];
    // With the default concurrency the largest case would take eleven minutes.
    const more = 2 * usual;

    const onDynalite = await sweep(small, usual, 'dynalite');
    const ofSmall = await sweep(small, usual);
    const ofMiddle = await sweep(middle, usual);
    const ofLarge = await sweep(large, more);
    // Memory grows with concurrency: the largest case is compared with this one.
    const ofSmallByMore = await sweep(small, more);
    const memory = (due: number, swept: Swept, ofFew: Swept): Row => ({
      what: `peak memory, ${count(due)} due`,
      unit: 'MB',
      ours: swept.peakMegabytes,
      floor: ofFew.peakMegabytes,
      goal: { timesFloor: 1.15 },
      note: `floor: ${count(small)} due`,
    });
    const { calls, itemsOfIndex } = ofLarge.asked;
    const perConnection = (what: string, unit: string, ours: number, floor: number): Row => ({
      what: `${what} per connection`,
      unit,
      ours: ours / large,
      floor,
      goal: { timesFloor: 1.01 },
    });
    const cpuSeconds = ofLarge.cpuSeconds / large;
    const rows = [
      paceRow('measured', small, usual, ofSmall),
      paceRow('measured', middle, usual, ofMiddle),
      paceRow('measured', large, more, ofLarge),
      // The speed of a test engine is no goal.
      { ...paceRow('measured on dynalite', small, usual, onDynalite), goal: {} },
      memory(middle, ofMiddle, ofSmall),
      memory(large, ofLarge, ofSmallByMore),
      // The lease, Google and the tokens, and a page per hundred.
      perConnection('calls', 'calls', calls, 3),
      perConnection('items read from the index', 'items', itemsOfIndex, 1),
      { what: 'processor time per connection', unit: 'ms', ours: 1000 * cpuSeconds },
    ];
    return { rows, cpuSeconds, memory: ofLarge.memory };
  } finally {
    rmSync(assembly, { recursive: true, force: true });
  }
}

/** A sweep compared with the time of Google's answers alone at this concurrency. */
function paceRow(
  how: string,
  due: number,
  concurrency: number,
  { seconds, asked, load = '' }: { seconds: number; asked: Asked; load?: string },
): Row {
  const ideal = asked.googleSeconds / concurrency;
  return {
    what: `${how}: ${count(due)} due, ${concurrency} side by side`,
    unit: 's',
    ours: seconds,
    floor: ideal,
    goal: paceGoal,
    note: `${Math.round(due / seconds)}/s, ${(ideal / seconds).toFixed(2)} of the ideal${load}`,
  };
}

/** The same. @throws Error unless every due connection was refreshed: its figures would say nothing */
function complete<T extends { report: SweepReport }>(swept: T, due: number): T {
  if (swept.report.refreshed === due) return swept;
  throw new Error(`Of ${count(due)} due, not all were refreshed: ${JSON.stringify(swept.report)}`);
}

/** Changes per second of a DynamoDB partition; two per refresh, which moves its entry in the index. */
const shardTakes = 1000 / 2;

/** Calculation for ten million connections. */
function tenMillion({ cpuSeconds, memory }: MeasuredFunction): Row[] {
  const interval = config.refreshEveryMinutes * 60;
  const sweeping = sweepsFor / interval;
  const waiting = (usual / ((tokenLatency + 2 * tableLatency) / 1000)) * sweeping;
  const working = (memory / wholeCpuMb / cpuSeconds) * sweeping;
  // A due connection waits for the next sweep, half its interval on average.
  const refreshEvery = {
    inUse: tokenLifetime - config.refreshMarginMinutes * 60 + interval / 2,
    idle: config.keepAliveDays * 86_400 + interval / 2,
  };
  const load = (active: number): Row => {
    const perSecond = refreshesOf({ connections: 10_000_000, active, refreshEvery }) / monthSeconds;
    const functions = Math.ceil(perSecond / Math.min(waiting, working));
    // Half of the capacity is reserved for sweeps with many due connections.
    const shards = Math.ceil(perSecond / (shardTakes / 2));
    return {
      what: `on paper: 10 million, ${100 * active} % in use on a day`,
      unit: '/s',
      ours: perSecond,
      note: `functions at once: ${functions}, shards: ${shards}`,
    };
  };
  return [
    { what: `on paper: one function, ${usual} side by side`, unit: '/s', ours: waiting },
    {
      what: `on paper: one function, by the processor of ${memory} MB`,
      unit: '/s',
      ours: working,
      note: `as fast as this one, a whole one at ${wholeCpuMb} MB`,
    },
    ...[0.01, 0.05, 0.1, 0.5].map(load),
  ];
}

/** Usage of a run of the function. */
type Run = { report: SweepReport; seconds: number; cpuSeconds: number; peakMegabytes: number };
type Swept = Run & { asked: Asked; memory: number; load: string };

/** Runs the function once over all due connections, after a warm-up run. */
async function sweepOnce(settings: WorldSettings, concurrency: number): Promise<Swept> {
  const warmUp = Math.min(settings.due, 1000);
  const world = answering(join(import.meta.dirname, 'refresh-world.ts'));
  try {
    const { bundle, environment } = await world.ask<Deployed>({ ...settings, due: settings.due + warmUp });
    const memory = Number(environment.AWS_LAMBDA_FUNCTION_MEMORY_SIZE);
    const sweep = answering(join(import.meta.dirname, 'refresh-sweep.cjs'), [bundle], {
      env: { ...environment, [env.refreshConcurrency]: String(concurrency) },
      // V8's own choice on a machine with only the function's memory. With more, it delays garbage collection.
      execArgv: [`--max-heap-size=${memory / 2}`],
    });
    try {
      await sweep.ask<Run>(warmUp);
      await world.ask<Asked>('what was asked');
      const run = await sweep.ask<Run>(null);
      const load = `, load ${loadavg()[0]?.toFixed(1)}`;
      return { ...run, asked: await world.ask<Asked>('what was asked'), memory, load };
    } finally {
      sweep.end();
    }
  } finally {
    world.end();
  }
}

/** A process of this bench that answers each message with one. */
type Answering = {
  /** @throws Error with its last output if it ends instead */
  ask<Answer>(message: unknown): Promise<Answer>;
  end(): void;
};

function answering(file: string, args: string[] = [], options: ForkOptions = {}): Answering {
  const child = fork(file, args, {
    execArgv: [],
    ...options,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let lastWords = '';
  child.stderr?.on('data', (chunk) => {
    lastWords = `${lastWords}${chunk}`.slice(-4000);
  });
  const ended = new AbortController();
  child.once('exit', () => ended.abort());
  return {
    async ask(message) {
      const answer = once(child, 'message', { signal: ended.signal });
      child.send(message as object, () => {});
      try {
        return (await answer)[0];
      } catch {
        throw new Error(`A process of the bench ended without an answer: ${lastWords}`);
      }
    },
    end: () => child.kill('SIGKILL'),
  };
}

const count = (items: number): string => items.toLocaleString('en');
