import { ArnFormat, Aws, Duration, Stack, Validations } from 'aws-cdk-lib';
import {
  Alarm,
  ComparisonOperator,
  MathExpression,
  Metric,
  Stats,
  TreatMissingData,
} from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import type { Key } from 'aws-cdk-lib/aws-kms';
import type { Function as LambdaFunction } from 'aws-cdk-lib/aws-lambda';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { metricNamespace } from '../shared/names.ts';

export interface AlarmsProps {
  readonly queue: Queue;
  readonly deadLetters: Queue;
  /** Absent where no URL takes the events. */
  readonly undeliveredEvents: Queue | undefined;
  readonly functions: readonly LambdaFunction[];
  readonly key: Key;
  readonly email: string | undefined;
}

/** The few things that a person must look at: everything else mends itself and can be seen in the tables. */
export function alarms(scope: Construct, props: AlarmsProps): void {
  const own = new Construct(scope, 'Alarms');
  const action = props.email ? new SnsAction(alarmTopic(own, props.key, props.email)) : undefined;
  const period = Duration.minutes(5);

  const alarm = (
    id: string,
    alarmDescription: string,
    metric: Metric | MathExpression,
    threshold: number,
    periods = 1,
  ) => {
    const created = new Alarm(own, id, {
      alarmDescription,
      metric,
      threshold,
      evaluationPeriods: periods,
      comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
    });
    if (action) created.addAlarmAction(action);
  };

  alarm(
    'DeadLetters',
    'Payments are in the dead-letter queue: neither their outcome nor a next attempt could be recorded. Mend the cause, then start a redrive.',
    props.deadLetters.metricApproximateNumberOfMessagesVisible({ period, statistic: Stats.MAXIMUM }),
    1,
  );
  if (props.undeliveredEvents) {
    alarm(
      'UndeliveredEvents',
      'LeadsCalendar has refused events, or could not be reached for a day. They are kept for 14 days: mend the receiver, then post them to it from the queue.',
      props.undeliveredEvents.metricApproximateNumberOfMessagesVisible({ period, statistic: Stats.MAXIMUM }),
      1,
    );
  }
  alarm(
    'QueueAge',
    'A booking has waited 15 minutes in the queue: booking-sync fails or cannot keep up. See its log and syncConcurrency.',
    props.queue.metricApproximateAgeOfOldestMessage({ period, statistic: Stats.MAXIMUM }),
    Duration.minutes(15).toSeconds(),
  );
  alarm(
    'OperatorError',
    'Only the operator can mend this: a secret is missing or Google refuses our client. The log says which.',
    new Metric({ namespace: metricNamespace, metricName: 'OperatorError', period, statistic: Stats.SUM }),
    1,
  );
  alarm(
    'FunctionErrors',
    'Functions have been crashing or timing out for 15 minutes.',
    new MathExpression({
      expression: 'SUM(METRICS())',
      label: 'Errors of all functions',
      period,
      usingMetrics: Object.fromEntries(
        props.functions.map((fn, index) => [`m${index}`, fn.metricErrors({ period, statistic: Stats.SUM })]),
      ),
    }),
    1,
    3,
  );
}

function alarmTopic(scope: Construct, key: Key, email: string): Topic {
  const topic = new Topic(scope, 'Topic', { masterKey: key, enforceSSL: true });
  topic.addSubscription(new EmailSubscription(email));
  Validations.of(topic).acknowledge({
    id: 'Serverless-SNSRedrivePolicy',
    reason: 'An e-mail that SNS cannot deliver says nothing that the alarm itself does not show.',
  });
  // The policy that enforces TLS stands in the place of SNS's own, which would let alarms of the account publish.
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
