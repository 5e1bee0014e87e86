/** Seeds in threads, side by side. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Options } from './options.ts';
import { addSummary, emptySummary, type Summary } from './summary.ts';
import type { Report, Task } from './worker.ts';

const threads = Math.max(1, availableParallelism());

export type Range = Pick<Options, 'runs' | 'firstSeed' | 'profile'>;

export async function runSeeds(
  { runs, firstSeed, profile }: Range,
  task: Pick<Task, 'mutant' | 'stopAtFailure' | 'coverage'>,
  onProgress: (total: Summary) => void = () => {},
): Promise<Summary & { unreached: string[] }> {
  const total = emptySummary();
  const unreached: string[] = [];
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const runThread = (thread: number): Promise<void> => {
    const workerData: Task = {
      ...task,
      first: firstSeed + thread,
      end: firstSeed + runs,
      step: threads,
      profile,
      stop,
      coverage: thread === 0 && task.coverage === true,
    };
    const worker = new Worker(new URL('worker.ts', import.meta.url), { workerData });
    return new Promise<void>((resolve, reject) => {
      worker.on('message', (report: Report) => {
        if (report.summary) addSummary(total, report.summary);
        unreached.push(...(report.unreached ?? []));
        onProgress(total);
        if (task.stopAtFailure && total.failures.length > 0) Atomics.store(stop, 0, 1);
      });
      worker.on('error', reject);
      worker.on('exit', () => resolve());
    });
  };
  await Promise.all(Array.from({ length: Math.min(threads, runs) }, (_, thread) => runThread(thread)));
  total.failures.sort((one, other) => one.seed - other.seed);
  return { ...total, unreached };
}
