import middy from '@middy/core';
import { dynamoClient } from '../../shared/aws/dynamo.ts';
import { paymentAccountStore } from '../../shared/booking/payment-accounts.ts';
import { bookingQueue } from '../../shared/booking/queue.ts';
import { bookingStore } from '../../shared/booking/store.ts';
import { keysOf } from '../../shared/crypto/keys.ts';
import { authenticate } from '../../shared/http/bearer.ts';
import { errorHandler, type HttpRequest, type HttpResponse, matchRoute } from '../../shared/http/http.ts';
import { systemClock } from '../../shared/lib/clock.ts';
import { required, storeOptions } from '../../shared/lib/config.ts';
import { env } from '../../shared/lib/names.ts';
import { bookingOperations } from './operations.ts';

const dynamo = dynamoClient();
const table = required(env.bookingsTable);
const options = storeOptions();
const deps = {
  apiKeys: keysOf('api-signing'),
  bookings: bookingStore(dynamo, table, options),
  accounts: paymentAccountStore(dynamo, table, options.indexShards),
  queue: bookingQueue(required(env.bookingsQueueUrl)),
  clock: systemClock,
};
const operations = bookingOperations(deps);

/** The bookings of the user of the bearer token, and the accounts that may pay for them. */
export const handler = middy<HttpRequest, HttpResponse>({ timeoutEarlyInMillis: 0 })
  .use(errorHandler())
  .handler(async (request: HttpRequest) => {
    const userId = await authenticate(deps, request);
    return matchRoute(operations, request)(userId, request);
  });
