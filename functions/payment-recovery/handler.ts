import middy from '@middy/core';
import { dynamoClient } from '../../shared/aws/dynamo.ts';
import { paymentQueue } from '../../shared/booking/queue.ts';
import { keysOf } from '../../shared/crypto/keys.ts';
import { systemClock } from '../../shared/lib/clock.ts';
import { invoicesPaidOutOfBand, required, stripeMode, stripeUrl } from '../../shared/lib/config.ts';
import { env } from '../../shared/lib/names.ts';
import { setLogContext } from '../../shared/lib/observability.ts';
import { stripeKeys } from '../../shared/payments/stripe/api-keys.ts';
import { recoveryProgress } from './progress.ts';
import { sweepEvents } from './recover.ts';

const deps = {
  stripeKeys: stripeKeys(),
  stripeApi: { fetch, baseUrl: stripeUrl() },
  stripeMode: stripeMode(),
  invoicesPaidOutOfBand: invoicesPaidOutOfBand(),
  queue: paymentQueue(required(env.bookingsQueueUrl), keysOf('payment-messages')),
  progress: recoveryProgress(dynamoClient(), required(env.bookingsTable)),
  clock: systemClock,
};

/** Milliseconds reserved for reading and queueing one window. */
const shutdownMarginMs = 60_000;

/** Every few minutes. Without an API key of Stripe it does nothing. */
export const handler = middy({ timeoutEarlyInMillis: 0 }).handler(async (_event: unknown, context) => {
  setLogContext({ requestId: context.awsRequestId });
  return sweepEvents({ ...deps, timeLeft: () => context.getRemainingTimeInMillis() > shutdownMarginMs });
});
