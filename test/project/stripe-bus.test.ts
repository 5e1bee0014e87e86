import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { readConfig } from '../../infra/config.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { env, keySecrets } from '../../shared/lib/names.ts';
import { objectParsers } from '../../shared/payments/stripe/object-parsers.ts';
import { type Template, type TemplateView, viewOf } from './template.ts';

vi.setConfig({ hookTimeout: 60_000 });

const source = 'aws.partner/stripe.com/ed_1';
let outdir: string;
let stack: TemplateView;

// Includes that cdk-nag has no findings: synthesis fails on one.
beforeAll(() => {
  outdir = mkdtempSync(join(tmpdir(), 'stripe-bus-test-'));
  stack = viewOf(
    synthesize(outdir, { stripeEventSource: source }).getStackByName('LeadsCalendarGoogle').template,
  );
});
afterAll(() => rmSync(outdir, { recursive: true, force: true }));

const withoutOption = (): Template =>
  JSON.parse(readFileSync(join(inject('assembly'), 'LeadsCalendarGoogle.template.json'), 'utf8'));

describe('with stripeEventSource', () => {
  test('a bus of the name of the partner event source is associated with it', () => {
    expect(stack.at('StripeBus/Bus').Properties).toEqual({ Name: source, EventSourceName: source });
  });

  test("a rule queues only Stripe's events about payments, snapshot or thin, and retries for a day", () => {
    const { EventBusName, EventPattern, State, Targets } = stack.at('StripeBus/Rule').Properties;
    expect(stack.text(EventBusName)).toBe('<StripeBus/Bus>');
    expect(State).toBe('ENABLED');
    const types = [...objectParsers.keys()];
    expect({ ...EventPattern, 'detail-type': EventPattern['detail-type'].toSorted() }).toEqual({
      source: [source],
      'detail-type': [...types, ...types.map((type) => `v1.${type}`)].sort(),
    });
    // EventBridge's limit.
    expect(JSON.stringify(EventPattern).length).toBeLessThan(2048);
    expect(Targets).toHaveLength(1);
    const [{ Arn, DeadLetterConfig, RetryPolicy, InputPath }] = Targets;
    expect({ RetryPolicy, InputPath }).toEqual({
      RetryPolicy: { MaximumEventAgeInSeconds: 86_400, MaximumRetryAttempts: 185 },
      InputPath: undefined,
    });
    expect([Arn, DeadLetterConfig.Arn].map(stack.text)).toEqual([
      '<StripeBus/Queue.Arn>',
      '<StripeBus/DeadLetters.Arn>',
    ]);
  });

  test('the queue feeds stripe-events, and dead letters of rule and function meet in one queue', () => {
    const { EventSourceArn, FunctionName, ...mapping } = stack.at('StripeEvents/Function/Events').Properties;
    expect([EventSourceArn, FunctionName].map(stack.text)).toEqual([
      '<StripeBus/Queue.Arn>',
      '<StripeEvents/Function>',
    ]);
    expect(mapping).toEqual({ BatchSize: 10, FunctionResponseTypes: ['ReportBatchItemFailures'] });
    const { RedrivePolicy } = stack.at('StripeBus/Queue').Properties;
    expect(stack.text(RedrivePolicy.deadLetterTargetArn)).toBe('<StripeBus/DeadLetters.Arn>');
  });

  test('stripe-events knows what it needs and nothing else', () => {
    const { Environment } = stack.at('StripeEvents/Function').Properties;
    const known = Object.entries(Environment.Variables).map(([name, value]) => [name, stack.text(value)]);
    expect(Object.fromEntries(known)).toEqual({
      [env.stackName]: 'LeadsCalendarGoogle',
      [env.stripeEventSource]: source,
      [env.stripeMode]: 'live',
      [env.stripeApiSecretId]: '<StripeApi>',
      [env.invoicesPaidOutOfBand]: 'ignore',
      [keySecrets['payment-messages']]: '<PaymentMessages>',
      [env.bookingsQueueUrl]: '<BookingsQueue>',
    });
  });

  test('alarms watch the age of its queue and its dead letters', () => {
    const watched = ['DeadLetters', 'QueueAge'].map((name) => {
      const { MetricName, Dimensions, Threshold } = stack.at(`Alarms/${name}StripeEvents`).Properties;
      return [MetricName, stack.text(Dimensions[0].Value), Threshold];
    });
    expect(watched).toEqual([
      ['ApproximateNumberOfMessagesVisible', '<StripeBus/DeadLetters.QueueName>', 1],
      ['ApproximateAgeOfOldestMessage', '<StripeBus/Queue.QueueName>', 900],
    ]);
  });

  test('outputs name the source and both queues', () => {
    const { StripeEventSource, StripeEventsQueueUrl, StripeEventsDeadLettersUrl } = stack.template.Outputs;
    expect(
      [StripeEventSource, StripeEventsQueueUrl, StripeEventsDeadLettersUrl].map((it) =>
        stack.text(it?.Value),
      ),
    ).toEqual([source, '<StripeBus/Queue>', '<StripeBus/DeadLetters>']);
  });

  test('the bundle of stripe-events is within its budget', () => {
    const bundle = readFileSync(join(outdir, 'bundles', 'stripe-events', 'index.cjs'));
    expect(bundle.length, 'minified').toBeLessThanOrEqual(242_000);
    expect(gzipSync(bundle).length, 'compressed').toBeLessThanOrEqual(80_000);
  });

  test('the option changes no other resource', () => {
    const before = withoutOption().Resources;
    const all = new Set(Object.keys({ ...before, ...stack.template.Resources }));
    const changed = [...all].filter(
      (id) => JSON.stringify(before[id]) !== JSON.stringify(stack.template.Resources[id]),
    );
    const others = changed.filter((id) => !/^Stripe(Bus|Events)|StripeEvents/.test(id));
    // They count the errors and throttles of all functions, or show them.
    expect(others.map((id) => id.replace(/[0-9A-F]{8}$/, '')).sort()).toEqual([
      'AlarmsFunctionErrors2',
      'AlarmsFunctionThrottles2',
      'Dashboard',
    ]);
  });
});

test('without stripeEventSource the template has none of its resources', () => {
  const template = JSON.stringify(withoutOption());
  expect(template.match(/\w*(StripeBus|StripeEvent|STRIPE_EVENT|AWS::Events::Rule)\w*/g)).toBeNull();
});

test.each([
  'ed_1',
  'aws.partner/stripe.com/',
  'aws.partner/stripe.com/ed_1/',
  'aws.partner/example.com/ed_1',
  'aws.partner/stripe.com/ed_*',
])('stripeEventSource cannot be %s', (stripeEventSource) => {
  expect(() => readConfig({ stripeEventSource })).toThrow('at stripeEventSource');
});
