/**
 * Cold starts: time from the start of a function's process to its first answer. Every start is a new process of
 * this Node with Lambda's environment; AWS and Google answer over HTTP from here.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { dynamoDbClient } from '../../infra/local/aws/dynamodb.ts';
import { resolveResources } from '../../infra/local/aws/resources.ts';
import { readAssembly } from '../../infra/local/aws/template.ts';
import { functionConfig, lambdaEnvironment } from '../../infra/local/aws/wiring.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import { env } from '../../shared/lib/names.ts';
import { type Bundle, buildVariants, bundleOf, type Variant, variants } from './bundles.ts';
import { checkAnswer, eventsFor, type FunctionName, functionNames, type Side } from './first-events.ts';
import { type Goal, type MeasureOptions, median, type Part, type Row } from './part.ts';
import { callRecorder } from './recorder.ts';

const defaultRounds = 15;

export const coldStart: Part = {
  name: 'cold-start',
  title: 'Cold start: process start to first answered event',
  options: { rounds: { text: `starts of each bundle (default: ${defaultRounds})` } },
  measure: (options) =>
    withBundles(options.progress, async (stack, directory) => {
      const times = ofEach(functionNames, () => ofEach(variants, (): number[] => []));
      await startAll(stack, directory, options, (name, variant, ms) => times[name][variant].push(ms));
      return functionNames.map((name) => row(name, times[name]));
    }),
};

/**
 * Calls of ours and of the lower bound for their first event, sorted, since parallel calls arrive in any order.
 * Proves that the lower bound omits no call that ours makes.
 */
export function firstCalls(
  progress: MeasureOptions['progress'],
): Promise<Record<FunctionName, { ours: string[]; floor: string[] }>> {
  return withBundles(progress, async (stack, directory) => {
    const recorder = callRecorder();
    try {
      const { url, endpoints, googleUrl = '' } = stack;
      const recorded = {
        url,
        googleUrl: await recorder.before(googleUrl),
        endpoints: {
          dynamodb: await recorder.before(endpoints.dynamodb),
          sqs: await recorder.before(endpoints.sqs),
          secretsManager: await recorder.before(endpoints.secretsManager),
          eventBridge: await recorder.before(endpoints.eventBridge),
        },
      };
      const calls = ofEach(functionNames, () => ({ ours: [] as string[], floor: [] as string[] }));
      const options = { short: true, progress, values: {}, reached: recorded, before: () => recorder.take() };
      await startAll(stack, directory, options, (name, variant) => {
        if (variant === 'ours' || variant === 'floor') calls[name][variant] = recorder.take().sort();
      });
      return calls;
    } finally {
      await recorder.close();
    }
  });
}

/** Builds everything, and lets `use` start it next to a running local stack. */
async function withBundles<T>(
  progress: MeasureOptions['progress'],
  use: (stack: LocalStack, directory: string) => Promise<T>,
): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-cold-start-'));
  try {
    progress('building');
    await buildVariants(directory);
    const assembly = join(directory, 'assembly');
    const stack = await startLocalStack({ google: { kind: 'simulator' }, schedules: false, assembly });
    try {
      return await use(stack, directory);
    } finally {
      await stack.close();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Addresses that the functions call. */
type Reached = Pick<LocalStack, 'url' | 'endpoints' | 'googleUrl'>;

/** Milliseconds of each start. */
type Times = Record<Variant, number[]>;

/**
 * Starts every variant of every function in turn, round by round, so that a busy moment of the machine affects all
 * alike. Calls `before` before each start, and `answered` after each that counts. Functions reach the stack at
 * `reached`.
 */
async function startAll(
  stack: LocalStack,
  directory: string,
  options: MeasureOptions & { reached?: Reached; before?: () => void },
  answered: (name: FunctionName, variant: Variant, ms: number) => void,
): Promise<void> {
  const { short, progress, values, reached = stack, before } = options;
  const rounds = short ? 1 : Number(values.rounds ?? defaultRounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds ${values.rounds} is no number.`);
  const environments = environmentsOf(reached, join(directory, 'assembly'));
  const { [env.connectionsTable]: connections = '', [env.bookingsTable]: bookings = '' } =
    environments['booking-sync'];
  const world = {
    stack,
    dynamo: dynamoDbClient(stack.endpoints.dynamodb),
    tables: { connections, bookings },
  };
  // The first round warms up servers and files, and does not count.
  for (let round = short ? 1 : 0; round <= rounds; round++) {
    progress(`round ${round} of ${rounds}`);
    const answers: Record<Side, Map<FunctionName, unknown>> = { ours: new Map(), usual: new Map() };
    for (const name of functionNames) {
      for (const variant of startingWith(variants, round)) {
        const bundle = bundleOf(directory, variant, name);
        let ms: number;
        if (variant === 'ours' || variant === 'usual') {
          const scene = {
            side: variant,
            answers: answers[variant],
            now: Date.now(),
            newId: `${variant}${round}`,
          };
          const event = await eventsFor[name]({ ...world, ...scene });
          before?.();
          const started = await start(bundle, environments[name], event);
          checkAnswer(name, started.answer);
          answers[variant].set(name, started.answer);
          ms = started.ms;
        } else {
          before?.();
          ({ ms } = await start(bundle, environments[name], {}));
        }
        if (round > 0) answered(name, variant, ms);
      }
    }
  }
  world.dynamo.destroy();
}

/** The environment of each function, which bypasses the gateway: its overhead is not the function's time. */
function environmentsOf(
  { url, endpoints, googleUrl = '' }: Reached,
  assembly: string,
): Record<FunctionName, Record<string, string>> {
  const { template, assetPaths } = readAssembly(assembly);
  const { resourcesOf } = resolveResources(template, { apiUrl: url, queueUrlBase: endpoints.sqs });
  const everywhere = {
    ...lambdaEnvironment(endpoints.dynamodb),
    AWS_ENDPOINT_URL_SQS: endpoints.sqs,
    AWS_ENDPOINT_URL_SECRETS_MANAGER: endpoints.secretsManager,
    AWS_ENDPOINT_URL_EVENTBRIDGE: endpoints.eventBridge,
    AWS_SESSION_TOKEN: 'local',
    [env.googleUrl]: googleUrl,
    [env.stripeMode]: 'both',
    // The AWS SDK of Lambda's runtime, which only the baseline loads from there.
    NODE_PATH: join(import.meta.dirname, '..', '..', 'node_modules'),
  };
  const configs = resourcesOf('AWS::Lambda::Function').map((resource) =>
    functionConfig(resource, assetPaths, everywhere),
  );
  return ofEach(functionNames, (name) => configs.find((config) => config.name === name)?.environment ?? {});
}

const launcher = join(import.meta.dirname, 'launch.cjs');

/** Starts a process that answers one event. @throws Error with its output if it does not answer */
async function start(
  { file, handler }: Bundle,
  environment: Record<string, string>,
  event: unknown,
): Promise<{ ms: number; answer: unknown }> {
  const eventFile = `${file}.event.json`;
  writeFileSync(eventFile, JSON.stringify(event));
  const child = spawn(process.execPath, [launcher, file, handler, eventFile], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const [answered, ...written] = await Promise.all(
    [3, 1, 2].map((descriptor) => text(child.stdio[descriptor] as Readable)),
  );
  if (!answered) throw new Error(`${handler} of ${file} did not answer:\n${written.join('\n')}`);
  return JSON.parse(answered);
}

/** Goals as multiples of the lower bound, for the functions that users wait for or that do most of the work. */
const timesFloor: Partial<Record<FunctionName, number>> = { 'payment-confirmed': 1.15, 'booking-sync': 1.15 };

function row(name: FunctionName, times: Times): Row {
  const { ours, floor, empty, usual } = ofEach(variants, (variant) => median(times[variant]));
  const goal: Goal = { timesFloor: timesFloor[name] ?? 1.5, timesBetter: 7 };
  return { what: name, unit: 'ms', ours, floor, empty, usual, goal };
}

function ofEach<Key extends string, Value>(
  keys: readonly Key[],
  value: (key: Key) => Value,
): Record<Key, Value> {
  return Object.fromEntries(keys.map((key) => [key, value(key)])) as Record<Key, Value>;
}

/** The same order with another first element in each round, so that none is always first. */
function startingWith<T>(list: readonly T[], index: number): T[] {
  return list.map((_, offset) => list[(index + offset) % list.length] as T);
}
