/**
 * Runs a synthesized CloudFormation template on this machine. Tables, queues, secrets, functions and their
 * environment, routes, event sources and schedules come from it, so a mistake in the stack shows here too.
 *
 * Functions call AWS through a gateway that checks the permissions of their roles and counts calls.
 *
 * Not simulated: resource policies, API throttling, and retries of a failed schedule before its next run.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { deleteState } from '../state-files.ts';
import { startAwsJsonServer } from './aws-json.ts';
import { createTables, type DynamoDbKind, startDynamoDb } from './dynamodb.ts';
import { type BusEvent, createEventBus } from './event-bus.ts';
import { readEventDeliveries, startEventDeliveries } from './event-delivery.ts';
import { startEventSource } from './event-source.ts';
import { createFunction, type InvocationResult, type LogLine } from './functions.ts';
import { type AwsCall, type OnCall, startGateway } from './gateway.ts';
import { type Access, httpRoutes, startHttpApi } from './http-api.ts';
import { createLogStreams } from './logs.ts';
import { createQueues, type LocalQueues, type QueuesKind, sqsClient, startQueues } from './queues.ts';
import { type ResolvedResource, resolveResources } from './resources.ts';
import { createRights } from './rights.ts';
import { readSchedules, startSchedules } from './schedules.ts';
import { createSecrets, type LocalSecrets } from './secrets.ts';
import { readAssembly } from './template.ts';
import { type Endpoints, eventSourceConfig, functionConfig, lambdaEnvironment } from './wiring.ts';

export type RunnerOptions = {
  /** Port of the HTTP API; any free one by default. */
  port?: number;
  /** Folder that keeps the state across restarts; nothing is kept without it. */
  stateDir?: string;
  /** Clears the state first. */
  fresh?: boolean;
  dynamodb?: DynamoDbKind;
  queues?: QueuesKind;
  /** Whether schedules run by themselves (default). Otherwise, use `invoke`. */
  schedules?: boolean;
  onEvent?: (event: BusEvent) => void;
  onLog?: (line: LogLine) => void;
  onAccess?: (access: Access) => void;
  onCall?: OnCall;
  /** Called with the duration of each invocation, including cold starts and waiting for a worker. */
  onInvocation?: (invocation: { functionName: string; ms: number }) => void;
};

/** Facts of a template that are needed before its functions run. */
type Preparation = {
  url: string;
  secrets: LocalSecrets;
  functions: ResolvedResource[];
  /** Path for state beside the runner's own; undefined when nothing is kept. */
  stateOf(name: string): string | undefined;
  /** Registers a resource to close together with the stack. */
  defer(close: () => unknown): void;
};

export type Runner = {
  /** Address of the HTTP API. */
  url: string;
  /** The outputs of the stack. */
  outputs: Record<string, string>;
  /** Addresses of the services, past the gateway: calls from here need no permissions and are not counted. */
  endpoints: Endpoints;
  /** Invokes a function by name (`booking-sync`) or ARN and waits for its result. */
  invoke(functionName: string, event: unknown): Promise<InvocationResult>;
  /** Latest events published on the bus, oldest first. */
  events(): BusEvent[];
  /** Latest log lines of the functions, oldest first. */
  logs(): LogLine[];
  /** The latest calls of the functions to AWS, oldest first. */
  calls(): AwsCall[];
  clearCalls(): void;
  secrets: Pick<LocalSecrets, 'get' | 'put' | 'nameOf'>;
  queues: Pick<LocalQueues, 'messages'>;
  close(): Promise<void>;
};

/**
 * Starts all that a template declares. Resolves when it answers; closes what it started when it rejects.
 * @param assembly gives the folder of the cloud assembly
 * @param prepare called before the functions exist; returns variables for all of them
 * @throws Error when the port is taken, the template has unsupported resources, or a part cannot start
 */
export async function runAssembly(
  assembly: () => string | Promise<string>,
  prepare: (preparation: Preparation) => Promise<Record<string, string>>,
  options: RunnerOptions,
): Promise<Runner> {
  await using starting = new AsyncDisposableStack();
  const { stateDir, dynamodb: dynamodbKind = 'dynalite' } = options;
  const stateOf = (name: string): string | undefined => (stateDir ? join(stateDir, name) : undefined);

  // The port comes first: if another stack holds it, its state must stay untouched.
  const api = await startHttpApi(options.port ?? 0, options.onAccess ?? (() => {}));
  starting.defer(() => api.close());
  const url = `http://localhost:${api.port}`;
  if (stateDir && options.fresh) deleteState(stateDir);
  if (stateDir) mkdirSync(stateDir, { recursive: true });

  const { template, assetPaths } = readAssembly(await assembly());
  const tablesDir = dynamodbKind === 'dynamodb-local' ? 'dynamodb-local' : 'dynalite';
  const dynamodb = await startDynamoDb(dynamodbKind, stateOf(tablesDir));
  starting.defer(() => dynamodb.close());
  const queues = await startQueues(options.queues, stateOf('queues'));
  starting.defer(() => queues.close());
  const secrets = createSecrets(stateOf('secrets.json'));
  const listeners = options.onEvent ? [options.onEvent] : [];
  const bus = createEventBus((event) => {
    for (const listener of listeners) listener(event);
  });
  const awsJson = await startAwsJsonServer({ ...secrets.operations, ...bus.operations });
  starting.defer(() => awsJson.close());

  const endpoints: Endpoints = {
    dynamodb: dynamodb.endpoint,
    sqs: queues.endpoint,
    secretsManager: awsJson.url,
    eventBridge: awsJson.url,
  };
  const upstreams = {
    dynamodb: endpoints.dynamodb,
    sqs: endpoints.sqs,
    secretsmanager: endpoints.secretsManager,
    events: endpoints.eventBridge,
  };
  const gateway = await startGateway(upstreams, options.onCall);
  starting.defer(() => gateway.close());

  const { resourcesOf, outputs } = resolveResources(template, {
    apiUrl: url,
    queueUrlBase: gateway.url,
  });
  await createTables(dynamodb.endpoint, resourcesOf('AWS::DynamoDB::Table', 'AWS::DynamoDB::GlobalTable'));
  await createQueues(queues.endpoint, resourcesOf('AWS::SQS::Queue'));
  secrets.create(resourcesOf('AWS::SecretsManager::Secret'));
  bus.create(resourcesOf('AWS::Events::EventBus'));

  const logs = createLogStreams(stateOf('logs'));
  starting.defer(() => logs.close());
  const log = (line: LogLine) => {
    logs.write(line);
    options.onLog?.(line);
  };
  const functionResources = resourcesOf('AWS::Lambda::Function');
  const rights = createRights(functionResources, resourcesOf);
  gateway.guard(rights, (functionName, text) => log({ functionName, stream: 'platform', text }));
  const environment = {
    ...lambdaEnvironment(gateway.url),
    ...(await prepare({
      url,
      secrets,
      functions: functionResources,
      stateOf,
      defer: (close) => starting.defer(async () => void (await close())),
    })),
  };
  const functions = functionResources.map((resource) =>
    createFunction(functionConfig(resource, assetPaths, environment), log),
  );
  starting.defer(async () => void (await Promise.all(functions.map((each) => each.close()))));
  const invoke = async (nameOrArn: string, event: unknown): Promise<InvocationResult> => {
    const found = functions.find(({ config }) => config.name === nameOrArn || config.arn === nameOrArn);
    if (!found) {
      const names = functions.map(({ config }) => config.name).join(', ');
      throw new Error(`There is no function "${nameOrArn}". The stack has ${names}.`);
    }
    const startedAt = performance.now();
    const result = await found.invoke(event);
    options.onInvocation?.({ functionName: found.config.name, ms: performance.now() - startedAt });
    return result;
  };

  const sqs = sqsClient(queues.endpoint);
  starting.defer(() => sqs.destroy());
  for (const mapping of resourcesOf('AWS::Lambda::EventSourceMapping')) {
    const { functionName, ...config } = eventSourceConfig(
      mapping,
      resourcesOf('AWS::SQS::Queue'),
      functions.map(({ config }) => config),
    );
    rights.checkEventSource(functionName, config.queueArn);
    const stop = startEventSource(
      sqs,
      config,
      (event) => invoke(functionName, event),
      (text) => log({ functionName, stream: 'platform', text }),
    );
    starting.defer(stop);
  }
  const deliveries = startEventDeliveries(readEventDeliveries(resourcesOf, secrets.get), sqs, (text) =>
    log({ functionName: 'event-delivery', stream: 'platform', text }),
  );
  listeners.push(deliveries.onEvent);
  starting.defer(deliveries.stop);
  const schedules = readSchedules(resourcesOf('AWS::Scheduler::Schedule'));
  rights.checkSchedules(resourcesOf('AWS::Scheduler::Schedule'));
  if (options.schedules ?? true) {
    starting.defer(startSchedules(schedules, ({ functionArn, input }) => void invoke(functionArn, input)));
  }
  const routes = httpRoutes(
    resourcesOf('AWS::ApiGatewayV2::Route'),
    resourcesOf('AWS::ApiGatewayV2::Integration'),
  );
  api.serve(routes, invoke);
  // Closed before the functions, so that running requests are still answered.
  starting.defer(() => api.close());

  const running = starting.move();
  return {
    url,
    outputs,
    endpoints,
    invoke,
    events: bus.events,
    logs: logs.lines,
    calls: gateway.calls,
    clearCalls: gateway.clearCalls,
    secrets,
    queues,
    close: () => running.disposeAsync(),
  };
}
