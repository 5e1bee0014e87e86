/** What a sweep talks to, each in a process of its own that says where it answers and ends with who started it. */
import { createServer, type IncomingMessage } from 'node:http';
import { json, text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { QueryCommand, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { createTables, dynamoDbClient, startDynamoDb } from '../../infra/local/dynamodb.ts';
import { listen } from '../../infra/local/ports.ts';
import { resolveResources } from '../../infra/local/resources.ts';
import { readAssembly } from '../../infra/local/template.ts';
import { dynamoClientOf } from '../simulation/dynamodb.ts';
import { simulatedSweep } from './refresh-simulated.ts';
import { type Filling, fill, table, tableInMemory } from './refresh-table.ts';

/** What a process is started for, as JSON. `latency`: milliseconds after which it answers. */
export type Task =
  | ({ role: 'memory'; latency: number } & Filling)
  | ({ role: 'dynalite'; assembly: string } & Filling)
  | { role: 'token'; latency: number }
  | ({ role: 'simulation' } & Parameters<typeof simulatedSweep>[0]);

process.on('disconnect', () => process.exit());
process.send?.(await start(JSON.parse(process.argv[2] ?? '{}')));

async function start(task: Task): Promise<unknown> {
  switch (task.role) {
    case 'memory': {
      const { execute } = tableInMemory();
      await fill(
        dynamoClientOf(async (command) => execute(command)),
        task,
      );
      return serve(task.latency, (request) => answerDynamo(execute, request));
    }
    case 'dynalite': {
      const { endpoint } = await startDynamoDb('dynalite');
      const declared = resolveResources(readAssembly(task.assembly).template, {
        apiUrl: '',
        queueUrlBase: '',
      });
      const connections = declared('AWS::DynamoDB::Table').filter(({ ref }) => ref.startsWith('Connections'));
      await createTables(
        endpoint,
        connections.map((resource) => ({ ...resource, ref: table })),
      );
      await fill(dynamoDbClient(endpoint), task);
      return endpoint;
    }
    case 'token':
      return serve(task.latency, answerToken);
    case 'simulation':
      return simulatedSweep(task);
  }
}

type Answer = { status: number; type: string; body: unknown };

/** @returns where it answers */
async function serve(
  latency: number,
  answer: (request: IncomingMessage) => Promise<Answer>,
): Promise<string> {
  const server = createServer(async (request, response) => {
    const { status, type, body } = await answer(request);
    if (latency > 0) await sleep(latency);
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
    return { status: 200, type, body: execute(new Command((await json(request)) as never)) };
  } catch (error) {
    const { name, message } = error as Error;
    return { status: 400, type, body: { __type: `com.amazonaws.dynamodb.v20120810#${name}`, message } };
  }
}

/** Google's token endpoint, as far as a sweep asks it. */
async function answerToken(request: IncomingMessage): Promise<Answer> {
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
