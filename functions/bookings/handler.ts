import middy from '@middy/core';
import { dynamoClient } from '../../shared/aws/dynamo.ts';
import { paymentAccountStore } from '../../shared/booking/payment-accounts.ts';
import { bookingQueue } from '../../shared/booking/queue.ts';
import { bookingStore } from '../../shared/booking/store.ts';
import { keysOf } from '../../shared/crypto/keys.ts';
import { authenticate } from '../../shared/http/bearer.ts';
import {
  errorHandler,
  type HttpRequest,
  type HttpResponse,
  json,
  jsonBody,
  matchRoute,
} from '../../shared/http/http.ts';
import { systemClock } from '../../shared/lib/clock.ts';
import { required, storeOptions } from '../../shared/lib/config.ts';
import { env, routes } from '../../shared/lib/names.ts';
import { cancelBooking, declareBooking, etagOf, patchBooking } from './change-booking.ts';
import { checkPatchType, parseTarget, toResponse } from './http-mapping.ts';
import { bindAccount, listAccounts, parseAccountId, unbindAccount, viewAccount } from './payment-accounts.ts';
import { listBookings, viewBooking } from './view-booking.ts';

const dynamo = dynamoClient();
const table = required(env.bookingsTable);
const deps = {
  apiKeys: keysOf('api-signing'),
  bookings: bookingStore(dynamo, table, storeOptions()),
  accounts: paymentAccountStore(dynamo, table, storeOptions().indexShards),
  queue: bookingQueue(required(env.bookingsQueueUrl)),
  clock: systemClock,
};

const operations: Record<string, (userId: string, request: HttpRequest) => Promise<HttpResponse>> = {
  [`PUT ${routes.booking}`]: async (userId, request) =>
    toResponse(await declareBooking(deps, parseTarget(userId, request), jsonBody(request))),
  [`GET ${routes.booking}`]: async (userId, request) => {
    const booking = await viewBooking(deps, userId, parseTarget(userId, request).bookingId);
    return json(200, booking, { etag: etagOf(booking) });
  },
  [`PATCH ${routes.booking}`]: async (userId, request) => {
    checkPatchType(request);
    return toResponse(await patchBooking(deps, parseTarget(userId, request), jsonBody(request)));
  },
  [`DELETE ${routes.booking}`]: async (userId, request) =>
    toResponse(await cancelBooking(deps, parseTarget(userId, request))),
  [`GET ${routes.bookings}`]: async (userId, request) =>
    json(
      200,
      await listBookings(deps, userId, Object.fromEntries(new URLSearchParams(request.rawQueryString))),
    ),
  [`PUT ${routes.paymentAccount}`]: async (userId, request) => {
    const { isNew, account } = await bindAccount(deps, userId, parseAccountId(request));
    return json(isNew ? 201 : 200, account);
  },
  [`GET ${routes.paymentAccount}`]: async (userId, request) =>
    json(200, await viewAccount(deps, userId, parseAccountId(request))),
  [`DELETE ${routes.paymentAccount}`]: async (userId, request) => {
    await unbindAccount(deps, userId, parseAccountId(request));
    return { statusCode: 204 };
  },
  [`GET ${routes.paymentAccounts}`]: async (userId) => json(200, await listAccounts(deps, userId)),
};

/** The bookings of the user of the bearer token, and the accounts that may pay for them. */
export const handler = middy<HttpRequest, HttpResponse>({ timeoutEarlyInMillis: 0 })
  .use(errorHandler())
  .handler(async (request: HttpRequest) => {
    const userId = await authenticate(deps, request);
    return matchRoute(operations, request)(userId, request);
  });
