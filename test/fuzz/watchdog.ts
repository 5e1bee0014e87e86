/**
 * Ends the process when one request blocks it: a busy loop stops all timers of its own thread, so another thread
 * watches.
 */
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { isMainThread, Worker, workerData } from 'node:worker_threads';

type Watched = { beats: Int32Array<SharedArrayBuffer>; patience: number; what: string };

export type Watchdog = {
  /** Reports that the process is alive. */
  beat(): void;
  stop(): Promise<unknown>;
};

/**
 * @param what reported on standard error when the beats stop
 * @param patience seconds between two beats
 */
export async function watch(what: string, patience: number): Promise<Watchdog> {
  const beats = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { beats, patience, what } satisfies Watched,
    execArgv: [],
  });
  await once(worker, 'online');
  worker.unref();
  return { beat: () => void Atomics.add(beats, 0, 1), stop: () => worker.terminate() };
}

function lookOn({ beats, patience, what }: Watched): void {
  let [seen, since] = [-1, 0];
  setInterval(() => {
    const now = Atomics.load(beats, 0);
    since = now === seen ? since + 1 : 0;
    seen = now;
    if (since < patience) return;
    writeSync(2, `\nBlocked for ${patience} s by request ${now} of ${what}. The same seed sends it again.\n`);
    process.kill(process.pid, 'SIGKILL');
  }, 1000);
}

if (!isMainThread && (workerData as Partial<Watched> | null)?.beats) lookOn(workerData as Watched);
