import middy from '@middy/core';
import { bookingQueue } from '../../shared/booking-queue.ts';
import { browserBinding } from '../../shared/browser-binding.ts';
import { googleEndpoints, required } from '../../shared/config.ts';
import { dynamoClient } from '../../shared/dynamo.ts';
import { errorPage } from '../../shared/error-page.ts';
import { googleOAuth } from '../../shared/google-sign-in.ts';
import { errorHandler, type HttpRequest, type HttpResponse, redirect } from '../../shared/http.ts';
import { keysOf } from '../../shared/keys.ts';
import { lightFetch } from '../../shared/light-fetch.ts';
import { env } from '../../shared/names.ts';
import { page } from '../../shared/page.ts';
import { tokenDeps } from '../../shared/token-deps.ts';
import { completeConnection } from './complete-connection.ts';

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
      good: true,
    });
  });
