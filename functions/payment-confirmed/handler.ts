import middy from '@middy/core';
import { bookingQueue } from '../../shared/booking-queue.ts';
import { systemClock } from '../../shared/clock.ts';
import { required } from '../../shared/config.ts';
import { answerErrors, type HttpRequest, type HttpResponse, json, rawBody } from '../../shared/http.ts';
import { env } from '../../shared/names.ts';
import { secret } from '../../shared/secrets.ts';
import { acceptStripeWebhook } from './accept-webhook.ts';
import { parseWebhookSecrets } from './webhook-secrets.ts';

const deps = {
  secrets: secret(required(env.webhookSecretId), parseWebhookSecrets, systemClock),
  queue: bookingQueue(required(env.bookingsQueueUrl)),
  clock: systemClock,
};

/** POST /webhooks/stripe */
export const handler = middy<HttpRequest, HttpResponse>({ timeoutEarlyInMillis: 0 })
  .use(answerErrors())
  .handler(async (request: HttpRequest) => {
    const signature = request.headers['stripe-signature'];
    return json(200, await acceptStripeWebhook(deps, { body: rawBody(request), signature }));
  });
