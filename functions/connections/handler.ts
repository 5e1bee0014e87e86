import middy from '@middy/core';
import { authenticate } from '../../shared/bearer.ts';
import { bookingQueue } from '../../shared/booking-queue.ts';
import { googleEndpoints, required } from '../../shared/config.ts';
import { dynamoClient } from '../../shared/dynamo.ts';
import {
  errorHandler,
  type HttpRequest,
  type HttpResponse,
  json,
  jsonBody,
  matchRoute,
} from '../../shared/http.ts';
import { keysOf } from '../../shared/keys.ts';
import { lightFetch } from '../../shared/light-fetch.ts';
import { env, routes } from '../../shared/names.ts';
import { tokenDeps } from '../../shared/token-deps.ts';
import { changeConnection, disconnect, listCalendars, viewConnection } from './manage-connection.ts';

const deps = {
  ...tokenDeps(dynamoClient()),
  apiKeys: keysOf('api-signing'),
  queue: bookingQueue(required(env.bookingsQueueUrl)),
  calendar: { fetch: lightFetch, baseUrl: googleEndpoints().calendar },
};

const operations: Record<string, (userId: string, request: HttpRequest) => Promise<unknown>> = {
  [`GET ${routes.connection}`]: (userId) => viewConnection(deps, userId),
  [`GET ${routes.calendars}`]: (userId) => listCalendars(deps, userId),
  [`PATCH ${routes.connection}`]: (userId, request) => changeConnection(deps, userId, jsonBody(request)),
  [`DELETE ${routes.connection}`]: (userId) => disconnect(deps, userId),
};

/** The connection of the user of the bearer token. */
export const handler = middy<HttpRequest, HttpResponse>({ timeoutEarlyInMillis: 0 })
  .use(errorHandler())
  .handler(async (request: HttpRequest) => {
    const userId = await authenticate(deps, request);
    return json(200, await matchRoute(operations, request)(userId, request));
  });
