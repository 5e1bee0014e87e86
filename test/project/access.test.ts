/**
 * All permissions in AWS as one list. A grant without a line here fails, and so does a line without a grant. Uses
 * the template with every option, which has the most grants.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { operations } from '../../infra/operations.ts';
import { pascalCase } from '../../infra/service-function.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { eventSource } from '../../shared/lib/names.ts';
import { type TemplateView, viewOf } from './template.ts';

vi.setConfig({ hookTimeout: 60_000 });

const options = {
  eventsUrl: 'https://app.example.com/events',
  alarmEmail: 'operator@example.com',
  stripeEventSource: 'aws.partner/stripe.com/ed_1',
  stripeConnect: true,
};
let outdir: string;
let stack: TemplateView;

beforeAll(() => {
  outdir = mkdtempSync(join(tmpdir(), 'access-test-'));
  stack = viewOf(synthesize(outdir, options).getStackByName('LeadsCalendarGoogle').template);
});
afterAll(() => rmSync(outdir, { recursive: true, force: true }));

// Keys are used only through the service that holds the data. DynamoDB and SQS need these permissions of the
// caller.
const viaDynamo = 'if kms:ViaService = dynamodb.<region>.amazonaws.com';
const viaSqs = 'if kms:ViaService = sqs.<region>.amazonaws.com';
const readTable = `kms: Decrypt, DescribeKey on Key ${viaDynamo}`;
const writeTable = `kms: Decrypt, DescribeKey, Encrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext, ReEncryptFrom, ReEncryptTo on Key ${viaDynamo}`;
const useQueue = `kms: Decrypt, GenerateDataKey on Key ${viaSqs}`;
const publish = `events: PutEvents on Bus if events:source = ${eventSource}`;

/** A function's extra permissions, besides those of every function. */
const fn = (name: string, ...rights: string[]): string[] => [
  `${name}/Role lets lambda.amazonaws.com sts: AssumeRole`,
  `${name}/Role may logs: CreateLogStream, PutLogEvents on ${name}/Logs`,
  `${name}/Role may xray: PutTelemetryRecords, PutTraceSegments on *`,
  ...rights.map((right) => `${name}/Role may ${right}`),
];
/** A function may be invoked for the routes of its operations. */
const reached = [...new Set(operations.map(({ function: name, route }) => `${pascalCase(name)} ${route}`))]
  .map((pair) => pair.split(' '))
  .map(
    ([name, path]) =>
      `${name}/Function lets apigateway.amazonaws.com lambda: InvokeFunction if aws:SourceArn = our execute-api:Api/*/*${path}`,
  );
const scheduled = (name: string): string[] => [
  `${name}/Function/ScheduleRole lets scheduler.amazonaws.com sts: AssumeRole if aws:SourceAccount = our account and aws:SourceArn = our scheduler:schedule-group/default`,
  `${name}/Function/ScheduleRole may lambda: InvokeFunction on ${name}/Function`,
];
const overTlsOnly = (queue: string): string =>
  `${queue} refuses anybody sqs: * on ${queue} if aws:SecureTransport = false`;

const allowed: string[] = [
  ...fn('Health'),

  ...fn(
    'Connect',
    'secretsmanager: GetSecretValue on GoogleOauthClient',
    'secretsmanager: GetSecretValue on LinkSigning',
    'secretsmanager: GetSecretValue on StateEncryption',
  ),

  ...fn(
    'OauthCallback',
    'secretsmanager: GetSecretValue on GoogleOauthClient',
    'secretsmanager: GetSecretValue on StateEncryption',
    'secretsmanager: GetSecretValue on TokenEncryption',
    'dynamodb: GetItem, PutItem, UpdateItem on ConnectionsTable',
    writeTable,
    'sqs: SendMessage on BookingsQueue',
    useQueue,
    publish,
  ),

  ...fn(
    'Connections',
    'secretsmanager: GetSecretValue on ApiSigning',
    'secretsmanager: GetSecretValue on GoogleOauthClient',
    'secretsmanager: GetSecretValue on TokenEncryption',
    'dynamodb: GetItem, PutItem, UpdateItem on ConnectionsTable',
    'dynamodb: Query on ConnectionsTable/index/google-account',
    writeTable,
    'sqs: SendMessage on BookingsQueue',
    useQueue,
    publish,
  ),

  ...fn(
    'Bookings',
    'secretsmanager: GetSecretValue on ApiSigning',
    'dynamodb: BatchGetItem, GetItem, PutItem on BookingsTable',
    'dynamodb: Query on BookingsTable/index/user-bookings',
    writeTable,
    'sqs: SendMessage on BookingsQueue',
    useQueue,
  ),

  ...fn(
    'PaymentConfirmed',
    'secretsmanager: GetSecretValue on PaymentMessages',
    'secretsmanager: GetSecretValue on StripeApi',
    'secretsmanager: GetSecretValue on WebhookSigning',
    'sqs: SendMessage on BookingsQueue',
    useQueue,
  ),

  ...fn(
    'BookingSync',
    'secretsmanager: GetSecretValue on GoogleOauthClient',
    'secretsmanager: GetSecretValue on PaymentMessages',
    'secretsmanager: GetSecretValue on TokenEncryption',
    'dynamodb: BatchGetItem, GetItem, UpdateItem on ConnectionsTable',
    'dynamodb: BatchGetItem, PutItem on BookingsTable',
    'dynamodb: Query on BookingsTable/index/waiting',
    writeTable,
    'sqs: DeleteMessage, GetQueueAttributes, ReceiveMessage, SendMessage on BookingsQueue',
    useQueue,
    publish,
  ),

  // Payment messages as payment-confirmed sends them; the table holds its progress.
  ...fn(
    'PaymentRecovery',
    'secretsmanager: GetSecretValue on PaymentMessages',
    'secretsmanager: GetSecretValue on StripeApi',
    'dynamodb: GetItem, UpdateItem on BookingsTable',
    // With stripeConnect, the accounts that users have bound.
    'dynamodb: Query on BookingsTable/index/attention',
    writeTable,
    'sqs: SendMessage on BookingsQueue',
    useQueue,
  ),

  // It reads bookings; it writes its progress and what it finds.
  ...fn(
    'Audit',
    'secretsmanager: GetSecretValue on GoogleOauthClient',
    'secretsmanager: GetSecretValue on TokenEncryption',
    'dynamodb: GetItem, UpdateItem on ConnectionsTable',
    'dynamodb: Query on ConnectionsTable/index/token-key',
    'dynamodb: BatchGetItem, GetItem, UpdateItem on BookingsTable',
    'dynamodb: Query on BookingsTable/index/attention',
    'dynamodb: Query on BookingsTable/index/user-bookings',
    writeTable,
    publish,
  ),

  ...fn(
    'BookingReconcile',
    'dynamodb: Query on BookingsTable/index/sync-due',
    readTable,
    'sqs: SendMessage on BookingsQueue',
    useQueue,
  ),

  ...fn(
    'TokenRefresh',
    'secretsmanager: GetSecretValue on GoogleOauthClient',
    'secretsmanager: GetSecretValue on TokenEncryption',
    'dynamodb: GetItem, UpdateItem on ConnectionsTable',
    'dynamodb: Query on ConnectionsTable/index/google-account',
    'dynamodb: Query on ConnectionsTable/index/refresh-due',
    'dynamodb: Query on ConnectionsTable/index/token-key',
    writeTable,
    publish,
  ),

  // Triggers of the functions.
  ...reached,
  ...scheduled('BookingReconcile'),
  ...scheduled('TokenRefresh'),
  ...scheduled('PaymentRecovery'),
  ...scheduled('Audit'),

  // The key and the queues.
  'Key lets our account kms: * on *',
  overTlsOnly('BookingsQueue'),
  overTlsOnly('DeadLetters'),

  // With alarmEmail.
  'Key lets cloudwatch.amazonaws.com kms: Decrypt, GenerateDataKey on * if aws:SourceAccount = our account',
  'Alarms/Topic lets cloudwatch.amazonaws.com sns: Publish on Alarms/Topic if aws:SourceAccount = our account and aws:SourceArn ArnLike our cloudwatch:alarm:*',
  'Alarms/Topic refuses anybody sns: Publish on Alarms/Topic if aws:SecureTransport = false',

  // With eventsUrl.
  'EventsDelivery/Role lets events.amazonaws.com sts: AssumeRole if aws:SourceAccount = our account and aws:SourceArn ArnLike our events:rule/Bus/*',
  'EventsDelivery/Role may events: InvokeApiDestination on EventsDelivery/Destination/ApiDestination',
  'EventsDelivery/DeadLetters lets events.amazonaws.com sqs: SendMessage on EventsDelivery/DeadLetters if aws:SourceArn = EventsDelivery/Rule',
  overTlsOnly('EventsDelivery/DeadLetters'),

  // With stripeEventSource: payment messages as payment-confirmed sends them, and the API key for events that do not carry their payment.
  ...fn(
    'StripeEvents',
    'secretsmanager: GetSecretValue on PaymentMessages',
    'secretsmanager: GetSecretValue on StripeApi',
    'sqs: DeleteMessage, GetQueueAttributes, ReceiveMessage on StripeBus/Queue',
    'sqs: SendMessage on BookingsQueue',
    useQueue,
  ),
  // The first two are CDK's; EventBridge only sends.
  'StripeBus/Queue lets events.amazonaws.com sqs: GetQueueAttributes, GetQueueUrl, SendMessage on StripeBus/Queue if aws:SourceArn = StripeBus/Rule',
  'StripeBus/DeadLetters lets events.amazonaws.com sqs: SendMessage on StripeBus/DeadLetters if aws:SourceArn = StripeBus/Rule',
  overTlsOnly('StripeBus/Queue'),
  overTlsOnly('StripeBus/DeadLetters'),
];

/** Reasons for a `*` in a grant, by its form. */
const reasonsForWildcards: [RegExp, string][] = [
  [/ xray: PutTelemetryRecords, PutTraceSegments on \*$/, 'X-Ray has no resources that a policy could name.'],
  [/ on \* if aws:SourceAccount = our account$/, 'In the policy of a key, * is that key.'],
  [
    /^Key lets our account kms: \* on \*$/,
    'Without it, no role could be granted the key, and its policy could not be repaired.',
  ],
  [/ refuses anybody sqs: \* /, 'It refuses.'],
  [
    /Api\/\*\/\*\/[a-zA-Z/{}-]+$/,
    'Any stage and method, of one path of one API: API Gateway has only declared ones.',
  ],
  [/ our cloudwatch:alarm:\*$/, 'Any alarm of this account and region: their names are made at deployment.'],
  [/ our events:rule\/Bus\/\*$/, 'Any rule of our own bus: the rule needs the role before it has a name.'],
];

/**
 * The allowed resource types. A new one fails until its access was reviewed: some are policies of a kind that is
 * not read above, or are public (a function URL).
 */
const types = [
  'AWS::ApiGatewayV2::Api',
  'AWS::ApiGatewayV2::Integration',
  'AWS::ApiGatewayV2::Route',
  'AWS::ApiGatewayV2::Stage',
  'AWS::CloudWatch::Alarm',
  'AWS::CloudWatch::Dashboard',
  'AWS::DynamoDB::Table',
  'AWS::Events::ApiDestination',
  'AWS::Events::Connection',
  'AWS::Events::EventBus',
  'AWS::Events::Rule',
  'AWS::IAM::Policy',
  'AWS::IAM::Role',
  'AWS::KMS::Key',
  'AWS::Lambda::EventInvokeConfig',
  'AWS::Lambda::EventSourceMapping',
  'AWS::Lambda::Function',
  'AWS::Lambda::Permission',
  'AWS::Logs::LogGroup',
  'AWS::SNS::Subscription',
  'AWS::SNS::Topic',
  'AWS::SNS::TopicPolicy',
  'AWS::SQS::Queue',
  'AWS::SQS::QueuePolicy',
  'AWS::Scheduler::Schedule',
  'AWS::SecretsManager::Secret',
];

describe('the template', () => {
  test('the template grants exactly the listed permissions', () => {
    expect(stack.grants()).toEqual([...allowed].sort());
  });

  test('without options the template grants everything else unchanged', () => {
    const file = join(inject('assembly'), 'LeadsCalendarGoogle.template.json');
    const forOptions =
      /^(Alarms|EventsDelivery|StripeBus|StripeEvents)\/|^Key lets cloudwatch\.amazonaws\.com |payment-accounts|stripe-connect|^PaymentRecovery\/Role may dynamodb: Query/;
    expect(viewOf(JSON.parse(readFileSync(file, 'utf8'))).grants()).toEqual(
      allowed.filter((grant) => !forOptions.test(grant)).sort(),
    );
  });

  test('the template grants a wildcard only with a documented reason', () => {
    const wild = stack.grants().filter((grant) => grant.includes('*'));
    const unexplained = wild.filter((grant) => !reasonsForWildcards.some(([form]) => form.test(grant)));
    expect(unexplained).toEqual([]);
    const unused = reasonsForWildcards.filter(([form]) => !wild.some((grant) => form.test(grant)));
    expect(unused).toEqual([]);
  });

  test('grants no foreign account, and AWS services only for our resources', () => {
    const open = stack
      .grants()
      .filter((grant) => grant.includes(' lets ') && !grant.includes(' if aws:Source'));
    // A role can be given to a function by its own account only.
    expect(open.filter((grant) => !grant.endsWith(' lets lambda.amazonaws.com sts: AssumeRole'))).toEqual([
      'Key lets our account kms: * on *',
    ]);
  });

  test('the template uses only resource types whose access is known', () => {
    const found = Object.values(stack.template.Resources).map(({ Type }) => Type);
    expect([...new Set(found)].sort()).toEqual([...types].sort());
  });

  test('each function has its own role, which nothing else can assume', () => {
    const taken = [
      ...stack.ofType('AWS::Lambda::Function').map(({ Properties }) => Properties.Role),
      ...stack.ofType('AWS::Scheduler::Schedule').map(({ Properties }) => Properties.Target.RoleArn),
      ...stack.ofType('AWS::Events::Rule').flatMap(({ Properties }) =>
        // biome-ignore lint/suspicious/noExplicitAny: CloudFormation's shape
        Properties.Targets.flatMap((target: any) => target.RoleArn ?? []),
      ),
    ].map(stack.text);
    expect(new Set(taken).size).toBe(taken.length);
    expect(taken).toHaveLength(stack.ofType('AWS::IAM::Role').length);
  });
});

describe('access by protected resource', () => {
  /** The roles with a permission, by the names of functions. */
  const whoMay = (right: RegExp): string[] =>
    stack
      .grants()
      .map((grant) => /^(.+?)(?:\/Role)? may (.*)$/.exec(grant) ?? [])
      .filter(([, , what = '']) => right.test(what))
      .map(([, who = '']) => who);
  const holdTokens = ['Audit', 'BookingSync', 'Connections', 'OauthCallback', 'TokenRefresh'];

  test('only the functions named in the design can read each secret', () => {
    const readers = (secret: string) => whoMay(new RegExp(`^secretsmanager: .* on ${secret}$`));
    // connect needs only the client's id, which is in the same file: docs/security.md says why that is enough.
    expect(readers('GoogleOauthClient')).toEqual([
      'Audit',
      'BookingSync',
      'Connect',
      'Connections',
      'OauthCallback',
      'TokenRefresh',
    ]);
    expect(readers('TokenEncryption')).toEqual(holdTokens);
    expect(readers('StateEncryption')).toEqual(['Connect', 'OauthCallback']);
    expect(readers('LinkSigning')).toEqual(['Connect']);
    expect(readers('ApiSigning')).toEqual(['Bookings', 'Connections']);
    expect(readers('PaymentMessages')).toEqual([
      'BookingSync',
      'PaymentConfirmed',
      'PaymentRecovery',
      'StripeEvents',
    ]);
    expect(readers('WebhookSigning')).toEqual(['PaymentConfirmed']);
    expect(readers('StripeApi')).toEqual(['PaymentConfirmed', 'PaymentRecovery', 'StripeEvents']);
    expect(readers('EventsDelivery/Key')).toEqual([]);
  });

  test('no function can write a secret, administer a key, or scan, delete or export a table', () => {
    expect(whoMay(/^secretsmanager: (?!GetSecretValue on )/)).toEqual([]);
    expect(whoMay(/kms:.*\b(Create|Put|Schedule|Disable|Revoke|Retire)/)).toEqual([]);
    expect(whoMay(/dynamodb:.*\b(Scan|Delete|BatchWrite|Export|PartiQL|Create)/)).toEqual([]);
    expect(whoMay(/^(iam|sts|lambda): (?!InvokeFunction on \w+\/Function$)/)).toEqual([]);
  });

  test('code for payments reaches no table or token, and Google code no webhook secret', () => {
    for (const name of ['PaymentConfirmed', 'StripeEvents']) {
      const own = stack.grants().filter((grant) => grant.startsWith(`${name}/Role may `));
      expect(own.join()).not.toMatch(/dynamodb|TokenEncryption|GoogleOauthClient|events:/);
    }
    for (const name of [...holdTokens, 'Connect']) {
      const own = stack.grants().filter((grant) => grant.startsWith(`${name}/Role may `));
      expect(own.join()).not.toContain('WebhookSigning');
    }
  });

  test('the access table in docs/security.md matches the template', () => {
    const functions = stack.ofType('AWS::Lambda::Function').map(({ Metadata }) => {
      const [, , name = ''] = Metadata['aws:cdk:path']?.split('/') ?? [];
      return name;
    });
    const reads = (secret: string) => whoMay(new RegExp(`^secretsmanager: GetSecretValue on ${secret}$`));
    const columns: Record<string, Record<string, string[]>> = {
      '`token-encryption`': { reads: reads('TokenEncryption') },
      '`state-encryption`': { reads: reads('StateEncryption') },
      '`link-signing`': { reads: reads('LinkSigning') },
      '`api-signing`': { reads: reads('ApiSigning') },
      '`payment-messages`': { reads: reads('PaymentMessages') },
      '`google-oauth-client`': { reads: reads('GoogleOauthClient') },
      '`webhook-signing`': { reads: reads('WebhookSigning') },
      '`stripe-api`': { reads: reads('StripeApi') },
      Connections: accessTo('ConnectionsTable'),
      Bookings: accessTo('BookingsTable'),
      queue: {
        sends: whoMay(/^sqs: .*SendMessage on BookingsQueue$/),
        receives: whoMay(/^sqs: .*ReceiveMessage.* on BookingsQueue$/),
      },
      bus: { publishes: whoMay(/^events: PutEvents on Bus if /) },
      'KMS key through': {
        DynamoDB: whoMay(/^kms: .* = dynamodb\./),
        SQS: whoMay(/^kms: .* = sqs\./),
      },
    };
    const rows = functions.map((name) => [
      `\`${name.replace(/(?<!^)([A-Z])/g, '-$1').toLowerCase()}\``,
      ...Object.values(columns).map((verbs) =>
        Object.entries(verbs)
          .filter(([, who]) => who.includes(name))
          .map(([verb]) => verb)
          .join(', '),
      ),
    ]);
    expect(tableOf('docs/security.md', 'function')).toEqual([['function', ...Object.keys(columns)], ...rows]);
  });

  function accessTo(table: string): Record<string, string[]> {
    return {
      reads: whoMay(new RegExp(`^dynamodb: .*(Get|Query).* on ${table}(/index/[a-z-]+)?$`)),
      writes: whoMay(new RegExp(`^dynamodb: .*(Put|Update).* on ${table}$`)),
    };
  }
});

/** The cells of the first table of a document with this first column, its head first. */
function tableOf(document: string, column: string): string[][] {
  const text = readFileSync(join(import.meta.dirname, '../..', document), 'utf8');
  const table = text.split('\n\n').find((block) => block.startsWith(`| ${column} `));
  const rows = table?.split('\n').filter((row) => !/^\| -/.test(row)) ?? [];
  return rows.map((row) =>
    row
      .trim()
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  );
}
