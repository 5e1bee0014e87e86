import { parentPort, workerData } from 'node:worker_threads';
import { startCoverage } from './coverage.ts';
import { useMutant } from './mutants.ts';
import type { ProfileName } from './profiles.ts';
import { addResult, emptySummary } from './summary.ts';

/** A thread that runs seeds and reports: every `step`-th from `first` to below `end`. */
export type Task = {
  first: number;
  end: number;
  step: number;
  profile: ProfileName | 'all';
  /** The code is changed like this before it is loaded. */
  mutant?: string;
  /** Stop at the first seed that fails. */
  stopAtFailure?: boolean;
  /** Not 0: stop before the next seed. Shared by the threads. */
  stop: Int32Array;
  /** Report which code its first runs never reached. */
  coverage?: boolean;
};
export type Report = { summary?: ReturnType<typeof emptySummary>; unreached?: string[] };

const { first, end, step, profile, mutant, stopAtFailure, stop, coverage }: Task = workerData;
const reportEvery = 20;
/** Counting keeps every closure alive, so it ends before it fills the memory. */
const coveredRuns = 1500;

if (mutant) useMutant(mutant);
const finishCoverage = coverage ? startCoverage() : undefined;
// After the mutant is in place.
const { scenarioOf, simulate } = await import('./simulate.ts');

let part = emptySummary();
let unreached: string[] | undefined;
let done = 0;
const report = (message: Report): void => parentPort?.postMessage(message);
for (let seed = first; seed < end && Atomics.load(stop, 0) === 0; seed += step) {
  addResult(part, seed, await simulate(scenarioOf(seed, profile)));
  done += 1;
  if (done === coveredRuns) unreached = await finishCoverage?.();
  if (part.runs === reportEvery || part.failures.length > 0) {
    const failed = part.failures.length > 0;
    report({ summary: part });
    part = emptySummary();
    if (failed && stopAtFailure) break;
  }
}
if (finishCoverage) report({ unreached: unreached ?? (await finishCoverage()) });
report({ summary: part });
