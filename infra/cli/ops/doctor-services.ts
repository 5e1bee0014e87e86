/** Checks of `ops doctor` that ask Stripe, CloudWatch, SNS and Lambda. */
import { type CloudWatchClient, type MetricAlarm, paginateDescribeAlarms } from '@aws-sdk/client-cloudwatch';
import { GetAccountSettingsCommand, type LambdaClient } from '@aws-sdk/client-lambda';
import { paginateListSubscriptionsByTopic, type SNSClient } from '@aws-sdk/client-sns';
import Stripe from 'stripe';
import { recoveryProgress } from '../../../functions/payment-recovery/progress.ts';
import { toIso } from '../../../shared/lib/clock.ts';
import type { MetricName } from '../../../shared/lib/observability.ts';
import { parseStripeKeys } from '../../../shared/payments/stripe/api-keys.ts';
import { objectParsers } from '../../../shared/payments/stripe/object-parsers.ts';
import { serviceLevel } from '../../operator-reference.ts';
import { findingsOf, lastAudit } from './audit.ts';
import { failure, pass, type Result, warning } from './finding.ts';
import { total } from './metrics.ts';
import { secretText, type Target } from './target.ts';
import { countWebhooks } from './webhooks.ts';

const hour = 3600;
const day = 24 * hour;
/** Of payment-recovery. */
const longestInterval = day;

/** The endpoint at Stripe, where a key is stored that may read it. */
export async function checkStripe(target: Target, host?: URL): Promise<Result> {
  const { output, aws } = target;
  const { live, test } = parseStripeKeys(await secretText(target, 'StripeApiSecret', '{}'));
  const key = live ?? test;
  if (!key) return pass('no API key is stored: its endpoint is not checked');
  if (!aws && !host) return pass('the simulated Stripe has no endpoints: nothing is checked');
  const at = host && { host: host.hostname, port: host.port, protocol: host.protocol.slice(0, -1) as 'http' };
  const stripe = new Stripe(key, { timeout: 10_000, maxNetworkRetries: 1, ...at });
  try {
    const url = output('WebhookUrl');
    for await (const endpoint of stripe.webhookEndpoints.list({ limit: 100 })) {
      if (endpoint.url === url) return judgeEndpoint(endpoint);
    }
    const missing = `No webhook endpoint of the account has the URL ${url}`;
    return target.outputs.StripeEventSource
      ? warning(`${missing}: payments come by Stripe's event bus only.`)
      : failure(`${missing}: docs/setup.md, Stripe.`);
  } catch (error) {
    if (error instanceof Stripe.errors.StripePermissionError) {
      return warning('Its endpoint is not checked: the API key may not read Webhook Endpoints.');
    }
    if (error instanceof Stripe.errors.StripeAuthenticationError) {
      return failure('Stripe refuses the API key: store a valid one in the secret stripe-api.');
    }
    throw error;
  }
}

/** Whether payments whose webhook is lost would be found. */
export async function checkRecovery(target: Target, now: number): Promise<Result> {
  const keys = parseStripeKeys(await secretText(target, 'StripeApiSecret', '{}'));
  const modes = Object.keys(keys) as ('live' | 'test')[];
  if (modes.length === 0)
    return warning('No API key of Stripe is stored: a payment whose webhook is lost is not found.');
  const progress = recoveryProgress(target.dynamo, target.output('BookingsTableName'));
  const swept = await Promise.all(modes.map((mode) => progress.get({ mode })));
  const [recovered] = await target.metrics([{ name: 'PaymentsRecovered', statistic: 'Sum' }], {
    from: now - day,
    to: now,
    period: hour,
  });
  const oldest = Math.min(...swept.map((through) => through ?? 0));
  if (oldest === 0) return warning(`Stripe's events were not read yet in ${modes.join(' and ')} mode.`);
  const says = `Stripe's events are read until ${toIso(oldest)}, ${total(recovered)} payments recovered in 24 hours`;
  if (now - oldest > 2 * hour + longestInterval) return failure(`${says}: see the log of payment-recovery.`);
  return total(recovered) > 0 ? warning(`${says}: docs/runbooks/payments-recovered.md`) : pass(says);
}

/** Whether bookings are compared with the calendars, and what is open. */
export async function checkAudit(target: Target, now: number): Promise<Result> {
  const last = await lastAudit(target);
  let open = 0;
  for await (const _ of findingsOf(target).open()) open++;
  const left = `${open} findings are open`;
  if (!last) return warning(`The audit has not run yet; ${left}.`);
  const { startedAt, finishedAt, users, unread } = last;
  const says = `begun ${toIso(startedAt)}, ${finishedAt === undefined ? 'not finished' : 'finished'}, ${users} users, ${unread} unread; ${left}`;
  if (open > 0) return failure(`${says}: ops findings`);
  return now - startedAt > 2 * day ? failure(`${says}: see the log of audit.`) : pass(says);
}

function judgeEndpoint({ status, enabled_events, livemode }: Stripe.WebhookEndpoint): Result {
  if (status !== 'enabled') return failure(`Stripe has disabled the endpoint: enable it in the Dashboard.`);
  const listens = (type: string): boolean =>
    enabled_events.some((enabled) => enabled === '*' || enabled === type);
  const missing = [...objectParsers.keys()].filter((type) => !listens(type));
  if (missing.length > 0) return warning(`The endpoint does not listen to ${missing.join(', ')}.`);
  return pass(`the endpoint listens to every event type, in ${livemode ? 'live' : 'test'} mode`);
}

/** Whether providers reach the webhook, and sign as the secret says. */
export async function checkWebhooks(target: Target, now: number): Promise<Result> {
  const counted = await countWebhooks(target, now, 1);
  const sumOf = (wanted: string): number =>
    total(counted.map(({ outcome, count }) => (outcome === wanted ? count : 0)));
  const [verified, rejected] = [sumOf('verified'), sumOf('rejected')];
  if (verified > 0) return pass(`${verified} verified, ${rejected} rejected in 24 hours`);
  if (rejected === 0) return warning('None in 24 hours. No payments, or the provider has another address?');
  return failure(
    `${rejected} rejected in 24 hours and none verified: ops webhooks, and compare the signing secret.`,
  );
}

/** Metrics that each run of a scheduled function ends with, and the hours in which one must have ended. */
const runsOf: [name: string, metric: MetricName, hours: number][] = [
  ['booking-reconcile', 'BookingsRequeued', 1],
  ['token-refresh', 'RefreshSweepFailures', 25],
  ['payment-recovery', 'EventsSwept', 25],
  ['audit', 'UsersAudited', 3],
];

export async function checkSchedules({ metrics, aws }: Target, now: number): Promise<Result> {
  const window = { from: now - 25 * hour, to: now, period: hour };
  const runs = await metrics(
    runsOf.map(([, name]) => ({ name, statistic: 'SampleCount' })),
    window,
  );
  const counts = runsOf.map(([name, , hours], index) => ({
    name,
    count: total(runs[index]),
    isStopped: total(runs[index]?.slice(-hours)) === 0,
    hours,
  }));
  const stopped = counts.filter(({ isStopped }) => isStopped);
  if (stopped.length === 0)
    return pass(`${counts.map(({ name, count }) => `${name} ran ${count} times`).join(', ')} in 25 hours`);
  const says = stopped.map(({ name, hours }) => `${name} did not run in ${hours} h`).join(', ');
  return aws
    ? failure(`${says}: docs/runbooks/schedule-stopped.md`)
    : warning(`${says}: the local stack has just started.`);
}

export async function checkServiceLevel({ metrics }: Target, now: number): Promise<Result> {
  const { milliseconds, percent } = serviceLevel;
  const window = { from: now - day, to: now, period: hour };
  const [inTime, all] = await metrics(
    [
      { name: 'PaymentToEvent', statistic: `TC(:${milliseconds})` },
      { name: 'PaymentToEvent', statistic: 'SampleCount' },
    ],
    window,
  );
  const count = total(all);
  if (count === 0) return pass('no booking was paid in 24 hours');
  const share = Math.round((total(inTime) / count) * 1000) / 10;
  const says = `${share} % of ${count} paid bookings were in the calendar within ${milliseconds / 1000} s`;
  return share >= percent ? pass(says) : warning(`${says}: docs/runbooks/service-level.md`);
}

/** What only a deployed stack has. */
export function checksOfAws({ aws }: Target): [check: string, run: () => Promise<Result>][] {
  if (!aws) return [];
  const { stackName, cloudWatch, sns, lambda } = aws;
  // Two checks look at the alarms, which are read once.
  let reading: Promise<MetricAlarm[]> | undefined;
  const alarms = () => {
    reading ??= alarmsOf(cloudWatch, stackName);
    return reading;
  };
  return [
    ['alarms', async () => checkAlarms(await alarms())],
    ['alarm e-mail', async () => checkSubscription(await alarms(), sns)],
    ['Lambda quota', () => checkQuota(lambda)],
  ];
}

async function alarmsOf(client: CloudWatchClient, stackName: string): Promise<MetricAlarm[]> {
  const alarms: MetricAlarm[] = [];
  const pages = paginateDescribeAlarms({ client }, { AlarmNamePrefix: `${stackName}-Alarms` });
  for await (const { MetricAlarms = [] } of pages) alarms.push(...MetricAlarms);
  return alarms;
}

function checkAlarms(alarms: MetricAlarm[]): Result {
  const ringing = alarms.filter(({ StateValue }) => StateValue === 'ALARM');
  if (ringing.length === 0) return pass(`none of ${alarms.length} rings`);
  return failure(ringing.map(({ AlarmDescription }) => AlarmDescription).join(' '));
}

async function checkSubscription([alarm]: MetricAlarm[], sns: SNSClient): Promise<Result> {
  const [topic] = alarm?.AlarmActions ?? [];
  if (!topic) return warning('No one gets the alarms: set the option alarmEmail.');
  const pages = paginateListSubscriptionsByTopic({ client: sns }, { TopicArn: topic });
  const arns: (string | undefined)[] = [];
  for await (const { Subscriptions = [] } of pages) {
    arns.push(...Subscriptions.map(({ SubscriptionArn }) => SubscriptionArn));
  }
  if (arns.length === 0) return failure('The topic of the alarms has no subscription: deploy again.');
  const isConfirmed = arns.some((arn) => arn?.startsWith('arn:'));
  return isConfirmed
    ? pass('its subscription is confirmed')
    : failure('Its subscription is not confirmed: follow the link in the e-mail that AWS sent.');
}

/** Below this, other software of the account may take the runs that webhooks need. */
const leastConcurrency = 100;

async function checkQuota(lambda: LambdaClient): Promise<Result> {
  const { AccountLimit } = await lambda.send(new GetAccountSettingsCommand({}));
  const runs = AccountLimit?.ConcurrentExecutions ?? 0;
  const free = AccountLimit?.UnreservedConcurrentExecutions ?? 0;
  if (runs >= leastConcurrency) return pass(`${runs} concurrent runs, ${free} of them not reserved`);
  return warning(`Only ${runs} concurrent runs: ask for 1000 under Service Quotas, Lambda.`);
}
