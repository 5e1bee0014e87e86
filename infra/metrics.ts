import { type Duration, Stack } from 'aws-cdk-lib';
import { MathExpression, Metric, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import type { Construct } from 'constructs';
import { metricNamespace } from '../shared/lib/names.ts';
import type { MetricName } from '../shared/lib/observability.ts';
import { serviceLevel } from './operator-reference.ts';

/** Metrics for alarms and dashboard. */

/** A metric of this stack's own. `statistic`: its sum where none is given. */
export type Own = (
  name: MetricName,
  period: Duration,
  dimensions?: Record<string, string>,
  statistic?: string,
) => Metric;

export function ownMetrics(scope: Construct): Own {
  const { stackName } = Stack.of(scope);
  return (metricName, period, dimensions = {}, statistic = Stats.SUM) =>
    new Metric({
      namespace: metricNamespace,
      metricName,
      period,
      statistic,
      dimensionsMap: { stack: stackName, ...dimensions },
    });
}

export function sumOf(label: string, metrics: Metric[], period: Duration): MathExpression {
  // Two sums in one graph must not name different metrics alike.
  const id = label.toLowerCase().replace(/\W+/g, '_');
  const usingMetrics = Object.fromEntries(metrics.map((metric, index) => [`${id}${index}`, metric]));
  return new MathExpression({ expression: 'SUM(METRICS())', label, period, usingMetrics });
}

/** The percentage of paid bookings that were in the calendar in time. */
export function shareInTime(own: Own, period: Duration): Metric {
  return own('PaymentToEvent', period, {}, `PR(:${serviceLevel.milliseconds})`);
}

/** That percentage; 100 where too few bookings were paid to say. */
export function shareInTimeOfMany(own: Own, period: Duration): MathExpression {
  const usingMetrics = {
    share: shareInTime(own, period),
    paid: own('PaymentToEvent', period, {}, Stats.SAMPLE_COUNT),
  };
  return new MathExpression({
    expression: `IF(paid >= ${serviceLevel.leastBookings}, share, 100)`,
    label: '% of paid bookings in the calendar within 60 s',
    period,
    usingMetrics,
  });
}
