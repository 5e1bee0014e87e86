import middy from '@middy/core';
import type { SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { paymentQueue } from '../../shared/booking/queue.ts';
import { keysOf } from '../../shared/crypto/keys.ts';
import { invoicesPaidOutOfBand, required, stripeMode, stripeUrl } from '../../shared/lib/config.ts';
import { env } from '../../shared/lib/names.ts';
import { describeError, log, setLogContext } from '../../shared/lib/observability.ts';
import { stripeKeys } from '../../shared/payments/stripe/api-keys.ts';
import { acceptStripeEvent, type StripeEventDeps } from './accept-event.ts';

const deps: StripeEventDeps = {
  source: required(env.stripeEventSource),
  stripeKeys: stripeKeys(),
  queue: paymentQueue(required(env.bookingsQueueUrl), keysOf('payment-messages')),
  stripeMode: stripeMode(),
  invoicesPaidOutOfBand: invoicesPaidOutOfBand(),
  stripeApi: { fetch, baseUrl: stripeUrl() },
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
