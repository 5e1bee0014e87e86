import middy from '@middy/core';
import { dynamoClient } from '../../shared/aws/dynamo.ts';
import { bookingQueue } from '../../shared/booking/queue.ts';
import { tokenDeps } from '../../shared/connection/token-deps.ts';
import { keysOf } from '../../shared/crypto/keys.ts';
import { googleEndpoints } from '../../shared/google/endpoints.ts';
import { lightFetch } from '../../shared/google/light-fetch.ts';
import { authenticate } from '../../shared/http/bearer.ts';
import {
  errorHandler,
  type HttpRequest,
  type HttpResponse,
  json,
  jsonBody,
  matchRoute,
} from '../../shared/http/http.ts';
import { required } from '../../shared/lib/config.ts';
import { env, routes } from '../../shared/lib/names.ts';
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
