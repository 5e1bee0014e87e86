import middy from '@middy/core';
import type { SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { dynamoClient } from '../../shared/aws/dynamo.ts';
import { bookingQueue, paymentQueue } from '../../shared/booking/queue.ts';
import { bookingStore, snapshotLoader } from '../../shared/booking/store.ts';
import { tokenDeps } from '../../shared/connection/token-deps.ts';
import { keysOf } from '../../shared/crypto/keys.ts';
import { googleEndpoints } from '../../shared/google/endpoints.ts';
import { lightFetch } from '../../shared/google/light-fetch.ts';
import { conflictPolicy, paymentPolicy, required, storeOptions } from '../../shared/lib/config.ts';
import { env } from '../../shared/lib/names.ts';
import { setLogContext } from '../../shared/lib/observability.ts';
import { processBatch } from './process-batch.ts';
import { verifiedMessages } from './read-message.ts';
import { requeueWaiting } from './requeue-waiting.ts';
import { syncBooking } from './sync-booking.ts';

const dynamo = dynamoClient();
const tables = { bookings: required(env.bookingsTable), connections: required(env.connectionsTable) };
const messageKeys = keysOf('payment-messages');
const deps = {
  ...tokenDeps(dynamo),
  messageKeys,
  readForSync: snapshotLoader(dynamo, tables),
  bookings: bookingStore(dynamo, tables.bookings, storeOptions()),
  queue: bookingQueue(required(env.bookingsQueueUrl)),
  payments: paymentQueue(required(env.bookingsQueueUrl), messageKeys),
  paymentPolicy: paymentPolicy(),
  conflictPolicy: conflictPolicy(),
  calendar: { fetch: lightFetch, baseUrl: googleEndpoints().calendar },
};

/** Messages of the queue `bookings.fifo`. */
export const handler = middy<SQSEvent, SQSBatchResponse>({ timeoutEarlyInMillis: 0 }).handler(
  async ({ Records }: SQSEvent, { awsRequestId }) => {
    setLogContext({ requestId: awsRequestId });
    const records = Records.map(({ messageId, body, attributes }) => ({
      messageId,
      groupId: attributes.MessageGroupId ?? messageId,
      body,
      repeated: Number(attributes.ApproximateReceiveCount) > 1,
    }));
    const staying = await processBatch(records, verifiedMessages(deps), (message, delivery) =>
      message.type === 'connection.activated'
        ? requeueWaiting(deps, message)
        : syncBooking(deps, message, delivery),
    );
    return { batchItemFailures: staying.map((itemIdentifier) => ({ itemIdentifier })) };
  },
);
