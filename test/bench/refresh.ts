/**
 * The refresh sweep: how near it comes to what Google's latency allows, what it costs per connection, and whether its
 * memory stays where it is. A sweep runs bundled as its function is, the table and Google in processes of their own.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { bundling } from '../../infra/bundle.ts';
import { synthesize } from '../../infra/synthesize.ts';
import type { MeasureOptions, Part, Row } from './part.ts';
import type { Task } from './refresh-process.ts';
import type { Simulated } from './refresh-simulated.ts';
import type { SweepSettings, Swept } from './refresh-sweep.ts';
import { indexShards, table, tokenKeys } from './refresh-table.ts';

/** Milliseconds that Google and DynamoDB take to answer. */
const tokenLatency = 120;
const tableLatency = 4;
/** Refreshes side by side, as deployed by default, and the most that can be set. */
const usual = 20;
const most = 200;
/** Memory of the function, in megabytes. */
const functionMegabytes = 512;
/** Nine tenths of what concurrency and Google's latency allow. */
const goal = { timesFloor: 1.11 };

export const refresh: Part = {
  name: 'refresh',
  title: 'Refresh at scale: sweeps over connections that are due',
  async measure({ short, progress }) {
    const directory = mkdtempSync(join(tmpdir(), 'bench-refresh-'));
    try {
      await build({
        ...bundling,
        entryPoints: [join(import.meta.dirname, 'refresh-sweep.ts')],
        outfile: bundleIn(directory),
      });
      const simulated = await simulatedRows({ short, progress });
      const measured = await measuredRows(directory, { short, progress });
      return [...simulated, ...measured.rows, ...onPaper(measured.cpuSeconds)];
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
};

const bundleIn = (directory: string): string => join(directory, 'sweep.cjs');

type Options = Pick<MeasureOptions, 'short' | 'progress'>;

/** In simulated time: no processor, no engine and no other load has a part in these. */
async function simulatedRows({ short, progress }: Options): Promise<Row[]> {
  const rows: Row[] = [];
  const simulate = async (connections: number, due: number, concurrency: number): Promise<Simulated> => {
    progress(`simulating ${count(due)} due of ${count(connections)}`);
    const simulated = await withProcesses((start) =>
      start<Simulated>({ role: 'simulation', connections, due, concurrency, tableLatency, tokenLatency }),
    );
    if (simulated.report.refreshed !== due) throw new Error(`Refreshed: ${JSON.stringify(simulated.report)}`);
    return simulated;
  };
  const sizes = short
    ? [[100, usual] as const]
    : ([
        [1000, usual],
        [10_000, usual],
        [10_000, most],
      ] as const);
  for (const [due, concurrency] of sizes) {
    const swept = await simulate(due, due, concurrency);
    rows.push(paceRow('simulated', due, concurrency, swept, concurrency === usual ? goal : undefined));
  }
  if (!short) {
    const { refreshesPerSecond, sweeps } = load(0.1);
    const share = Math.round((refreshesPerSecond * interval) / sweeps);
    const { seconds } = await simulate(share, share, usual);
    rows.push({
      what: `simulated: ${count(share)} due, one sweep's share of 10 million, 10 % in use`,
      unit: 's',
      ours: seconds,
      goal: { atMost: sweepsFor },
    });
  }
  const [few, many, due] = short ? [100, 1000, 50] : [20_000, 1_000_000, 10_000];
  const amongFew = await simulate(few, due, usual);
  const amongMany = await simulate(many, due, usual);
  const calls = ({ calls }: Simulated): number => Object.values(calls).reduce((sum, each) => sum + each);
  const of = `${count(due)} due of ${count(many)}, beside ${count(few)}`;
  rows.push(
    {
      what: `calls: ${of}`,
      unit: 'calls',
      ours: calls(amongMany),
      floor: calls(amongFew),
      goal: { timesFloor: 1.01 },
    },
    {
      what: `items read: ${of}`,
      unit: 'items',
      ours: amongMany.itemsRead,
      floor: amongFew.itemsRead,
      goal: { timesFloor: 1.01 },
    },
    {
      what: `time: ${of}`,
      unit: 's',
      ours: amongMany.seconds,
      floor: amongFew.seconds,
      goal: { timesFloor: 1.01 },
      note: 'simulated',
    },
  );
  return rows;
}

/** In real time: with all that a sweep does itself, and what else runs on this machine. */
async function measuredRows(
  directory: string,
  { short, progress }: Options,
): Promise<{ rows: Row[]; cpuSeconds: number }> {
  const rows: Row[] = [];
  const sweep = async (due: number, concurrency: number, engine: 'memory' | 'dynalite' = 'memory') => {
    progress(`sweeping ${count(due)}, ${concurrency} side by side, ${engine}`);
    const swept = await sweepOnce(directory, { due, concurrency, engine });
    if (swept.report.refreshed !== due) throw new Error(`Refreshed: ${JSON.stringify(swept.report)}`);
    const [busy = 0] = loadavg();
    return { ...swept, load: `, load ${busy.toFixed(1)} on ${availableParallelism()} cores` };
  };
  const [small, middle, large] = short ? [100, 200, 400] : [1000, 10_000, 100_000];

  const atUsual = await sweep(small, usual);
  rows.push(paceRow('measured', small, usual, atUsual, goal));
  const onDynalite = await sweep(small, usual, 'dynalite');
  rows.push(paceRow('measured, dynalite', small, usual, onDynalite));

  const [ofSmall, ofMiddle, ofLarge] = [
    await sweep(small, most),
    await sweep(middle, most),
    await sweep(large, most),
  ];
  for (const [due, swept] of [
    [small, ofSmall],
    [middle, ofMiddle],
    [large, ofLarge],
  ] as const) {
    rows.push(paceRow('measured', due, most, swept));
  }
  const calls = Object.values(ofLarge.calls).reduce((sum, each) => sum + each);
  rows.push(
    {
      what: `peak memory at ${count(large)}, beside ${count(small)}`,
      unit: 'MB',
      ours: ofLarge.peakMegabytes,
      floor: ofSmall.peakMegabytes,
      goal: { timesFloor: 1.15 },
    },
    {
      what: `peak memory at ${count(middle)}, beside ${count(small)}`,
      unit: 'MB',
      ours: ofMiddle.peakMegabytes,
      floor: ofSmall.peakMegabytes,
      goal: { timesFloor: 1.15 },
    },
    { what: 'calls to the table per connection', unit: 'calls', ours: calls / large, goal: { atMost: 2.02 } },
    {
      what: 'items read from the index per connection',
      unit: 'items',
      ours: ofLarge.itemsRead / large,
      goal: { atMost: 1.01 },
    },
    { what: 'processor time per connection', unit: 'ms', ours: (1000 * ofLarge.cpuSeconds) / large },
    { what: 'of which sealing and opening tokens', unit: 'ms', ours: ofLarge.vaultMilliseconds },
  );
  return { rows, cpuSeconds: ofLarge.cpuSeconds / large };
}

/** A sweep beside what it would take if only Google's answers took time. */
function paceRow(
  how: string,
  due: number,
  concurrency: number,
  { seconds, load = '' }: { seconds: number; load?: string },
  goal?: Row['goal'],
): Row {
  const ideal = (due * tokenLatency) / 1000 / concurrency;
  return {
    what: `${how}: ${count(due)} due, ${concurrency} side by side`,
    unit: 's',
    ours: seconds,
    floor: ideal,
    ...(goal ? { goal } : {}),
    note: `${Math.round(due / seconds)}/s, ${(ideal / seconds).toFixed(2)} of the ideal${load}`,
  };
}

/** Seconds from one run of token-refresh to the next, and for how many of them it takes up connections. */
const interval = 300;
const sweepsFor = 280;

/**
 * What ten million connections ask for, by the share of them that was used within a day. A connection in use is
 * refreshed when its token of an hour has a quarter of an hour left, the others each third day.
 */
function load(inUse: number): { refreshesPerSecond: number; sweeps: number; shards: number } {
  const refreshesPerSecond = 10_000_000 * (inUse / (3600 - 900) + (1 - inUse) / (3 * 86_400));
  const bySweep = (usual / ((tokenLatency + 2 * tableLatency) / 1000)) * (sweepsFor / interval);
  // A new `refreshAt` is two writes to the index. A shard carries 1,000 a second, of which half are counted on.
  return {
    refreshesPerSecond,
    sweeps: Math.ceil(refreshesPerSecond / bySweep),
    shards: Math.ceil((2 * refreshesPerSecond) / 500),
  };
}

/** What follows by calculation. `cpuSeconds`: processor time that one refresh takes here. */
function onPaper(cpuSeconds: number): Row[] {
  const rows: Row[] = [0.01, 0.1, 0.5, 1].flatMap((inUse) => {
    const { refreshesPerSecond, sweeps, shards } = load(inUse);
    const what = `on paper: 10 million, ${inUse * 100} % in use`;
    return [
      { what, unit: 'refreshes/s', ours: refreshesPerSecond },
      { what, unit: `sweeps of ${usual}`, ours: sweeps },
      { what, unit: 'shards', ours: shards },
      { what, unit: 'processors', ours: refreshesPerSecond * cpuSeconds },
    ];
  });
  // Lambda gives a whole processor to 1,769 MB.
  const carried = [functionMegabytes, 1769].map((megabytes): Row => {
    const what = `on paper: carried by the processor of ${count(megabytes)} MB`;
    return { what, unit: 'refreshes/s', ours: megabytes / 1769 / cpuSeconds };
  });
  return [...rows, ...carried];
}

/** Runs one sweep in a process of its own, against a table and a token endpoint in theirs. */
async function sweepOnce(
  directory: string,
  { due, concurrency, engine }: { due: number; concurrency: number; engine: 'memory' | 'dynalite' },
): Promise<Swept> {
  const warmUp = Math.min(due, 1000);
  const filling = { connections: due + warmUp, due: due + warmUp, now: Math.floor(Date.now() / 1000) };
  const assembly = join(directory, 'assembly');
  if (engine === 'dynalite') synthesize(assembly);
  return withProcesses(async (start) => {
    const tableUrl = await start<string>(
      engine === 'memory'
        ? { role: 'memory', latency: tableLatency, ...filling }
        : { role: 'dynalite', assembly, ...filling },
    );
    const googleUrl = await start<string>({ role: 'token', latency: tokenLatency });
    const settings: SweepSettings = {
      tableUrl,
      table,
      googleUrl,
      concurrency,
      warmUp,
      indexShards,
      tokenKeys,
    };
    return start<Swept>(settings, bundleIn(directory), [`--max-old-space-size=${functionMegabytes / 2}`]);
  });
}

/** Starts a process for a task and answers its first message. @throws Error with its last words where it has none */
type Start = <Answer>(task: Task | SweepSettings, file?: string, execArgv?: string[]) => Promise<Answer>;

/** Lets `work` start processes, and ends them when it is done. */
async function withProcesses<T>(work: (start: Start) => Promise<T>): Promise<T> {
  const children: ChildProcess[] = [];
  const start: Start = async (
    task,
    file = join(import.meta.dirname, 'refresh-process.ts'),
    execArgv = [],
  ) => {
    const child = fork(file, [JSON.stringify(task)], {
      execArgv,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    children.push(child);
    let lastWords = '';
    child.stderr?.on('data', (chunk) => {
      lastWords = `${lastWords}${chunk}`.slice(-4000);
    });
    const ended = new AbortController();
    child.once('exit', () => ended.abort());
    try {
      const [message] = await once(child, 'message', { signal: ended.signal });
      return message;
    } catch {
      throw new Error(`A process of the bench ended without an answer: ${lastWords}`);
    }
  };
  try {
    return await work(start);
  } finally {
    for (const child of children) child.kill('SIGKILL');
  }
}

const count = (items: number): string => items.toLocaleString('en');
