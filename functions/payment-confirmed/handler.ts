import middy from '@middy/core';
import { paymentQueue } from '../../shared/booking-queue.ts';
import { systemClock } from '../../shared/clock.ts';
import { required, stripeMode, stripeUrl } from '../../shared/config.ts';
import {
  answerErrors,
  type HttpRequest,
  type HttpResponse,
  json,
  operationFor,
  rawBody,
} from '../../shared/http.ts';
import { keysOf } from '../../shared/keys.ts';
import { env, webhookRoute } from '../../shared/names.ts';
import { secret } from '../../shared/secrets.ts';
import { acceptStandardWebhook, acceptStripeWebhook, type Receipt } from './accept-webhook.ts';
import { readStandardHeaders } from './standard-signature.ts';
import { parseWebhookSecrets } from './webhook-secrets.ts';

const deps = {
  secrets: secret(required(env.webhookSecretId), parseWebhookSecrets, systemClock),
  queue: paymentQueue(required(env.bookingsQueueUrl), keysOf('payment-messages')),
  clock: systemClock,
  stripeMode: stripeMode(),
  stripeApi: { fetch, baseUrl: stripeUrl() },
};

const accept: Record<string, (body: Buffer, headers: HttpRequest['headers']) => Promise<Receipt>> = {
  [`POST ${webhookRoute('stripe')}`]: (body, headers) =>
    acceptStripeWebhook(deps, { body, signature: headers['stripe-signature'] }),
  [`POST ${webhookRoute('standard')}`]: (body, headers) =>
    acceptStandardWebhook(deps, { body, headers: readStandardHeaders(headers) }),
};

/** Webhooks of payment providers. */
export const handler = middy<HttpRequest, HttpResponse>({ timeoutEarlyInMillis: 0 })
  .use(answerErrors())
  .handler(async (request: HttpRequest) => {
    const webhook = operationFor(accept, request);
    return json(200, await webhook(rawBody(request), request.headers));
  });
