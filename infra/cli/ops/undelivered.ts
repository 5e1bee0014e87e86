/** Events that the receiver at `eventsUrl` did not take: what they are, and once more to the receiver. */
import { DeleteMessageCommand, ReceiveMessageCommand } from '@aws-sdk/client-sqs';
import * as v from 'valibot';
import { parseJson } from '../../../shared/lib/schemas.ts';
import { eventsKeyHeader } from '../../operator-reference.ts';
import { secretText, type Target } from './target.ts';

const envelope = v.object({ detail: v.looseObject({ id: v.string(), type: v.string(), time: v.string() }) });

/** `why`: what EventBridge says of its last try. */
export type Undelivered = {
  id: string;
  type: string;
  time: string;
  why: string;
  body: string;
  receipt: string;
};

/** Some of the events in the queue, hidden from others for `hide` seconds. Empty where there are no more. */
export async function receiveUndelivered({ sqs, output }: Target, hide: number): Promise<Undelivered[]> {
  const { Messages = [] } = await sqs.send(
    new ReceiveMessageCommand({
      QueueUrl: output('UndeliveredEventsUrl'),
      MaxNumberOfMessages: 10,
      VisibilityTimeout: hide,
      MessageAttributeNames: ['ERROR_CODE', 'ERROR_MESSAGE'],
    }),
  );
  return Messages.map(({ Body = '', ReceiptHandle: receipt = '', MessageAttributes = {} }) => {
    const read = v.safeParse(envelope, parseJson(Body));
    const { id, type, time } = read.success
      ? read.output.detail
      : { id: '?', type: 'not an event of this service', time: '?' };
    const { ERROR_CODE, ERROR_MESSAGE } = MessageAttributes;
    const why = [ERROR_CODE?.StringValue, ERROR_MESSAGE?.StringValue].filter(Boolean).join(': ');
    return { id, type, time, why, body: read.success ? JSON.stringify(read.output.detail) : '', receipt };
  });
}

/**
 * Posts an event as EventBridge does, then deletes it: a crash in between repeats it, which receivers know by its id.
 * Throws where the receiver does not take it: then it stays.
 */
export async function post(target: Target, { body, receipt, id }: Undelivered, key: string): Promise<void> {
  if (body === '') throw new Error('A message of the queue is no event of this service: look at it in SQS.');
  const answer = await fetch(target.output('EventsUrl'), {
    method: 'POST',
    headers: { 'content-type': 'application/json; charset=utf-8', [eventsKeyHeader]: key },
    body,
    redirect: 'manual',
    signal: AbortSignal.timeout(5000),
  });
  if (!answer.ok)
    throw new Error(`The receiver answers ${answer.status} to ${id}, which stays in the queue.`);
  await target.sqs.send(
    new DeleteMessageCommand({ QueueUrl: target.output('UndeliveredEventsUrl'), ReceiptHandle: receipt }),
  );
}

/** The key that each posted event carries. */
export function eventsKey(target: Target): Promise<string> {
  return secretText(target, 'EventsKeySecret');
}
