import middy from '@middy/core';
import { secret } from '../../shared/aws/secrets.ts';
import { paymentQueue } from '../../shared/booking/queue.ts';
import { keysOf } from '../../shared/crypto/keys.ts';
import {
  errorHandler,
  type HttpRequest,
  type HttpResponse,
  json,
  matchRoute,
  rawBody,
} from '../../shared/http/http.ts';
import { systemClock } from '../../shared/lib/clock.ts';
import { required } from '../../shared/lib/config.ts';
import { env, webhookRoute } from '../../shared/lib/names.ts';
import { stripeDeps } from '../../shared/payments/stripe/translate.ts';
import { acceptWebhook } from './accept-webhook.ts';
import type { PaymentProvider, WebhookDeps } from './payment-provider.ts';
import { providers } from './providers.ts';
import { parseWebhookSecrets } from './webhook-secrets.ts';

const deps: WebhookDeps = {
  ...stripeDeps(),
  secrets: secret(required(env.webhookSecretId), parseWebhookSecrets, systemClock),
  queue: paymentQueue(required(env.bookingsQueueUrl), keysOf('payment-messages')),
  clock: systemClock,
};

const providerOf: Record<string, PaymentProvider> = Object.fromEntries(
  providers.map((provider) => [`POST ${webhookRoute(provider.name)}`, provider]),
);

/** Webhooks of payment providers. */
export const handler = middy<HttpRequest, HttpResponse>({ timeoutEarlyInMillis: 0 })
  .use(errorHandler())
  .handler(async (request: HttpRequest) => {
    const provider = matchRoute(providerOf, request);
    return json(
      200,
      await acceptWebhook(deps, provider, { body: rawBody(request), headers: request.headers }),
    );
  });
