/** AWS in the process of the run, which is not killed: writes that tables and queues have accepted persist. */
import { paginateScan } from '@aws-sdk/client-dynamodb';
import { DeleteMessageCommand, ReceiveMessageCommand, SendMessageCommand } from '@aws-sdk/client-sqs';
import { unmarshall } from '@aws-sdk/util-dynamodb';
import { dynamoDbClient, startDynamoDb } from '../../infra/local/aws/dynamodb.ts';
import { sqsClient, startQueues } from '../../infra/local/aws/queues.ts';
import { accountId } from '../../infra/local/aws/template.ts';

export type QueueState = {
  ready: number;
  deadLetters: number;
  /** Receipts of messages in process, or whose receiver was killed. */
  receipts: string[];
  /** Highest receive count of a message so far. */
  mostReceives: number;
};

export type TableName = 'BookingsTable' | 'ConnectionsTable';

export type Aws = {
  endpoints: { dynamodb: string; sqs: string };
  queue(): Promise<QueueState>;
  /** Redrives all dead letters, as `aws sqs start-message-move-task` does, which fauxqs lacks. */
  moveDeadLettersBack(): Promise<number>;
  rows(table: TableName): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
};

const bookingsQueue = 'BookingsQueue.fifo';
const deadLetterQueue = 'DeadLetters.fifo';

/** fauxqs's view of a queue. */
type Received = { approximateReceiveCount: number };
type Inspected = {
  ready: Received[];
  delayed: Received[];
  inflight: { receiptHandle: string; message: Received }[];
};

/** Starts DynamoDB and SQS, without tables and queues. */
export async function startAws(): Promise<Aws> {
  await using starting = new AsyncDisposableStack();
  const { endpoint: dynamodb, close: closeDynamoDb } = await startDynamoDb('dynalite');
  starting.defer(closeDynamoDb);
  const { endpoint: sqs, close: closeQueues } = await startQueues();
  starting.defer(closeQueues);
  const tables = dynamoDbClient(dynamodb);
  starting.defer(() => tables.destroy());
  const queues = sqsClient(sqs);
  starting.defer(() => queues.destroy());

  const inspect = async (name: string): Promise<Inspected> => {
    const response = await fetch(`${sqs}/_fauxqs/queues/${name}`);
    return ((await response.json()) as { messages: Inspected }).messages;
  };
  const running = starting.move();
  return {
    endpoints: { dynamodb, sqs },
    async queue() {
      const { ready, delayed, inflight } = await inspect(bookingsQueue);
      const dead = await inspect(deadLetterQueue);
      const all = [...ready, ...delayed, ...inflight.map(({ message }) => message)];
      return {
        ready: ready.length + delayed.length,
        deadLetters: dead.ready.length + dead.inflight.length,
        receipts: inflight.map(({ receiptHandle }) => receiptHandle),
        mostReceives: Math.max(0, ...all.map(({ approximateReceiveCount }) => approximateReceiveCount)),
      };
    },
    async moveDeadLettersBack() {
      const from = `${sqs}/${accountId}/${deadLetterQueue}`;
      const to = `${sqs}/${accountId}/${bookingsQueue}`;
      for (let moved = 0; ; moved += 1) {
        const { Messages: [message] = [] } = await queues.send(
          new ReceiveMessageCommand({ QueueUrl: from, MessageSystemAttributeNames: ['MessageGroupId'] }),
        );
        if (!message) return moved;
        const { Body, Attributes, MessageId, ReceiptHandle } = message;
        await queues.send(
          new SendMessageCommand({
            QueueUrl: to,
            MessageBody: Body,
            MessageGroupId: Attributes?.MessageGroupId,
            MessageDeduplicationId: MessageId,
          }),
        );
        await queues.send(new DeleteMessageCommand({ QueueUrl: from, ReceiptHandle }));
      }
    },
    async rows(TableName) {
      const rows: Record<string, unknown>[] = [];
      const pages = paginateScan({ client: tables }, { TableName, ConsistentRead: true });
      for await (const { Items = [] } of pages) rows.push(...Items.map((item) => unmarshall(item)));
      return rows;
    },
    close: () => running.disposeAsync(),
  };
}
