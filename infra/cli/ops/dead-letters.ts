/** The dead-letter queue of bookings: what is in it, and back to the queue. */
import {
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
} from '@aws-sdk/client-sqs';
import * as v from 'valibot';
import { parseJson } from '../../../shared/lib/schemas.ts';
import type { Target } from './target.ts';

const shape = v.object({
  type: v.string(),
  bookingId: v.optional(v.string()),
  paymentId: v.optional(v.string()),
  userId: v.optional(v.string()),
  booking: v.optional(v.object({ bookingId: v.string() })),
});

export type DeadLetter = { id: string; about: string; since: number; message: Message };

/**
 * Messages of the dead-letter queue, hidden from others for `hide` seconds. Empty where there are no more: SQS answers a
 * few at a time.
 */
export async function receive({ sqs, output }: Target, hide: number): Promise<DeadLetter[]> {
  const { Messages = [] } = await sqs.send(
    new ReceiveMessageCommand({
      QueueUrl: output('DeadLettersUrl'),
      MaxNumberOfMessages: 10,
      VisibilityTimeout: hide,
      MessageSystemAttributeNames: ['All'],
    }),
  );
  return Messages.map((message) => ({
    id: message.MessageId ?? '',
    about: aboutOf(message.Body ?? ''),
    since: Number(message.Attributes?.SentTimestamp ?? 0),
    message,
  }));
}

/** About how many messages are in the dead-letter queue. */
export async function countDeadLetters({ sqs, output }: Target): Promise<number> {
  const { Attributes = {} } = await sqs.send(
    new GetQueueAttributesCommand({
      QueueUrl: output('DeadLettersUrl'),
      AttributeNames: ['ApproximateNumberOfMessages'],
    }),
  );
  return Number(Attributes.ApproximateNumberOfMessages ?? 0);
}

/** What a message is about, without its contents. */
function aboutOf(body: string): string {
  const read = v.safeParse(shape, parseJson(body));
  if (!read.success) return 'not a message of this service';
  const { type, bookingId, paymentId, userId, booking } = read.output;
  const ids = [paymentId, bookingId ?? booking?.bookingId, userId].filter(Boolean);
  return `${type} ${ids.join(' ')}`;
}

/** Sends a message back to the queue, then deletes it: a crash in between repeats it, which does no harm. */
export async function redrive({ sqs, output }: Target, { message }: DeadLetter): Promise<void> {
  const { MessageId = '', Body = '', ReceiptHandle, Attributes = {} } = message;
  await sqs.send(
    new SendMessageCommand({
      QueueUrl: output('QueueUrl'),
      MessageBody: Body,
      MessageGroupId: Attributes.MessageGroupId ?? MessageId,
      MessageDeduplicationId: MessageId,
    }),
  );
  await sqs.send(new DeleteMessageCommand({ QueueUrl: output('DeadLettersUrl'), ReceiptHandle }));
}
