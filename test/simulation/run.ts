/**
 * Lives through many runs of the whole service under faults, and tells what broke:
 * `npm run simulate -- --runs 3000 --seed 1 --profile mixed`. `--mutants` checks the checker; `--mutant "<name>"`
 * shows the story by which one mistake is found; `--story <seed>` tells one run, `--save <file>` keeps a failing one.
 */
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { faultNames, profileNames } from './faults.ts';
import { mutants, useMutant } from './mutants.ts';
import type { Scenario } from './simulate.ts';
import { addSummary, emptySummary, type Summary } from './summary.ts';
import type { Report, Task } from './worker.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '3000' },
    seed: { type: 'string', default: '1' },
    profile: { type: 'string', default: 'all' },
    mutants: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    mutant: { type: 'string' },
    story: { type: 'string' },
    shrink: { type: 'boolean', default: false },
    save: { type: 'string' },
  },
});
const runs = wholeNumber('runs');
const firstSeed = wholeNumber('seed');
const profile =
  (['all', ...profileNames] as const).find((name) => name === values.profile) ??
  refuse(`--profile is one of all, ${profileNames.join(', ')}.`);
const threads = Math.max(1, availableParallelism());

function wholeNumber(name: 'runs' | 'seed'): number {
  const number = Number(values[name]);
  return Number.isInteger(number) && number > 0
    ? number
    : refuse(`--${name} must be a whole number above 0.`);
}

function refuse(message: string): never {
  console.error(message);
  process.exit(2);
}

/** Runs seeds in threads, side by side. */
async function runSeeds(
  task: Pick<Task, 'mutant' | 'stopAtFailure' | 'coverage'>,
  onProgress: (total: Summary) => void,
): Promise<Summary & { unreached: string[] }> {
  const total = emptySummary();
  const unreached: string[] = [];
  const end = firstSeed + runs;
  await Promise.all(
    Array.from({ length: Math.min(threads, runs) }, (_, thread) => {
      const coverage = thread === 0 && task.coverage === true;
      const data: Task = {
        ...task,
        first: firstSeed + thread,
        end,
        step: threads,
        profile,
        coverage,
      };
      const worker = new Worker(new URL('worker.ts', import.meta.url), { workerData: data });
      return new Promise<void>((resolve, reject) => {
        worker.on('message', (report: Report) => {
          if (report.summary) addSummary(total, report.summary);
          unreached.push(...(report.unreached ?? []));
          onProgress(total);
          if (task.stopAtFailure && total.failures.length > 0) void worker.terminate();
        });
        worker.on('error', reject);
        worker.on('exit', () => resolve());
      });
    }),
  );
  total.failures.sort((one, other) => one.seed - other.seed);
  return { ...total, unreached };
}

const since = performance.now();
const elapsed = (): string => `${((performance.now() - since) / 1000).toFixed(0)} s`;
const show = (line: string): void => {
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[2K${line}`);
};

async function simulateMany(): Promise<void> {
  let shown = 0;
  let told = 0;
  const total = await runSeeds({ coverage: true }, ({ runs: done, failures }) => {
    for (const { seed, violations } of failures.slice(told)) {
      show('');
      console.log(`seed ${seed}: ${violations[0]}`);
    }
    told = failures.length;
    show(`${done} of ${runs} runs, ${failures.length} failed, ${elapsed()}`);
    if (!process.stdout.isTTY && done >= shown + runs / 10) {
      shown = done;
      console.log(`${done} of ${runs} runs, ${failures.length} failed, ${elapsed()}`);
    }
  });
  show('');
  table('Faults that took place', total.faults, faultNames);
  table('Checks', total.checks);
  table('How bookings ended', total.statuses);
  table('In doubt, and how it was resolved', total.doubts);
  for (const [check, seeds] of Object.entries(total.known))
    console.log(
      `\nKnown, violated by ${seeds.length} runs: ${check}\n  seeds ${seeds
        .sort((one, other) => one - other)
        .slice(0, 10)
        .join(', ')}`,
    );
  if (total.unreached.length > 0) {
    console.log(
      `\nCode of sync and tokens that was never reached (${total.unreached.length} places, in 1,500 runs at most):`,
    );
    for (const place of total.unreached) console.log(`  ${place}`);
  }
  console.log(
    `\n${total.runs} runs (seeds ${firstSeed} to ${firstSeed + runs - 1}) in ${elapsed()}: ${total.failures.length} failed.`,
  );
  const [first] = total.failures;
  if (!first) return;
  await tellSmallest(first.seed);
  process.exitCode = 1;
}

function table(
  title: string,
  counts: Record<string, number>,
  names: readonly string[] = Object.keys(counts).sort(),
): void {
  console.log(`\n${title}`);
  for (const name of names) console.log(`  ${String(counts[name] ?? 0).padStart(10)}  ${name}`);
}

/** Shrinks what a seed does to the least that still fails, and tells it. */
async function tellSmallest(seed: number): Promise<void> {
  const { scenarioOf, simulate } = await import('./simulate.ts');
  const { shrink } = await import('./shrink.ts');
  console.log(`\nShrinking seed ${seed} …`);
  const smallest = await shrink(scenarioOf(seed, profile), simulate);
  await tellStory(smallest);
  if (values.save) {
    writeFileSync(values.save, `${JSON.stringify(smallest, null, 2)}\n`);
    console.log(
      `\nSaved as ${values.save}: put it into test/simulation/stories to keep it from coming back.`,
    );
  }
}

async function tellStory(scenario: Scenario): Promise<void> {
  const { simulate } = await import('./simulate.ts');
  const { story, violations } = await simulate(scenario);
  console.log(`\n${story.join('\n')}\n`);
  console.log(
    violations.length > 0 ? `Violations:\n  ${violations.join('\n  ')}` : 'All is as it should be.',
  );
}

async function checkMutants(): Promise<void> {
  let caught = 0;
  const tried = mutants.filter(({ name }) => name.includes(values.only));
  for (const { name } of tried) {
    const total = await runSeeds({ mutant: name, stopAtFailure: true }, ({ runs: done }) =>
      show(`${name}: ${done} runs`),
    );
    show('');
    const [first] = total.failures;
    if (first) caught += 1;
    console.log(
      first
        ? `caught after ${String(total.runs).padStart(5)} runs: ${name}\n    seed ${first.seed}: ${first.violations[0]?.slice(0, 150)}`
        : `NOT CAUGHT in ${total.runs} runs: ${name}`,
    );
  }
  console.log(`\n${caught} of ${tried.length} mutants caught within ${runs} runs each, in ${elapsed()}.`);
  if (caught < tried.length) process.exitCode = 1;
}

async function tellMutant(name: string): Promise<void> {
  const total = await runSeeds({ mutant: name, stopAtFailure: true }, () => {});
  const [first] = total.failures;
  if (!first) return console.log(`${runs} runs did not notice it.`);
  useMutant(name);
  return tellSmallest(first.seed);
}

if (values.mutants) await checkMutants();
else if (values.mutant) await tellMutant(values.mutant);
else if (values.story && values.shrink) await tellSmallest(Number(values.story));
else if (values.story) {
  const { scenarioOf } = await import('./simulate.ts');
  await tellStory(scenarioOf(Number(values.story), profile));
} else await simulateMany();
