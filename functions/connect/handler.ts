import middy from '@middy/core';
import { secret } from '../../shared/aws/secrets.ts';
import { keysOf } from '../../shared/crypto/keys.ts';
import { browserBinding, randomSecret, stateLifetimeSeconds } from '../../shared/crypto/oauth-state.ts';
import { parseGoogleClient } from '../../shared/google/client-secret.ts';
import { googleEndpoints } from '../../shared/google/endpoints.ts';
import { errorPage } from '../../shared/http/error-page.ts';
import { errorHandler, type HttpRequest, type HttpResponse, redirect } from '../../shared/http/http.ts';
import { systemClock } from '../../shared/lib/clock.ts';
import { calendarScope, optionalScopes, required, returnOrigins } from '../../shared/lib/config.ts';
import { env } from '../../shared/lib/names.ts';
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
