/** Single scenarios in a thread of their own, with or without a mutant: a mutant changes the code as it is loaded. */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { useMutant } from './mutants.ts';
import type { Result, Scenario } from './simulate.ts';

type Asked = { replayOf: string | undefined };

export type Replay = {
  simulate(scenario: Scenario): Promise<Result>;
  close(): Promise<unknown>;
};

export function startReplay(mutant?: string): Replay {
  const data: Asked = { replayOf: mutant };
  const worker = new Worker(new URL(import.meta.url), { workerData: data });
  return {
    simulate: (scenario) =>
      new Promise((resolve, reject) => {
        worker.once('message', (result: Result) => {
          worker.off('error', reject);
          resolve(result);
        });
        worker.once('error', reject);
        worker.postMessage(scenario);
      }),
    // Not by terminate(), which now and then crashes the whole process of Node 24.
    close: () =>
      new Promise((resolve) => {
        worker.once('exit', resolve);
        worker.postMessage('close');
      }),
  };
}

if (!isMainThread && workerData !== null && 'replayOf' in workerData) {
  const { replayOf }: Asked = workerData;
  if (replayOf !== undefined) useMutant(replayOf);
  // After the mutant is in place.
  const { simulate } = await import('./simulate.ts');
  parentPort?.on('message', async (scenario: Scenario | 'close') => {
    if (scenario === 'close') parentPort?.close();
    else parentPort?.postMessage(await simulate(scenario));
  });
}
