/**
 * Lambda on this machine: each function has a small pool of worker threads, one invocation each at a time. Warm
 * workers are reused. A function that times out loses its worker, as Lambda ends the execution environment.
 */
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';
import type { FunctionError, Invocation, WorkerConfig, WorkerMessage } from './worker.ts';

export type FunctionConfig = {
  name: string;
  arn: string;
  /** Folder of the built bundle. */
  directory: string;
  /** `file.export`, as the template has it. */
  handler: string;
  timeoutMs: number;
  memoryMb: number;
  /** Concurrent invocations. More wait, where Lambda would throttle them. */
  concurrency: number;
  environment: Record<string, string>;
};

/** Result of an invocation: the parsed value, or the error as Lambda reports it. */
export type InvocationResult = { ok: true; payload: unknown } | { ok: false; error: FunctionError };

export type LogLine = { functionName: string; stream: 'stdout' | 'stderr' | 'platform'; text: string };

type LocalFunction = {
  config: FunctionConfig;
  /** Invokes the function with a JSON value. Never rejects: failures are results. */
  invoke(event: unknown): Promise<InvocationResult>;
  /** Ends all workers; running invocations end as errors. */
  close(): Promise<void>;
};

/** Concurrent invocations of a function without reserved concurrency; Lambda's default limit is a thousand. */
export const maximumWorkers = 10;

export function createFunction(config: FunctionConfig, onLog: (line: LogLine) => void): LocalFunction {
  const idle: Worker[] = [];
  const alive = new Set<Worker>();
  /** Invocations that wait for a worker; undefined makes them start one. */
  const waiting: ((worker: Worker | undefined) => void)[] = [];
  let closed = false;

  const log = (stream: LogLine['stream'], text: string) => onLog({ functionName: config.name, stream, text });

  const start = (): Worker => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: { directory: config.directory, handler: config.handler } satisfies WorkerConfig,
      env: config.environment,
      execArgv: [],
      stdout: true,
      stderr: true,
      resourceLimits: { maxOldGenerationSizeMb: config.memoryMb },
    });
    createInterface(worker.stdout).on('line', (line) => log('stdout', line));
    createInterface(worker.stderr).on('line', (line) => log('stderr', line));
    // An idle worker may fail too; without a listener its error would end the whole stack.
    worker.on('error', (error) => {
      if (idle.includes(worker)) log('platform', `${error.name}: ${error.message}`);
    });
    worker.once('exit', () => {
      alive.delete(worker);
      if (idle.includes(worker)) idle.splice(idle.indexOf(worker), 1);
      if (!closed) waiting.shift()?.(undefined);
    });
    alive.add(worker);
    return worker;
  };
  const acquire = async (): Promise<Worker> => {
    const warm = idle.pop();
    if (warm) return warm;
    if (alive.size < config.concurrency) return start();
    const freed = await new Promise<Worker | undefined>((resolve) => waiting.push(resolve));
    return freed ?? start();
  };
  const release = (worker: Worker) => {
    const next = waiting.shift();
    if (next) next(worker);
    else idle.push(worker);
  };

  return {
    config,
    async invoke(event) {
      if (closed) return failure('ServiceException', 'The local stack is closing.');
      const worker = await acquire();
      const { result, reusable } = await runInvocation(worker, config, event);
      if (reusable) release(worker);
      else await worker.terminate();
      if (!result.ok) log('platform', `${result.error.errorType}: ${result.error.errorMessage}`);
      return result;
    },
    async close() {
      closed = true;
      await Promise.all([...alive].map((worker) => worker.terminate()));
    },
  };
}

type Outcome = { result: InvocationResult; reusable: boolean };

/**
 * Sends one event to a worker and waits for its answer, its end or the timeout.
 * A worker that is still loading takes the event when it is ready: messages to a thread wait in order.
 */
function runInvocation(worker: Worker, config: FunctionConfig, event: unknown): Promise<Outcome> {
  return new Promise((resolve) => {
    const finish = (result: InvocationResult, reusable: boolean) => {
      clearTimeout(timer);
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
      resolve({ result, reusable });
    };
    const onMessage = (message: WorkerMessage) => {
      if (message.kind === 'ready') return;
      if (message.kind === 'result') finish({ ok: true, payload: JSON.parse(message.result) }, true);
      // A function that throws keeps its execution environment; one that cannot be loaded has none.
      else finish({ ok: false, error: message.error }, message.kind === 'error');
    };
    const onError = (error: Error) => finish(failure(error.name, error.message), false);
    const onExit = () => finish(failure('Runtime.ExitError', 'The function ended its process.'), false);
    const timer = setTimeout(() => {
      const seconds = (config.timeoutMs / 1000).toFixed(2);
      finish(failure('Sandbox.Timedout', `Task timed out after ${seconds} seconds`), false);
    }, config.timeoutMs);
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    worker.postMessage({
      requestId: randomUUID(),
      event: JSON.stringify(event ?? null),
      deadline: Date.now() + config.timeoutMs,
      arn: config.arn,
    } satisfies Invocation);
  });
}

function failure(errorType: string, errorMessage: string): { ok: false; error: FunctionError } {
  return { ok: false, error: { errorType, errorMessage, trace: [] } };
}
