import { Duration, Names } from 'aws-cdk-lib';
import {
  type Alarm,
  AlarmStatusWidget,
  Dashboard,
  GraphWidget,
  type IMetric,
  Row,
  SingleValueWidget,
  Stats,
} from 'aws-cdk-lib/aws-cloudwatch';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { rejections } from '../functions/payment-confirmed/accept-webhook.ts';
import type { ProviderName } from '../functions/payment-confirmed/providers.ts';
import { bookingStatuses } from '../shared/booking/booking.ts';
import { ownMetrics, shareInTime, sumOf } from './metrics.ts';
import { longestDueSeconds, secretPositions, serviceLevel } from './operator-reference.ts';

interface DashboardProps {
  /** The payment providers whose webhooks are served. */
  readonly providers: readonly ProviderName[];
  readonly alarms: Alarm[];
  readonly functions: Readonly<Record<string, IFunction>>;
  readonly queue: Queue;
  readonly deadLetters: Queue;
}

/** What operators look at first: the alarms, the service level, and what comes in and goes out. Named after the stack. */
export function dashboard(
  scope: Construct,
  { providers, alarms, functions, queue, deadLetters }: DashboardProps,
): void {
  const own = ownMetrics(scope);
  const period = Duration.minutes(5);
  const day = Duration.days(1);
  const graph = (title: string, left: IMetric[], right: IMetric[] = []) =>
    new GraphWidget({ title, left, right, width: 12, leftYAxis: { min: 0 }, rightYAxis: { min: 0 } });
  const delay = (statistic: string) =>
    own('PaymentToEvent', period, {}, statistic).with({ label: statistic });
  const ofAll = (metricOf: (fn: IFunction) => IMetric) => Object.values(functions).map(metricOf);

  const board = new Dashboard(scope, 'Dashboard', {
    dashboardName: Names.uniqueResourceName(scope, { maxLength: 200, allowedSpecialCharacters: '-' }),
    defaultInterval: day,
  });
  board.addWidgets(
    new AlarmStatusWidget({ title: 'Alarms', alarms, width: 24 }),
    new Row(
      new SingleValueWidget({
        title: `Paid bookings in the calendar within ${serviceLevel.milliseconds / 1000} s, % (goal: ${serviceLevel.percent})`,
        metrics: [
          shareInTime(own, day).with({ label: '24 h' }),
          shareInTime(own, Duration.days(7)).with({ label: '7 days' }),
        ],
        width: 12,
      }),
      graph('From payment to event, ms', [delay('p50'), delay('p99')]),
    ),
    new Row(
      graph('Webhooks', [
        ...providers.map((name) =>
          sumOf(
            `verified, ${name}`,
            secretPositions.map((secret) => own('WebhookVerified', period, { provider: name, secret })),
            period,
          ),
        ),
        ...providers.map((name) =>
          sumOf(
            `rejected, ${name}`,
            rejections.map((code) => own('WebhookRejected', period, { provider: name, code })),
            period,
          ),
        ),
      ]),
      graph(
        'Bookings by outcome',
        Object.keys(bookingStatuses).map((status) =>
          own('BookingSynced', period, { status }).with({ label: status }),
        ),
      ),
    ),
    new Row(
      graph(`Oldest due booking, s (goal: below ${longestDueSeconds})`, [
        own('OldestDue', period, {}, Stats.MAXIMUM),
      ]),
      graph(
        'Queue: age of the oldest message, s; dead letters',
        [queue.metricApproximateAgeOfOldestMessage({ period, statistic: Stats.MAXIMUM })],
        [deadLetters.metricApproximateNumberOfMessagesVisible({ period, statistic: Stats.MAXIMUM })],
      ),
    ),
    new Row(
      graph(
        'Functions: errors and throttles',
        ofAll((fn) => fn.metricErrors({ period })),
        ofAll((fn) => fn.metricThrottles({ period })),
      ),
      graph(
        'Functions: duration p99, ms',
        ofAll((fn) => fn.metricDuration({ period, statistic: 'p99' })),
      ),
    ),
    new Row(
      graph(
        'Connections',
        [
          own('ConnectionActivated', period),
          own('TokenRefreshed', period),
          own('ReauthorizationRequired', period),
        ],
        [own('RefreshSweepFailures', period)],
      ),
      graph('Errors for the operator', [own('OperatorError', period), own('UnknownOAuthError', period)]),
    ),
  );
}
