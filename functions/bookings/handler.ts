import middy from '@middy/core';
import { AppError } from '../../shared/app-error.ts';
import { authenticate } from '../../shared/bearer.ts';
import { bookingQueue } from '../../shared/booking-queue.ts';
import { bookingStore } from '../../shared/booking-store.ts';
import { systemClock } from '../../shared/clock.ts';
import { required, requiredNumber } from '../../shared/config.ts';
import { dynamoClient } from '../../shared/dynamo.ts';
import { answerErrors, type HttpRequest, type HttpResponse, json, jsonBody } from '../../shared/http.ts';
import { isIdentifier } from '../../shared/identifier.ts';
import { invalidRequest } from '../../shared/invalid-request.ts';
import { env, routes } from '../../shared/names.ts';
import { secret } from '../../shared/secrets.ts';
import { parseTokenKeys } from '../../shared/token-keys.ts';
import {
  cancelBooking,
  declareBooking,
  etagOf,
  patchBooking,
  type Target,
  type Written,
} from './change-booking.ts';
import { listBookings, viewBooking } from './view-booking.ts';

const deps = {
  tokenKeys: secret(required(env.tokenKeysSecretId), parseTokenKeys, systemClock),
  bookings: bookingStore(dynamoClient(), required(env.bookingsTable), requiredNumber(env.indexShards)),
  queue: bookingQueue(required(env.bookingsQueueUrl)),
  clock: systemClock,
};

const operations: Record<string, (userId: string, request: HttpRequest) => Promise<HttpResponse>> = {
  [`PUT ${routes.booking}`]: async (userId, request) =>
    answer(await declareBooking(deps, targetOf(userId, request), jsonBody(request))),
  [`GET ${routes.booking}`]: async (userId, request) => {
    const booking = await viewBooking(deps, userId, targetOf(userId, request).bookingId);
    return json(200, booking, { etag: etagOf(booking) });
  },
  [`PATCH ${routes.booking}`]: async (userId, request) => {
    checkPatchType(request);
    return answer(await patchBooking(deps, targetOf(userId, request), jsonBody(request)));
  },
  [`DELETE ${routes.booking}`]: async (userId, request) =>
    answer(await cancelBooking(deps, targetOf(userId, request))),
  [`GET ${routes.bookings}`]: async (userId, request) =>
    json(
      200,
      await listBookings(deps, userId, Object.fromEntries(new URLSearchParams(request.rawQueryString))),
    ),
};

/** The bookings of the user whose bearer token is sent. */
export const handler = middy<HttpRequest, HttpResponse>({ timeoutEarlyInMillis: 0 })
  .use(answerErrors())
  .handler(async (request: HttpRequest) => {
    const userId = await authenticate(deps, request);
    const operation = operations[request.routeKey];
    if (!operation) throw new Error(`No operation for ${request.routeKey}. Compare infra/stack.ts.`);
    return operation(userId, request);
  });

const statuses = { created: 201, accepted: 202, changed: 200, unchanged: 200 };

function answer({ outcome, booking }: Written): HttpResponse {
  return json(statuses[outcome], booking, {
    etag: etagOf(booking),
    location: routes.booking.replace('{id}', encodeURIComponent(booking.bookingId)),
  });
}

function targetOf(userId: string, request: HttpRequest): Target {
  const bookingId = request.pathParameters?.id;
  if (isIdentifier(bookingId)) return { userId, bookingId, ifMatch: request.headers['if-match'] };
  const message = 'It must be 1 to 128 characters of A-Z a-z 0-9 _ . : @ -';
  throw invalidRequest([{ code: 'invalid_field', field: 'id', message }]);
}

/** Other patch formats mean something else by the same bytes. */
function checkPatchType(request: HttpRequest): void {
  const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase();
  if (type === 'application/merge-patch+json' || type === 'application/json') return;
  throw new AppError(
    'unsupported_media_type',
    'Send a merge patch (RFC 7396) as application/merge-patch+json or application/json.',
    { status: 415 },
  );
}
