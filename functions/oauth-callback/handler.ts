import middy from '@middy/core';
import { dynamoClient } from '../../shared/aws/dynamo.ts';
import { bookingQueue } from '../../shared/booking/queue.ts';
import { tokenDeps } from '../../shared/connection/token-deps.ts';
import { keysOf } from '../../shared/crypto/keys.ts';
import { browserBinding } from '../../shared/crypto/oauth-state.ts';
import { googleEndpoints } from '../../shared/google/endpoints.ts';
import { lightFetch } from '../../shared/google/light-fetch.ts';
import { errorPage } from '../../shared/http/error-page.ts';
import { errorHandler, type HttpRequest, type HttpResponse, redirect } from '../../shared/http/http.ts';
import { page } from '../../shared/http/page.ts';
import { required } from '../../shared/lib/config.ts';
import { env } from '../../shared/lib/names.ts';
import { completeConnection } from './complete-connection.ts';
import { googleOAuth } from './verify-identity.ts';

const publicUrl = required(env.publicUrl);
const binding = browserBinding(publicUrl);
const deps = {
  ...tokenDeps(dynamoClient()),
  stateKeys: keysOf('state-encryption'),
  google: googleOAuth(googleEndpoints()),
  calendar: { fetch: lightFetch, baseUrl: googleEndpoints().calendar },
  queue: bookingQueue(required(env.bookingsQueueUrl)),
  publicUrl,
};

/** GET /google/callback */
export const handler = middy<HttpRequest, HttpResponse>({ timeoutEarlyInMillis: 0 })
  .use(errorHandler(errorPage))
  .handler(async (request: HttpRequest) => {
    const { connection, returnTo } = await completeConnection(deps, {
      query: new URLSearchParams(request.rawQueryString),
      browser: binding.read(request.cookies),
    });
    if (returnTo !== undefined) {
      const destination = new URL(returnTo);
      destination.searchParams.set('google_calendar', 'connected');
      return redirect(destination.href);
    }
    return page({
      status: 200,
      title: 'Your calendar is connected',
      text: [
        `Paid appointments now go into the Google Calendar of ${connection.email}.`,
        'You can close this window.',
      ],
      isSuccess: true,
    });
  });
