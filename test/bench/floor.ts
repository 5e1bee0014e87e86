/**
 * Lower bound of the cold starts: per function a minimal middy handler that makes the same calls to AWS and Google
 * with the same clients in the same order and writes one log line. It checks and decides nothing, and Google
 * refuses its calls. Built like ours, one bundle each with only the clients and commands it uses.
 */
import {
  BatchGetItemCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SendMessageBatchCommand, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import middy from '@middy/core';
import { googleEndpoints } from '../../shared/google/endpoints.ts';
import { lightFetch } from '../../shared/google/light-fetch.ts';
import { required } from '../../shared/lib/config.ts';
import { env, indexes, keySecrets } from '../../shared/lib/names.ts';

export function health() {
  return helloWorld(async () => {});
}

export function connect() {
  const secrets = new SecretsManagerClient();
  return helloWorld(async () => {
    await readSecret(secrets, keySecrets['link-signing']);
    await Promise.all([
      readSecret(secrets, keySecrets['state-encryption']),
      readSecret(secrets, env.googleClientSecretId),
    ]);
  });
}

export function oauthCallback() {
  const secrets = new SecretsManagerClient();
  const dynamo = new DynamoDBClient();
  const bus = new EventBridgeClient();
  const sqs = new SQSClient();
  return helloWorld(async () => {
    await readSecret(secrets, keySecrets['state-encryption']);
    await Promise.all([getConnection(dynamo), readSecret(secrets, keySecrets['token-encryption'])]);
    await updateConnection(dynamo);
    await readSecret(secrets, env.googleClientSecretId);
    await ask('POST', googleEndpoints().token);
    await ask('GET', googleEndpoints().certificates);
    await ask('GET', `${googleEndpoints().calendar}/calendars/primary/events`);
    await publish(bus);
    await dynamo.send(new PutItemCommand({ TableName: required(env.connectionsTable), Item: nobody }));
    await send(sqs);
  });
}

export function connections() {
  const secrets = new SecretsManagerClient();
  const dynamo = new DynamoDBClient();
  new EventBridgeClient();
  return helloWorld(async () => {
    await readSecret(secrets, keySecrets['api-signing']);
    await getConnection(dynamo);
  });
}

export function bookings() {
  const secrets = new SecretsManagerClient();
  const dynamo = new DynamoDBClient();
  const sqs = new SQSClient();
  return helloWorld(async () => {
    await readSecret(secrets, keySecrets['api-signing']);
    await dynamo.send(new GetItemCommand({ TableName: required(env.bookingsTable), Key: nothing }));
    await putBooking(dynamo);
    await send(sqs);
  });
}

export function paymentConfirmed() {
  const secrets = new SecretsManagerClient();
  const sqs = new SQSClient();
  return helloWorld(async () => {
    await Promise.all([
      readSecret(secrets, env.webhookSecretId),
      readSecret(secrets, keySecrets['payment-messages']),
    ]);
    await send(sqs);
  });
}

export function bookingSync() {
  const dynamo = new DynamoDBClient();
  const secrets = new SecretsManagerClient();
  const bus = new EventBridgeClient();
  new SQSClient();
  return helloWorld(async () => {
    await Promise.all([
      readSecret(secrets, keySecrets['payment-messages']),
      readSecret(secrets, keySecrets['token-encryption']),
    ]);
    await dynamo.send(
      new BatchGetItemCommand({
        RequestItems: {
          [required(env.bookingsTable)]: { Keys: [nothing] },
          [required(env.connectionsTable)]: { Keys: [nobody] },
        },
      }),
    );
    await ask('POST', `${googleEndpoints().calendar}/calendars/primary/events`);
    await publish(bus);
    await putBooking(dynamo);
    await putBooking(dynamo);
  });
}

export function bookingReconcile() {
  const dynamo = new DynamoDBClient();
  const sqs = new SQSClient();
  return helloWorld(async () => {
    const table = required(env.bookingsTable);
    await Promise.all(shards().map((shard) => query(dynamo, table, indexes.syncDue, 'syncShard', shard)));
    const QueueUrl = required(env.bookingsQueueUrl);
    await sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries: [{ Id: '0', ...message() }] }));
  });
}

export function tokenRefresh() {
  const dynamo = new DynamoDBClient();
  const secrets = new SecretsManagerClient();
  new EventBridgeClient();
  return helloWorld(async () => {
    const table = required(env.connectionsTable);
    for (const shard of shards()) await query(dynamo, table, indexes.refreshDue, 'refreshShard', shard);
    await updateConnection(dynamo);
    await readSecret(secrets, keySecrets['token-encryption']);
    await readSecret(secrets, env.googleClientSecretId);
    await ask('POST', googleEndpoints().token);
    await updateConnection(dynamo);
  });
}

const nobody = { userId: { S: 'nobody' } };
const nothing = { id: { S: 'nothing' } };

function helloWorld(call: () => Promise<void>) {
  return middy({ timeoutEarlyInMillis: 0 }).handler(async () => {
    await call();
    process.stdout.write('{"level":"INFO","message":"Hello, world"}\n');
    return { statusCode: 200, body: 'Hello, world' };
  });
}

function readSecret(secrets: SecretsManagerClient, variable: string) {
  return secrets.send(new GetSecretValueCommand({ SecretId: required(variable) }));
}

function getConnection(dynamo: DynamoDBClient) {
  return dynamo.send(new GetItemCommand({ TableName: required(env.connectionsTable), Key: nobody }));
}

function updateConnection(dynamo: DynamoDBClient) {
  return dynamo.send(new UpdateItemCommand({ TableName: required(env.connectionsTable), Key: nobody }));
}

function putBooking(dynamo: DynamoDBClient) {
  return dynamo.send(new PutItemCommand({ TableName: required(env.bookingsTable), Item: nothing }));
}

function query(dynamo: DynamoDBClient, TableName: string, IndexName: string, key: string, shard: string) {
  return dynamo.send(
    new QueryCommand({
      TableName,
      IndexName,
      KeyConditionExpression: `${key} = :shard`,
      ExpressionAttributeValues: { ':shard': { S: shard } },
    }),
  );
}

async function ask(method: string, url: string) {
  const init = { method, headers: {}, redirect: 'error', signal: AbortSignal.timeout(8_000) } as const;
  await (await lightFetch(url, init)).text();
}

function publish(bus: EventBridgeClient) {
  const entry = { EventBusName: required(env.eventBus), Source: 'bench', DetailType: 'hello', Detail: '{}' };
  return bus.send(new PutEventsCommand({ Entries: [entry] }));
}

function send(sqs: SQSClient) {
  return sqs.send(new SendMessageCommand({ QueueUrl: required(env.bookingsQueueUrl), ...message() }));
}

function message() {
  return { MessageBody: 'Hello', MessageGroupId: 'nobody', MessageDeduplicationId: String(process.pid) };
}

function shards(): string[] {
  return Array.from({ length: Number(required(env.indexShards)) }, (_, shard) => String(shard));
}
