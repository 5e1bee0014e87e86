/**
 * Lambda's event source mapping for SQS: polls a queue, invokes the function with batches and deletes handled
 * messages. Other messages reappear after the queue's visibility timeout.
 * Source: docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  DeleteMessageBatchCommand,
  type Message,
  type MessageAttributeValue,
  ReceiveMessageCommand,
  type SQSClient,
} from '@aws-sdk/client-sqs';
import type { SQSRecord } from 'aws-lambda';
import type { InvocationResult } from './functions.ts';
import { region } from './template.ts';

export type EventSourceConfig = {
  queueUrl: string;
  queueArn: string;
  batchSize: number;
  /** Whether the function answers with `batchItemFailures`. */
  reportsBatchItemFailures: boolean;
  /** Concurrent batches. */
  maximumConcurrency: number;
};

/** SQS returns at most this many messages, and waits at most this long for one. */
const maximumReceived = 10;
const longPollSeconds = 20;

/** Unfinished messages reappear after their visibility timeout. */
const graceMs = 2000;

/**
 * Starts polling.
 * @param onError called after failed polls and answers that make a whole batch fail
 * @returns a function that stops polling and gives running batches a moment to finish
 */
export function startEventSource(
  client: SQSClient,
  config: EventSourceConfig,
  invoke: (event: { Records: SQSRecord[] }) => Promise<InvocationResult>,
  onError: (message: string) => void,
): () => Promise<void> {
  const stopping = new AbortController();
  const underWay = new Set<Promise<void>>();

  const handleBatch = async (messages: Message[]) => {
    const result = await invoke({ Records: messages.map((message) => toRecord(message, config.queueArn)) });
    const { handled, problem } = handledMessages(messages, result, config.reportsBatchItemFailures);
    if (problem) onError(problem);
    if (handled.length === 0) return;
    await client.send(
      new DeleteMessageBatchCommand({
        QueueUrl: config.queueUrl,
        Entries: handled.map(({ ReceiptHandle }, i) => ({ Id: String(i), ReceiptHandle })),
      }),
    );
  };

  const poll = async () => {
    while (!stopping.signal.aborted) {
      if (underWay.size >= config.maximumConcurrency) {
        await Promise.race(underWay);
        continue;
      }
      try {
        const { Messages = [] } = await client.send(
          new ReceiveMessageCommand({
            QueueUrl: config.queueUrl,
            MaxNumberOfMessages: Math.min(config.batchSize, maximumReceived),
            WaitTimeSeconds: longPollSeconds,
            MessageSystemAttributeNames: ['All'],
            MessageAttributeNames: ['All'],
          }),
          { abortSignal: stopping.signal },
        );
        if (Messages.length === 0) continue;
        const batch = handleBatch(Messages)
          .catch((error: unknown) => onError(`A batch could not be settled: ${error}`))
          .finally(() => underWay.delete(batch));
        underWay.add(batch);
      } catch (error) {
        if (stopping.signal.aborted) break;
        onError(`Polling ${config.queueUrl} failed: ${error}`);
        await sleep(1000);
      }
    }
    await Promise.all(underWay);
  };

  const polling = poll();
  return async () => {
    stopping.abort();
    await Promise.race([polling, sleep(graceMs, undefined, { ref: false })]);
  };
}

/**
 * Decides which messages of a batch count as handled.
 * - The function failed: none.
 * - It does not report item failures, or reports none (no answer, an empty one, a null or empty list): all.
 * - It reports items: all others. It must list everything it did not process after a failure, else the
 *   order within a FIFO group is lost; that is the function's promise and not checked here, as in Lambda.
 * - Its report names nothing we sent, or is no report: none.
 */
export function handledMessages<M extends { MessageId?: string | undefined }>(
  messages: M[],
  result: InvocationResult,
  reportsBatchItemFailures: boolean,
): { handled: M[]; problem?: string } {
  if (!result.ok) return { handled: [] };
  if (!reportsBatchItemFailures || result.payload === null) return { handled: messages };
  const wrong = (why: string) => ({
    handled: [],
    problem: `${why}, so the whole batch counts as failed: ${JSON.stringify(result.payload)}`,
  });
  if (typeof result.payload !== 'object') return wrong('The answer is not an object');
  const { batchItemFailures } = result.payload as { batchItemFailures?: unknown };
  const isEmpty = Object.keys(result.payload).length === 0;
  if (isEmpty || batchItemFailures === null) return { handled: messages };
  if (!Array.isArray(batchItemFailures)) return wrong('batchItemFailures is not a list');
  const failed = new Set<unknown>(batchItemFailures.map((item) => item?.itemIdentifier));
  const known = new Set<unknown>(messages.map(({ MessageId }) => MessageId));
  for (const id of failed) {
    if (!known.has(id)) return wrong(`itemIdentifier ${JSON.stringify(id)} names no message of the batch`);
  }
  return { handled: messages.filter(({ MessageId }) => !failed.has(MessageId)) };
}

/** A message as Lambda shows it to functions. */
function toRecord(message: Message, queueArn: string): SQSRecord {
  return {
    messageId: message.MessageId as string,
    receiptHandle: message.ReceiptHandle as string,
    body: message.Body ?? '',
    attributes: message.Attributes as SQSRecord['attributes'],
    messageAttributes: Object.fromEntries(
      Object.entries(message.MessageAttributes ?? {}).map(([name, value]) => [name, toAttribute(value)]),
    ),
    md5OfBody: message.MD5OfBody as string,
    eventSource: 'aws:sqs',
    eventSourceARN: queueArn,
    awsRegion: region,
  };
}

function toAttribute(value: MessageAttributeValue): SQSRecord['messageAttributes'][string] {
  return {
    dataType: value.DataType ?? 'String',
    ...(value.StringValue !== undefined ? { stringValue: value.StringValue } : {}),
    ...(value.BinaryValue ? { binaryValue: Buffer.from(value.BinaryValue).toString('base64') } : {}),
    stringListValues: [],
    binaryListValues: [],
  };
}
