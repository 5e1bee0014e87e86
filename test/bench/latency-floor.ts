/**
 * Lower bound of the latency part: the local calls that every payment needs, and those that this design adds
 * before it calls Google, in sequence and with no other work.
 */
import { randomBytes } from 'node:crypto';
import {
  type AttributeValue,
  BatchGetItemCommand,
  PutItemCommand,
  type PutItemCommandInput,
  ScanCommand,
} from '@aws-sdk/client-dynamodb';
import {
  CreateQueueCommand,
  DeleteMessageCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
} from '@aws-sdk/client-sqs';
import { dynamoDbClient } from '../../infra/local/aws/dynamodb.ts';
import { sqsClient } from '../../infra/local/aws/queues.ts';
import type { Endpoints } from '../../infra/local/aws/wiring.ts';
import { routes } from '../../shared/lib/names.ts';
import { closeConnections, exchange, steadily } from './latency-load.ts';

/**
 * Milliseconds of a round trip to a trivial function, of sending and receiving a message, of the read before a
 * decision, and of the two writes of the booking and its payment pointer.
 */
export type FloorTimes = { http: number; queue: number; read: number; writes: number };

/** Measured at the pace of the steady load: a call after a pause takes longer than one right after another. */
export type Floor = Disposable & { measure(times: number, random: () => number): Promise<FloorTimes[]> };

type Item = Record<string, AttributeValue>;

const bookings = 'BookingsTable';
const connections = 'ConnectionsTable';

/** @throws Error if no booking exists yet that the writes could copy */
export async function openFloor(
  { url, endpoints }: { url: string; endpoints: Endpoints },
  userId: string,
): Promise<Floor> {
  const dynamo = dynamoDbClient(endpoints.dynamodb);
  const sqs = sqsClient(endpoints.sqs);
  // A queue of its own: booking-sync would take messages from the queue of bookings.
  const Attributes = { FifoQueue: 'true' };
  const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: 'Floor.fifo', Attributes }));
  const { Items = [] } = await dynamo.send(new ScanCommand({ TableName: bookings }));
  const model = (prefix: string): Item => {
    const found = Items.find(({ id }) => id?.S?.startsWith(prefix));
    if (!found) throw new Error(`The table of bookings has no ${prefix} yet.`);
    return found;
  };
  const [booking, pointer] = [model('booking#'), model('payment#')];

  const put = (item: Item, id: string): PutItemCommandInput => ({
    TableName: bookings,
    Item: { ...item, id: { S: id } },
    ConditionExpression: 'attribute_not_exists(id)',
  });
  const once = async (newId: string): Promise<FloorTimes> => {
    const ids = { booking: `booking#floor-${newId}`, pointer: `payment#floor-${newId}` };
    const { ms: http } = await exchange(`${url}${routes.health}`, { method: 'GET' });
    let receipt: string | undefined;
    const queue = await timed(async () => {
      const MessageBody = JSON.stringify(booking);
      const group = { MessageGroupId: newId, MessageDeduplicationId: newId };
      await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody, ...group }));
      const { Messages: [message] = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl }));
      receipt = message?.ReceiptHandle;
    });
    const read = await timed(() =>
      dynamo.send(
        new BatchGetItemCommand({
          RequestItems: {
            [bookings]: {
              Keys: Object.values(ids).map((id) => ({ id: { S: id } })),
              ConsistentRead: true,
            },
            [connections]: { Keys: [{ userId: { S: userId } }], ConsistentRead: true },
          },
        }),
      ),
    );
    const writes = await timed(async () => {
      await dynamo.send(new PutItemCommand(put(booking, ids.booking)));
      await dynamo.send(new PutItemCommand(put(pointer, ids.pointer)));
    });
    await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: receipt }));
    return { http, queue, read, writes };
  };

  return {
    async measure(times, random) {
      const newIds = Array.from({ length: times }, () => randomBytes(12).toString('hex'));
      const all = await steadily(newIds, once, random);
      closeConnections();
      return all;
    },
    [Symbol.dispose]() {
      dynamo.destroy();
      sqs.destroy();
    },
  };
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await act();
  return performance.now() - startedAt;
}
