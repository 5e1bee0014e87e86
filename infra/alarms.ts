import { ArnFormat, Aws, Duration, Stack, Validations } from 'aws-cdk-lib';
import type { HttpApi } from 'aws-cdk-lib/aws-apigatewayv2';
import {
  Alarm,
  type AlarmProps,
  ComparisonOperator,
  MathExpression,
  type Metric,
  Stats,
  TreatMissingData,
} from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { type ITopic, Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import type { ProviderName } from '../functions/payment-confirmed/providers.ts';
import type { SignatureErrorCode } from '../functions/payment-confirmed/signature.ts';
import type { ErrorCode } from '../shared/lib/app-error.ts';
import { webhookRoute } from '../shared/lib/names.ts';
import { auditInterval } from './functions.ts';
import { type Own, ownMetrics, shareInTimeOfMany, sumOf } from './metrics.ts';
import {
  type AlarmName,
  alarmReference,
  longestDueSeconds,
  runbookOf,
  secretPositions,
  serviceLevel,
} from './operator-reference.ts';
import { pascalCase } from './service-function.ts';
import type { StripeBus } from './stripe-bus.ts';

interface AlarmsProps {
  readonly api: HttpApi;
  /** The payment providers whose webhooks are served. */
  readonly providers: readonly ProviderName[];
  readonly queue: Queue;
  readonly deadLetters: Queue;
  /** Absent without `eventsUrl`. */
  readonly undeliveredEvents: Queue | undefined;
  /** Absent without `stripeEventSource`. */
  readonly stripeBus: StripeBus | undefined;
  readonly functions: readonly IFunction[];
  readonly refreshInterval: Duration;
  readonly recoveryInterval: Duration;
  readonly key: IKey;
  readonly email: string | undefined;
  /** Gets the alarms instead of a topic for `email`. */
  readonly topic: ITopic | undefined;
}

type AlarmOptions = Partial<Pick<AlarmProps, 'comparisonOperator' | 'treatMissingData'>> & {
  periods?: number;
  suffix?: string;
};
const below = { comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD };
const { BREACHING } = TreatMissingData;

/** The few things that a person must look at: everything else recovers, and is visible in the tables. */
export function alarms(scope: Construct, props: AlarmsProps): Alarm[] {
  const group = new Construct(scope, 'Alarms');
  const own = ownMetrics(scope);
  const topic = props.topic ?? (props.email ? alarmTopic(group, props.key, props.email) : undefined);
  const action = topic && new SnsAction(topic);
  const period = Duration.minutes(5);

  const all: Alarm[] = [];
  const alarm = (
    name: AlarmName,
    metric: Metric | MathExpression,
    threshold: number,
    { periods = 1, suffix = '', ...when }: AlarmOptions = {},
  ) => {
    const { means, remedy } = alarmReference[name];
    const created = new Alarm(group, `${name}${suffix}`, {
      alarmDescription: `${means}. ${remedy}. See ${runbookOf(name)}.`,
      metric,
      threshold,
      evaluationPeriods: periods,
      comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      ...when,
    });
    if (action) created.addAlarmAction(action);
    all.push(created);
  };

  const queues = [
    { suffix: '', queue: props.queue, deadLetters: props.deadLetters },
    ...(props.stripeBus ? [{ suffix: 'StripeEvents', ...props.stripeBus }] : []),
  ];
  const maximum = { period, statistic: Stats.MAXIMUM };
  for (const { suffix, queue, deadLetters } of queues) {
    alarm('DeadLetters', deadLetters.metricApproximateNumberOfMessagesVisible(maximum), 1, { suffix });
    const longest = Duration.minutes(15).toSeconds();
    alarm('QueueAge', queue.metricApproximateAgeOfOldestMessage(maximum), longest, { suffix });
  }
  if (props.undeliveredEvents) {
    alarm('UndeliveredEvents', props.undeliveredEvents.metricApproximateNumberOfMessagesVisible(maximum), 1);
  }
  alarm('OldestDue', own('OldestDue', period, {}, Stats.MAXIMUM), longestDueSeconds);
  for (const [schedule, runs] of scheduledRuns(own, props)) {
    alarm('ScheduleStopped', runs, 1, {
      ...below,
      periods: 3,
      suffix: schedule,
      treatMissingData: BREACHING,
    });
  }
  alarm(
    'PaidBookingFailed',
    sumOf(
      'Paid bookings without an event',
      ['failed', 'missed'].map((status) => own('PaidBookingFailed', period, { status })),
      period,
    ),
    1,
  );
  alarm('AuditFindings', own('AuditFindings', Duration.hours(1), {}, Stats.MAXIMUM), 1);
  alarm('ServiceLevel', shareInTimeOfMany(own, Duration.hours(1)), serviceLevel.percent, below);
  alarm('OperatorError', own('OperatorError', period), 1);
  const perFunction = { period, statistic: Stats.SUM };
  for (const [group, functions] of tens(props.functions).entries()) {
    const suffix = group === 0 ? '' : String(group + 1);
    const sum = (what: string, metrics: Metric[]) =>
      sumOf(`${what} of functions ${suffix}`.trim(), metrics, period);
    const errors = functions.map((fn) => fn.metricErrors(perFunction));
    alarm('FunctionErrors', sum('Errors', errors), 1, { periods: 3, suffix });
    const throttles = functions.map((fn) => fn.metricThrottles(perFunction));
    alarm('FunctionThrottles', sum('Throttles', throttles), 1, { periods: 3, suffix });
  }
  const quarter = Duration.minutes(15);
  alarm('ApiErrors', props.api.metricServerError({ period: quarter, statistic: Stats.SUM }), 3);
  alarm(
    'WebhookErrors',
    sumOf(
      'Failed webhooks',
      [
        ...props.providers.map((name) =>
          own('RequestFailed', quarter, { route: `POST ${webhookRoute(name)}` }),
        ),
        ...props.providers.flatMap((provider) =>
          unreadable.map((code) => own('WebhookRejected', quarter, { provider, code })),
        ),
      ],
      quarter,
    ),
    1,
  );
  alarm('PaymentsRecovered', own('PaymentsRecovered', Duration.hours(1)), 1);
  for (const name of props.providers) {
    alarm('WebhooksRejected', rejectedWhileNoneVerifies(own, name, quarter), 5, { suffix: pascalCase(name) });
  }
  return all;
}

/** An alarm takes ten metrics at most. */
function tens<T>(items: readonly T[]): T[][] {
  const count = Math.ceil(items.length / 10);
  const size = Math.ceil(items.length / count);
  return Array.from({ length: count }, (_, index) => items.slice(index * size, (index + 1) * size));
}

/** Runs that each scheduled function has finished: its last line counts what it did, be it nothing. */
function scheduledRuns(
  own: Own,
  { refreshInterval, recoveryInterval }: Pick<AlarmsProps, 'refreshInterval' | 'recoveryInterval'>,
): [string, Metric][] {
  const least = Duration.minutes(5);
  const refresh = Duration.minutes(Math.max(least.toMinutes(), refreshInterval.toMinutes()));
  return [
    ['BookingReconcile', own('BookingsRequeued', least, {}, Stats.SAMPLE_COUNT)],
    ['TokenRefresh', own('RefreshSweepFailures', refresh, {}, Stats.SAMPLE_COUNT)],
    ['PaymentRecovery', own('EventsSwept', recoveryInterval, {}, Stats.SAMPLE_COUNT)],
    ['Audit', own('UsersAudited', auditInterval, {}, Stats.SAMPLE_COUNT)],
  ];
}

/** Why the signature of a webhook is rejected. */
const rejections: SignatureErrorCode[] = [
  'signature_missing',
  'signature_malformed',
  'signature_mismatch',
  'timestamp_out_of_tolerance',
];
/** Why a webhook with a valid signature is rejected. */
const unreadable: ErrorCode[] = ['invalid_json', 'unsupported_event_format'];

/** Webhooks of a provider that were rejected; 0 where one was accepted in the same period. */
function rejectedWhileNoneVerifies(own: Own, provider: string, period: Duration): MathExpression {
  const rejected = rejections.map((code) => own('WebhookRejected', period, { provider, code }));
  const verified = secretPositions.map((secret) => own('WebhookVerified', period, { provider, secret }));
  const sum = (name: string, metrics: Metric[]) =>
    metrics.map((_, index) => `FILL(${name}${index}, 0)`).join(' + ');
  const named = (name: string, metrics: Metric[]) =>
    metrics.map((metric, index): [string, Metric] => [`${name}${index}`, metric]);
  return new MathExpression({
    expression: `IF(${sum('verified', verified)} > 0, 0, ${sum('rejected', rejected)})`,
    label: `Rejected webhooks of ${provider}, where none was accepted`,
    period,
    usingMetrics: Object.fromEntries([...named('rejected', rejected), ...named('verified', verified)]),
  });
}

function alarmTopic(scope: Construct, key: IKey, email: string): Topic {
  const topic = new Topic(scope, 'Topic', { masterKey: key, enforceSSL: true });
  topic.addSubscription(new EmailSubscription(email));
  Validations.of(topic).acknowledge({
    id: 'Serverless-SNSRedrivePolicy',
    reason: 'The alarm itself shows all that an undelivered e-mail says.',
  });
  // The policy that enforces TLS replaces SNS's own, which would let alarms of the account publish.
  topic.addToResourcePolicy(
    new PolicyStatement({
      principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
      actions: ['sns:Publish'],
      resources: [topic.topicArn],
      conditions: {
        StringEquals: { 'aws:SourceAccount': Aws.ACCOUNT_ID },
        ArnLike: {
          'aws:SourceArn': Stack.of(topic).formatArn({
            service: 'cloudwatch',
            resource: 'alarm',
            resourceName: '*',
            arnFormat: ArnFormat.COLON_RESOURCE_NAME,
          }),
        },
      },
    }),
  );
  // To an encrypted topic an alarm publishes only if CloudWatch itself may use the key.
  key.addToResourcePolicy(
    new PolicyStatement({
      principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
      actions: ['kms:Decrypt', 'kms:GenerateDataKey'],
      resources: ['*'],
      conditions: { StringEquals: { 'aws:SourceAccount': Aws.ACCOUNT_ID } },
    }),
  );
  return topic;
}
