import { Duration, Stack, Validations } from 'aws-cdk-lib';
import { PolicyDocument, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import type { Function as LambdaFunction } from 'aws-cdk-lib/aws-lambda';
import { Schedule, ScheduleExpression } from 'aws-cdk-lib/aws-scheduler';
import { LambdaInvoke } from 'aws-cdk-lib/aws-scheduler-targets';

/**
 * Invokes the function at that interval. No retry and no dead-letter queue: due work is in a table, so the next run makes
 * up for a missed one.
 */
export function every(interval: Duration, fn: LambdaFunction): Schedule {
  fn.configureAsyncInvoke({ retryAttempts: 0, maxEventAge: Duration.minutes(1) });
  Validations.of(fn).acknowledge({
    id: 'Serverless-LambdaAsyncFailureDestination',
    reason: 'The event of a failed run says nothing: the next run finds the same work in the table.',
  });

  const stack = Stack.of(fn);
  const role = new Role(fn, 'ScheduleRole', {
    assumedBy: new ServicePrincipal('scheduler.amazonaws.com', {
      // Only schedules of this account's default group may act as this role.
      conditions: {
        StringEquals: {
          'aws:SourceAccount': stack.account,
          'aws:SourceArn': stack.formatArn({
            service: 'scheduler',
            resource: 'schedule-group',
            resourceName: 'default',
          }),
        },
      },
    }),
    inlinePolicies: {
      invoke: new PolicyDocument({
        statements: [
          new PolicyStatement({ actions: ['lambda:InvokeFunction'], resources: [fn.functionArn] }),
        ],
      }),
    },
  });
  return new Schedule(fn, 'Schedule', {
    schedule: ScheduleExpression.rate(interval),
    target: new LambdaInvoke(fn, {
      // Left alone, the target would also grant `<function>:*`, every version and alias.
      role: role.withoutPolicyUpdates(),
      retryAttempts: 0,
      maxEventAge: Duration.minutes(1),
    }),
  });
}
