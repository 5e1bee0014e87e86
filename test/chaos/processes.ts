/** The processes that a chaos run kills, each a file of this folder that gets its settings as JSON. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Account, SimulatedClient } from '../../infra/local/google/state.ts';

export type ServiceSettings = {
  port: number;
  stateDir: string;
  assembly: string;
  endpoints: { dynamodb: string; sqs: string };
  googleUrl: string;
  /** The OAuth client as downloaded from Google's console. */
  clientFile: string;
  /** JSON lines of published events. */
  eventsFile: string;
  /** Milliseconds between two runs of booking-reconcile, token-refresh and payment-recovery. */
  reconcileEvery: number;
  refreshEvery: number;
  recoverEvery: number;
};

export type GoogleSettings = {
  port: number;
  stateFile: string;
  client: SimulatedClient;
  accounts: Account[];
  /** Shares of the requests, 0..1, that get an error, or no response although they were applied. */
  errors: number;
  lost: number;
  accessTokenSeconds: number;
  seed: number;
};

/** A process that can be killed and started again. */
export type Mortal<Settings> = {
  /** Starts it; resolves when it answers. @throws Error with its last output if it does not */
  start(settings: Settings): Promise<void>;
  /** SIGKILL: nothing is finished, closed or written any more. */
  kill(): Promise<void>;
};

const startWithinMs = 60_000;

export function mortal<Settings>(file: 'service.ts' | 'google.ts'): Mortal<Settings> {
  let child: ChildProcess | undefined;
  return {
    async start(settings) {
      const started = fork(join(import.meta.dirname, file), [JSON.stringify(settings)], {
        execArgv: [],
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      });
      child = started;
      let lastWords = '';
      started.stderr?.on('data', (chunk) => {
        lastWords = `${lastWords}${chunk}`.slice(-4000);
      });
      const late = AbortSignal.timeout(startWithinMs);
      const answer = await Promise.race([
        once(started, 'message', { signal: late }).then(([message]) => message),
        once(started, 'exit', { signal: late }),
      ]).catch((error: unknown) => error);
      if (answer !== 'ready') {
        started.kill('SIGKILL');
        throw new Error(`${file} did not start: ${lastWords || answer}`);
      }
    },
    async kill() {
      if (!child || child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** Reports to the run that this process answers, and ends it when the run is gone. */
export function ready(): void {
  process.on('disconnect', () => process.exit());
  process.send?.('ready');
}
