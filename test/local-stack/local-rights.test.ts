import { describe, expect, test } from 'vitest';
import { type Right, readRole } from '../../infra/local/aws/policies.ts';
import type { Resource } from '../../infra/local/aws/template.ts';
import { lambda, run, table, writeAssembly } from './local-assembly.ts';

type Statement = Record<string, unknown>;
const allow = (action: unknown, resource: unknown, more: Statement = {}): Statement => ({
  Effect: 'Allow',
  Action: action,
  Resource: resource,
  ...more,
});
const arnOf = (logicalId: string) => ({ 'Fn::GetAtt': [logicalId, 'Arn'] });
const below = (logicalId: string, rest: string) => ({ 'Fn::Join': ['', [arnOf(logicalId), rest]] });

const resources: Record<string, Resource> = {
  Things: table('things'),
  Others: table('others'),
  Sealed: table('sealed', { SSESpecification: { SSEEnabled: true, KMSMasterKeyId: arnOf('Key') } }),
  Queue: { Type: 'AWS::SQS::Queue', Properties: { QueueName: 'work' } },
  SealedQueue: { Type: 'AWS::SQS::Queue', Properties: { QueueName: 'sealed', KmsMasterKeyId: arnOf('Key') } },
  Secret: { Type: 'AWS::SecretsManager::Secret', Properties: { SecretString: 'known to few' } },
  Bus: { Type: 'AWS::Events::EventBus', Properties: { Name: 'bus' } },
  Key: { Type: 'AWS::KMS::Key', Properties: {} },
};

const role = (
  statements: Statement[],
  properties: Record<string, unknown> = {},
): Record<string, Resource> => ({
  Role: { Type: 'AWS::IAM::Role', Properties: { AssumeRolePolicyDocument: {}, ...properties } },
  Policy: {
    Type: 'AWS::IAM::Policy',
    Properties: { Roles: [{ Ref: 'Role' }], PolicyDocument: { Statement: statements } },
  },
});

/** Makes the requested call with the AWS SDK and its environment; queues by their variable. */
const packages = {
  DynamoDB: import.meta.resolve('@aws-sdk/client-dynamodb'),
  EventBridge: import.meta.resolve('@aws-sdk/client-eventbridge'),
  SecretsManager: import.meta.resolve('@aws-sdk/client-secrets-manager'),
  SQS: import.meta.resolve('@aws-sdk/client-sqs'),
};
const bundle = `
const packages = ${JSON.stringify(packages)};
export async function handler({ service, command, input }) {
  if (input.QueueUrl) input.QueueUrl = process.env[input.QueueUrl];
  const sdk = await import(packages[service]);
  try {
    await new sdk[service + 'Client']({}).send(new sdk[command + 'Command'](input));
    return { ok: true };
  } catch ({ name, message, $metadata }) {
    return { ok: false, name, message, status: $metadata?.httpStatusCode };
  }
}`;

type Call = { service: keyof typeof packages; command: string; input: Record<string, unknown> };
const call = (service: Call['service'], command: string, input: Record<string, unknown>): Call => ({
  service,
  command,
  input,
});
const get = (TableName: string) => call('DynamoDB', 'GetItem', { TableName, Key: { id: { S: '1' } } });
const queryIndex = call('DynamoDB', 'Query', {
  TableName: 'things',
  IndexName: 'by-shard',
  KeyConditionExpression: '#shard = :shard',
  ExpressionAttributeNames: { '#shard': 'shard' },
  ExpressionAttributeValues: { ':shard': { S: '1' } },
});
const publish = (Source: string) =>
  call('EventBridge', 'PutEvents', {
    Entries: [{ EventBusName: 'bus', Source, DetailType: 'happened', Detail: '{}' }],
  });

/** Runs a function whose role has these statements. */
async function caller(statements: Statement[]) {
  const fn = lambda('fn', {
    Role: arnOf('Role'),
    Timeout: 20,
    Environment: { Variables: { work: { Ref: 'Queue' }, sealed: { Ref: 'SealedQueue' } } },
  });
  const runner = await run(writeAssembly({ ...resources, ...role(statements), Fn: fn }, { fn: bundle }));
  const make = async (made: Call) => {
    const { payload } = (await runner.invoke('fn', made)) as {
      payload: {
        ok: boolean;
        output: Record<string, unknown>;
        name: string;
        message: string;
        status: number;
      };
    };
    return payload;
  };
  const may = async (made: Call) => {
    const { ok, name, message } = await make(made);
    if (!ok && !name?.startsWith('AccessDenied')) throw new Error(message);
    return ok;
  };
  return { ...runner, make, may };
}

const start = (more: Record<string, Resource>) =>
  run(writeAssembly({ ...resources, Fn: lambda('fn', { Role: arnOf('Role') }), ...more }, { fn: bundle }));

describe('permissions of a function', () => {
  const account = 'us-east-1:000000000000';
  const send = (queue: string) => call('SQS', 'SendMessage', { QueueUrl: queue, MessageBody: 'x' });
  const services: [string, Statement, Call, string, string, number][] = [
    [
      'DynamoDB',
      allow('dynamodb:GetItem', arnOf('Things')),
      get('things'),
      'dynamodb:GetItem',
      `arn:aws:dynamodb:${account}:table/things`,
      400,
    ],
    [
      'SQS',
      allow('sqs:SendMessage', arnOf('Queue')),
      send('work'),
      'sqs:SendMessage',
      `arn:aws:sqs:${account}:work`,
      403,
    ],
    [
      'Secrets Manager',
      allow('secretsmanager:GetSecretValue', { Ref: 'Secret' }),
      call('SecretsManager', 'GetSecretValue', { SecretId: 'Secret' }),
      'secretsmanager:GetSecretValue',
      `arn:aws:secretsmanager:${account}:secret:Secret-local0`,
      400,
    ],
    [
      'EventBridge',
      allow('events:PutEvents', arnOf('Bus')),
      publish('any'),
      'events:PutEvents',
      `arn:aws:events:${account}:event-bus/bus`,
      400,
    ],
  ];

  test.each(services)(
    '%s: allowed only with the permission',
    async (_name, statement, made, action, resource, status) => {
      const rightful = await caller([statement]);
      expect(await rightful.make(made)).toMatchObject({ ok: true });

      const rightless = await caller([{ ...statement, Effect: 'Allow', Resource: `${resource}-else` }]);
      expect(await rightless.make(made)).toEqual({
        ok: false,
        name: expect.stringMatching(/^AccessDenied(Exception)?$/),
        message:
          `User: arn:aws:sts::000000000000:assumed-role/Role/fn is not authorized to perform: ${action} ` +
          `on resource: ${resource} because no identity-based policy allows the ${action} action`,
        status,
      });
      expect(rightless.logs()).toContainEqual({
        functionName: 'fn',
        stream: 'platform',
        text: `lacks the right ${action} on ${resource}, so AWS would refuse this. Rights are given in infra/stack.ts.`,
      });
    },
  );

  test('querying an index needs permission on the index, not the table', async () => {
    expect(await (await caller([allow('dynamodb:Query', arnOf('Things'))])).may(queryIndex)).toBe(false);
    const { may } = await caller([allow('dynamodb:Query', below('Things', '/index/by-shard'))]);
    expect(await may(queryIndex)).toBe(true);
    expect(await may({ ...queryIndex, input: { ...queryIndex.input, IndexName: undefined } })).toBe(false);
  });

  test('a batch needs permission on every table in it', async () => {
    const Keys = [{ id: { S: '1' } }];
    const batch = call('DynamoDB', 'BatchGetItem', { RequestItems: { things: { Keys }, others: { Keys } } });
    const right = (...tables: string[]) => [allow('dynamodb:BatchGetItem', tables.map(arnOf))];
    expect(await (await caller(right('Things'))).may(batch)).toBe(false);
    const { may, calls } = await caller(right('Things', 'Others'));
    expect(await may(batch)).toBe(true);
    expect(calls()).toMatchObject([{ resource: 'table/things, table/others' }]);
  });

  test('a batch of messages needs the permission for single ones', async () => {
    const { may } = await caller([allow('sqs:SendMessage', arnOf('Queue'))]);
    const Entries = [{ Id: '1', MessageBody: 'x' }];
    expect(await may(call('SQS', 'SendMessageBatch', { QueueUrl: 'work', Entries }))).toBe(true);
  });

  test('a deny wins over every allow', async () => {
    const { make, may } = await caller([
      allow('dynamodb:*', '*'),
      { ...allow('dynamodb:Get*', arnOf('Others')), Effect: 'Deny' },
    ]);
    expect(await may(get('things'))).toBe(true);
    expect(await make(get('others'))).toMatchObject({
      ok: false,
      message: expect.stringContaining('with an explicit deny in an identity-based policy'),
    });
  });

  test('publishing is allowed for one source only', async () => {
    const { may } = await caller([
      allow('events:PutEvents', arnOf('Bus'), { Condition: { StringEquals: { 'events:source': 'ours' } } }),
    ]);
    expect(await may(publish('ours'))).toBe(true);
    expect(await may(publish('theirs'))).toBe(false);
  });

  test('encrypted tables and queues need permission on the key, through their service', async () => {
    const useKey = (service: string, ...actions: string[]) =>
      allow(actions, arnOf('Key'), {
        Condition: { StringEquals: { 'kms:ViaService': `${service}.us-east-1.amazonaws.com` } },
      });
    const use = allow(['dynamodb:GetItem', 'sqs:SendMessage'], '*');
    expect(await (await caller([use])).make(get('sealed'))).toMatchObject({
      ok: false,
      message: expect.stringContaining('kms:Decrypt on resource: arn:aws:kms:us-east-1:000000000000:Key'),
    });
    const reader = await caller([use, useKey('dynamodb', 'kms:Decrypt', 'kms:GenerateDataKey')]);
    expect(await reader.may(get('sealed'))).toBe(true);
    expect(await reader.may(send('sealed'))).toBe(false);
    expect(await (await caller([use, useKey('sqs', 'kms:Decrypt')])).may(send('sealed'))).toBe(false);
    const sender = await caller([use, useKey('sqs', 'kms:Decrypt', 'kms:GenerateDataKey')]);
    expect(await sender.may(send('sealed'))).toBe(true);
  });

  test('records every call, refused or not, until the record is cleared', async () => {
    const { make, calls, clearCalls } = await caller([allow('dynamodb:GetItem', arnOf('Things'))]);
    await make(get('things'));
    await make(queryIndex);
    const made = { functionName: 'fn', service: 'dynamodb', ms: expect.any(Number) };
    expect(calls()).toEqual([
      { ...made, operation: 'GetItem', resource: 'table/things', status: 200 },
      { ...made, operation: 'Query', resource: 'table/things/index/by-shard', status: 400 },
    ]);
    clearCalls();
    expect(calls()).toEqual([]);
  });
});

describe('a stack that AWS would refuse', () => {
  const source = (statements: Statement[]) => ({
    ...role(statements),
    Mapping: {
      Type: 'AWS::Lambda::EventSourceMapping',
      Properties: { EventSourceArn: arnOf('Queue'), FunctionName: { Ref: 'Fn' } },
    },
  });

  test('refuses an event source whose function cannot read the queue', async () => {
    const rights = ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes'];
    for (const missing of rights) {
      const others = rights.filter((right) => right !== missing);
      await expect(start(source([allow(others, arnOf('Queue'))]))).rejects.toThrow(
        `The queue cannot be an event source of fn: its role lacks the right ${missing} on `,
      );
    }
    await start(source([allow(rights, arnOf('Queue'))]));
  });

  test('refuses a schedule whose role cannot invoke the function', async () => {
    const schedule = (action: string) => ({
      ...role([allow(action, arnOf('Fn'))]),
      Nightly: {
        Type: 'AWS::Scheduler::Schedule',
        Properties: {
          ScheduleExpression: 'rate(1 day)',
          Target: { Arn: arnOf('Fn'), RoleArn: arnOf('Role') },
        },
      },
    });
    await expect(start(schedule('lambda:GetFunction'))).rejects.toThrow(
      'The schedule Nightly cannot run: its role lacks the right lambda:InvokeFunction',
    );
    await start(schedule('lambda:InvokeFunction'));
  });

  test('refuses policies with conditions that are not evaluated here', async () => {
    const refused = (more: Record<string, Resource>) => expect(start(more)).rejects;
    const condition = (operator: string, key: string) =>
      role([allow('sqs:*', '*', { Condition: { [operator]: { [key]: 'x' } } })]);
    await refused(condition('StringEquals', 'aws:SourceIp')).toThrow('aws:SourceIp');
    await refused(condition('IpAddress', 'events:source')).toThrow('IpAddress');
    await refused(role([{ Effect: 'Allow', NotAction: 'sqs:*', Resource: '*' }])).toThrow('NotAction');
    await refused(role([], { ManagedPolicyArns: ['arn:aws:iam::aws:policy/AdministratorAccess'] })).toThrow(
      'has ManagedPolicyArns',
    );
  });
});

test('evaluates inline policies like attached ones, with wildcards as in IAM', () => {
  const decide = readRole(
    {
      logicalId: 'Role',
      type: 'AWS::IAM::Role',
      ref: 'Role',
      arn: 'arn',
      properties: {
        Policies: [
          { PolicyDocument: { Statement: [allow('DynamoDB:get*', 'arn:aws:dynamodb:*:table/thing?')] } },
        ],
      },
    },
    [],
  );
  const right = (action: string, resource: string): Right => ({ action, resource, context: {} });
  expect(decide(right('dynamodb:GetItem', 'arn:aws:dynamodb:us-east-1:0:table/things'))).toBe('allowed');
  expect(decide(right('dynamodb:GetItem', 'arn:aws:dynamodb:us-east-1:0:table/thing'))).toBe('not allowed');
  expect(decide(right('dynamodb:GetItem', 'arn:aws:dynamodb:us-east-1:0:table/Things'))).toBe('not allowed');
  expect(decide(right('dynamodb:PutItem', 'arn:aws:dynamodb:us-east-1:0:table/things'))).toBe('not allowed');
});
