/**
 * SQS on this machine: fauxqs in process, or an existing endpoint; its queues as the template declares them.
 * fauxqs differs from SQS: it deduplicates per queue even where the template says per message group, and hands out
 * one message of a group at a time.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import {
  CreateQueueCommand,
  GetQueueUrlCommand,
  QueueDoesNotExist,
  SetQueueAttributesCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { startFauxqs } from 'fauxqs';
import { localCredentials } from './dynamodb.ts';
import { queueName, type ResolvedResource } from './resources.ts';
import { region } from './template.ts';

export type QueuesKind = 'fauxqs' | { endpoint: string };

export type LocalQueues = {
  endpoint: string;
  /**
   * Messages of a queue by state, for tests.
   * @throws Error if SQS is not in process
   */
  messages(name: string): { ready: string[]; inFlight: string[] };
  close(): Promise<void>;
};

/**
 * Starts SQS.
 * @param path folder of the data; in memory when absent
 */
export async function startQueues(kind: QueuesKind = 'fauxqs', path?: string): Promise<LocalQueues> {
  if (kind !== 'fauxqs') {
    const messages = (): never => {
      throw new Error(`What is in the queues of ${kind.endpoint} cannot be seen from here.`);
    };
    return { endpoint: kind.endpoint, messages, close: async () => {} };
  }
  const fauxqs = await startFauxqs({
    port: 0,
    logger: false,
    defaultRegion: region,
    ...(path ? { dataDir: path } : {}),
  });
  // fauxqs always listens on every interface; connections from other machines are closed here.
  const reject = (message: unknown) => {
    const { socket } = message as { socket: Socket };
    if (socket.localPort === fauxqs.port && !/^(::ffff:)?127\.|^::1$/.test(socket.remoteAddress ?? '')) {
      socket.destroy();
    }
  };
  subscribe('net.server.socket', reject);
  return {
    endpoint: `http://127.0.0.1:${fauxqs.port}`,
    messages(name) {
      const queue = fauxqs.inspectQueue(name);
      if (!queue) throw new Error(`There is no queue named ${name}.`);
      return {
        ready: [...queue.messages.ready, ...queue.messages.delayed].map(({ body }) => body),
        inFlight: queue.messages.inflight.map(({ message }) => message.body),
      };
    },
    async close() {
      unsubscribe('net.server.socket', reject);
      await fauxqs.stop();
    },
  };
}

/** Creates missing queues and updates the attributes of existing ones. */
export async function createQueues(endpoint: string, queues: ResolvedResource[]): Promise<void> {
  const client = sqsClient(endpoint);
  try {
    for (const queue of queues) await createQueue(client, queue);
  } finally {
    client.destroy();
  }
}

async function createQueue(client: SQSClient, { logicalId, properties }: ResolvedResource): Promise<void> {
  const QueueName = queueName(logicalId, properties);
  const attributes = queueAttributes(properties);
  try {
    const { QueueUrl } = await client.send(new GetQueueUrlCommand({ QueueName }));
    const Attributes = Object.fromEntries(
      Object.entries(attributes).filter(([attribute]) => changeable.has(attribute)),
    );
    await client.send(new SetQueueAttributesCommand({ QueueUrl, Attributes }));
  } catch (error) {
    if (!(error instanceof QueueDoesNotExist)) throw error;
    await client.send(new CreateQueueCommand({ QueueName, Attributes: attributes }));
  }
}

/** A client of the local SQS. */
export function sqsClient(endpoint: string): SQSClient {
  return new SQSClient({ endpoint, region, credentials: localCredentials });
}

const attributeNames = [
  'FifoQueue',
  'ContentBasedDeduplication',
  'DeduplicationScope',
  'FifoThroughputLimit',
  'DelaySeconds',
  'MessageRetentionPeriod',
  'ReceiveMessageWaitTimeSeconds',
  'RedrivePolicy',
  'VisibilityTimeout',
];

/** Attributes that fauxqs can change on an existing queue. */
const changeable = new Set([
  'ContentBasedDeduplication',
  'DelaySeconds',
  'MessageRetentionPeriod',
  'ReceiveMessageWaitTimeSeconds',
  'RedrivePolicy',
  'VisibilityTimeout',
]);

/** Attributes as the API expects them: strings, with JSON for objects. */
function queueAttributes(properties: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    attributeNames
      .filter((name) => properties[name] !== undefined)
      .map((name) => {
        const value = properties[name];
        return [name, typeof value === 'object' ? JSON.stringify(value) : String(value)];
      }),
  );
}
