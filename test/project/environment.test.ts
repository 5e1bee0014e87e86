import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { App, Stack } from 'aws-cdk-lib';
import { EventBus } from 'aws-cdk-lib/aws-events';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { CDK_APP_MODE_CONTEXT, PATH_METADATA_ENABLE_CONTEXT } from 'aws-cdk-lib/cx-api';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { harmfulChanges } from '../../infra/cli/deployed-options.ts';
import { readConfig } from '../../infra/config.ts';
import { type Environment, loadEnvironment, readEnvironment } from '../../infra/environment.ts';
import { LeadsCalendarGoogle } from '../../infra/leads-calendar-google.ts';
import { outputReference } from '../../infra/operator-reference.ts';
import { optionsMetadata } from '../../infra/stack.ts';
import { concurrencyContext, firstDeployContext, synthesize } from '../../infra/synthesize.ts';
import { type Template, viewOf } from './template.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let outdir: string;
beforeAll(() => {
  outdir = mkdtempSync(join(tmpdir(), 'environment-test-'));
});
afterAll(() => rmSync(outdir, { recursive: true, force: true }));

const file = { stackName: 'LeadsCalendar-staging', account: '111122223333', region: 'eu-central-1' };
const environmentOf = (more: object = {}): Environment => readEnvironment('staging', { ...file, ...more });
let count = 0;
const templateOf = (context: Record<string, unknown> = {}, environment?: Environment): Template =>
  synthesize(join(outdir, String(count++)), context, environment).stacks[0]?.template as Template;

describe('the file of an environment', () => {
  test.each([
    [{ stackname: 'x' }, /stackname/],
    [{ account: '1234' }, /12 digits/],
    [{ region: 'europe' }, /such as eu-central-1/],
    [{ stackName: 'a_b' }, /name of a stack/],
    [
      { options: { publicURL: 'https://calendar.example.com' } },
      /no option publicURL: did you mean publicUrl\?/,
    ],
    [{ options: { alarmemail: 'ops@example.com' } }, /did you mean alarmEmail\?/],
    [{ options: { logRetentionDays: 31 } }, /period that CloudWatch offers/],
    [{ production: true }, /nobody would hear of an alarm/],
  ])('%j is refused', (change, reason) => {
    const read = () => readEnvironment('staging', { ...file, ...change });
    expect(read).toThrow(reason);
    expect(read).toThrow('infra/environments/staging.ts');
  });

  test.each([
    [{ production: true, options: { alarmEmail: 'ops@example.com' } }],
    [{ production: true, alarmsAreWatched: true }],
    [{ tags: { team: 'calendar' }, options: { throttleRate: 7, optionalScopes: ['free-busy'] } }],
  ])('%j is accepted', (change) => {
    expect(environmentOf(change)).toMatchObject({ name: 'staging' });
  });

  test('an unknown environment is refused with the nearest one', async () => {
    await expect(loadEnvironment('exampel')).rejects.toThrow(/did you mean "example"\?/);
    expect((await loadEnvironment('example')).options.stripeMode).toBe('test');
  });
});

test.each([
  [{ onConflict: 'hold' }, /need "free-busy"/],
  [{ onConflict: 'flag', optionalScopes: 'calendar-list' }, /need "free-busy"/],
  [{ domainName: 'calendar.example.com' }, /needs hostedZoneId/],
  [{ domainName: 'calendar.example.com', hostedZoneId: 'Z1' }, /belong together/],
  [
    { domainName: 'calendar.example.org', hostedZoneId: 'Z1', hostedZoneName: 'example.com' },
    /hostedZoneName or end with it/,
  ],
  [{ hostedZoneId: 'Z1', hostedZoneName: 'example.com' }, /for domainName, which is missing/],
  [{ domainName: 'a.example.com', publicUrl: 'https://a.example.com' }, /give one of the two/],
  [{ keepDefaultEndpoint: true }, /for publicUrl or domainName/],
])('options that depend on others: %j is refused', (options, reason) => {
  expect(() => readConfig(options)).toThrow(reason);
});

describe('a synthesized environment', () => {
  test('the context of an app without environment has no unknown key', () => {
    expect(() => templateOf({ publicURL: 'https://calendar.example.com' })).toThrow(
      /did you mean publicUrl\?/,
    );
    expect(() => templateOf({ '@aws-cdk/core:someFlag': true, 'tool:setting': 1 })).not.toThrow();
  });

  test('an option on the command line is refused: the next deploy might forget it', () => {
    expect(() => templateOf({ logRetentionDays: 7 }, environmentOf())).toThrow(
      /-c logRetentionDays: .* infra\/environments\/staging\.ts/,
    );
  });

  test('tables, key and secrets keep their logical ids', () => {
    // With others, a deploy would make new, empty ones, and disconnect every user.
    const { Resources } = templateOf();
    const kept = Object.entries(Resources).filter(([, { DeletionPolicy }]) =>
      DeletionPolicy?.startsWith('Retain'),
    );
    expect(kept.map(([id]) => id).sort()).toEqual([
      'ApiSigning',
      'BookingsTableB2628485',
      'ConnectionsTable8000B8A1',
      'GoogleOauthClient',
      'Key961B73FD',
      'LinkSigning',
      'PaymentMessages',
      'StateEncryption',
      'StripeApi',
      'TokenEncryption',
      'WebhookSigning',
    ]);
  });

  test('two environments in one account share no name, metric or alarm', () => {
    const [one, other] = ['staging', 'production'].map((name) =>
      templateOf({}, environmentOf({ stackName: `LeadsCalendar-${name}` })),
    );
    const named = ({ Resources }: Template = { Resources: {}, Outputs: {} }) =>
      Object.entries(Resources).flatMap(([id, { Properties }]) =>
        ['LogGroupName', 'Name', 'TableName', 'QueueName', 'TopicName', 'FunctionName', 'AlarmName'].flatMap(
          (key) =>
            typeof Properties?.[key] === 'string' && !/^\$default|^arn:|:/.test(Properties[key])
              ? [`${id}.${key}: ${Properties[key]}`]
              : [],
        ),
      );
    const names = named(one);
    expect(names.length).toBeGreaterThan(1);
    expect(names.filter((name) => named(other).includes(name))).toEqual([]);
    const alarms = JSON.stringify(
      Object.values(one?.Resources ?? {}).filter(({ Type }) => Type.endsWith('Alarm')),
    );
    expect(alarms).toContain('{"Name":"stack","Value":"LeadsCalendar-staging"}');
    expect(alarms).not.toContain('"Dimensions":[]');
    expect(Object.keys(one?.Resources ?? {})).toEqual(Object.keys(other?.Resources ?? {}));
  });

  test('name, tags, protection and options of the environment are those of the stack', () => {
    const environment = environmentOf({
      production: true,
      alarmsAreWatched: true,
      tags: { team: 'calendar' },
      options: { syncConcurrency: 3 },
    });
    const [artifact] = synthesize(join(outdir, 'props'), {}, environment).stacks;
    expect(artifact).toMatchObject({ stackName: 'LeadsCalendar-staging', terminationProtection: true });
    expect(artifact?.environment).toMatchObject({ account: '111122223333', region: 'eu-central-1' });
    expect(artifact?.tags).toEqual({ team: 'calendar' });
    expect(artifact?.template.Metadata[optionsMetadata]).toMatchObject({
      syncConcurrency: 3,
      indexShards: 4,
    });
  });

  test('the first deploy protects no table from deletion, later ones do', () => {
    const isProtected = (context: object) =>
      viewOf(templateOf({ ...context })).at('BookingsTable').Properties.DeletionProtectionEnabled;
    expect(isProtected({ [firstDeployContext]: 'true' })).toBe(false);
    expect(isProtected({})).toBe(true);
  });

  test.each([
    [1000, 20, 20],
    [141, 20, 20],
    [140, undefined, 20],
    [10, undefined, 5],
    [2, undefined, 2],
  ])(
    'a quota of %i concurrent runs reserves %s and lets booking-sync run %i times',
    (quota, reserved, sync) => {
      const view = viewOf(templateOf({ [concurrencyContext]: String(quota) }));
      expect(view.at('OauthCallback/Function').Properties.ReservedConcurrentExecutions).toBe(reserved);
      expect(view.at('BookingSync/Function/Bookings').Properties.ScalingConfig.MaximumConcurrency).toBe(sync);
    },
  );
});

describe('a domain', () => {
  const domainName = 'calendar.example.com';
  const zone = { hostedZoneId: 'Z0123456789', hostedZoneName: 'example.com' };
  const certificateArn =
    'arn:aws:acm:eu-central-1:111122223333:certificate/11111111-2222-3333-4444-555555555555';

  test('a domain in a zone gets certificate, records and mapping, and is the public address', () => {
    const eventsUrl = 'https://app.example.com/events';
    const stripeEventSource = 'aws.partner/stripe.com/ed_1';
    const template = templateOf({ domainName, ...zone, eventsUrl, stripeEventSource, stripeConnect: true });
    const view = viewOf(template);
    expect(view.ofType('AWS::CertificateManager::Certificate')).toHaveLength(1);
    expect(view.ofType('AWS::Route53::RecordSet').map(({ Properties }) => Properties.Type)).toEqual([
      'A',
      'AAAA',
    ]);
    expect(view.ofType('AWS::ApiGatewayV2::ApiMapping')).toHaveLength(1);
    expect(view.at('Api').Properties.DisableExecuteApiEndpoint).toBe(true);
    expect(template.Outputs.CallbackUrl?.Value).toBe('https://calendar.example.com/google/callback');
    // With these options every output exists.
    expect(Object.keys(template.Outputs).sort()).toEqual(Object.keys(outputReference).sort());
  });

  test('a domain elsewhere takes a certificate, and the record to make is an output', () => {
    const template = templateOf({ domainName, certificateArn });
    const view = viewOf(template);
    expect(view.ofType('AWS::Route53::RecordSet')).toEqual([]);
    expect(view.ofType('AWS::CertificateManager::Certificate')).toEqual([]);
    expect(view.text(template.Outputs.DomainTarget?.Value)).toBe('<Domain/Name.RegionalDomainName>');
  });
});

test('the service is a construct of another stack, with its key, bus and topic', () => {
  const app = new App({
    outdir: join(outdir, 'construct'),
    context: { [CDK_APP_MODE_CONTEXT]: 'inmemory', [PATH_METADATA_ENABLE_CONTEXT]: true },
    analyticsReporting: false,
  });
  const stack = new Stack(app, 'Company');
  const key = new Key(stack, 'CompanyKey');
  const bus = new EventBus(stack, 'CompanyBus');
  const alarmTopic = new Topic(stack, 'CompanyTopic');
  const given = { key, bus: bus as NonNullable<typeof bus & { eventSourceName: string }>, alarmTopic };
  const one = new LeadsCalendarGoogle(stack, 'One', { ...given, throttleRate: 7 });
  const two = new LeadsCalendarGoogle(stack, 'Two');
  expect([one.options.throttleRate, two.options.throttleRate]).toEqual([7, 100]);
  expect(one.key).toBe(key);
  expect(Object.keys(one.functions)).toContain('booking-sync');
  const template = app.synth().getStackByName('Company').template as Template;
  const view = viewOf(template);
  expect(view.ofType('AWS::Events::EventBus')).toHaveLength(2);
  expect(view.ofType('AWS::KMS::Key')).toHaveLength(2);
  expect(view.ofType('AWS::DynamoDB::Table')).toHaveLength(4);
  const alarms = view.ofType('AWS::CloudWatch::Alarm');
  expect(alarms.filter(({ Properties }) => Properties.AlarmActions).length).toBe(alarms.length / 2);
});

describe('npm run deploy', () => {
  const defaults = readConfig({});

  test.each([
    ['indexShards', { indexShards: 16 }, {}],
    ['publicUrl', { publicUrl: 'https://calendar.example.com' }, {}],
    ['eventsUrl', { eventsUrl: 'https://app.example.com/events' }, {}],
    ['stripeMode', { stripeMode: 'live' as const }, { stripeMode: 'test' }],
    ['stripeMode', { stripeMode: 'both' as const }, { stripeMode: 'live' }],
    ['stripeEventSource', { stripeEventSource: 'aws.partner/stripe.com/ed_1' }, {}],
    [
      'stripeEventSource',
      { stripeEventSource: 'aws.partner/stripe.com/ed_1' },
      { stripeEventSource: 'aws.partner/stripe.com/ed_2' },
    ],
  ])('a change of %s that does harm is found', (option, before, after) => {
    const harm = harmfulChanges({ ...defaults, ...before }, readConfig(after));
    expect(harm.map((one) => one.option)).toEqual([option]);
  });

  test.each([
    [{}, {}],
    [{ indexShards: 4 }, { indexShards: 8 }],
    [{ stripeMode: 'test' as const }, { stripeMode: 'both' }],
    [
      { publicUrl: 'https://calendar.example.com' },
      { domainName: 'calendar.example.com', hostedZoneId: 'Z1', hostedZoneName: 'example.com' },
    ],
  ])('a change from %j to %j is harmless', (before, after) => {
    expect(harmfulChanges({ ...defaults, ...before }, readConfig(after))).toEqual([]);
  });

  /** CloudFormation and Lambda as the AWS SDK speaks to them. `options`: of the deployed stack; absent: there is none. */
  async function aws(options?: object): Promise<Server> {
    const server = createServer((request, response) => {
      if (request.url?.startsWith('/2016-08-19/account-settings')) {
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ AccountLimit: { ConcurrentExecutions: 10 } }));
        return;
      }
      if (request.headers['x-amz-target'] === 'DynamoDB_20120810.DescribeTable') {
        response.setHeader('content-type', 'application/x-amz-json-1.0');
        const KMSMasterKeyArn = 'arn:aws:kms:eu-central-1:123456789012:key/1234-abcd';
        response.end(JSON.stringify({ Table: { SSEDescription: { KMSMasterKeyArn } } }));
        return;
      }
      response.setHeader('content-type', 'text/xml');
      if (options === undefined) {
        response.statusCode = 400;
        response.end(
          '<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code><Message>Stack with id x does not exist</Message></Error></ErrorResponse>',
        );
        return;
      }
      const metadata = JSON.stringify({ [optionsMetadata]: options }).replaceAll('"', '&quot;');
      response.end(
        `<GetTemplateSummaryResponse><GetTemplateSummaryResult><Metadata>${metadata}</Metadata></GetTemplateSummaryResult></GetTemplateSummaryResponse>`,
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  /** Runs the command with a cdk that writes down its arguments. */
  async function deploy(server: Server, ...args: string[]): Promise<{ said: string; calls: string[] }> {
    const bin = mkdtempSync(join(outdir, 'bin-'));
    const calls = join(bin, 'calls');
    writeFileSync(calls, '');
    writeFileSync(join(bin, 'cdk'), `#!/bin/sh\necho "$*" >> '${calls}'\n`);
    chmodSync(join(bin, 'cdk'), 0o755);
    const run = promisify(execFile)(process.execPath, ['infra/cli/deploy.ts', ...args], {
      env: {
        PATH: `${bin}${delimiter}${process.env.PATH}`,
        AWS_ENDPOINT_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        AWS_ACCESS_KEY_ID: 'example',
        AWS_SECRET_ACCESS_KEY: 'example',
      },
    });
    const said = await run.then(
      ({ stdout }) => stdout,
      ({ stdout, stderr }: { stdout: string; stderr: string }) => stdout + stderr,
    );
    server.close();
    return { said, calls: readFileSync(calls, 'utf8').split('\n').filter(Boolean) };
  }

  test('the first deploy runs twice: unprotected, then protected', async () => {
    const { calls } = await deploy(await aws(), '--env', 'example', '--require-approval', 'never');
    const common = `deploy --app node infra/app.ts example --outputs-file cdk-outputs.example.json -c ${concurrencyContext}=10`;
    expect(calls).toEqual([
      `${common} -c ${firstDeployContext}=true --require-approval never`,
      `${common} --require-approval never`,
    ]);
  });

  test('a new stack imports all that a deleted one has left, and is deployed then', async () => {
    const { Resources, Outputs } = templateOf();
    const values = Object.keys(Outputs).map((name) => [name, `value-of-${name}`]);
    const file = join(outdir, 'outputs.json');
    writeFileSync(file, JSON.stringify({ Deleted: Object.fromEntries(values) }));
    const { calls, said } = await deploy(await aws(), '--env', 'example', '--adopt', file);
    expect(said).toContain('Importing');
    const mappingFile = 'cdk-outputs.example.adopted.json';
    expect(calls).toEqual([
      `import --app node infra/app.ts example --resource-mapping ${mappingFile}`,
      expect.stringMatching(/^deploy --app node infra\/app.ts example --outputs-file [^ ]+ -c [^ ]+=10$/),
    ]);
    const mapping = JSON.parse(readFileSync(mappingFile, 'utf8')) as Record<string, Record<string, string>>;
    rmSync(mappingFile);
    const kept = Object.entries(Resources).filter(([, { DeletionPolicy }]) =>
      DeletionPolicy?.startsWith('Retain'),
    );
    expect(Object.keys(mapping).sort()).toEqual(kept.map(([id]) => id).sort());
    const identifiers: Record<string, string> = {
      'AWS::DynamoDB::Table': 'TableName',
      'AWS::KMS::Key': 'KeyId',
      'AWS::SecretsManager::Secret': 'Id',
    };
    for (const [id, { Type }] of kept) expect(Object.keys(mapping[id] ?? {})).toEqual([identifiers[Type]]);
    expect(mapping.Key961B73FD).toEqual({ KeyId: '1234-abcd' });
  });

  test('only a new stack adopts, and only from the outputs of a stack of this service', async () => {
    const file = join(outdir, 'other.json');
    writeFileSync(file, '{"Other":{"Url":"x"}}');
    const exists = await deploy(
      await aws(defaults),
      '--env',
      'example',
      '--adopt',
      file,
      '--accept',
      'stripeMode',
    );
    expect(exists.said).toMatch(/exists: only a new stack/);
    const other = await deploy(await aws(), '--env', 'example', '--adopt', file);
    expect(other.said).toMatch(/no output ConnectionsTableName/);
    expect([...exists.calls, ...other.calls]).toEqual([]);
  });

  test('a deploy that does harm is refused, unless it is accepted', async () => {
    const before = { ...defaults, indexShards: 16 };
    const refused = await deploy(await aws(before), '--env', 'example');
    expect(refused.calls).toEqual([]);
    expect(refused.said).toMatch(
      /Nothing was deployed[\s\S]*indexShards: it was 16[\s\S]*--accept indexShards/,
    );
    const accepted = ['--accept', 'indexShards', '--accept', 'stripeMode'];
    expect((await deploy(await aws(before), '--env', 'example', ...accepted)).calls).toHaveLength(1);
  });

  test.each([
    [[], /Which environment\? --env example/],
    [['--env', 'prod'], /no environment "prod"/],
    [['--help'], /npm run deploy -- --env staging/],
  ])('%j is answered in one sentence', async (args, answer) => {
    const { said, calls } = await deploy(await aws(), ...args);
    expect(said).toMatch(answer);
    expect(said).not.toMatch(/^\s+at /m);
    expect(calls).toEqual([]);
  });
});
