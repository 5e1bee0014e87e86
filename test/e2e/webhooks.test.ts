import { Webhook } from 'standardwebhooks';
import { Stripe } from 'stripe';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import type { StripeEvent } from '../../infra/local/stripe/event-log.ts';
import { webhookRoute } from '../../shared/lib/names.ts';
import { session, snapshot } from '../unit/stripe.ts';

let stack: LocalStack;
let secrets: { stripe: string[]; standard: string[] };

// The deployed webhook endpoints: routes, bundle and secret of the template, over real HTTP.
beforeAll(async () => {
  stack = await startLocalStack({
    google: { kind: 'simulator' },
    schedules: false,
    assembly: inject('assembly'),
  });
  secrets = JSON.parse(stack.secrets.get(stack.secretNames.webhookSigning) as string);
});
afterAll(() => stack?.close());

async function post(path: string, body: string, headers: Record<string, string>) {
  const response = await fetch(`${stack.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}
const bySecret = (body: string, secret: string): Record<string, string> => ({
  'stripe-signature': Stripe.webhooks.generateTestHeaderString({ payload: body, secret }),
});
const byStandard = (body: string, secret: string, at = new Date()): Record<string, string> => ({
  'webhook-id': 'msg_1',
  'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
  'webhook-signature': new Webhook(secret).sign('msg_1', at, body),
});

const refunded = JSON.stringify({
  type: 'payment.refunded',
  timestamp: '2026-11-23T08:00:00Z',
  data: { paymentId: 'order-77', refundedAmount: 100 },
});

describe(`POST ${webhookRoute('standard')}`, () => {
  it('the standard endpoint accepts webhooks that the official library signs', async () => {
    const body = refunded.replace('order-77', 'order-78');
    expect(
      await post(webhookRoute('standard'), body, byStandard(body, secrets.standard[0] as string)),
    ).toEqual({
      status: 200,
      body: { received: true, payment_id: 'standard:order-78' },
    });
  });

  it('the standard endpoint accepts texts with characters that a queue rejects', async () => {
    const body = JSON.stringify({
      type: 'payment.confirmed',
      timestamp: '2026-11-23T08:00:00Z',
      data: {
        paymentId: 'order-79',
        bookingId: 'odd-79',
        userId: 'user-79',
        booking: { summary: '🙂 \ufffe \uffff \u0000 \ud800', start: '2027-06-01', end: '2027-06-02' },
      },
    });
    const answer = await post(
      webhookRoute('standard'),
      body,
      byStandard(body, secrets.standard[0] as string),
    );
    expect(answer).toMatchObject({ status: 200, body: { booking_id: 'odd-79' } });
  });

  it.each<[string, number, string, () => Record<string, string>]>([
    ['no signature', 400, 'signature_missing', () => ({})],
    [
      "Stripe's secret",
      400,
      'signature_mismatch',
      () => byStandard(refunded, `whsec_${(secrets.stripe[0] as string).slice(6)}`),
    ],
    ["Stripe's signature", 400, 'signature_missing', () => bySecret(refunded, secrets.stripe[0] as string)],
    [
      'an old signature',
      400,
      'timestamp_out_of_tolerance',
      () => byStandard(refunded, secrets.standard[0] as string, new Date(Date.now() - 400_000)),
    ],
    [
      'a signature of the future',
      400,
      'timestamp_out_of_tolerance',
      () => byStandard(refunded, secrets.standard[0] as string, new Date(Date.now() + 400_000)),
    ],
  ])('the standard endpoint answers %s with %i %s', async (_, status, code, headers) => {
    expect(await post(webhookRoute('standard'), refunded, headers())).toMatchObject({
      status,
      body: { code },
    });
  });

  it('the standard endpoint reports each problem field of a signed body', async () => {
    const body = refunded.replace('100', '0.5');
    expect(
      await post(webhookRoute('standard'), body, byStandard(body, secrets.standard[0] as string)),
    ).toMatchObject({
      status: 400,
      body: { code: 'unsupported_event_format', problems: [{ field: 'refundedAmount' }] },
    });
  });
});

describe(`POST ${webhookRoute('stripe')}`, () => {
  const destination = () => ({
    url: `${stack.url}${webhookRoute('stripe')}`,
    signingSecret: secrets.stripe[0] as string,
  });

  it('the Stripe endpoint fetches the session of a thin event from the simulated Stripe', async () => {
    const event = snapshot('checkout.session.completed', session()) as StripeEvent;
    const answer = await stack.stripe.control.deliver(event, { ...destination(), form: 'thin' });
    expect({ ...answer, body: JSON.parse(answer?.body as string) }).toEqual({
      status: 200,
      body: { received: true, payment_id: 'pi_1', booking_id: 'booking-1' },
    });
    expect(stack.stripe.control.calls()).toMatchObject([{ path: '/v1/checkout/sessions/cs_1', status: 200 }]);
  });

  it('the Stripe endpoint answers 503 to a thin event until the simulated Stripe answers again', async () => {
    const event = { ...snapshot('checkout.session.completed', session()), id: 'evt_2' } as StripeEvent;
    const deliver = () => stack.stripe.control.deliver(event, { ...destination(), form: 'thin' });
    stack.stripe.control.fail({ on: 'objects.retrieve', how: { status: 429 } });
    expect(await deliver()).toMatchObject({
      status: 503,
      body: expect.stringContaining('stripe_unreachable'),
    });
    expect(await deliver()).toMatchObject({ status: 200 });
  });

  it('the Stripe endpoint refuses secrets and signatures of the standard scheme', async () => {
    const body = JSON.stringify(snapshot('charge.refunded', {}));
    const secret = secrets.standard[0] as string;
    expect(await post(webhookRoute('stripe'), body, bySecret(body, secret))).toMatchObject({
      status: 400,
      body: { code: 'signature_mismatch' },
    });
    expect(await post(webhookRoute('stripe'), body, byStandard(body, secret))).toMatchObject({
      status: 400,
      body: { code: 'signature_missing' },
    });
  });
});
