import middy from '@middy/core';
import { dynamoClient } from '../../shared/aws/dynamo.ts';
import { bookingQueue } from '../../shared/booking/queue.ts';
import { openBookings } from '../../shared/booking/store.ts';
import { systemClock } from '../../shared/lib/clock.ts';
import { required, requiredNumber } from '../../shared/lib/config.ts';
import { env } from '../../shared/lib/names.ts';
import { setLogContext } from '../../shared/lib/observability.ts';
import { requeueDueBookings } from './requeue-due.ts';

const indexShards = requiredNumber(env.indexShards);
const deps = {
  bookings: openBookings(dynamoClient(), required(env.bookingsTable)),
  queue: bookingQueue(required(env.bookingsQueueUrl)),
  clock: systemClock,
  indexShards,
};

/** Milliseconds reserved for finishing the current page. */
const shutdownMarginMs = 5_000;

/** Each minute. */
export const handler = middy({ timeoutEarlyInMillis: 0 }).handler(async (_event: unknown, context) => {
  setLogContext({ requestId: context.awsRequestId });
  return requeueDueBookings({
    ...deps,
    timeLeft: () => context.getRemainingTimeInMillis() > shutdownMarginMs,
  });
});
