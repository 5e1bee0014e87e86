/**
 * The surroundings of a measured sweep, in a process of its own: table, secrets and Google's token endpoint. The
 * first message holds the settings, and its answer how to start the function. Each later message is answered with
 * the calls since the one before.
 */
import { createServer, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { json, text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { QueryCommand, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { startAwsJsonServer } from '../../infra/local/aws/aws-json.ts';
import { createTables, dynamoDbClient, startDynamoDb } from '../../infra/local/aws/dynamodb.ts';
import { resolveResources } from '../../infra/local/aws/resources.ts';
import { createSecrets } from '../../infra/local/aws/secrets.ts';
import { readAssembly } from '../../infra/local/aws/template.ts';
import { functionConfig, lambdaEnvironment } from '../../infra/local/aws/wiring.ts';
import { listen } from '../../infra/local/ports.ts';
import { parseKeys } from '../../shared/crypto/keys.ts';
import { env, keySecrets } from '../../shared/lib/names.ts';
import { dynamoClientOf } from '../simulation/dynamodb.ts';
import { randomOf } from '../simulation/scheduler.ts';
import { type Asked, fill, nothingAsked, oneLatency, tableInMemory } from './refresh-simulated.ts';

/** `due`: number of connections, all due. Latencies in milliseconds, Google's on average; dynalite has its own. */
export type WorldSettings = {
  assembly: string;
  engine: 'memory' | 'dynalite';
  due: number;
  tableLatency: number;
  tokenLatency: number;
};

/** The deployed function and its environment in this world. */
export type Deployed = { bundle: string; environment: Record<string, string> };

let asked: Asked = nothingAsked();

process.once('message', async (settings: WorldSettings) => {
  process.send?.(await start(settings));
  process.on('message', () => {
    process.send?.(asked);
    asked = nothingAsked();
  });
});
process.on('disconnect', () => process.exit());

async function start({
  assembly,
  engine,
  due,
  tableLatency,
  tokenLatency,
}: WorldSettings): Promise<Deployed> {
  const { template, assetPaths } = readAssembly(assembly);
  const { resourcesOf: declared } = resolveResources(template, { apiUrl: '', queueUrlBase: '' });
  const functions = declared('AWS::Lambda::Function').map((each) => functionConfig(each, assetPaths, {}));
  const deployed = functions.find(({ name }) => name === 'token-refresh');
  if (!deployed) throw new Error('The template has no token-refresh.');
  const variable = (name: string): string => deployed.environment[name] ?? '';

  const secrets = createSecrets();
  secrets.create(declared('AWS::SecretsManager::Secret'));
  const client = { client_id: 'bench', client_secret: 'bench' };
  secrets.put(variable(env.googleClientSecretId), JSON.stringify({ web: client }));
  const tokenKeys = secrets.get(variable(keySecrets['token-encryption'])) ?? '';

  const table = variable(env.connectionsTable);
  const filling = {
    table,
    indexShards: Number(variable(env.indexShards)),
    keys: parseKeys('token-encryption', tokenKeys),
    connections: due,
    due,
    now: Math.floor(Date.now() / 1000),
  };
  let dynamoUrl: string;
  if (engine === 'dynalite') {
    dynamoUrl = (await startDynamoDb('dynalite')).endpoint;
    await createTables(
      dynamoUrl,
      declared('AWS::DynamoDB::Table').filter(({ ref }) => ref === table),
    );
    await fill(dynamoDbClient(dynamoUrl), filling);
  } else {
    const execute = tableInMemory(table);
    await fill(
      dynamoClientOf(async (command) => execute(command)),
      filling,
    );
    dynamoUrl = await serve(async (request) => {
      const answer = await answerDynamo(execute, request);
      await sleep(tableLatency);
      return answer;
    });
  }
  const random = randomOf('refresh at scale');
  const googleUrl = await serve(async (request) => {
    const askedAt = performance.now();
    const answer = await answerToken(request);
    await sleep(oneLatency(tokenLatency, random));
    asked.googleSeconds += (performance.now() - askedAt) / 1000;
    return answer;
  });
  const { url } = await startAwsJsonServer(secrets.operations);
  return {
    bundle: join(deployed.directory, 'index.cjs'),
    environment: {
      ...lambdaEnvironment(url),
      ...deployed.environment,
      AWS_SESSION_TOKEN: 'local',
      AWS_ENDPOINT_URL_DYNAMODB: dynamoUrl,
      [env.googleUrl]: googleUrl,
    },
  };
}

type Answer = { status: number; type: string; body: unknown };

/** @returns its address */
async function serve(answer: (request: IncomingMessage) => Promise<Answer>): Promise<string> {
  const server = createServer(async (request, response) => {
    const { status, type, body } = await answer(request);
    response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body));
  });
  return `http://127.0.0.1:${await listen(server, 0)}`;
}

const commands: Record<string, new (input: never) => object> = {
  'DynamoDB_20120810.UpdateItem': UpdateItemCommand,
  'DynamoDB_20120810.Query': QueryCommand,
};

/** Answers DynamoDB's clients. */
async function answerDynamo(
  execute: (command: object) => unknown,
  request: IncomingMessage,
): Promise<Answer> {
  const target = String(request.headers['x-amz-target']);
  const type = 'application/x-amz-json-1.0';
  try {
    const Command = commands[target];
    if (!Command) throw new Error(`${target} is not answered here.`);
    const body = execute(new Command((await json(request)) as never)) as { Items?: unknown[] };
    asked.calls += 1;
    asked.itemsOfIndex += body.Items?.length ?? 0;
    return { status: 200, type, body };
  } catch (error) {
    const { name, message } = error as Error;
    return { status: 400, type, body: { __type: `com.amazonaws.dynamodb.v20120810#${name}`, message } };
  }
}

/** Google's token endpoint, as far as a sweep needs it. */
async function answerToken(request: IncomingMessage): Promise<Answer> {
  asked.calls += 1;
  const form = new URLSearchParams(await text(request));
  const type = 'application/json';
  const granted =
    form.get('grant_type') === 'refresh_token' && form.get('refresh_token')?.startsWith('refresh.');
  if (!granted) return { status: 400, type, body: { error: 'invalid_request' } };
  const body = {
    access_token: 'access'.padEnd(220, '.'),
    expires_in: 3599,
    scope: 'openid https://www.googleapis.com/auth/calendar.events',
    token_type: 'Bearer',
  };
  return { status: 200, type, body };
}
