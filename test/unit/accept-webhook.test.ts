import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Stripe } from 'stripe';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { acceptWebhook } from '../../functions/payment-confirmed/accept-webhook.ts';
import type { WebhookSecrets } from '../../functions/payment-confirmed/payment-provider.ts';
import { providers } from '../../functions/payment-confirmed/providers.ts';
import { standard as standardProvider } from '../../functions/payment-confirmed/standard/provider.ts';
import { stripe as stripeProvider } from '../../functions/payment-confirmed/stripe/provider.ts';
import { parseWebhookSecrets } from '../../functions/payment-confirmed/webhook-secrets.ts';
import type { StripeMode } from '../../shared/lib/config.ts';
import type { StripeKeys } from '../../shared/payments/stripe/api-keys.ts';
import { type RecordedQueue, recordedQueue } from '../fakes/queue.ts';
import { cachedSecret } from '../fakes/secret.ts';
import { signWebhook } from '../fixtures/webhooks.ts';
import { logged } from '../support/setup.ts';
import {
  charge,
  created,
  intent,
  invoice,
  invoicePayments,
  refund,
  session,
  snapshot,
  thin,
} from './stripe.ts';

const stripeSecret = 'whsec_of_stripe_0123456789abcdef';
const olderStripeSecret = 'whsec_older_0123456789abcdef0123';
const standardSecret = `whsec_${Buffer.from('a standard secret of 32 bytes...').toString('base64')}`;
const apiKey = 'rk_test_0123456789abcdef';

/** Stripe's API, as far as thin events and invoices need it. */
const api = { status: 200, body: '', requests: [] as { url: string; headers: IncomingHttpHeaders }[] };
const server = createServer((request, response) => {
  api.requests.push({ url: `${request.method} ${request.url}`, headers: request.headers });
  response.writeHead(api.status, { 'content-type': 'application/json', connection: 'close' }).end(api.body);
});
let port = 0;
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => server.close());

let mode: StripeMode;
let queue: RecordedQueue;
let secrets: ReturnType<typeof cachedSecret<WebhookSecrets>>;
let stripeKeys: ReturnType<typeof cachedSecret<StripeKeys>>;
beforeEach(() => {
  mode = 'both';
  queue = recordedQueue();
  secrets = cachedSecret<WebhookSecrets>({
    stripe: [stripeSecret, olderStripeSecret],
    standard: [standardSecret],
  });
  stripeKeys = cachedSecret<StripeKeys>({});
  Object.assign(api, { status: 200, body: JSON.stringify(intent()), requests: [] });
  logged.length = 0;
});

const deps = (baseUrl = `http://127.0.0.1:${port}`) => ({
  secrets,
  queue,
  clock: () => created,
  stripeMode: mode,
  invoicesPaidOutOfBand: 'ignore' as const,
  stripeKeys,
  stripeApi: { fetch, baseUrl },
});
const signed = (payload: string, secret = stripeSecret) => ({
  body: Buffer.from(payload),
  headers: signWebhook.stripe(payload, secret, created),
});
const stripe = (event: object, secret = stripeSecret, baseUrl?: string) =>
  acceptWebhook(deps(baseUrl), stripeProvider, signed(JSON.stringify(event), secret));
const standard = (event: object, secret = standardSecret) => {
  const payload = JSON.stringify(event);
  const headers = signWebhook.standard(payload, secret, created);
  return acceptWebhook(deps(), standardProvider, { body: Buffer.from(payload), headers });
};
const error = (code: string, status: number) => expect.objectContaining({ code, status });
const lines = () => logged.map((line) => JSON.parse(line));
const matched = () => lines().filter((line) => 'WebhookVerified' in line);
const operatorErrors = () => lines().filter((line) => 'OperatorError' in line);

const standardRefund = {
  type: 'payment.refunded',
  timestamp: '2026-11-23T08:00:00Z',
  data: { paymentId: 'order-77', refundedAmount: 100 },
};

describe('webhooks', () => {
  it('queues a valid webhook as one message, and the receipt names payment and booking', async () => {
    const receipt = await stripe(snapshot('checkout.session.completed', session()));
    expect(receipt).toEqual({ received: true, payment_id: 'pi_1', booking_id: 'booking-1' });
    expect(queue.messages).toEqual([expect.objectContaining({ type: 'payment', paymentId: 'pi_1' })]);
  });

  it('omits an unverified booking reference from the receipt', async () => {
    const linked = session({ metadata: {}, client_reference_id: 'b1' });
    const receipt = await stripe(snapshot('checkout.session.completed', linked));
    expect(receipt).toEqual({ received: true, payment_id: 'pi_1' });
    expect(queue.messages).toEqual([
      expect.objectContaining({ booking: expect.objectContaining({ bookingId: 'b1' }) }),
    ]);
  });

  it('queues a refund without a booking: the payment points to it', async () => {
    const receipt = await stripe(snapshot('refund.created', refund()));
    expect(receipt).toEqual({ received: true, payment_id: 'pi_1' });
    expect(queue.messages).toHaveLength(1);
  });

  it('queues a Standard Webhook as the same kind of message', async () => {
    expect(await standard(standardRefund)).toEqual({ received: true, payment_id: 'standard:order-77' });
    expect(queue.messages).toEqual([
      {
        type: 'payment',
        paymentId: 'standard:order-77',
        eventId: 'msg_1',
        facts: { refundedTotal: 100 },
      },
    ]);
  });

  it('answers an irrelevant webhook as ignored, and queues nothing', async () => {
    expect(await stripe(snapshot('charge.succeeded', charge()))).toEqual({
      received: true,
      ignored: 'event type charge.succeeded',
      reason: 'event_type',
    });
    expect(queue.messages).toEqual([]);
    const ignored = { message: 'Event ignored', source: 'stripe', event: 'evt_1', type: 'charge.succeeded' };
    expect(lines()).toContainEqual(expect.objectContaining({ ...ignored, reason: 'event_type' }));
    expect(lines()).toContainEqual(expect.objectContaining({ WebhookIgnored: 1, reason: 'event_type' }));
  });

  it('answers an error while the queue is unavailable, so that the provider retries', async () => {
    queue.unavailable = true;
    await expect(stripe(snapshot('refund.created', refund()))).rejects.toThrow('away');
  });

  it('refuses a body above the size limit before computing a signature', async () => {
    const body = Buffer.alloc(1024 * 1024 + 1);
    const refused = error('payload_too_large', 413);
    for (const provider of providers)
      await expect(acceptWebhook(deps(), provider, { body, headers: {} })).rejects.toThrow(refused);
  });

  it('logs no appointment details of a webhook', async () => {
    await stripe(snapshot('checkout.session.completed', session()));
    expect(logged.join()).toContain('pi_1');
    expect(logged.join()).not.toContain('First meeting');
  });
});

describe('signing secrets', () => {
  it('counts matches of each signing secret by provider and position', async () => {
    await stripe(snapshot('refund.created', refund()));
    await stripe(snapshot('refund.created', refund()), olderStripeSecret);
    await standard(standardRefund);
    expect(matched().map(({ provider, secret }) => [provider, secret])).toEqual([
      ['stripe', '0'],
      ['stripe', '1'],
      ['standard', '0'],
    ]);
    expect(matched()[0]._aws.CloudWatchMetrics[0].Dimensions).toEqual([['provider', 'secret']]);
  });

  it.each(['{"id":"evt_1"', '', '\ufffd'])('refuses a signed body that is no JSON: %j', async (body) => {
    await expect(acceptWebhook(deps(), stripeProvider, signed(body))).rejects.toThrow(
      error('invalid_json', 400),
    );
    expect(queue.messages).toEqual([]);
  });

  it('counts rejected signatures by provider and code', async () => {
    const event = snapshot('refund.created', refund());
    await expect(stripe(event, 'whsec_of_another_endpoint')).rejects.toThrow(
      error('signature_mismatch', 400),
    );
    await expect(
      acceptWebhook(deps(), stripeProvider, { body: Buffer.alloc(2), headers: {} }),
    ).rejects.toThrow(error('signature_missing', 400));
    await expect(stripe({ object: 'event' })).rejects.toThrow(error('unsupported_event_format', 400));
    await expect(standard(standardRefund, `whsec_${'B'.repeat(32)}`)).rejects.toThrow(
      error('signature_mismatch', 400),
    );
    const rejected = lines().filter((line) => 'WebhookRejected' in line);
    expect(rejected.map(({ provider, code }) => [provider, code])).toEqual([
      ['stripe', 'signature_mismatch'],
      ['stripe', 'signature_missing'],
      ['stripe', 'unsupported_event_format'],
      ['standard', 'signature_mismatch'],
    ]);
    expect(rejected[0]._aws.CloudWatchMetrics[0].Dimensions).toEqual([['provider', 'code']]);
  });

  it('accepts no signing secret of one provider for another provider', async () => {
    secrets.value = { stripe: [standardSecret], standard: [standardSecret] };
    const refused = error('signature_mismatch', 400);
    // The right scheme for an endpoint with the other's secret, and the other scheme's signature in its headers.
    await expect(standard(standardRefund, `whsec_${'B'.repeat(32)}`)).rejects.toThrow(refused);
    const { body, headers } = signed(JSON.stringify(standardRefund), standardSecret);
    const [, hex = ''] = headers['stripe-signature']?.split('v1=') ?? [];
    const asStandard = `v1,${Buffer.from(hex, 'hex').toString('base64')}`;
    await expect(
      acceptWebhook(deps(), standardProvider, {
        body,
        headers: {
          'webhook-id': 'msg_1',
          'webhook-timestamp': String(created),
          'webhook-signature': asStandard,
        },
      }),
    ).rejects.toThrow(refused);
    expect(queue.messages).toEqual([]);
    expect(matched()).toEqual([]);
  });

  it('reads the signing secrets again when none matches, so a new secret works at once', async () => {
    secrets.newer = { stripe: ['whsec_newest_0123456789'], standard: [] };
    expect(await stripe(snapshot('refund.created', refund()), 'whsec_newest_0123456789')).toMatchObject({
      received: true,
    });
  });

  it('without signing secrets answers 404 and raises no operator alarm', async () => {
    secrets.value = { stripe: [stripeSecret], standard: [] };
    await expect(standard(standardRefund)).rejects.toThrow(error('provider_not_configured', 404));
    secrets.value = { stripe: [], standard: [standardSecret] };
    await expect(stripe(snapshot('refund.created', refund()))).rejects.toThrow(
      error('provider_not_configured', 404),
    );
    expect(operatorErrors()).toEqual([]);
    expect(lines().filter((line) => 'WebhookRejected' in line)).toEqual([]);
  });

  it.each([
    [{ stripe: [stripeSecret] }, { stripe: [stripeSecret], standard: [] }],
    [{ standard: [standardSecret] }, { stripe: [], standard: [standardSecret] }],
  ])('accepts signing secrets of one or more providers: %j', (secret, expected) => {
    expect(parseWebhookSecrets(JSON.stringify(secret))).toMatchObject(expected);
  });
});

describe('thin events', () => {
  const event = thin('v1.payment_intent.succeeded', '/v1/payment_intents/pi_1');
  const withKey = () => {
    stripeKeys.value = { test: apiKey };
  };

  it('completes a thin event with the API key and queues it like a snapshot', async () => {
    withKey();
    expect(await stripe(event)).toEqual({ received: true, payment_id: 'pi_1', booking_id: 'booking-1' });
    expect(queue.messages).toHaveLength(1);
    expect(api.requests).toHaveLength(1);
  });

  it("fetches the object of a thin event as Stripe's own package does", async () => {
    withKey();
    await stripe(event);
    const { body, headers: signedHeaders } = signed(JSON.stringify(event));
    const official = new Stripe(apiKey, { host: '127.0.0.1', port, protocol: 'http', telemetry: false });
    const notification = official.parseEventNotification(
      body,
      signedHeaders['stripe-signature'] as string,
      stripeSecret,
      undefined,
      undefined,
      created * 1000,
    ) as unknown as { fetchRelatedObject(): Promise<unknown> };
    await notification.fetchRelatedObject();
    const [ours, theirs] = api.requests.map(({ url, headers }) => ({
      url,
      key: headers.authorization,
      version: headers['stripe-version'],
      trigger: headers['stripe-request-trigger'],
    }));
    expect(ours).toEqual(theirs);
    expect(ours).toMatchObject({ url: 'GET /v1/payment_intents/pi_1' });
  });

  it('refuses a thin event without an API key, with the remedy, and raises an operator alarm', async () => {
    const refusal = await stripe(event).catch((it: Error) => it);
    expect(refusal).toEqual(error('unsupported_event_format', 400));
    expect((refusal as Error).message).toMatch(/snapshot payloads.*stripe-api/);
    expect(operatorErrors()).toHaveLength(1);
    expect(queue.messages).toEqual([]);
    expect(api.requests).toEqual([]);
  });

  it('reads the secret again when a thin event needs an API key that was just added', async () => {
    stripeKeys.newer = { test: apiKey };
    expect(await stripe(event)).toMatchObject({ payment_id: 'pi_1' });
    expect(operatorErrors()).toEqual([]);
  });

  it('ignores a thin event of an irrelevant type without an API key', async () => {
    expect(await stripe(thin('v1.charge.succeeded', '/v1/charges/ch_1'))).toHaveProperty('ignored');
    expect(operatorErrors()).toEqual([]);
  });

  it('fetches no object for a thin event with an invalid signature', async () => {
    withKey();
    await expect(stripe(event, 'whsec_of_somebody_else')).rejects.toThrow(error('signature_mismatch', 400));
    expect(api.requests).toEqual([]);
  });

  it.each([401, 403, 404])(
    'raises an operator error when Stripe answers %d to the API key of a thin event',
    async (status) => {
      withKey();
      api.status = status;
      await expect(stripe(event)).rejects.toThrow(expect.objectContaining({ code: 'not_configured' }));
      expect(queue.messages).toEqual([]);
    },
  );

  it('retries a thin event with the new API key when the old one was just replaced', async () => {
    withKey();
    api.status = 401;
    stripeKeys.newer = { test: 'rk_test_newer_0123456789' };
    await expect(stripe(event)).rejects.toThrow(expect.objectContaining({ code: 'not_configured' }));
    expect(api.requests.map(({ headers }) => headers.authorization)).toEqual([
      `Bearer ${apiKey}`,
      'Bearer rk_test_newer_0123456789',
    ]);
  });

  it.each([429, 500, 503])('answers 503 to a thin event when Stripe answers %d', async (status) => {
    withKey();
    api.status = status;
    await expect(stripe(event)).rejects.toThrow(error('stripe_unreachable', 503));
  });

  it('answers 503 to a thin event when Stripe is unreachable or answers no JSON', async () => {
    withKey();
    const nobody = 'http://127.0.0.1:1';
    await expect(stripe(event, stripeSecret, nobody)).rejects.toThrow(error('stripe_unreachable', 503));
    api.body = '<html>';
    await expect(stripe(event)).rejects.toThrow(error('stripe_unreachable', 503));
  });

  it('refuses a thin event whose fetched object is of another type', async () => {
    withKey();
    api.body = '{"object":"list","data":[]}';
    await expect(stripe(event)).rejects.toThrow(error('unsupported_event_format', 400));
  });
});

describe('a paid invoice', () => {
  const event = snapshot('invoice.paid', invoice());
  const withKey = () => {
    stripeKeys.value = { test: apiKey };
    api.body = JSON.stringify(invoicePayments({}));
  };

  it("asks for the payments of an invoice as Stripe's own package does", async () => {
    withKey();
    expect(await stripe(event)).toEqual({ received: true, payment_id: 'pi_1', booking_id: 'booking-1' });
    const official = new Stripe(apiKey, { host: '127.0.0.1', port, protocol: 'http', telemetry: false });
    const { data } = await official.invoicePayments.list({ invoice: 'in_1', limit: 100 });
    expect(data[0]?.payment).toEqual({ type: 'payment_intent', payment_intent: 'pi_1' });
    const [ours, theirs] = api.requests.map(({ url, headers }) => ({
      url,
      key: headers.authorization,
      version: headers['stripe-version'],
    }));
    expect(ours).toEqual(theirs);
  });

  it('ignores an invoice that needs an API key, and raises an operator alarm', async () => {
    expect(await stripe(event)).toEqual({
      received: true,
      reason: 'invoice_needs_key',
      ignored: expect.stringContaining('stripe-api'),
    });
    expect(operatorErrors()).toHaveLength(1);
    expect(queue.messages).toEqual([]);
    expect(api.requests).toEqual([]);
  });

  it('needs no API key for an invoice without a booking, and raises no alarm', async () => {
    const foreign = snapshot('invoice.paid', invoice({ metadata: {} }));
    expect(await stripe(foreign)).toMatchObject({ reason: 'no_booking' });
    expect(operatorErrors()).toEqual([]);
  });

  it.each([
    [403, 'not_configured'],
    [503, 'stripe_unreachable'],
  ])('queues no invoice while Stripe answers %d, so that it is delivered again', async (status, code) => {
    withKey();
    api.status = status;
    await expect(stripe(event)).rejects.toThrow(expect.objectContaining({ code }));
    expect(queue.messages).toEqual([]);
  });

  it('refuses an answer of Stripe that is no list of payments', async () => {
    withKey();
    api.body = JSON.stringify(invoice());
    await expect(stripe(event)).rejects.toThrow(error('unsupported_event_format', 400));
  });
});
