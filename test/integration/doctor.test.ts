import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CloudWatchClient } from '@aws-sdk/client-cloudwatch';
import { LambdaClient } from '@aws-sdk/client-lambda';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SNSClient } from '@aws-sdk/client-sns';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  checkSchedules,
  checkServiceLevel,
  checkStripe,
  checksOfAws,
  checkWebhooks,
} from '../../infra/cli/ops/doctor-services.ts';
import { cloudWatchMetrics } from '../../infra/cli/ops/metrics.ts';
import type { Target } from '../../infra/cli/ops/target.ts';

/** Checks of a deployed stack: AWS's own clients, answered without a network; Stripe's own client, over HTTP. */

const now = 1_790_000_000;
const WebhookUrl = 'https://calendar.example.com/webhooks/stripe';
/** What AWS answers, by command. An Error is thrown. */
let answers: Record<string, unknown>;
/** What was asked, by command. */
let asked: Record<string, unknown>;

type Answered = { middlewareStack: { add: (...args: never[]) => void } };
function answered<Client>(client: Client): Client {
  const answer =
    (_: unknown, { commandName }: { commandName: string }) =>
    (args: { input: unknown }) => {
      asked[commandName] = args.input;
      const output = answers[commandName];
      if (output instanceof Error) return Promise.reject(output);
      return Promise.resolve({ output: { $metadata: {}, ...(output as object) }, response: {} });
    };
  (client as Answered).middlewareStack.add(
    ...([answer, { step: 'initialize', priority: 'high' }] as never[]),
  );
  return client;
}

const common = { region: 'eu-central-1', credentials: { accessKeyId: 'a', secretAccessKey: 'b' } };
const cloudWatch = answered(new CloudWatchClient(common));
const target = {
  output: (name: string) => (name === 'WebhookUrl' ? WebhookUrl : name),
  outputs: {},
  secrets: answered(new SecretsManagerClient(common)),
  metrics: cloudWatchMetrics(cloudWatch, 'Calendar-prod'),
  aws: {
    stackName: 'Calendar-prod',
    cloudWatch,
    sns: answered(new SNSClient(common)),
    lambda: answered(new LambdaClient(common)),
  },
} as unknown as Target;

const ringing = { StateValue: 'ALARM', AlarmDescription: 'A message waits. See docs/runbooks/queue-age.md.' };
const alarm = { StateValue: 'OK', AlarmActions: ['arn:aws:sns:eu-central-1:1:alarms'] };

async function check(name: string): Promise<string> {
  const [, run] = checksOfAws(target).find(([title]) => title === name) ?? [];
  const { is, says } = (await run?.()) ?? {};
  return `${is}: ${says}`;
}

/** CloudWatch's answer: one value an hour ago for each metric that has one. */
function metricsOf(
  values: (query: { MetricName: string; Stat: string; dimensions: string }) => number | undefined,
) {
  type Query = {
    Id: string;
    MetricStat: {
      Metric: { MetricName: string; Dimensions: { Name: string; Value: string }[] };
      Stat: string;
    };
  };
  Object.defineProperty(answers, 'GetMetricDataCommand', {
    get: () => {
      const { MetricDataQueries } = asked.GetMetricDataCommand as { MetricDataQueries: Query[] };
      const MetricDataResults = MetricDataQueries.flatMap(({ Id, MetricStat: { Metric, Stat } }) => {
        const dimensions = Metric.Dimensions.map(({ Name, Value }) => `${Name}=${Value}`).join();
        expect(dimensions).toMatch(/^stack=Calendar-prod/);
        const value = values({ MetricName: Metric.MetricName, Stat, dimensions });
        return value === undefined
          ? []
          : { Id, Timestamps: [new Date((now - 3600) * 1000)], Values: [value] };
      });
      return { MetricDataResults };
    },
  });
}

beforeEach(() => {
  answers = {
    GetSecretValueCommand: {
      SecretString: '{"stripe":["whsec_0123456789abcdef"],"keys":["rk_test_12345678"]}',
    },
  };
  asked = {};
});

describe('the alarms of a deployed stack', () => {
  it.each([
    [[alarm, alarm], 'pass: none of 2 rings'],
    [[alarm, ringing], 'failure: A message waits. See docs/runbooks/queue-age.md.'],
  ])('those that ring are named with their runbook: %#', async (MetricAlarms, expected) => {
    answers.DescribeAlarmsCommand = { MetricAlarms };
    expect(await check('alarms')).toBe(expected);
    expect(asked.DescribeAlarmsCommand).toMatchObject({ AlarmNamePrefix: 'Calendar-prod-Alarms' });
  });

  it.each([
    [[{}], [], /^warning: No one gets the alarms: set the option alarmEmail/],
    [[alarm], [], /^failure: The topic of the alarms has no subscription/],
    [[alarm], [{ SubscriptionArn: 'PendingConfirmation' }], /^failure: Its subscription is not confirmed/],
    [[alarm], [{ SubscriptionArn: 'arn:aws:sns:x' }], /^pass/],
  ])(
    'an e-mail that is missing or not confirmed is found: %#',
    async (MetricAlarms, Subscriptions, expected) => {
      answers.DescribeAlarmsCommand = { MetricAlarms };
      answers.ListSubscriptionsByTopicCommand = { Subscriptions };
      expect(await check('alarm e-mail')).toMatch(expected);
    },
  );

  it.each([
    [10, /^warning: Only 10 concurrent runs: ask for 1000/],
    [1000, /^pass: 1000 concurrent runs, 900 of them not reserved/],
  ])('a quota of %d concurrent runs is judged', async (ConcurrentExecutions, expected) => {
    answers.GetAccountSettingsCommand = {
      AccountLimit: { ConcurrentExecutions, UnreservedConcurrentExecutions: 900 },
    };
    expect(await check('Lambda quota')).toMatch(expected);
  });
});

describe('the metrics of a deployed stack', () => {
  it.each<[number | undefined, RegExp]>([
    [undefined, /^failure: booking-reconcile did not run in 1 h, token-refresh did not run in 25 h/],
    [12, /^pass: booking-reconcile ran 12 times/],
  ])('a stopped schedule is found: %#', async (runs, expected) => {
    metricsOf(() => runs);
    const { is, says } = await checkSchedules(target, now);
    expect(`${is}: ${says}`).toMatch(expected);
  });

  it.each([
    [undefined, undefined, /^pass: no booking was paid/],
    [99, 100, /^pass: 99 % of 100 paid bookings/],
    [90, 100, /^warning: 90 % of 100 .*service-level\.md/],
  ])('the service level is judged: %#', async (inTime, all, expected) => {
    metricsOf(({ Stat }) => (Stat === 'SampleCount' ? all : inTime));
    const { is, says } = await checkServiceLevel(target, now);
    expect(`${is}: ${says}`).toMatch(expected);
  });

  it.each([
    [0, 0, /^warning: None in 24 hours/],
    [3, 1, /^pass: 3 verified, 1 rejected/],
    [0, 7, /^failure: 7 rejected in 24 hours and none verified/],
  ])('webhooks that none could verify are found: %#', async (verified, rejected, expected) => {
    metricsOf(({ MetricName, dimensions }) => {
      if (!/provider=stripe(?!-)/.test(dimensions)) return undefined;
      if (MetricName === 'WebhookVerified') return /secret=0/.test(dimensions) ? verified : undefined;
      return /code=signature_mismatch/.test(dimensions) ? rejected : undefined;
    });
    const { is, says } = await checkWebhooks(target, now);
    expect(`${is}: ${says}`).toMatch(expected);
  });
});

describe('the endpoint at Stripe', () => {
  let server: Server;
  let answer: { status: number; body: object };
  beforeEach(async () => {
    server = createServer((_, response) => {
      response
        .writeHead(answer.status, { 'content-type': 'application/json' })
        .end(JSON.stringify(answer.body));
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  });
  afterEach(() => new Promise((done) => server.close(done)));

  const endpoint = { id: 'we_1', url: WebhookUrl, status: 'enabled', livemode: true, enabled_events: ['*'] };
  const listed = (...data: object[]) => ({ status: 200, body: { object: 'list', data, has_more: false } });
  const refused = (status: number) => ({
    status,
    body: { error: { type: 'invalid_request_error', message: 'no' } },
  });

  it.each([
    [listed(endpoint), /^pass: the endpoint listens to every event type, in live mode/],
    [
      listed({ ...endpoint, url: 'https://other.example.com' }),
      /^failure: No webhook endpoint .* has the URL/,
    ],
    [listed({ ...endpoint, status: 'disabled' }), /^failure: Stripe has disabled the endpoint/],
    [
      listed({ ...endpoint, enabled_events: ['charge.refunded'] }),
      /^warning: .*does not listen to .*payment_intent/,
    ],
    [refused(401), /^failure: Stripe refuses the API key/],
    [refused(403), /^warning: .*may not read Webhook Endpoints/],
  ])('is judged: %#', async (given, expected) => {
    answer = given;
    const { port } = server.address() as AddressInfo;
    const { is, says } = await checkStripe(target, new URL(`http://127.0.0.1:${port}`));
    expect(`${is}: ${says}`).toMatch(expected);
    expect(says).not.toContain('rk_test');
  });

  it('may be missing where payments come by the event bus of Stripe', async () => {
    answer = listed();
    const { port } = server.address() as AddressInfo;
    const byBus = { ...target, outputs: { StripeEventSource: 'aws.partner/stripe.com/ed_1' } };
    const found = await checkStripe(byBus, new URL(`http://127.0.0.1:${port}`));
    expect(found).toMatchObject({ is: 'warning', says: expect.stringContaining('event bus only') });
  });

  it('is not asked for without an API key', async () => {
    answers.GetSecretValueCommand = { SecretString: '{"stripe":["whsec_0123456789abcdef"]}' };
    expect(await checkStripe(target)).toMatchObject({ is: 'pass' });
  });
});
