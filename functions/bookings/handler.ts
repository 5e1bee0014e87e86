import middy from '@middy/core';
import { dynamoClient } from '../../shared/aws/dynamo.ts';
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
import { listBookings, viewBooking } from './view-booking.ts';

const deps = {
  apiKeys: keysOf('api-signing'),
  bookings: bookingStore(dynamoClient(), required(env.bookingsTable), storeOptions()),
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
};

/** The bookings of the user of the bearer token. */
export const handler = middy<HttpRequest, HttpResponse>({ timeoutEarlyInMillis: 0 })
  .use(errorHandler())
  .handler(async (request: HttpRequest) => {
    const userId = await authenticate(deps, request);
    return matchRoute(operations, request)(userId, request);
  });
