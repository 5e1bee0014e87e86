import middy from '@middy/core';
import type { SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { paymentQueue } from '../../shared/booking/queue.ts';
import { keysOf } from '../../shared/crypto/keys.ts';
import { required, stripeConnect } from '../../shared/lib/config.ts';
import { env } from '../../shared/lib/names.ts';
import { describeError, log, setLogContext } from '../../shared/lib/observability.ts';
import { stripeDeps } from '../../shared/payments/stripe/translate.ts';
import { acceptStripeEvent, type StripeEventDeps } from './accept-event.ts';

const deps: StripeEventDeps = {
  ...stripeDeps(),
  source: required(env.stripeEventSource),
  stripeConnect: stripeConnect(),
  queue: paymentQueue(required(env.bookingsQueueUrl), keysOf('payment-messages')),
};

/** Events of Stripe's partner event source, from the queue that EventBridge fills. */
export const handler = middy<SQSEvent, SQSBatchResponse>({ timeoutEarlyInMillis: 0 }).handler(
  async ({ Records }: SQSEvent, { awsRequestId }) => {
    setLogContext({ requestId: awsRequestId });
    const batchItemFailures: SQSBatchResponse['batchItemFailures'] = [];
    await Promise.all(
      Records.map(({ messageId, body }) =>
        acceptStripeEvent(deps, body).catch((error: unknown) => {
          log.error('Message stays in the queue', { messageId, error: describeError(error) });
          batchItemFailures.push({ itemIdentifier: messageId });
        }),
      ),
    );
    return { batchItemFailures };
  },
);
