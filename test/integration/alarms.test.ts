import middy from '@middy/core';
import { beforeEach, describe, expect, inject, it, vi } from 'vitest';
import { acceptWebhook } from '../../functions/payment-confirmed/accept-webhook.ts';
import { type ProviderName, providers } from '../../functions/payment-confirmed/providers.ts';
import { readAssembly } from '../../infra/local/aws/template.ts';
import { errorHandler, type HttpRequest, type HttpResponse, json } from '../../shared/http/http.ts';
import { env, metricNamespace, webhookRoute } from '../../shared/lib/names.ts';
import { recordedQueue } from '../fakes/queue.ts';
import { cachedSecret } from '../fakes/secret.ts';
import { signWebhook } from '../fixtures/webhooks.ts';
import { logged } from '../support/setup.ts';

/** The alarms of the template, over the metrics that the code really emits. */

type Input = { Id: string; MetricStat?: { Metric: MetricOfAlarm }; Expression?: string };
type MetricOfAlarm = {
  Namespace: string;
  MetricName: string;
  Dimensions?: { Name: string; Value: string }[];
};

const { template } = readAssembly(inject('assembly'));
// As the functions of that template: their metrics have its name as a dimension.
vi.stubEnv(env.stackName, 'LeadsCalendarGoogle');
const now = Math.floor(Date.now() / 1000);
const stripeSecret = 'whsec_of_stripe_0123456789abcdef';
const standardSecret = `whsec_${Buffer.from('a standard secret of 32 bytes...').toString('base64')}`;
const queue = recordedQueue();
const deps = {
  secrets: cachedSecret({ stripe: [stripeSecret], standard: [standardSecret] }),
  queue,
  clock: () => now,
  stripeMode: 'both' as const,
  invoicesPaidOutOfBand: 'ignore' as const,
  stripeKeys: cachedSecret({}),
  stripeApi: { fetch, baseUrl: 'http://127.0.0.1:1' },
};

const ignored = { id: 'evt_1', object: 'event', created: now, livemode: true, type: 'charge.captured' };
const stripeEvent = JSON.stringify({ ...ignored, data: { object: {} } });
const refund = JSON.stringify({
  type: 'payment.refunded',
  timestamp: '2026-11-23T08:00:00Z',
  data: { paymentId: 'order-77', refundedAmount: 100 },
});

/** Sends a webhook through the middleware that answers errors, as the function does; returns the status. */
async function send(name: ProviderName, body: string, secret: string): Promise<number> {
  const provider = providers.find((one) => one.name === name) as (typeof providers)[number];
  const webhook = { body: Buffer.from(body), headers: signWebhook[name](body, secret, now) };
  const handler = middy<HttpRequest, HttpResponse>({ timeoutEarlyInMillis: 0 })
    .use(errorHandler())
    .handler(async () => json(200, await acceptWebhook(deps, provider, webhook)));
  const request = { routeKey: `POST ${webhookRoute(name)}`, headers: {} } as HttpRequest;
  const answer = await handler(request, { awsRequestId: '1' } as never);
  return answer.statusCode as number;
}

/** The sum of a logged metric with exactly these dimensions. */
function sumOf({ MetricName, Dimensions = [] }: MetricOfAlarm): number {
  const wanted = Object.fromEntries(Dimensions.map(({ Name, Value }) => [Name, Value]));
  return logged
    .map((line) => JSON.parse(line))
    .filter(({ _aws, ...fields }) => {
      const metrics = _aws?.CloudWatchMetrics[0];
      if (metrics?.Namespace !== metricNamespace || metrics.Metrics[0].Name !== MetricName) return false;
      const names: string[] = metrics.Dimensions[0];
      return (
        names.length === Dimensions.length && names.every((name) => String(fields[name]) === wanted[name])
      );
    })
    .reduce((sum, line) => sum + line[MetricName], 0);
}

/** Whether the logged metrics raise the alarm. */
function rings(name: string): boolean {
  const alarm = Object.entries(template.Resources).find(
    ([id, { Type }]) => Type === 'AWS::CloudWatch::Alarm' && id.startsWith(`Alarms${name}`),
  );
  if (!alarm) throw new Error(`There is no alarm ${name}.`);
  const { Metrics, Threshold } = alarm[1].Properties as { Metrics: Input[]; Threshold: number };
  const values = Metrics.flatMap(({ Id, MetricStat }): [string, number][] =>
    MetricStat ? [[Id, sumOf(MetricStat.Metric)]] : [],
  );
  const { Expression = '' } = Metrics.find((it) => it.Expression) ?? {};
  const total = (prefix: string): number =>
    values.reduce((sum, [id, value]) => sum + (id.startsWith(prefix) ? value : 0), 0);
  if (Expression === 'SUM(METRICS())') return total('') >= Threshold;
  expect(Expression).toMatch(/^IF\(FILL\(verified0, 0\) .* > 0, 0, FILL\(rejected0, 0\) .*\)$/);
  return (total('verified') > 0 ? 0 : total('rejected')) >= Threshold;
}

beforeEach(() => {
  logged.length = 0;
  queue.unavailable = false;
});

describe.each([
  ['stripe', 'WebhooksRejectedStripe', stripeEvent, stripeSecret, 'whsec_another_endpoint_000'],
  ['standard', 'WebhooksRejectedStandard', refund, standardSecret, `whsec_${'A'.repeat(43)}=`],
] as const)('webhooks of %s', (provider, alarm, body, secret, wrong) => {
  it('raises the webhook alarm when five webhooks are rejected and none is accepted', async () => {
    for (let sent = 0; sent < 4; sent++) expect(await send(provider, body, wrong)).toBe(400);
    expect(rings(alarm)).toBe(false);
    expect(await send(provider, body, wrong)).toBe(400);
    expect(rings(alarm)).toBe(true);
  });

  it('raises no webhook alarm while a webhook is accepted, since anyone can send invalid ones', async () => {
    for (let sent = 0; sent < 9; sent++) await send(provider, body, wrong);
    expect(await send(provider, body, secret)).toBe(200);
    expect(rings(alarm)).toBe(false);
  });

  it('raises the webhook alarm when a webhook is answered 5xx', async () => {
    expect(rings('WebhookErrors')).toBe(false);
    queue.unavailable = true;
    expect(await send(provider, provider === 'stripe' ? paidEvent() : body, secret)).toBe(500);
    expect(rings('WebhookErrors')).toBe(true);
  });

  it('raises the webhook alarm when a signed webhook is unreadable', async () => {
    await send(provider, '{}', wrong);
    expect(rings('WebhookErrors')).toBe(false);
    expect(await send(provider, '{}', secret)).toBe(400);
    expect(rings('WebhookErrors')).toBe(true);
  });
});

function paidEvent(): string {
  const metadata = { booking_id: 'booking-1', user_id: 'ada', summary: 'First meeting' };
  const intent = { id: 'pi_1', amount: 9000, amount_received: 9000, metadata };
  return JSON.stringify({ ...ignored, type: 'payment_intent.succeeded', data: { object: intent } });
}
