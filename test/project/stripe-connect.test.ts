import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { operations } from '../../infra/operations.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { env } from '../../shared/lib/names.ts';
import { type Template, type TemplateView, viewOf } from './template.ts';

vi.setConfig({ hookTimeout: 60_000 });

let outdir: string;
let connected: TemplateView;
let plain: TemplateView;
beforeAll(() => {
  outdir = mkdtempSync(join(tmpdir(), 'stripe-connect-test-'));
  const { template } = synthesize(outdir, { stripeConnect: true }).getStackByName('LeadsCalendarGoogle');
  connected = viewOf(template);
  const file = join(inject('assembly'), 'LeadsCalendarGoogle.template.json');
  plain = viewOf(JSON.parse(readFileSync(file, 'utf8')) as Template);
});
afterAll(() => rmSync(outdir, { recursive: true, force: true }));

const routesOf = (view: TemplateView): string[] =>
  view.ofType('AWS::ApiGatewayV2::Route').map(({ Properties }) => Properties.RouteKey);
const optional = operations
  .filter(({ option }) => option === 'stripeConnect')
  .map(({ method, route }) => `${method} ${route}`);
const environmentOf = (view: TemplateView, name: string): Record<string, unknown> =>
  view.at(`${name}/Function`).Properties.Environment.Variables;

describe('with stripeConnect', () => {
  test('the routes of payment accounts and of the second webhook exist, and no other one more', () => {
    expect(optional).toHaveLength(5);
    expect(routesOf(connected).sort()).toEqual([...routesOf(plain), ...optional].sort());
  });

  test('only payment-recovery has the setting', () => {
    const told = connected
      .ofType('AWS::Lambda::Function')
      .filter(({ Properties }) => env.stripeConnect in Properties.Environment.Variables);
    expect(told).toHaveLength(1);
    expect(environmentOf(connected, 'PaymentRecovery')).toMatchObject({
      [env.stripeConnect]: 'true',
      [env.indexShards]: '4',
    });
    expect(environmentOf(plain, 'PaymentRecovery')).not.toHaveProperty(env.stripeConnect);
  });

  test('the second webhook has an alarm of its own, and its URL is an output', () => {
    const names = (view: TemplateView) => Object.keys(view.template.Resources);
    const isOfConnect = (name: string) => /WebhooksRejectedStripeConnect/i.test(name);
    expect(names(connected).filter(isOfConnect)).toHaveLength(1);
    expect(names(plain).filter(isOfConnect)).toEqual([]);
    expect(connected.text(connected.template.Outputs.ConnectWebhookUrl?.Value)).toMatch(
      /\/webhooks\/stripe-connect$/,
    );
    expect(plain.template.Outputs).not.toHaveProperty('ConnectWebhookUrl');
  });

  test('it adds no table, queue, secret or function', () => {
    for (const type of ['DynamoDB::Table', 'SQS::Queue', 'SecretsManager::Secret', 'Lambda::Function'])
      expect(connected.ofType(`AWS::${type}`)).toHaveLength(plain.ofType(`AWS::${type}`).length);
  });
});

test('with stripeEventSource too, stripe-events accepts events of connected accounts', () => {
  const directory = mkdtempSync(join(tmpdir(), 'stripe-connect-test-'));
  try {
    const options = { stripeConnect: true, stripeEventSource: 'aws.partner/stripe.com/ed_1' };
    const { template } = synthesize(directory, options).getStackByName('LeadsCalendarGoogle');
    expect(environmentOf(viewOf(template), 'StripeEvents')).toMatchObject({ [env.stripeConnect]: 'true' });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
