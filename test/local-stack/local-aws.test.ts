import { spawnSync } from 'node:child_process';
import {
  DescribeTimeToLiveCommand,
  GetItemCommand,
  ListTablesCommand,
  PutItemCommand,
  QueryCommand,
} from '@aws-sdk/client-dynamodb';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import {
  GetSecretValueCommand,
  PutSecretValueCommand,
  ResourceNotFoundException,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { expect, onTestFinished, test } from 'vitest';
import { dynamoDbClient, localCredentials, startDynamoDb } from '../../infra/local/aws/dynamodb.ts';
import type { Runner } from '../../infra/local/aws/runner.ts';
import { readSchedules, startSchedules } from '../../infra/local/aws/schedules.ts';
import { generateSecretString } from '../../infra/local/aws/secrets.ts';
import { lambda, run, table, temporaryDirectory, writeAssembly } from './local-assembly.ts';

const resources = {
  Empty: { Type: 'AWS::SecretsManager::Secret', Properties: {} },
  Keys: {
    Type: 'AWS::SecretsManager::Secret',
    Properties: {
      GenerateSecretString: {
        SecretStringTemplate: '{"current":"initial"}',
        GenerateStringKey: 'initial',
        PasswordLength: 64,
        ExcludePunctuation: true,
      },
    },
  },
  Bus: { Type: 'AWS::Events::EventBus', Properties: { Name: 'bus' } },
  Things: table('things', {
    TimeToLiveSpecification: { AttributeName: 'expiresAt', Enabled: true },
    SSESpecification: { SSEEnabled: true, KMSMasterKeyId: { 'Fn::GetAtt': ['Key', 'Arn'] } },
  }),
  Key: { Type: 'AWS::KMS::Key', Properties: {} },
};

function secretsClient({ endpoints }: Runner): SecretsManagerClient {
  const client = new SecretsManagerClient({
    endpoint: endpoints.secretsManager,
    region: 'us-east-1',
    credentials: localCredentials,
  });
  onTestFinished(() => client.destroy());
  return client;
}

test('reads and writes a secret by name and by ARN', async () => {
  const client = secretsClient(await run(writeAssembly(resources)));
  const { ARN } = await client.send(new PutSecretValueCommand({ SecretId: 'Empty', SecretString: 'value' }));
  for (const SecretId of ['Empty', ARN]) {
    expect(await client.send(new GetSecretValueCommand({ SecretId }))).toMatchObject({
      Name: 'Empty',
      SecretString: 'value',
      VersionStages: ['AWSCURRENT'],
    });
  }
});

test('answers ResourceNotFound for an unknown secret and one without a value', async () => {
  const client = secretsClient(await run(writeAssembly(resources)));
  for (const SecretId of ['Empty', 'Unknown']) {
    await expect(client.send(new GetSecretValueCommand({ SecretId }))).rejects.toThrow(
      ResourceNotFoundException,
    );
  }
});

test('generates a different secret each time, as the template says', async () => {
  const values = await Promise.all(
    [1, 2].map(async () => {
      const client = secretsClient(await run(writeAssembly(resources)));
      const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: 'Keys' }));
      return JSON.parse(SecretString as string);
    }),
  );
  expect(values[0]).toEqual({ current: 'initial', initial: expect.stringMatching(/^[A-Za-z0-9]{64}$/) });
  expect(values[0].initial).not.toBe(values[1].initial);
  expect(generateSecretString({ PasswordLength: 5, ExcludeCharacters: 'a' })).toMatch(/^[!-`b-~]{5}$/);
});

test('the bus accepts events, rejects invalid ones one by one, and knows its name', async () => {
  const told: string[] = [];
  const runner = await run(writeAssembly(resources), { onEvent: ({ detailType }) => told.push(detailType) });
  const client = new EventBridgeClient({
    endpoint: runner.endpoints.eventBridge,
    region: 'us-east-1',
    credentials: localCredentials,
  });
  onTestFinished(() => client.destroy());
  const entry = { EventBusName: 'bus', Source: 'test', DetailType: 'thing.happened' };
  const answer = await client.send(
    new PutEventsCommand({
      Entries: [
        { ...entry, Detail: '{"id":1}' },
        { ...entry, Detail: 'not JSON' },
        { ...entry, Detail: '[]' },
        { EventBusName: 'bus', Source: 'test', Detail: '{}' },
      ],
    }),
  );
  expect(answer.FailedEntryCount).toBe(3);
  expect(answer.Entries?.map(({ ErrorCode }) => ErrorCode)).toEqual([
    undefined,
    'MalformedDetail',
    'MalformedDetail',
    'InvalidArgument',
  ]);
  expect(runner.events()).toMatchObject([
    { bus: 'bus', source: 'test', detailType: 'thing.happened', detail: { id: 1 } },
  ]);
  expect(told).toEqual(['thing.happened']);

  const unknown = new PutEventsCommand({ Entries: [{ ...entry, EventBusName: 'other', Detail: '{}' }] });
  await expect(client.send(unknown)).rejects.toThrow('other');
  await expect(client.send(new PutEventsCommand({ Entries: [] }))).rejects.toThrow();
});

test('tables, items and secrets survive a restart, but not a fresh start', async () => {
  const stateDir = temporaryDirectory();
  const assembly = writeAssembly(resources);
  const readItem = async ({ endpoints }: Runner) => {
    const client = dynamoDbClient(endpoints.dynamodb);
    const { Item } = await client.send(new GetItemCommand({ TableName: 'things', Key: { id: { S: '1' } } }));
    const { Count } = await client.send(
      new QueryCommand({
        TableName: 'things',
        IndexName: 'by-shard',
        KeyConditionExpression: '#shard = :shard',
        ExpressionAttributeNames: { '#shard': 'shard' },
        ExpressionAttributeValues: { ':shard': { S: 'a' } },
      }),
    );
    client.destroy();
    return { found: Item !== undefined, indexed: Count };
  };

  const first = await run(assembly, { stateDir });
  const client = dynamoDbClient(first.endpoints.dynamodb);
  const Item = { id: { S: '1' }, shard: { S: 'a' } };
  await client.send(new PutItemCommand({ TableName: 'things', Item }));
  client.destroy();
  const keys = first.secrets.get('Keys');
  await first.close();

  const second = await run(assembly, { stateDir });
  expect(await readItem(second)).toEqual({ found: true, indexed: 1 });
  expect(second.secrets.get('Keys')).toBe(keys);
  await second.close();

  const third = await run(assembly, { stateDir, fresh: true });
  expect(await readItem(third)).toEqual({ found: false, indexed: 0 });
  expect(third.secrets.get('Keys')).not.toBe(keys);
});

test('creates missing tables in an existing DynamoDB', async () => {
  const dynamodb = await startDynamoDb('dynalite');
  onTestFinished(() => dynamodb.close());
  for (const _start of ['first', 'second']) {
    const runner = await run(writeAssembly(resources), { dynamodb: { endpoint: dynamodb.endpoint } });
    await runner.close();
  }
  const client = dynamoDbClient(dynamodb.endpoint);
  onTestFinished(() => client.destroy());
  expect((await client.send(new ListTablesCommand({}))).TableNames).toEqual(['things']);
});

const javaIsMissing = spawnSync('java', ['-version']).status !== 0;

test.skipIf(javaIsMissing && !process.env.CI)(
  'DynamoDB Local of Amazon keeps items over a restart (needs Java)',
  async () => {
    const stateDir = temporaryDirectory();
    const assembly = writeAssembly(resources);
    const first = await run(assembly, { stateDir, dynamodb: 'dynamodb-local' });
    const client = dynamoDbClient(first.endpoints.dynamodb);
    await client.send(new PutItemCommand({ TableName: 'things', Item: { id: { S: '1' } } }));
    const { TimeToLiveDescription } = await client.send(
      new DescribeTimeToLiveCommand({ TableName: 'things' }),
    );
    expect(TimeToLiveDescription).toMatchObject({ AttributeName: 'expiresAt' });
    client.destroy();
    await first.close();

    const second = await run(assembly, { stateDir, dynamodb: 'dynamodb-local' });
    const again = dynamoDbClient(second.endpoints.dynamodb);
    onTestFinished(() => again.destroy());
    const { Item } = await again.send(new GetItemCommand({ TableName: 'things', Key: { id: { S: '1' } } }));
    expect(Item).toEqual({ id: { S: '1' } });
  },
);

test('a schedule runs at its rate with its input, unless it is disabled', async () => {
  const schedule = (ref: string, properties: Record<string, unknown>) => ({
    logicalId: ref,
    type: 'AWS::Scheduler::Schedule',
    ref,
    arn: ref,
    properties,
  });
  const target = { Arn: 'fn' };
  const schedules = readSchedules([
    schedule('minutely', { ScheduleExpression: 'rate(1 minute)', Target: { ...target, Input: '{"a":1}' } }),
    schedule('off', { ScheduleExpression: 'rate(1 minute)', State: 'DISABLED', Target: target }),
    schedule('slow', { ScheduleExpression: 'rate(5 minutes)', Target: target }),
  ]);
  expect(schedules).toMatchObject([
    { name: 'minutely', everyMs: 60_000, functionArn: 'fn', input: { a: 1 } },
    { name: 'slow', everyMs: 300_000 },
  ]);
  let runs = 0;
  const stop = startSchedules([{ name: 'quick', everyMs: 5, functionArn: 'fn', input: {} }], () => {
    runs += 1;
  });
  await expect.poll(() => runs).toBeGreaterThan(1);
  stop();
});

test('a function reaches the local AWS services', async () => {
  const probe = `export const handler = async () => {
    const call = async (url, target, body) => (await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': target },
      body: JSON.stringify(body),
    })).json();
    return call(process.env.AWS_ENDPOINT_URL, 'secretsmanager.GetSecretValue', { SecretId: process.env.SECRET });
  };`;
  const { invoke, secrets } = await run(
    writeAssembly(
      { ...resources, Probe: lambda('probe', { Environment: { Variables: { SECRET: { Ref: 'Keys' } } } }) },
      { probe },
    ),
  );
  expect(await invoke('probe', {})).toMatchObject({
    ok: true,
    payload: { Name: 'Keys', SecretString: secrets.get('Keys') },
  });
});
