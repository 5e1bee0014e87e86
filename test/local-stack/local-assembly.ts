/** Cloud assemblies of a few lines for tests of the runner: each test writes its own templates and bundles. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type Runner, type RunnerOptions, runAssembly } from '../../infra/local/aws/runner.ts';
import type { Resource } from '../../infra/local/aws/template.ts';

/** A folder that the operating system cleans up. */
export function temporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'local-runner-'));
}

/**
 * Writes an assembly.
 * @param bundles source of `index.mjs` by S3 key, as `Code.S3Key` of a function names it
 * @returns its folder
 */
export function writeAssembly(
  resources: Record<string, Resource>,
  bundles: Record<string, string> = {},
): string {
  const directory = temporaryDirectory();
  const write = (name: string, content: unknown) =>
    writeFileSync(join(directory, name), JSON.stringify(content));
  write('manifest.json', {
    artifacts: {
      Test: { type: 'aws:cloudformation:stack', properties: { templateFile: 'test.template.json' } },
      'Test.assets': { type: 'cdk:asset-manifest', properties: { file: 'test.assets.json' } },
    },
  });
  write('test.template.json', { Resources: resources });
  const files = Object.keys(bundles).map((key) => [
    key,
    { source: { path: `asset.${key}` }, destinations: { current: { objectKey: key } } },
  ]);
  write('test.assets.json', { files: Object.fromEntries(files) });
  for (const [key, source] of Object.entries(bundles)) {
    mkdirSync(join(directory, `asset.${key}`));
    writeFileSync(join(directory, `asset.${key}`, 'index.mjs'), source);
  }
  return directory;
}

/** A function whose bundle is `bundles[key]`. */
export function lambda(key: string, properties: Record<string, unknown> = {}): Resource {
  return {
    Type: 'AWS::Lambda::Function',
    Properties: {
      Code: { S3Key: key },
      Handler: 'index.handler',
      Timeout: 5,
      FunctionName: key,
      ...properties,
    },
  };
}

/** An HTTP API whose routes all invoke one function. */
export function httpApi(functionId: string, routeKeys: string[]): Record<string, Resource> {
  const routes = routeKeys.map((RouteKey, i): [string, Resource] => [
    `Route${i}`,
    {
      Type: 'AWS::ApiGatewayV2::Route',
      Properties: { RouteKey, Target: { 'Fn::Join': ['', ['integrations/', { Ref: 'Integration' }]] } },
    },
  ]);
  return {
    Api: { Type: 'AWS::ApiGatewayV2::Api', Properties: { ProtocolType: 'HTTP' } },
    Integration: {
      Type: 'AWS::ApiGatewayV2::Integration',
      Properties: {
        IntegrationType: 'AWS_PROXY',
        PayloadFormatVersion: '2.0',
        IntegrationUri: { 'Fn::GetAtt': [functionId, 'Arn'] },
      },
    },
    ...Object.fromEntries(routes),
  };
}

/** Runs an assembly until the test is over. */
export async function run(assembly: string, options: RunnerOptions = {}): Promise<Runner> {
  const runner = await runAssembly(
    () => assembly,
    async () => ({}),
    options,
  );
  onTestFinished(() => runner.close());
  return runner;
}

/** A table as in the template, with the key `id` and an index by `shard`. */
export const table = (TableName: string, properties: Record<string, unknown> = {}): Resource => ({
  Type: 'AWS::DynamoDB::Table',
  Properties: {
    TableName,
    BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: ['id', 'shard'].map((AttributeName) => ({ AttributeName, AttributeType: 'S' })),
    KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
    GlobalSecondaryIndexes: [
      {
        IndexName: 'by-shard',
        KeySchema: [{ AttributeName: 'shard', KeyType: 'HASH' }],
        Projection: { ProjectionType: 'KEYS_ONLY' },
      },
    ],
    ...properties,
  },
});
