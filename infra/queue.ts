import { Duration, Validations } from 'aws-cdk-lib';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import { DeduplicationScope, FifoThroughputLimit, Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { messageRetentionDays } from './message-retention.ts';

/**
 * The FIFO queue of bookings and its dead-letter queue.
 *
 * @param workerTimeout timeout of booking-sync: a message stays hidden six times as long, as AWS advises, so that a
 *   throttled worker can try again before another gets the message
 */
export function bookingsQueue(
  scope: Construct,
  key: IKey,
  workerTimeout: Duration,
): { queue: Queue; deadLetters: Queue } {
  const common = {
    fifo: true,
    retentionPeriod: Duration.days(messageRetentionDays),
    encryption: QueueEncryption.KMS,
    encryptionMasterKey: key,
    enforceSSL: true,
  };
  const deadLetters = new Queue(scope, 'DeadLetters', common);
  Validations.of(deadLetters).acknowledge({
    id: 'Serverless-SQSRedrivePolicy',
    reason: 'It is the dead-letter queue. An alarm rises when it holds a message.',
  });
  const queue = new Queue(scope, 'BookingsQueue', {
    ...common,
    // High throughput: groups, one for each booking, don't wait for each other.
    deduplicationScope: DeduplicationScope.MESSAGE_GROUP,
    fifoThroughputLimit: FifoThroughputLimit.PER_MESSAGE_GROUP_ID,
    visibilityTimeout: Duration.seconds(6 * workerTimeout.toSeconds()),
    deadLetterQueue: { queue: deadLetters, maxReceiveCount: 5 },
  });
  return { queue, deadLetters };
}
