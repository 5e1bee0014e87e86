/** The dead-letter queues of bookings and of Stripe's events: what is in them, and back to their queues. */
import {
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
} from '@aws-sdk/client-sqs';
import * as v from 'valibot';
import { parseJson } from '../../../shared/lib/schemas.ts';
import type { OutputName } from '../../operator-reference.ts';
import type { Target } from './target.ts';

const shape = v.object({
  type: v.string(),
  bookingId: v.optional(v.string()),
  paymentId: v.optional(v.string()),
  userId: v.optional(v.string()),
  booking: v.optional(v.object({ bookingId: v.string() })),
});

/** An event of Stripe in EventBridge's envelope. */
const id = v.pipe(v.string(), v.regex(/^[\w.-]{1,100}$/));
const stripeEvent = v.object({ 'detail-type': id, detail: v.object({ id }) });

/** URLs of a dead-letter queue, and of the queue that its messages go back to. */
type Queues = { deadLetters: string; queue: string };

export type DeadLetter = { id: string; about: string; since: number; message: Message; from: Queues };

/** The dead-letter queues of the deployment. */
function queuesOf({ output, outputs }: Target): Queues[] {
  const names: [OutputName, OutputName][] = [['DeadLettersUrl', 'QueueUrl']];
  if (outputs.StripeEventSource) names.push(['StripeEventsDeadLettersUrl', 'StripeEventsQueueUrl']);
  return names.map(([deadLetters, queue]) => ({ deadLetters: output(deadLetters), queue: output(queue) }));
}

/**
 * Messages of a dead-letter queue, hidden from others for `hide` seconds. Empty where there are no more: SQS answers a
 * few at a time.
 */
export async function receive(target: Target, hide: number): Promise<DeadLetter[]> {
  for (const from of queuesOf(target)) {
    const { Messages = [] } = await target.sqs.send(
      new ReceiveMessageCommand({
        QueueUrl: from.deadLetters,
        MaxNumberOfMessages: 10,
        VisibilityTimeout: hide,
        MessageSystemAttributeNames: ['All'],
      }),
    );
    if (Messages.length > 0) return Messages.map((message) => deadLetter(message, from));
  }
  return [];
}

function deadLetter(message: Message, from: Queues): DeadLetter {
  return {
    id: message.MessageId ?? '',
    about: aboutOf(message.Body ?? ''),
    since: Number(message.Attributes?.SentTimestamp ?? 0),
    message,
    from,
  };
}

/** About how many messages are in the dead-letter queues. */
export async function countDeadLetters(target: Target): Promise<number> {
  const counts = await Promise.all(
    queuesOf(target).map(async ({ deadLetters }) => {
      const { Attributes = {} } = await target.sqs.send(
        new GetQueueAttributesCommand({
          QueueUrl: deadLetters,
          AttributeNames: ['ApproximateNumberOfMessages'],
        }),
      );
      return Number(Attributes.ApproximateNumberOfMessages ?? 0);
    }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

/** What a message is about, without its contents. */
function aboutOf(body: string): string {
  const value = parseJson(body);
  const event = v.safeParse(stripeEvent, value);
  if (event.success) return `${event.output['detail-type']} ${event.output.detail.id}`;
  const read = v.safeParse(shape, value);
  if (!read.success) return 'not a message of this service';
  const { type, bookingId, paymentId, userId, booking } = read.output;
  const ids = [paymentId, bookingId ?? booking?.bookingId, userId].filter(Boolean);
  return `${type} ${ids.join(' ')}`;
}

/** Sends a message back to the queue, then deletes it: a crash in between repeats it, which does no harm. */
export async function redrive({ sqs }: Target, { message, from }: DeadLetter): Promise<void> {
  const { MessageId = '', Body = '', ReceiptHandle, Attributes = {} } = message;
  await sqs.send(
    new SendMessageCommand({
      QueueUrl: from.queue,
      MessageBody: Body,
      ...(from.queue.endsWith('.fifo')
        ? { MessageGroupId: Attributes.MessageGroupId ?? MessageId, MessageDeduplicationId: MessageId }
        : {}),
    }),
  );
  await sqs.send(new DeleteMessageCommand({ QueueUrl: from.deadLetters, ReceiptHandle }));
}
