/** Reads the facts that the parts of the runner need from resolved resources. */
import { devNull } from 'node:os';
import { localCredentials } from './dynamodb.ts';
import type { EventSourceConfig } from './event-source.ts';
import { type FunctionConfig, maximumWorkers } from './functions.ts';
import type { ResolvedResource } from './resources.ts';
import { region } from './template.ts';

/** Addresses of the services of AWS on this machine. */
export type Endpoints = { dynamodb: string; sqs: string; secretsManager: string; eventBridge: string };

/**
 * The environment of every function besides the template's variables.
 * @param awsUrl the gateway, in place of all services of AWS
 */
export function lambdaEnvironment(awsUrl: string): Record<string, string> {
  return {
    AWS_REGION: region,
    AWS_DEFAULT_REGION: region,
    AWS_SECRET_ACCESS_KEY: localCredentials.secretAccessKey,
    // Profiles of this machine must not reach the functions.
    AWS_CONFIG_FILE: devNull,
    AWS_SHARED_CREDENTIALS_FILE: devNull,
    AWS_ENDPOINT_URL: awsUrl,
  };
}

/** The template's own environment variables of a function. */
export function variablesOf({ properties }: ResolvedResource): Record<string, string> {
  return (properties.Environment as { Variables?: Record<string, string> } | undefined)?.Variables ?? {};
}

/**
 * @param environment variables for the function, which win over the template's
 * @throws Error when the function's bundle is not among the assets
 */
export function functionConfig(
  resource: ResolvedResource,
  assetPaths: Map<string, string>,
  environment: Record<string, string>,
): FunctionConfig {
  const { ref: name, arn, properties } = resource;
  const { S3Key = '' } = properties.Code as { S3Key?: string };
  const directory = assetPaths.get(S3Key);
  if (!directory) throw new Error(`The function ${name} has no folder among the assets of the assembly.`);
  const memoryMb = Number(properties.MemorySize ?? 128);
  return {
    name,
    arn,
    directory,
    handler: String(properties.Handler),
    timeoutMs: Number(properties.Timeout ?? 3) * 1000,
    memoryMb,
    concurrency: Math.min(Number(properties.ReservedConcurrentExecutions ?? maximumWorkers), maximumWorkers),
    environment: {
      ...variablesOf(resource),
      ...environment,
      // Identifies the caller to the gateway, as temporary credentials of the function's role do at AWS.
      AWS_ACCESS_KEY_ID: name,
      AWS_LAMBDA_FUNCTION_NAME: name,
      AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(memoryMb),
    },
  };
}

/** @throws Error when the event source is not a queue of the template, or one that Lambda would refuse */
export function eventSourceConfig(
  { logicalId, properties }: ResolvedResource,
  queues: ResolvedResource[],
  functions: FunctionConfig[],
): EventSourceConfig & { functionName: string } {
  const queue = queues.find(({ arn }) => arn === properties.EventSourceArn);
  if (!queue) throw new Error(`The event source ${logicalId} is no SQS queue of the template.`);
  const target = functions.find(({ name, arn }) => [name, arn].includes(String(properties.FunctionName)));
  if (!target) throw new Error(`The event source ${logicalId} has no function of the template.`);
  const visibilityMs = Number(queue.properties.VisibilityTimeout ?? 30) * 1000;
  if (visibilityMs < target.timeoutMs) {
    throw new Error(
      `The visibility timeout of ${queue.logicalId} (${visibilityMs / 1000} s) is shorter than the timeout of ` +
        `${target.name} (${target.timeoutMs / 1000} s). Lambda refuses such an event source.`,
    );
  }
  const { MaximumConcurrency = maximumWorkers } = (properties.ScalingConfig ?? {}) as {
    MaximumConcurrency?: number;
  };
  const responseTypes = (properties.FunctionResponseTypes ?? []) as string[];
  return {
    functionName: target.name,
    queueUrl: queue.ref,
    queueArn: queue.arn,
    batchSize: Number(properties.BatchSize ?? 10),
    reportsBatchItemFailures: responseTypes.includes('ReportBatchItemFailures'),
    maximumConcurrency: Math.min(MaximumConcurrency, maximumWorkers),
  };
}
