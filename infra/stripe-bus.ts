import { Duration, Validations } from 'aws-cdk-lib';
import { EventBus, type IEventBus, Rule } from 'aws-cdk-lib/aws-events';
import { SqsQueue } from 'aws-cdk-lib/aws-events-targets';
import { type IQueue, Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { objectParsers } from '../shared/payments/stripe/object-parsers.ts';
import { messageRetentionDays } from './message-retention.ts';

/** The timeout of stripe-events: well above that of Stripe's API. */
export const stripeEventsTimeout = Duration.seconds(15);

export interface StripeBus {
  /** Name of the partner event source, and of the bus. */
  readonly source: string;
  /** Events that stripe-events reads. */
  readonly queue: Queue;
  readonly deadLetters: Queue;
}

/**
 * Associates Stripe's partner event source with a bus, and keeps its events about payments in a queue: there they also
 * outlast an outage of what stripe-events needs, which Lambda's own retries would not.
 */
export function stripeBus(scope: Construct, source: string): StripeBus {
  const own = new Construct(scope, 'StripeBus');
  const bus = new EventBus(own, 'Bus', { eventSourceName: source });

  const common = {
    // Encrypted with SQS's own key: ours would have to allow all of EventBridge.
    encryption: QueueEncryption.SQS_MANAGED,
    enforceSSL: true,
    retentionPeriod: Duration.days(messageRetentionDays),
  };
  const deadLetters = new Queue(own, 'DeadLetters', common);
  const reason = 'It is the dead-letter queue. An alarm rises when it holds a message.';
  Validations.of(deadLetters).acknowledge(
    { id: 'AwsSolutions-SQS3', reason },
    { id: 'Serverless-SQSRedrivePolicy', reason },
  );
  const queue = new Queue(own, 'Queue', {
    ...common,
    visibilityTimeout: Duration.seconds(6 * stripeEventsTimeout.toSeconds()),
    deadLetterQueue: { queue: deadLetters, maxReceiveCount: 5 },
  });

  new Rule(own, 'Rule', {
    description: "Keeps Stripe's events about payments for stripe-events",
    // The casts are for CDK's types, which disagree on an optional property.
    eventBus: bus as IEventBus,
    // The types of thin events begin with v1.
    eventPattern: {
      source: [source],
      detailType: [...objectParsers.keys()].flatMap((type) => [type, `v1.${type}`]),
    },
    targets: [
      new SqsQueue(queue as IQueue, {
        deadLetterQueue: deadLetters as IQueue,
        // EventBridge's maximum.
        maxEventAge: Duration.days(1),
        retryAttempts: 185,
      }),
    ],
  });
  return { source, queue, deadLetters };
}
