/**
 * Runs one Lambda function in a worker thread: imports its built bundle once (the cold start), then handles one
 * invocation at a time. Events and results are passed as JSON text, as in Lambda.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';

export type WorkerConfig = { directory: string; handler: string };
export type Invocation = { requestId: string; event: string; deadline: number; arn: string };
export type FunctionError = { errorType: string; errorMessage: string; trace: string[] };
export type WorkerMessage =
  | { kind: 'ready' }
  | { kind: 'failed-to-load'; error: FunctionError }
  | { kind: 'result'; result: string }
  | { kind: 'error'; error: FunctionError };

type Handler = (event: unknown, context: unknown) => unknown;

const port = parentPort;
if (!port) throw new Error('worker.ts is the entry of a worker thread; it does not run by itself.');
const post = (message: WorkerMessage) => port.postMessage(message);

try {
  const handle = await loadHandler(workerData as WorkerConfig);
  port.on('message', async (invocation: Invocation) => {
    try {
      const result = await handle(JSON.parse(invocation.event), contextOf(invocation));
      post({ kind: 'result', result: JSON.stringify(result) ?? 'null' });
    } catch (error) {
      post({ kind: 'error', error: describe(error) });
    }
  });
  post({ kind: 'ready' });
} catch (error) {
  post({ kind: 'failed-to-load', error: describe(error) });
}

async function loadHandler({ directory, handler }: WorkerConfig): Promise<Handler> {
  const dot = handler.lastIndexOf('.');
  const base = join(directory, handler.slice(0, dot));
  const file = ['.mjs', '.js', '.cjs'].map((extension) => base + extension).find(existsSync);
  if (!file) throw new Error(`The handler ${handler} was not found in ${directory}.`);
  const loaded = await import(pathToFileURL(file).href);
  const name = handler.slice(dot + 1);
  const handle = loaded[name] ?? loaded.default?.[name];
  if (typeof handle !== 'function') throw new Error(`${file} does not export a function named "${name}".`);
  return handle;
}

function contextOf({ requestId, deadline, arn }: Invocation): Record<string, unknown> {
  return {
    awsRequestId: requestId,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: '$LATEST',
    invokedFunctionArn: arn,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
}

function describe(error: unknown): FunctionError {
  if (!(error instanceof Error)) return { errorType: 'Error', errorMessage: String(error), trace: [] };
  return { errorType: error.name, errorMessage: error.message, trace: error.stack?.split('\n') ?? [] };
}
