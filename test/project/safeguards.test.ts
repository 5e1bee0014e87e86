/**
 * Rules for the whole template: each checks all resources of its kind, with every option that adds some.
 * Permissions are in access.test.ts.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { synthesize } from '../../infra/synthesize.ts';
import { env } from '../../shared/lib/names.ts';
import { type Resource, type TemplateView, viewOf } from './template.ts';

vi.setConfig({ hookTimeout: 60_000 });

const options = {
  eventsUrl: 'https://app.example.com/events',
  alarmEmail: 'operator@example.com',
  stripeEventSource: 'aws.partner/stripe.com/ed_1',
};
let outdir: string;
let stack: TemplateView;

beforeAll(() => {
  outdir = mkdtempSync(join(tmpdir(), 'safeguards-test-'));
  stack = viewOf(synthesize(outdir, options).getStackByName('LeadsCalendarGoogle').template);
});
afterAll(() => rmSync(outdir, { recursive: true, force: true }));

/** All resources of a type by their names. Throws if there are none, since a rule for none would prove nothing. */
function all(type: string): [string, Resource][] {
  const found = stack.ofType(type).map((resource): [string, Resource] => [nameOf(resource), resource]);
  expect(found.length, type).toBeGreaterThan(0);
  return found;
}

/** A reference to a resource, as the path of the resource. */
const named = (reference: unknown): string => stack.text(reference).replace(/^<(.*?)(\.Arn)?>$/, '$1');
const nameOf = ({ Metadata }: Resource): string =>
  (Metadata['aws:cdk:path'] ?? '')
    .replace(/^LeadsCalendarGoogle\/(Default\/)?/, '')
    .replace(/\/Resource$/, '');

describe('tables', () => {
  test('tables have point-in-time recovery and survive a deploy or a delete', () => {
    for (const [name, table] of all('AWS::DynamoDB::Table')) {
      expect(table, name).toMatchObject({
        DeletionPolicy: 'RetainExceptOnCreate',
        UpdateReplacePolicy: 'Retain',
        Properties: {
          BillingMode: 'PAY_PER_REQUEST',
          DeletionProtectionEnabled: true,
          PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
        },
      });
    }
  });

  test('tables are encrypted with our key and copied nowhere', () => {
    for (const [name, { Properties }] of all('AWS::DynamoDB::Table')) {
      const { KMSMasterKeyId, ...encryption } = Properties.SSESpecification;
      expect(encryption, name).toEqual({ SSEEnabled: true, SSEType: 'KMS' });
      expect(named(KMSMasterKeyId), name).toBe('Key');
      for (const copy of ['StreamSpecification', 'KinesisStreamSpecification', 'ImportSourceSpecification'])
        expect(Properties, name).not.toHaveProperty(copy);
    }
  });

  test('our key rotates each year and outlives the stack', () => {
    for (const [name, key] of all('AWS::KMS::Key')) {
      expect(key, name).toMatchObject({
        DeletionPolicy: 'RetainExceptOnCreate',
        UpdateReplacePolicy: 'Retain',
        Properties: { EnableKeyRotation: true },
      });
    }
  });
});

describe('secrets', () => {
  const generatedKeys = (purpose: string) => ({
    GenerateSecretString: {
      SecretStringTemplate: JSON.stringify({ purpose, current: 'initial' }),
      GenerateStringKey: 'initial',
      PasswordLength: 64,
      ExcludePunctuation: true,
    },
  });

  test('secrets are created empty or generated, never with a value from the template', () => {
    const made = all('AWS::SecretsManager::Secret').map(([name, { Properties }]) => {
      const { Description, ...rest } = Properties;
      expect(Description, name).toBeTypeOf('string');
      return [name, rest];
    });
    expect(Object.fromEntries(made)).toEqual({
      GoogleOauthClient: {},
      StripeApi: {},
      WebhookSigning: {},
      TokenEncryption: generatedKeys('token-encryption'),
      StateEncryption: generatedKeys('state-encryption'),
      LinkSigning: generatedKeys('link-signing'),
      ApiSigning: generatedKeys('api-signing'),
      PaymentMessages: generatedKeys('payment-messages'),
      'EventsDelivery/Key': { GenerateSecretString: { PasswordLength: 48, ExcludePunctuation: true } },
    });
  });

  test('secrets outlive the stack, except the delivery key, which is worthless without it', () => {
    const lost = all('AWS::SecretsManager::Secret').filter(
      ([, secret]) => secret.DeletionPolicy !== 'RetainExceptOnCreate',
    );
    expect(lost.map(([name]) => name)).toEqual(['EventsDelivery/Key']);
  });

  test('no variable, output or description of the template holds or resolves a secret', () => {
    const places = valuesIn(stack.template).filter(([, text]) => text.includes('{{resolve:'));
    // EventBridge's connection keeps it in a secret of its own; CloudFormation reads it at deployment.
    expect(places.map(([path]) => path)).toEqual([
      expect.stringMatching(/^Resources\.EventsDeliveryConnection\w+\..*\.ApiKeyValue\b/),
    ]);
    const forms = /whsec_(?!\.\.\.)|\b[sr]k_(live|test)_|GOCSPX-|-----BEGIN|\beyJ[\w-]+\.|\bAKIA/;
    expect(valuesIn(stack.template).filter(([, text]) => forms.test(text))).toEqual([]);
  });
});

describe('queues', () => {
  test('queues are encrypted, and those with bookings with our key', () => {
    const encryption = all('AWS::SQS::Queue').map(([name, { Properties }]) => [
      name,
      Properties.KmsMasterKeyId ? named(Properties.KmsMasterKeyId) : Properties.SqsManagedSseEnabled,
    ]);
    expect(Object.fromEntries(encryption)).toEqual({
      BookingsQueue: 'Key',
      DeadLetters: 'Key',
      // EventBridge fills it: encryption with our key would open the key to all of EventBridge.
      'EventsDelivery/DeadLetters': true,
      'StripeBus/Queue': true,
      'StripeBus/DeadLetters': true,
    });
  });

  test('queues accept TLS only', () => {
    for (const [name] of all('AWS::SQS::Queue')) {
      expect(stack.grants()).toContain(
        `${name} refuses anybody sqs: * on ${name} if aws:SecureTransport = false`,
      );
    }
  });

  test('queues dead-letter after some tries into a queue with at least the same retention', () => {
    const queues = new Map(all('AWS::SQS::Queue'));
    const targets = new Set(
      stack.ofType('AWS::Events::Rule').flatMap(({ Properties }) =>
        // biome-ignore lint/suspicious/noExplicitAny: CloudFormation's shape
        Properties.Targets.map((target: any) => named(target.DeadLetterConfig.Arn)),
      ),
    );
    for (const [name, { Properties }] of queues) {
      const { RedrivePolicy } = Properties;
      if (!RedrivePolicy) continue;
      const deadLetters = named(RedrivePolicy.deadLetterTargetArn);
      targets.add(deadLetters);
      expect(RedrivePolicy.maxReceiveCount, name).toBeGreaterThanOrEqual(3);
      expect(RedrivePolicy.maxReceiveCount, name).toBeLessThanOrEqual(10);
      // 14 days is SQS's maximum; in a FIFO queue they start again when a message is moved.
      const kept = queues.get(deadLetters)?.Properties.MessageRetentionPeriod;
      expect(kept, deadLetters).toBe(14 * 86_400);
      expect(kept, deadLetters).toBeGreaterThanOrEqual(Properties.MessageRetentionPeriod);
    }
    const dead = [...queues].filter(([, { Properties }]) => !Properties.RedrivePolicy).map(([name]) => name);
    expect(dead.sort()).toEqual([...targets].sort());
    for (const name of dead) expect(watched(), 'has no alarm').toContain(name);
  });

  test('queues hide a message for six times the timeout of its worker', () => {
    for (const [, { Properties }] of all('AWS::Lambda::EventSourceMapping')) {
      const worker = stack.at(named(Properties.FunctionName)).Properties;
      expect(stack.at(named(Properties.EventSourceArn)).Properties.VisibilityTimeout).toBe(
        6 * worker.Timeout,
      );
    }
  });

  /** Queues that an alarm watches. */
  function watched(): string[] {
    return stack
      .ofType('AWS::CloudWatch::Alarm')
      .filter(({ Properties }) => Properties.MetricName === 'ApproximateNumberOfMessagesVisible')
      .map(({ Properties }) =>
        stack.text(Properties.Dimensions[0].Value).replace(/^<(.*)\.QueueName>$/, '$1'),
      );
  }
});

describe('functions', () => {
  test('functions run on Node 24 and arm64, are traced, use no VPC and have their own logs', () => {
    for (const [name, { Properties }] of all('AWS::Lambda::Function')) {
      const own = name.replace(/Function$/, '');
      expect(Properties, name).toMatchObject({
        Runtime: 'nodejs24.x',
        Architectures: ['arm64'],
        TracingConfig: { Mode: 'Active' },
        LoggingConfig: { LogFormat: 'JSON', ApplicationLogLevel: 'INFO', SystemLogLevel: 'WARN' },
      });
      expect(named(Properties.LoggingConfig.LogGroup), name).toBe(`${own}Logs`);
      expect(named(Properties.Role), name).toBe(`${own}Role`);
      // Foreign code (a layer), and a network that would need rules of its own.
      for (const foreign of ['Layers', 'VpcConfig', 'FileSystemConfigs'])
        expect(Properties, name).not.toHaveProperty(foreign);
    }
  });

  test('functions that call Google with the client secret have bounded concurrency', () => {
    const concurrency = all('AWS::Lambda::Function')
      .filter(([, { Properties }]) => Properties.Environment?.Variables[env.googleClientSecretId])
      .map(([name, { Properties }]) => {
        const source = stack
          .ofType('AWS::Lambda::EventSourceMapping')
          .find((mapping) => named(mapping.Properties.FunctionName) === name);
        const bound =
          Properties.ReservedConcurrentExecutions ?? source?.Properties.ScalingConfig.MaximumConcurrency;
        return [name.replace(/\/.*/, ''), bound];
      });
    expect(Object.fromEntries(concurrency)).toEqual({
      // Writes Google's address with the client's id, and makes no call.
      Connect: undefined,
      Audit: 1,
      OauthCallback: 20,
      Connections: 20,
      BookingSync: 20,
      TokenRefresh: 1,
    });
  });

  test('functions time out before API Gateway does and before their next scheduled run', () => {
    const timeout = (name: string): number => stack.at(name).Properties.Timeout;
    for (const [, { Properties }] of all('AWS::ApiGatewayV2::Integration'))
      expect(timeout(named(Properties.IntegrationUri))).toBeLessThan(30);
    for (const [, { Properties }] of all('AWS::Scheduler::Schedule')) {
      const [, count, unit] = /^rate\((\d+) (minute|hour)s?\)$/.exec(Properties.ScheduleExpression) ?? [];
      const seconds = Number(count) * (unit === 'hour' ? 3600 : 60);
      expect(timeout(named(Properties.Target.Arn))).toBeLessThanOrEqual(seconds);
    }
  });

  test('no function reserves concurrency when the configuration asks for none', () => {
    const without = viewOf(
      synthesize(join(outdir, 'unreserved'), { reservedConcurrency: '0' }).getStackByName(
        'LeadsCalendarGoogle',
      ).template,
    );
    for (const { Properties } of without.ofType('AWS::Lambda::Function'))
      expect(Properties).not.toHaveProperty('ReservedConcurrentExecutions');
  });
});

describe('logs', () => {
  test('every log group has the configured retention', () => {
    const groups = all('AWS::Logs::LogGroup');
    for (const [name, { Properties }] of groups) expect(Properties.RetentionInDays, name).toBe(30);
    // Log groups of the functions and the access log: a log without a group here would be kept forever.
    expect(groups).toHaveLength(all('AWS::Lambda::Function').length + all('AWS::ApiGatewayV2::Stage').length);
  });

  test('access logs have no query strings, paths or headers, where tokens travel', () => {
    for (const [, { Properties }] of all('AWS::ApiGatewayV2::Stage')) {
      const { DestinationArn, Format } = Properties.AccessLogSettings;
      expect(named(DestinationArn)).toBe('AccessLogs');
      const logged = Object.values<string>(JSON.parse(Format));
      expect(logged).toContain('$context.routeKey');
      expect(logged).toContain('$context.integrationErrorMessage');
      expect(logged.join(' ')).not.toMatch(/query|header|path|authorizer|domain|body/i);
    }
  });
});

describe('the API', () => {
  test('every route of the API is throttled', () => {
    for (const [name, { Properties }] of all('AWS::ApiGatewayV2::Stage')) {
      expect(Properties.DefaultRouteSettings, name).toEqual({
        ThrottlingRateLimit: 100,
        ThrottlingBurstLimit: 200,
      });
      expect(Properties, name).not.toHaveProperty('RouteSettings');
    }
  });

  test('the API allows no other origin', () => {
    for (const [name, { Properties }] of all('AWS::ApiGatewayV2::Api'))
      expect(Properties, name).not.toHaveProperty('CorsConfiguration');
  });

  test('the template has no plain http address', () => {
    const addresses = valuesIn(stack.template).filter(([, text]) => /^http:|\bhttp:\/\//.test(text));
    expect(addresses).toEqual([]);
  });
});

describe('alarms by e-mail', () => {
  test('alarms by e-mail are encrypted with our key, which CloudWatch may use', () => {
    for (const [name, { Properties }] of all('AWS::SNS::Topic')) {
      expect(named(Properties.KmsMasterKeyId), name).toBe('Key');
      const grants = stack.grants().join('\n');
      // A policy of its own replaces the default one that lets the account publish.
      expect(grants).toContain(`${name} lets cloudwatch.amazonaws.com sns: Publish on ${name} `);
      expect(grants).toContain('Key lets cloudwatch.amazonaws.com kms: Decrypt, GenerateDataKey ');
    }
    for (const [name, { Properties }] of all('AWS::CloudWatch::Alarm'))
      expect(Properties.AlarmActions.map(named), name).toEqual(['Alarms/Topic']);
  });
});

describe('cdk-nag', () => {
  test('cdk-nag has no findings and no warnings', () => {
    const report = JSON.parse(readFileSync(join(outdir, 'validation-report.json'), 'utf8'));
    expect(report.pluginReports).toEqual([]);
  });

  test('each cdk-nag suppression is listed with a reason', () => {
    const metadata: Record<string, { type: string; data: Record<string, string> }[]> = JSON.parse(
      readFileSync(join(outdir, 'LeadsCalendarGoogle.metadata.json'), 'utf8'),
    );
    const contradicted: Record<string, string[]> = {};
    for (const [path, entries] of Object.entries(metadata)) {
      for (const { data } of entries.filter(({ type }) => type === 'aws:cdk:acknowledged-rules')) {
        for (const [rule, reason] of Object.entries(data)) {
          expect(reason.length, `${rule} of ${path}`).toBeGreaterThan(20);
          const id = rule.replace('Annotation::', '');
          contradicted[id] = [
            ...(contradicted[id] ?? []),
            path.replace(/^\/LeadsCalendarGoogle\/(Default\/)?/, ''),
          ];
        }
      }
    }
    const functions = all('AWS::Lambda::Function').map(([name]) => name);
    expect(contradicted).toEqual({
      // Each function checks its caller itself: a signed token, a signature over the body, or nothing (health).
      'AwsSolutions-APIG4': all('AWS::ApiGatewayV2::Route').map(([name]) => name),
      // X-Ray's actions exist for * only.
      'AwsSolutions-IAM5[Resource::*]': functions.map((name) => name.replace(/Function$/, 'Role')),
      // A timer cannot change a secret that a person must change at the other service too.
      'AwsSolutions-SMG4': [
        'GoogleOauthClient',
        'WebhookSigning',
        'StripeApi',
        'TokenEncryption',
        'StateEncryption',
        'LinkSigning',
        'ApiSigning',
        'PaymentMessages',
        'EventsDelivery/Key',
      ],
      // They are the dead-letter queues.
      'Serverless-SQSRedrivePolicy': ['DeadLetters', 'StripeBus/DeadLetters', 'EventsDelivery/DeadLetters'],
      'AwsSolutions-SQS3': ['StripeBus/DeadLetters', 'EventsDelivery/DeadLetters'],
      // For asynchronous invocations: only schedules make some, and the next run repeats them.
      'Serverless-LambdaDLQ': functions,
      'Serverless-LambdaAsyncFailureDestination': [
        'PaymentRecovery/Function',
        'Audit/Function',
        'BookingReconcile/Function',
        'TokenRefresh/Function',
      ],
      // For streams: a queue has its dead-letter queue.
      'Serverless-LambdaEventSourceMappingDestination': ['BookingSync/Function', 'StripeEvents/Function'],
      // The content of an e-mail is also visible at the alarm.
      'Serverless-SNSRedrivePolicy': ['Alarms/Topic'],
    });
  });
});

/** Every text in a part of the template, with its path. */
function valuesIn(part: unknown, path = ''): [string, string][] {
  if (typeof part === 'string') return [[path, part]];
  if (typeof part !== 'object' || part === null) return [];
  return Object.entries(part).flatMap(([key, value]) => valuesIn(value, path ? `${path}.${key}` : key));
}
