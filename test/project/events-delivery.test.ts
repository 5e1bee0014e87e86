import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { readConfig } from '../../infra/config.ts';
import { eventsJsonSchema } from '../../infra/events-schema.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { eventSource } from '../../shared/lib/names.ts';
import { type TemplateView, viewOf } from './template.ts';

vi.setConfig({ hookTimeout: 60_000 });

const eventsUrl = 'https://app.example.com/events';
let outdir: string;
let stack: TemplateView;

// Includes that cdk-nag has no findings: synthesis fails on one.
beforeAll(() => {
  outdir = mkdtempSync(join(tmpdir(), 'events-delivery-test-'));
  stack = viewOf(synthesize(outdir, { eventsUrl }).getStackByName('LeadsCalendarGoogle').template);
});
afterAll(() => rmSync(outdir, { recursive: true, force: true }));

describe('with eventsUrl', () => {
  test('with eventsUrl a rule posts only our bus events, and retries for up to a day', () => {
    const { EventBusName, EventPattern, State, Targets } = stack.at('EventsDelivery/Rule').Properties;
    expect(stack.text(EventBusName)).toBe('<Bus>');
    expect({ EventPattern, State }).toEqual({ EventPattern: { source: [eventSource] }, State: 'ENABLED' });
    expect(Targets).toHaveLength(1);
    const [{ Arn, RoleArn, DeadLetterConfig, InputPath, RetryPolicy }] = Targets;
    expect({ InputPath, RetryPolicy }).toEqual({
      InputPath: '$.detail',
      RetryPolicy: { MaximumEventAgeInSeconds: 86_400, MaximumRetryAttempts: 185 },
    });
    expect([Arn, RoleArn, DeadLetterConfig.Arn].map(stack.text)).toEqual([
      '<EventsDelivery/Destination/ApiDestination.Arn>',
      '<EventsDelivery/Role.Arn>',
      '<EventsDelivery/DeadLetters.Arn>',
    ]);
  });

  test('with eventsUrl the destination has that URL and a bounded rate', () => {
    const { ConnectionArn, ...destination } = stack.at(
      'EventsDelivery/Destination/ApiDestination',
    ).Properties;
    expect(destination).toMatchObject({
      HttpMethod: 'POST',
      InvocationEndpoint: eventsUrl,
      InvocationRateLimitPerSecond: 50,
    });
    expect(stack.text(ConnectionArn)).toBe('<EventsDelivery/Connection/Connection.Arn>');
  });

  test('with eventsUrl only EventBridge gets the key, by a reference', () => {
    const { AuthorizationType, AuthParameters } = stack.at('EventsDelivery/Connection/Connection').Properties;
    expect(AuthorizationType).toBe('API_KEY');
    const { ApiKeyName, ApiKeyValue } = AuthParameters.ApiKeyAuthParameters;
    expect(ApiKeyName).toBe('X-Api-Key');
    expect(stack.text(ApiKeyValue)).toBe('{{resolve:secretsmanager:<EventsDelivery/Key>:SecretString:::}}');
    expect(stack.text(stack.template.Outputs.EventsKeySecret?.Value)).toBe('<EventsDelivery/Key>');
    expect(stack.text(stack.template.Outputs.EventsConnectionName?.Value)).toBe(
      '<EventsDelivery/Connection/Connection>',
    );
  });

  test('with eventsUrl an alarm watches undelivered events', () => {
    const { Dimensions, ...alarm } = stack.at('Alarms/UndeliveredEvents').Properties;
    expect(alarm).toMatchObject({ MetricName: 'ApproximateNumberOfMessagesVisible', Threshold: 1 });
    expect(stack.text(Dimensions[0].Value)).toBe('<EventsDelivery/DeadLetters.QueueName>');
  });

  test('with eventsUrl no resources depend on each other in a circle', () => {
    expect(stack.circle()).toBeUndefined();
  });
});

test('without eventsUrl the template has no delivery resources', () => {
  const template = readFileSync(join(inject('assembly'), 'LeadsCalendarGoogle.template.json'), 'utf8');
  expect(template).not.toMatch(
    /EventsDelivery|EventsKey|UndeliveredEvents|AWS::Events::(Rule|ApiDestination|Connection)/,
  );
});

test.each(['http://app.example.com/events', 'app.example.com'])('eventsUrl cannot be %s', (url) => {
  expect(() => readConfig({ eventsUrl: url })).toThrow('at eventsUrl');
});

describe('the documents of events', () => {
  const read = (name: string) => readFileSync(join(import.meta.dirname, '../../docs', name), 'utf8');

  test('docs/events.schema.json matches the code; if not: npm run docs', () => {
    expect(JSON.parse(read('events.schema.json'))).toEqual(eventsJsonSchema());
  });
});
