import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { Queue } from 'aws-cdk-lib/aws-sqs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { readConfig } from '../../infra/config.ts';
import { buildApp, synthesize } from '../../infra/synthesize.ts';
import { env, eventSource, indexes, metricNamespace, routes } from '../../shared/names.ts';
import { type Resource, type TemplateView, viewOf } from './template.ts';

const functionNames = [
  'Health',
  'Connect',
  'OauthCallback',
  'Connections',
  'Bookings',
  'PaymentConfirmed',
  'BookingSync',
  'BookingReconcile',
  'TokenRefresh',
] as const;

// Synthesis bundles all functions: a second or two, and more on a busy machine.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

let outdir: string;
let stack: TemplateView;
const printed: string[] = [];

beforeAll(() => {
  outdir = mkdtempSync(join(tmpdir(), 'stack-test-'));
  const spies = [process.stdout, process.stderr].map((stream) =>
    vi.spyOn(stream, 'write').mockImplementation((chunk) => printed.push(String(chunk)) > 0),
  );
  stack = synthesizeTo('default');
  for (const spy of spies) spy.mockRestore();
});

afterAll(() => rmSync(outdir, { recursive: true, force: true }));

function synthesizeTo(name: string, context?: Record<string, unknown>): TemplateView {
  return viewOf(synthesize(join(outdir, name), context).getStackByName('LeadsCalendarGoogle').template);
}

const secretRead = (secret: string) => `secretsmanager:GetSecretValue <${secret}>`;
const keyUse = (service: string, ...actions: string[]) =>
  actions.map(
    (action) =>
      `kms:${action} <Key.Arn> if kms:ViaService StringEquals ${service}.<AWS::Region>.amazonaws.com`,
  );
const tableReaderKey = keyUse('dynamodb', 'Decrypt', 'DescribeKey');
const tableWriterKey = [
  ...tableReaderKey,
  ...keyUse('dynamodb', 'Encrypt', 'GenerateDataKey', 'GenerateDataKeyWithoutPlaintext'),
  ...keyUse('dynamodb', 'ReEncryptFrom', 'ReEncryptTo'),
];
const send = ['sqs:SendMessage <BookingsQueue.Arn>', ...keyUse('sqs', 'Decrypt', 'GenerateDataKey')];
const publish = `events:PutEvents <Bus.Arn> if events:source StringEquals ${eventSource}`;

/** What each function may do, and nothing else. */
const allowed: Record<(typeof functionNames)[number], string[]> = {
  Health: [],
  Connect: [
    secretRead('TokenKeys'),
    secretRead('GoogleOauthClient'),
    'dynamodb:GetItem <ConnectionsTable.Arn>',
    ...tableReaderKey,
  ],
  OauthCallback: [
    secretRead('TokenKeys'),
    secretRead('GoogleOauthClient'),
    'dynamodb:GetItem <ConnectionsTable.Arn>',
    'dynamodb:PutItem <ConnectionsTable.Arn>',
    ...tableWriterKey,
    ...send,
    publish,
  ],
  Connections: [
    secretRead('TokenKeys'),
    secretRead('GoogleOauthClient'),
    'dynamodb:GetItem <ConnectionsTable.Arn>',
    'dynamodb:PutItem <ConnectionsTable.Arn>',
    'dynamodb:UpdateItem <ConnectionsTable.Arn>',
    `dynamodb:Query <ConnectionsTable.Arn>/index/${indexes.googleAccount}`,
    ...tableWriterKey,
    publish,
  ],
  Bookings: [
    secretRead('TokenKeys'),
    'dynamodb:GetItem <BookingsTable.Arn>',
    'dynamodb:BatchGetItem <BookingsTable.Arn>',
    'dynamodb:PutItem <BookingsTable.Arn>',
    `dynamodb:Query <BookingsTable.Arn>/index/${indexes.userBookings}`,
    ...tableWriterKey,
    ...send,
  ],
  PaymentConfirmed: [secretRead('WebhookSigning'), ...send],
  BookingSync: [
    secretRead('TokenKeys'),
    secretRead('GoogleOauthClient'),
    'dynamodb:GetItem <ConnectionsTable.Arn>',
    'dynamodb:BatchGetItem <ConnectionsTable.Arn>',
    'dynamodb:UpdateItem <ConnectionsTable.Arn>',
    'dynamodb:BatchGetItem <BookingsTable.Arn>',
    'dynamodb:PutItem <BookingsTable.Arn>',
    `dynamodb:Query <BookingsTable.Arn>/index/${indexes.waiting}`,
    ...tableWriterKey,
    'sqs:ReceiveMessage <BookingsQueue.Arn>',
    'sqs:DeleteMessage <BookingsQueue.Arn>',
    'sqs:GetQueueAttributes <BookingsQueue.Arn>',
    ...send,
    publish,
  ],
  BookingReconcile: [
    `dynamodb:Query <BookingsTable.Arn>/index/${indexes.syncDue}`,
    ...tableReaderKey,
    ...send,
  ],
  TokenRefresh: [
    secretRead('TokenKeys'),
    secretRead('GoogleOauthClient'),
    'dynamodb:GetItem <ConnectionsTable.Arn>',
    'dynamodb:UpdateItem <ConnectionsTable.Arn>',
    `dynamodb:Query <ConnectionsTable.Arn>/index/${indexes.refreshDue}`,
    `dynamodb:Query <ConnectionsTable.Arn>/index/${indexes.tokenKey}`,
    `dynamodb:Query <ConnectionsTable.Arn>/index/${indexes.googleAccount}`,
    ...tableWriterKey,
    publish,
  ],
};

/** The environment of each function, whole. */
const environment: Record<(typeof functionNames)[number], Record<string, string>> = (() => {
  const tokenKeys = { [env.tokenKeysSecretId]: '<TokenKeys>' };
  const google = { [env.googleClientSecretId]: '<GoogleOauthClient>' };
  const connections = { [env.connectionsTable]: '<ConnectionsTable>' };
  const bookings = { [env.bookingsTable]: '<BookingsTable>' };
  const queue = { [env.bookingsQueueUrl]: '<BookingsQueue>' };
  const bus = { [env.eventBus]: '<Bus>' };
  const shards = { [env.indexShards]: '4' };
  const policy = { [env.refreshPolicy]: '{"inUseFor":86400,"margin":900,"keepAlive":259200}' };
  const url = { [env.publicUrl]: '<Api.ApiEndpoint>' };
  return {
    Health: {},
    Connect: {
      ...tokenKeys,
      ...google,
      ...connections,
      ...shards,
      ...url,
      [env.returnOrigins]: '',
      [env.optionalScopes]: '',
    },
    OauthCallback: {
      ...tokenKeys,
      ...google,
      ...connections,
      ...shards,
      ...policy,
      ...queue,
      ...bus,
      ...url,
    },
    Connections: { ...tokenKeys, ...google, ...connections, ...shards, ...policy, ...bus },
    Bookings: { ...tokenKeys, ...bookings, ...shards, ...queue },
    PaymentConfirmed: { [env.webhookSecretId]: '<WebhookSigning>', ...queue },
    BookingSync: {
      [env.conflictPolicy]: 'create',
      [env.paymentPolicy]: '{"refunded":"cancel","disputeLost":"cancel"}',
      ...tokenKeys,
      ...google,
      ...connections,
      ...bookings,
      ...shards,
      ...policy,
      ...queue,
      ...bus,
    },
    BookingReconcile: { ...bookings, ...shards, ...queue },
    TokenRefresh: {
      ...tokenKeys,
      ...google,
      ...connections,
      ...shards,
      ...policy,
      ...bus,
      [env.refreshConcurrency]: '20',
    },
  };
})();

describe('synthesis', () => {
  test('is silent, so that what the local stack prints is its own', () => {
    expect(printed).toEqual([]);
  });

  test('leaves no finding of cdk-nag, not even a warning', () => {
    const report = JSON.parse(readFileSync(join(outdir, 'default', 'validation-report.json'), 'utf8'));
    expect(report.pluginReports).toEqual([]);
  });

  test('fails on a finding, and names it', () => {
    const app = buildApp(join(outdir, 'finding'), { '@aws-cdk/core:appMode': 'inmemory' });
    new Queue(app.node.findChild('LeadsCalendarGoogle'), 'Careless');
    expect(() => app.synth()).toThrow(/Careless[\s\S]*AwsSolutions-SQS/);
  });

  test('has no resources that wait for each other in a circle', () => {
    expect(stack.circle()).toBeUndefined();
  });

  test('takes its configuration from the context', () => {
    const returnOrigins = 'https://app.example.com https://admin.example.com';
    const configured = synthesizeTo('configured', {
      publicUrl: 'https://calendar.example.com/',
      returnOrigins,
      throttleRate: '7',
      throttleBurst: '9',
      logRetentionDays: '90',
      syncConcurrency: '3',
      refreshEveryMinutes: '10',
      alarmEmail: 'operator@example.com',
    });
    expect(configured.at('Connect/Function').Properties.Environment.Variables).toMatchObject({
      [env.publicUrl]: 'https://calendar.example.com',
      [env.returnOrigins]: returnOrigins,
    });
    expect(configured.template.Outputs.CallbackUrl?.Value).toBe(
      'https://calendar.example.com/google/callback',
    );
    expect(configured.at('Stage').Properties.DefaultRouteSettings).toEqual({
      ThrottlingRateLimit: 7,
      ThrottlingBurstLimit: 9,
    });
    for (const group of configured.ofType('AWS::Logs::LogGroup')) {
      expect(group.Properties.RetentionInDays).toBe(90);
    }
    expect(configured.at('BookingSync/Function/Bookings').Properties.ScalingConfig).toEqual({
      MaximumConcurrency: 3,
    });
    expect(configured.at('TokenRefresh/Function/Schedule').Properties.ScheduleExpression).toBe(
      'rate(10 minutes)',
    );
    for (const alarm of configured.ofType('AWS::CloudWatch::Alarm')) {
      expect(alarm.Properties.AlarmActions.map(configured.text)).toEqual(['<Alarms/Topic>']);
    }
  });

  test.each([
    ['syncConcurrency', 'many', /expected number/],
    ['logRetentionDays', '31', /period that CloudWatch offers/],
    ['returnOrigins', 'https://app.example.com/', /without path or final slash/],
    ['publicUrl', 'http://calendar.example.com', /URL/],
    ['alarmEmail', 'operator', /email/],
  ])('says that %s cannot be %j, and why', (key, value, reason) => {
    const read = () => readConfig((wanted) => (wanted === key ? value : undefined));
    expect(read).toThrow(reason);
    expect(read).toThrow(`at ${key}`);
  });
});

describe('the API', () => {
  test('has exactly the routes that functions and documents name', () => {
    const table = stack.ofType('AWS::ApiGatewayV2::Route').map((route) => {
      const [, integration] = route.Properties.Target['Fn::Join'][1];
      const { Properties } = stack.template.Resources[integration.Ref] as Resource;
      expect(Properties).toMatchObject({ IntegrationType: 'AWS_PROXY', PayloadFormatVersion: '2.0' });
      return [route.Properties.RouteKey, stack.text(Properties.IntegrationUri)];
    });
    expect(Object.fromEntries(table)).toEqual({
      [`GET ${routes.health}`]: '<Health/Function.Arn>',
      [`GET ${routes.connect}`]: '<Connect/Function.Arn>',
      [`GET ${routes.connection}`]: '<Connections/Function.Arn>',
      [`PATCH ${routes.connection}`]: '<Connections/Function.Arn>',
      [`DELETE ${routes.connection}`]: '<Connections/Function.Arn>',
      [`GET ${routes.calendars}`]: '<Connections/Function.Arn>',
      [`GET ${routes.bookings}`]: '<Bookings/Function.Arn>',
      [`GET ${routes.booking}`]: '<Bookings/Function.Arn>',
      [`PUT ${routes.booking}`]: '<Bookings/Function.Arn>',
      [`PATCH ${routes.booking}`]: '<Bookings/Function.Arn>',
      [`DELETE ${routes.booking}`]: '<Bookings/Function.Arn>',
      [`GET ${routes.callback}`]: '<OauthCallback/Function.Arn>',
      [`POST ${routes.stripeWebhook}`]: '<PaymentConfirmed/Function.Arn>',
      [`POST ${routes.standardWebhook}`]: '<PaymentConfirmed/Function.Arn>',
    });
  });

  test('is throttled, and open to no other origin', () => {
    expect(stack.at('Stage').Properties.DefaultRouteSettings).toEqual({
      ThrottlingRateLimit: 100,
      ThrottlingBurstLimit: 200,
    });
    expect(stack.at('Api').Properties.CorsConfiguration).toBeUndefined();
  });

  test('logs accesses as JSON without query strings, paths or headers, where tokens travel', () => {
    const { DestinationArn, Format } = stack.at('Stage').Properties.AccessLogSettings;
    expect(stack.text(DestinationArn)).toBe('<AccessLogs.Arn>');
    const logged = Object.values<string>(JSON.parse(Format));
    expect(logged).toContain('$context.routeKey');
    expect(logged).toContain('$context.integrationErrorMessage');
    expect(logged.join(' ')).not.toMatch(/query|header|path|authorizer|domain/i);
  });
});

describe('functions', () => {
  test('run on Node 24 and arm64, with own log group and role, chosen memory and time', () => {
    const figures = functionNames.map((name) => {
      const { Properties } = stack.at(`${name}/Function`);
      expect(Properties).toMatchObject({
        Runtime: 'nodejs24.x',
        Architectures: ['arm64'],
        LoggingConfig: { LogFormat: 'JSON', ApplicationLogLevel: 'INFO', SystemLogLevel: 'WARN' },
      });
      expect(stack.text(Properties.LoggingConfig.LogGroup)).toBe(`<${name}/Logs>`);
      expect(stack.text(Properties.Role)).toBe(`<${name}/Role.Arn>`);
      return [name, `${Properties.MemorySize} MB, ${Properties.Timeout} s`];
    });
    expect(Object.fromEntries(figures)).toEqual({
      Health: '128 MB, 15 s',
      Connect: '512 MB, 15 s',
      Connections: '512 MB, 29 s',
      Bookings: '512 MB, 15 s',
      OauthCallback: '512 MB, 29 s',
      PaymentConfirmed: '1024 MB, 15 s',
      BookingSync: '1024 MB, 30 s',
      BookingReconcile: '512 MB, 55 s',
      TokenRefresh: '512 MB, 300 s',
    });
    expect(stack.ofType('AWS::Lambda::Function')).toHaveLength(functionNames.length);
  });

  test.each(functionNames)('%s may do what it needs and nothing else', (name) => {
    const ownRights = [
      `logs:CreateLogStream <${name}/Logs.Arn>`,
      `logs:PutLogEvents <${name}/Logs.Arn>`,
      // The only wildcard: X-Ray has no resources that a policy could name.
      'xray:PutTelemetryRecords *',
      'xray:PutTraceSegments *',
    ];
    expect(stack.rights(`${name}/Role`)).toEqual([...ownRights, ...allowed[name]].sort());
    const role = stack.at(`${name}/Role`).Properties;
    expect(role.ManagedPolicyArns).toBeUndefined();
    expect(role.Policies).toBeUndefined();
  });

  test.each(functionNames)('%s knows what it needs and nothing else', (name) => {
    const variables: Record<string, unknown> = stack.at(`${name}/Function`).Properties.Environment?.Variables;
    const read = Object.entries(variables ?? {}).map(([key, value]) => [key, stack.text(value)]);
    expect(Object.fromEntries(read)).toEqual(environment[name]);
  });

  test('stop at a runaway loop, but for the one that hands itself pages through its queue', () => {
    const loops = functionNames.filter((name) => stack.at(`${name}/Function`).Properties.RecursiveLoop);
    expect(loops).toEqual(['BookingSync']);
  });

  test('have a policy on every role that is theirs, and no other', () => {
    const policies = stack
      .ofType('AWS::IAM::Policy')
      .map((policy) => policy.Properties.Roles.map(stack.text));
    expect(policies.flat().sort()).toEqual(functionNames.map((name) => `<${name}/Role>`).sort());
  });

  test.each(functionNames)('%s is a bundle that imports and exports its handler', async (name) => {
    const { Metadata, Properties } = stack.at(`${name}/Function`);
    const bundle = join(outdir, 'default', Metadata['aws:asset:path'] ?? '', 'index.cjs');
    expect(Properties.Handler).toBe('index.handler');
    // Only what it says, not the code that said it: a bundle is a few lines of a hundred thousand characters.
    const importing = promisify(execFile)(
      process.execPath,
      [
        '--input-type=module',
        '--eval',
        `console.log(typeof (await import('${pathToFileURL(bundle)}')).handler)`,
      ],
      {
        env: {
          ...environment[name],
          ...(environment[name][env.publicUrl] ? { [env.publicUrl]: 'https://example.com' } : {}),
          AWS_REGION: 'eu-central-1',
          AWS_ACCESS_KEY_ID: 'example',
          AWS_SECRET_ACCESS_KEY: 'example',
        },
      },
    );
    const said = await importing.then(
      ({ stdout }) => stdout,
      ({ stderr }: { stderr: string }) => /^\w*Error.*/m.exec(stderr)?.[0],
    );
    expect(said).toBe('function\n');
  });
});

describe('what is kept', () => {
  test('tables are encrypted with our key, can be rolled back and are not deleted with the stack', () => {
    const tables = stack.ofType('AWS::DynamoDB::Table');
    expect(tables).toHaveLength(2);
    for (const table of tables) {
      expect(table).toMatchObject({
        DeletionPolicy: 'Retain',
        UpdateReplacePolicy: 'Retain',
        Properties: {
          BillingMode: 'PAY_PER_REQUEST',
          DeletionProtectionEnabled: true,
          PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
          SSESpecification: { SSEEnabled: true, SSEType: 'KMS' },
        },
      });
      expect(stack.text(table.Properties.SSESpecification.KMSMasterKeyId)).toBe('<Key.Arn>');
    }
    expect(stack.at('Key')).toMatchObject({
      DeletionPolicy: 'Retain',
      Properties: { EnableKeyRotation: true },
    });
  });

  test('tables have the keys and sparse indexes of the design', () => {
    const keysOf = (schema: { AttributeName: string }[]) =>
      schema.map((key) => key.AttributeName).join(' + ');
    const shape = (path: string) => {
      const { KeySchema, GlobalSecondaryIndexes, TimeToLiveSpecification } = stack.at(path).Properties;
      return {
        key: keysOf(KeySchema),
        indexes: Object.fromEntries(
          // biome-ignore lint/suspicious/noExplicitAny: CloudFormation's shape
          GlobalSecondaryIndexes.map((index: any) => [
            index.IndexName,
            [
              keysOf(index.KeySchema),
              index.Projection.ProjectionType,
              ...(index.Projection.NonKeyAttributes ?? []),
            ],
          ]),
        ),
        timeToLive: TimeToLiveSpecification?.AttributeName,
      };
    };
    expect(shape('ConnectionsTable')).toEqual({
      key: 'userId',
      indexes: {
        [indexes.refreshDue]: ['refreshShard + refreshAt', 'KEYS_ONLY'],
        [indexes.tokenKey]: ['keyId + userId', 'KEYS_ONLY'],
        [indexes.googleAccount]: ['googleSub + userId', 'INCLUDE', 'status'],
      },
      timeToLive: undefined,
    });
    expect(shape('BookingsTable')).toEqual({
      key: 'id',
      indexes: {
        [indexes.syncDue]: ['syncShard + syncDueAt', 'INCLUDE', 'userId'],
        [indexes.waiting]: ['waitingUserId + id', 'KEYS_ONLY'],
        [indexes.userBookings]: ['userId + startsAt', 'KEYS_ONLY'],
      },
      timeToLive: 'expiresAt',
    });
  });

  test('secrets come empty or generated, never with a value from the template', () => {
    const values = (path: string) => {
      const { Description, ...rest } = stack.at(path).Properties;
      expect(Description).toBeTypeOf('string');
      expect(stack.at(path).DeletionPolicy).toBe('Retain');
      return rest;
    };
    expect(stack.ofType('AWS::SecretsManager::Secret')).toHaveLength(3);
    expect(values('GoogleOauthClient')).toEqual({});
    expect(values('WebhookSigning')).toEqual({});
    expect(values('TokenKeys')).toEqual({
      GenerateSecretString: {
        SecretStringTemplate: '{"current":"initial"}',
        GenerateStringKey: 'initial',
        PasswordLength: 64,
        ExcludePunctuation: true,
      },
    });
  });

  test('secrets are read by those whom the design names, and by no other', () => {
    const readers = (secret: string) =>
      functionNames.filter((name) => stack.rights(`${name}/Role`).includes(secretRead(secret)));
    const talkToGoogle = ['Connect', 'OauthCallback', 'Connections', 'BookingSync', 'TokenRefresh'];
    expect(readers('GoogleOauthClient')).toEqual(talkToGoogle);
    expect(readers('TokenKeys').sort()).toEqual([...talkToGoogle, 'Bookings'].sort());
    expect(readers('WebhookSigning')).toEqual(['PaymentConfirmed']);
  });

  test('every log ends after the configured time', () => {
    const groups = stack.ofType('AWS::Logs::LogGroup');
    expect(groups).toHaveLength(functionNames.length + 1);
    for (const group of groups) expect(group.Properties.RetentionInDays).toBe(30);
  });
});

describe('the queue', () => {
  test('is FIFO with high throughput, encrypted, and gives up into a FIFO dead-letter queue', () => {
    const { KmsMasterKeyId, RedrivePolicy, ...queue } = stack.at('BookingsQueue').Properties;
    expect(queue).toEqual({
      FifoQueue: true,
      DeduplicationScope: 'messageGroup',
      FifoThroughputLimit: 'perMessageGroupId',
      MessageRetentionPeriod: 14 * 86_400,
      VisibilityTimeout: 6 * stack.at('BookingSync/Function').Properties.Timeout,
    });
    expect(stack.text(KmsMasterKeyId)).toBe('<Key.Arn>');
    expect(RedrivePolicy.maxReceiveCount).toBe(5);
    expect(stack.text(RedrivePolicy.deadLetterTargetArn)).toBe('<DeadLetters.Arn>');

    const deadLetters = stack.at('DeadLetters').Properties;
    expect(deadLetters).toMatchObject({ FifoQueue: true, MessageRetentionPeriod: 14 * 86_400 });
    expect(stack.text(deadLetters.KmsMasterKeyId)).toBe('<Key.Arn>');
  });

  test('feeds booking-sync in batches with partial failures and bounded concurrency', () => {
    const { EventSourceArn, FunctionName, ...mapping } = stack.at('BookingSync/Function/Bookings').Properties;
    expect(stack.text(EventSourceArn)).toBe('<BookingsQueue.Arn>');
    expect(stack.text(FunctionName)).toBe('<BookingSync/Function>');
    expect(mapping).toEqual({
      BatchSize: 10,
      FunctionResponseTypes: ['ReportBatchItemFailures'],
      ScalingConfig: { MaximumConcurrency: 20 },
    });
  });
});

describe('schedules', () => {
  test.each([
    ['BookingReconcile', 'rate(1 minute)'],
    ['TokenRefresh', 'rate(5 minutes)'],
  ])('%s runs at %s; a missed run is left to the next', (name, expression) => {
    const schedule = stack.at(`${name}/Function/Schedule`).Properties;
    expect(schedule).toMatchObject({ ScheduleExpression: expression, State: 'ENABLED' });
    expect(stack.text(schedule.Target.Arn)).toBe(`<${name}/Function.Arn>`);
    expect(schedule.Target.RetryPolicy).toEqual({ MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 });
    expect(stack.at(`${name}/Function/EventInvokeConfig`).Properties).toMatchObject({
      MaximumRetryAttempts: 0,
      MaximumEventAgeInSeconds: 60,
    });
  });

  test.each(['BookingReconcile', 'TokenRefresh'])(
    '%s: its role starts that function and no other',
    (name) => {
      const { AssumeRolePolicyDocument, Policies } = stack.at(`${name}/Function/ScheduleRole`).Properties;
      const [statement] = Policies[0].PolicyDocument.Statement;
      expect(Policies[0].PolicyDocument.Statement).toHaveLength(1);
      expect([statement.Action, stack.text(statement.Resource)]).toEqual([
        'lambda:InvokeFunction',
        `<${name}/Function.Arn>`,
      ]);
      const { StringEquals } = AssumeRolePolicyDocument.Statement[0].Condition;
      expect(Object.keys(StringEquals)).toEqual(['aws:SourceAccount', 'aws:SourceArn']);
    },
  );
});

test('alarms watch the dead-letter queue, the age of the queue, crashes and what only the operator can mend', () => {
  const watched = stack.ofType('AWS::CloudWatch::Alarm').map(({ Properties }) => {
    expect(Properties.AlarmDescription).toBeTypeOf('string');
    expect(Properties.TreatMissingData).toBe('notBreaching');
    return `${Properties.Namespace ?? 'sum'} ${Properties.MetricName ?? Properties.Metrics[0].Expression} >= ${Properties.Threshold}`;
  });
  expect(watched.sort()).toEqual([
    'AWS/SQS ApproximateAgeOfOldestMessage >= 900',
    'AWS/SQS ApproximateNumberOfMessagesVisible >= 1',
    `${metricNamespace} OperatorError >= 1`,
    'sum SUM(METRICS()) >= 1',
  ]);
});

test('outputs tell all that set-up asks for', () => {
  const outputs = Object.entries(stack.template.Outputs).map(([name, { Value }]) => [
    name,
    stack.text(Value),
  ]);
  expect(Object.fromEntries(outputs)).toEqual({
    ApiUrl: '<Api.ApiEndpoint>',
    CallbackUrl: '<Api.ApiEndpoint>/google/callback',
    WebhookUrl: '<Api.ApiEndpoint>/webhooks/stripe',
    StandardWebhookUrl: '<Api.ApiEndpoint>/webhooks/standard',
    GoogleOauthClientSecret: '<GoogleOauthClient>',
    WebhookSigningSecret: '<WebhookSigning>',
    TokenKeysSecret: '<TokenKeys>',
    BusName: '<Bus>',
    ConnectionsTableName: '<ConnectionsTable>',
    BookingsTableName: '<BookingsTable>',
  });
});
