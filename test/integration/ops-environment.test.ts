import { execFile } from 'node:child_process';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { optionsMetadata } from '../../infra/stack.ts';
import { type OpsStack, startOpsStack } from './ops-stack.ts';

/** `ops --env example` against the local stack, with stand-ins for the services that the local stack does not have. */
let on: OpsStack;
let server: Server;
let asked: string[];
let answers: Record<string, (body: string) => string>;

const arn = 'arn:aws:sts::111122223333:assumed-role/Operator/grace';
const stackName = 'LeadsCalendarGoogle-example';

beforeAll(async () => {
  on = await startOpsStack();
  server = createServer(async (request, response) => {
    const body = await text(request);
    const operation = operationOf(request, body);
    asked.push(operation);
    const answer = answers[operation];
    response.statusCode = answer ? 200 : 400;
    const missing =
      '<ErrorResponse><Error><Code>ValidationError</Code><Message>Stack with id x does not exist</Message></Error></ErrorResponse>';
    response.end(answer ? answer(body) : missing);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  server?.close();
  await on?.stack.close();
});
beforeEach(() => {
  asked = [];
  answers = { ...deployed };
});

/** The query protocol names it in the body, JSON protocols in a header. */
function operationOf({ headers }: IncomingMessage, body: string): string {
  return (
    String(headers['x-amz-target'] ?? '')
      .split('.')
      .pop() ||
    (new URLSearchParams(body).get('Action') ?? '')
  );
}

const xml = (operation: string, result: string) =>
  `<${operation}Response><${operation}Result>${result}</${operation}Result></${operation}Response>`;
const escaped = (value: unknown) => JSON.stringify(value).replaceAll('"', '&quot;');

const deployed = {
  GetTemplateSummary: () =>
    xml(
      'GetTemplateSummary',
      `<Metadata>${escaped({ [optionsMetadata]: { indexShards: 8, keepBookingsDays: 100 } })}</Metadata>`,
    ),
  DescribeStacks: () => {
    const outputs = Object.entries(on.stack.outputs).map(
      ([key, value]) => `<member><OutputKey>${key}</OutputKey><OutputValue>${value}</OutputValue></member>`,
    );
    const stack = `<StackName>${stackName}</StackName><CreationTime>2026-11-01T00:00:00Z</CreationTime><StackStatus>UPDATE_COMPLETE</StackStatus>`;
    return xml(
      'DescribeStacks',
      `<Stacks><member>${stack}<Outputs>${outputs.join('')}</Outputs></member></Stacks>`,
    );
  },
  GetCallerIdentity: () => xml('GetCallerIdentity', `<Arn>${arn}</Arn><Account>111122223333</Account>`),
};

function ops(...args: string[]): Promise<{ code: number; text: string }> {
  const { dynamodb, sqs, secretsManager } = on.stack.endpoints;
  const standIn = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const command = join(import.meta.dirname, '..', '..', 'infra', 'cli', 'ops.ts');
  const env = {
    PATH: process.env.PATH,
    AWS_ACCESS_KEY_ID: 'example',
    AWS_SECRET_ACCESS_KEY: 'example',
    AWS_ENDPOINT_URL: standIn,
    AWS_ENDPOINT_URL_DYNAMODB: dynamodb,
    AWS_ENDPOINT_URL_SQS: sqs,
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secretsManager,
  };
  return new Promise((resolve) => {
    execFile(process.execPath, [command, ...args, '--env', 'example'], { env }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, text: stdout + stderr }),
    );
  });
}

it('reads outputs and options of the deployed stack, and its tables', async () => {
  await on.pay('deployed', 'b-deployed', { end: 'soon' });
  await on.becomes('b-deployed', 'failed');
  expect((await ops('booking', 'b-deployed')).text).toMatch(/status +failed/);
  expect(asked.sort()).toEqual(['DescribeStacks', 'GetTemplateSummary']);
});

it('records the caller as AWS names them', async () => {
  await on.pay('unusable: user', 'b-caller');
  await on.becomes('pi_b-caller', 'failed');
  expect((await ops('retry', 'pi_b-caller', '--user', 'deployed')).text).toContain('Handed over');
  const { timeline } = await on.booking('pi_b-caller');
  expect(timeline).toContainEqual(expect.objectContaining({ what: 'retry requested', by: arn }));
});

it('counts webhooks by the metrics of the stack', async () => {
  type Query = { Id: string; MetricStat: { Metric: { Dimensions: { Name: string; Value: string }[] } } };
  answers.GetMetricData = (body) => {
    const { MetricDataQueries, StartTime, EndTime } = JSON.parse(body) as Record<string, unknown>;
    expect(Number(EndTime) - Number(StartTime)).toBe(7 * 86_400);
    const wanted = JSON.stringify({ stack: stackName, provider: 'stripe', code: 'signature_mismatch' });
    const asked = (MetricDataQueries as Query[]).find(({ MetricStat: { Metric } }) => {
      const dimensions = Metric.Dimensions.map(({ Name, Value }) => [Name, Value]);
      return JSON.stringify(Object.fromEntries(dimensions)) === wanted;
    });
    const Timestamps = [Number(StartTime), Number(StartTime) + 86_400];
    const MetricDataResults = [{ Id: asked?.Id, Timestamps, Values: [3, 4], StatusCode: 'Complete' }];
    return JSON.stringify({ MetricDataResults });
  };
  expect((await ops('webhooks')).text).toMatch(/rejected +stripe +signature_mismatch +7$/m);
});

it('says what to do where the environment is not deployed', async () => {
  answers = {};
  const { code, text } = await ops('doctor');
  expect(text).toContain(
    `There is no stack ${stackName} in eu-central-1 yet: npm run deploy -- --env example`,
  );
  expect(code).toBe(1);
});
