import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { Queue } from 'aws-cdk-lib/aws-sqs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { providers } from '../../functions/payment-confirmed/providers.ts';
import { readConfig } from '../../infra/config.ts';
import { operations } from '../../infra/operations.ts';
import { metricReference } from '../../infra/operator-reference.ts';
import { pascalCase } from '../../infra/service-function.ts';
import { buildApp, synthesize } from '../../infra/synthesize.ts';
import { env, indexes, keySecrets, metricNamespace } from '../../shared/lib/names.ts';
import { type Resource, type TemplateView, viewOf } from './template.ts';

const functionNames = [
  'Health',
  'Connect',
  'OauthCallback',
  'Connections',
  'Bookings',
  'PaymentConfirmed',
  'BookingSync',
  'PaymentRecovery',
  'Audit',
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

/** The whole environment of each function. */
const environment: Record<(typeof functionNames)[number], Record<string, string>> = (() => {
  const tokens = { [keySecrets['token-encryption']]: '<TokenEncryption>' };
  const states = { [keySecrets['state-encryption']]: '<StateEncryption>' };
  const links = { [keySecrets['link-signing']]: '<LinkSigning>' };
  const api = { [keySecrets['api-signing']]: '<ApiSigning>' };
  const messages = { [keySecrets['payment-messages']]: '<PaymentMessages>' };
  const google = { [env.googleClientSecretId]: '<GoogleOauthClient>' };
  const connections = { [env.connectionsTable]: '<ConnectionsTable>' };
  const bookings = { [env.bookingsTable]: '<BookingsTable>' };
  const queue = { [env.bookingsQueueUrl]: '<BookingsQueue>' };
  const bus = { [env.eventBus]: '<Bus>' };
  const shards = { [env.indexShards]: '4' };
  const keeping = { [env.keepBookingsDays]: '400' };
  const policy = { [env.refreshPolicy]: '{"inUseFor":86400,"margin":900,"keepAlive":259200}' };
  const url = { [env.publicUrl]: '<Api.ApiEndpoint>' };
  return {
    Health: {},
    Connect: {
      ...links,
      ...states,
      ...google,
      ...url,
      [env.returnOrigins]: '',
      [env.calendarScope]: 'owned',
      [env.optionalScopes]: '',
    },
    OauthCallback: {
      ...states,
      ...tokens,
      ...google,
      ...connections,
      ...shards,
      ...policy,
      ...queue,
      ...bus,
      ...url,
    },
    Connections: { ...api, ...tokens, ...google, ...connections, ...shards, ...policy, ...queue, ...bus },
    Bookings: { ...api, ...bookings, ...shards, ...keeping, ...queue },
    PaymentConfirmed: {
      [env.webhookSecretId]: '<WebhookSigning>',
      [env.stripeApiSecretId]: '<StripeApi>',
      [env.stripeMode]: 'live',
      [env.invoicesPaidOutOfBand]: 'ignore',
      ...messages,
      ...queue,
    },
    BookingSync: {
      [env.conflictPolicy]: 'create',
      [env.paymentPolicy]: '{"refunded":"cancel","disputeLost":"cancel"}',
      ...messages,
      ...tokens,
      ...google,
      ...connections,
      ...bookings,
      ...shards,
      ...keeping,
      ...policy,
      ...queue,
      ...bus,
    },
    Audit: {
      [env.paymentPolicy]: '{"refunded":"cancel","disputeLost":"cancel"}',
      ...tokens,
      ...google,
      ...connections,
      ...bookings,
      ...shards,
      ...keeping,
      ...policy,
      ...bus,
    },
    PaymentRecovery: {
      [env.stripeApiSecretId]: '<StripeApi>',
      [env.stripeMode]: 'live',
      [env.invoicesPaidOutOfBand]: 'ignore',
      ...messages,
      ...bookings,
      ...shards,
      ...queue,
    },
    BookingReconcile: { ...bookings, ...shards, ...queue },
    TokenRefresh: {
      ...tokens,
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
  test('synthesis prints nothing', () => {
    expect(printed).toEqual([]);
  });

  test('synthesis fails on a cdk-nag finding and names it', () => {
    const app = buildApp(join(outdir, 'finding'), { '@aws-cdk/core:appMode': 'inmemory' });
    new Queue(app.node.findChild('LeadsCalendarGoogle'), 'Careless');
    expect(() => app.synth()).toThrow(/Careless[\s\S]*AwsSolutions-SQS/);
  });

  test('no resources depend on each other in a circle', () => {
    expect(stack.circle()).toBeUndefined();
  });

  test('synthesis takes its configuration from the context', () => {
    const returnOrigins = 'https://app.example.com https://admin.example.com';
    const configured = synthesizeTo('configured', {
      publicUrl: 'https://calendar.example.com/',
      returnOrigins,
      calendarAccess: 'shared',
      throttleRate: '7',
      throttleBurst: '9',
      logRetentionDays: '90',
      syncConcurrency: '3',
      reservedConcurrency: '4',
      refreshEveryMinutes: '10',
      alarmEmail: 'operator@example.com',
    });
    expect(configured.at('Connect/Function').Properties.Environment.Variables).toMatchObject({
      [env.publicUrl]: 'https://calendar.example.com',
      [env.returnOrigins]: returnOrigins,
      [env.calendarScope]: 'shared',
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
    expect(configured.at('OauthCallback/Function').Properties.ReservedConcurrentExecutions).toBe(4);
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
    ['publicUrl', 'http://calendar.example.com', /https URL/],
    ['publicUrl', 'https://user:secret@calendar.example.com/', /without user name, password/],
    ['publicUrl', 'https://calendar.example.com/path#y', /fragment/],
    ['publicUrl', 'https://calendar.example.com/path#', /fragment/],
    ['publicUrl', 'https://calendar.example.com/path?x=1', /without a query/],
    ['eventsUrl', 'https://user:secret@app.example.com/events', /without user name, password/],
    ['keepDefaultEndpoint', 'yes', /true or false/],
    ['returnOrigins', 'http://app.example.com', /http is for localhost only/],
    ['returnOrigins', 'https://user@app.example.com', /https origins/],
    ['returnOrigins', 'https://app.example.com?x', /https origins/],
    ['returnOrigins', 'ftp://app.example.com', /https origins/],
    ['returnOrigins', 'https://*.example.com', /https origins/],
    ['alarmEmail', 'operator', /email/],
    ['calendarAccess', 'all', /owned/],
    ['stripeMode', 'sandbox', /"live" \| "test" \| "both"/],
    ['invoicesPaidOutOfBand', 'cancel', /"ignore" \| "count"/],
  ])('explains why %s cannot be %j', (key, value, reason) => {
    const read = () => readConfig({ [key]: value });
    expect(read).toThrow(reason);
    expect(read).toThrow(`at ${key}`);
  });
});

test.each([
  ['returnOrigins', 'http://localhost:5173 http://127.0.0.1:8080 http://[::1]:3000 https://app.example.com'],
  ['publicUrl', 'https://calendar.example.com/path'],
  ['eventsUrl', 'https://app.example.com/events?tenant=1'],
  ['stripeMode', 'both'],
  ['invoicesPaidOutOfBand', 'count'],
])('accepts %s %j', (key, value) => {
  expect(readConfig({ [key]: value })).toMatchObject({ [key]: value });
});

describe('the API', () => {
  test.each([
    [{}, undefined],
    [{ publicUrl: 'https://calendar.example.com' }, true],
    [{ publicUrl: 'https://calendar.example.com', keepDefaultEndpoint: 'true' }, undefined],
  ])('the API with %j disables its default address: %s', (options, disabled) => {
    const api = synthesizeTo(`endpoint-${JSON.stringify(options).length}`, options).at('Api');
    expect(api.Properties.DisableExecuteApiEndpoint || undefined).toBe(disabled);
  });

  test('the API has a route for each operation, to its function, and no other route', () => {
    const table = stack.ofType('AWS::ApiGatewayV2::Route').map((route) => {
      const [, integration] = route.Properties.Target['Fn::Join'][1];
      const { Properties } = stack.template.Resources[integration.Ref] as Resource;
      expect(Properties).toMatchObject({ IntegrationType: 'AWS_PROXY', PayloadFormatVersion: '2.0' });
      return [route.Properties.RouteKey, stack.text(Properties.IntegrationUri)];
    });
    expect(Object.fromEntries(table)).toEqual(
      Object.fromEntries(
        operations
          .filter(({ option }) => option === undefined)
          .map(({ method, route, function: name }) => [
            `${method} ${route}`,
            `<${pascalCase(name)}/Function.Arn>`,
          ]),
      ),
    );
  });
});

describe('functions', () => {
  test('functions have the chosen memory and timeout', () => {
    const figures = functionNames.map((name) => {
      const { Properties } = stack.at(`${name}/Function`);
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
      PaymentRecovery: '512 MB, 600 s',
      Audit: '512 MB, 900 s',
      BookingReconcile: '512 MB, 55 s',
      TokenRefresh: '512 MB, 300 s',
    });
    expect(stack.ofType('AWS::Lambda::Function')).toHaveLength(functionNames.length);
  });

  test.each(functionNames)('%s knows what it needs and nothing else', (name) => {
    const variables: Record<string, unknown> = stack.at(`${name}/Function`).Properties.Environment?.Variables;
    const read = Object.entries(variables ?? {}).map(([key, value]) => [key, stack.text(value)]);
    expect(Object.fromEntries(read)).toEqual({
      [env.stackName]: 'LeadsCalendarGoogle',
      ...environment[name],
    });
  });

  test('only booking-sync, which requeues its own pages, opts out of loop detection', () => {
    const loops = functionNames.filter((name) => stack.at(`${name}/Function`).Properties.RecursiveLoop);
    expect(loops).toEqual(['BookingSync']);
  });

  test.each(functionNames)('%s is a bundle that imports and exports its handler', async (name) => {
    const { Metadata, Properties } = stack.at(`${name}/Function`);
    const bundle = join(outdir, 'default', Metadata['aws:asset:path'] ?? '', 'index.cjs');
    expect(Properties.Handler).toBe('index.handler');
    // Only its output: a bundle is a few lines of a hundred thousand characters.
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

describe('tables', () => {
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
        [indexes.email]: ['email + userId', 'KEYS_ONLY'],
      },
      timeToLive: 'expiresAt',
    });
    expect(shape('BookingsTable')).toEqual({
      key: 'id',
      indexes: {
        [indexes.syncDue]: ['syncShard + syncDueAt', 'INCLUDE', 'userId'],
        [indexes.waiting]: ['waitingUserId + id', 'KEYS_ONLY'],
        [indexes.userBookings]: ['userId + startsAt', 'KEYS_ONLY'],
        [indexes.attention]: ['attention + attentionAt', 'KEYS_ONLY'],
      },
      timeToLive: 'expiresAt',
    });
  });
});

describe('the queue', () => {
  test('the queue is high-throughput FIFO and has a FIFO dead-letter queue', () => {
    expect(stack.at('BookingsQueue').Properties).toMatchObject({
      FifoQueue: true,
      DeduplicationScope: 'messageGroup',
      FifoThroughputLimit: 'perMessageGroupId',
    });
    expect(stack.at('DeadLetters').Properties.FifoQueue).toBe(true);
  });

  test('the queue feeds booking-sync in batches with partial failures and bounded concurrency', () => {
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
    ['PaymentRecovery', 'rate(15 minutes)'],
    ['Audit', 'rate(1 hour)'],
    ['TokenRefresh', 'rate(5 minutes)'],
  ])('%s runs at %s, without retries of a missed run', (name, expression) => {
    const schedule = stack.at(`${name}/Function/Schedule`).Properties;
    expect(schedule).toMatchObject({ ScheduleExpression: expression, State: 'ENABLED' });
    expect(stack.text(schedule.Target.Arn)).toBe(`<${name}/Function.Arn>`);
    expect(schedule.Target.RetryPolicy).toEqual({ MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 });
    expect(stack.at(`${name}/Function/EventInvokeConfig`).Properties).toMatchObject({
      MaximumRetryAttempts: 0,
      MaximumEventAgeInSeconds: 60,
    });
  });
});

test('alarms watch exactly the conditions that an operator must repair', () => {
  const watched = stack.ofType('AWS::CloudWatch::Alarm').map(({ Properties, Metadata }) => {
    const { MetricName, Period, Metrics = [], Threshold, EvaluationPeriods } = Properties;
    const { Statistic, ComparisonOperator } = Properties;
    const name = (Metadata['aws:cdk:path'] ?? '').replace(/.*Alarms\/|\/Resource/g, '');
    const { Expression } = Metrics.find((metric: { Expression?: string }) => metric.Expression) ?? {};
    const inputs = Metrics.flatMap((it: { MetricStat?: unknown }) => it.MetricStat ?? []);
    const [{ Period: period } = { Period }] = inputs;
    const names = [...new Set(inputs.map((it: { Metric: { MetricName: string } }) => it.Metric.MetricName))];
    expect(Properties.AlarmDescription).toMatch(/See docs\/runbooks\/[a-z-]+\.md\.$/);
    // A function that does not run says nothing.
    expect(Properties.TreatMissingData).toBe(/^ScheduleStopped/.test(name) ? 'breaching' : 'notBreaching');
    const counted = Statistic === 'SampleCount' ? `runs that report ${MetricName}` : MetricName;
    const what = Expression?.startsWith('SUM') ? `sum of ${inputs.length} ${names.join(' and ')}` : counted;
    const sign = ComparisonOperator === 'LessThanThreshold' ? '<' : '>=';
    const minutes = (period * EvaluationPeriods) / 60;
    return [
      name,
      `${what ?? Expression.replace(/FILL\((\w+), 0\)/g, '$1')} ${sign} ${Threshold} in ${minutes} min`,
    ];
  });
  const served = providers.map(({ name }) => name).filter((name) => name !== 'stripe-connect');
  const rejected =
    'IF(verified0 + verified1 + verified2 + verified3 > 0, 0, rejected0 + rejected1 + rejected2 + rejected3) >= 5 in 15 min';
  expect(Object.fromEntries(watched)).toEqual({
    DeadLetters: 'ApproximateNumberOfMessagesVisible >= 1 in 5 min',
    QueueAge: 'ApproximateAgeOfOldestMessage >= 900 in 5 min',
    OldestDue: 'OldestDue >= 300 in 5 min',
    PaymentsRecovered: 'PaymentsRecovered >= 1 in 60 min',
    ScheduleStoppedPaymentRecovery: 'runs that report EventsSwept < 1 in 45 min',
    ScheduleStoppedAudit: 'runs that report UsersAudited < 1 in 180 min',
    AuditFindings: 'AuditFindings >= 1 in 60 min',
    ScheduleStoppedBookingReconcile: 'runs that report BookingsRequeued < 1 in 15 min',
    ScheduleStoppedTokenRefresh: 'runs that report RefreshSweepFailures < 1 in 15 min',
    PaidBookingFailed: 'sum of 2 PaidBookingFailed >= 1 in 5 min',
    ServiceLevel: 'IF(paid >= 10, share, 100) < 95 in 60 min',
    OperatorError: 'OperatorError >= 1 in 5 min',
    FunctionErrors: 'sum of 6 Errors >= 1 in 15 min',
    FunctionErrors2: 'sum of 5 Errors >= 1 in 15 min',
    FunctionThrottles: 'sum of 6 Throttles >= 1 in 15 min',
    FunctionThrottles2: 'sum of 5 Throttles >= 1 in 15 min',
    ApiErrors: '5xx >= 3 in 15 min',
    WebhookErrors: `sum of ${3 * served.length} RequestFailed and WebhookRejected >= 1 in 15 min`,
    ...Object.fromEntries(served.map((name) => [`WebhooksRejected${pascalCase(name)}`, rejected])),
  });
});

test('the dashboard shows only metrics that exist, of this stack alone', () => {
  const [board, ...others] = stack.ofType('AWS::CloudWatch::Dashboard');
  expect(others).toEqual([]);
  expect(board?.Properties.DashboardName).toBe('LeadsCalendarGoogle');
  const { widgets } = JSON.parse(stack.text(board?.Properties.DashboardBody)) as {
    widgets: { properties: { metrics?: unknown[][] } }[];
  };
  const own = widgets
    .flatMap(({ properties }) => properties.metrics ?? [])
    .filter(([namespace]) => namespace === metricNamespace);
  expect(own.length).toBeGreaterThan(20);
  for (const [, name, ...dimensions] of own) {
    expect(Object.keys(metricReference)).toContain(name);
    expect(dimensions.slice(dimensions.indexOf('stack')).slice(0, 2)).toEqual([
      'stack',
      'LeadsCalendarGoogle',
    ]);
  }
});

test('outputs have all values that set-up asks for', () => {
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
    StripeApiSecret: '<StripeApi>',
    LinkSigningSecret: '<LinkSigning>',
    ApiSigningSecret: '<ApiSigning>',
    TokenEncryptionSecret: '<TokenEncryption>',
    StateEncryptionSecret: '<StateEncryption>',
    PaymentMessagesSecret: '<PaymentMessages>',
    BusName: '<Bus>',
    ConnectionsTableName: '<ConnectionsTable>',
    BookingsTableName: '<BookingsTable>',
    QueueUrl: '<BookingsQueue>',
    DeadLettersUrl: '<DeadLetters>',
  });
});
