import middy from '@middy/core';
import { browserBinding, randomSecret } from '../../shared/browser-binding.ts';
import { systemClock } from '../../shared/clock.ts';
import {
  calendarScope,
  googleEndpoints,
  optionalScopes,
  required,
  returnOrigins,
} from '../../shared/config.ts';
import { errorPage } from '../../shared/error-page.ts';
import { parseGoogleClient } from '../../shared/google-client-secret.ts';
import { errorHandler, type HttpRequest, type HttpResponse, redirect } from '../../shared/http.ts';
import { keysOf } from '../../shared/keys.ts';
import { env } from '../../shared/names.ts';
import { stateLifetimeSeconds } from '../../shared/oauth-state.ts';
import { secret } from '../../shared/secrets.ts';
import { startConnection } from './start-connection.ts';

const publicUrl = required(env.publicUrl);
const binding = browserBinding(publicUrl);
const deps = {
  linkKeys: keysOf('link-signing'),
  stateKeys: keysOf('state-encryption'),
  googleClient: secret(required(env.googleClientSecretId), parseGoogleClient, systemClock),
  clock: systemClock,
  randomSecret,
  authorizationUrl: googleEndpoints().authorization,
  publicUrl,
  returnOrigins: returnOrigins(),
  calendarScope: calendarScope(),
  optionalScopes: optionalScopes(),
};

/** GET /google/connect?token=…[&return_to=…], and ?retry=… from a page of ours */
export const handler = middy<HttpRequest, HttpResponse>({ timeoutEarlyInMillis: 0 })
  .use(errorHandler(errorPage))
  .handler(async (request: HttpRequest) => {
    const query = new URLSearchParams(request.rawQueryString);
    const { location, browser } = await startConnection(deps, {
      token: query.get('token') ?? undefined,
      retry: query.get('retry') ?? undefined,
      returnTo: query.get('return_to') ?? undefined,
      browser: binding.read(request.cookies),
    });
    return redirect(location, [binding.cookie(browser, stateLifetimeSeconds)]);
  });
