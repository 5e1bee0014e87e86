import { join } from 'node:path';
import { type Duration, RemovalPolicy, Stack, Stage, Validations } from 'aws-cdk-lib';
import { PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import {
  ApplicationLogLevel,
  Architecture,
  Code,
  LoggingFormat,
  type RecursiveLoop,
  Runtime,
  SystemLogLevel,
  Tracing,
} from 'aws-cdk-lib/aws-lambda';
import { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs';
import { LogGroup, type RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { env } from '../shared/lib/names.ts';
import { type Access, giveAccess, setting } from './access.ts';
import { bundleFunctions } from './bundle.ts';

interface ServiceFunctionProps {
  readonly description: string;
  readonly timeout: Duration;
  /** MB. CPU grows with it, and so does the speed of cold starts, TLS and signatures. */
  readonly memorySize: number;
  /** All its rights, beside writing its own log and traces. */
  readonly access: readonly Access[];
  readonly recursiveLoop?: RecursiveLoop;
  /** The maximum of concurrent runs, reserved for it. */
  readonly reservedConcurrentExecutions?: number;
}

/** Bundles and defines the functions of `functions/`, given by the names of their folders. */
export function serviceFunctions<Name extends string>(
  scope: Construct,
  logRetention: RetentionDays,
  definitions: Record<Name, ServiceFunctionProps>,
): Record<Name, NodejsFunction> {
  const bundles = join(Stage.of(scope)?.outdir ?? 'cdk.out', 'bundles');
  bundleFunctions(Object.keys(definitions), bundles);
  const defined = Object.entries<ServiceFunctionProps>(definitions).map(([name, props]) => [
    name,
    serviceFunction(new Construct(scope, pascalCase(name)), join(bundles, name), logRetention, props),
  ]);
  return Object.fromEntries(defined);
}

/**
 * A function with a log group and a role of its own. The role starts empty: AWS's managed basic role could
 * write to every log group of the account.
 */
function serviceFunction(
  scope: Construct,
  bundle: string,
  retention: RetentionDays,
  { access, ...props }: ServiceFunctionProps,
): NodejsFunction {
  const logGroup = new LogGroup(scope, 'Logs', { retention, removalPolicy: RemovalPolicy.DESTROY });
  const role = new Role(scope, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
  role.addToPolicy(
    new PolicyStatement({
      actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
      resources: [logGroup.logGroupArn],
    }),
  );
  Validations.of(role).acknowledge({
    id: 'AwsSolutions-IAM5[Resource::*]',
    reason: 'X-Ray has no resources to name: PutTraceSegments and PutTelemetryRecords exist for * only.',
  });

  const fn = new NodejsFunction(scope, 'Function', {
    ...props,
    runtime: Runtime.NODEJS_24_X,
    architecture: Architecture.ARM_64,
    // Bundled already, see bundle.ts.
    code: Code.fromAsset(bundle),
    handler: 'index.handler',
    role,
    logGroup,
    loggingFormat: LoggingFormat.JSON,
    applicationLogLevelV2: ApplicationLogLevel.INFO,
    // Lambda's own START, END and REPORT lines cost as much as ours and say less.
    systemLogLevelV2: SystemLogLevel.WARN,
    // Lambda's own tracing: sampled, no SDK in the bundle, and it sees the cold start before our code runs.
    tracing: Tracing.ACTIVE,
  });
  Validations.of(fn).acknowledge({
    id: 'Serverless-LambdaDLQ',
    reason:
      'For asynchronous invocations. API and queue invoke synchronously; a missed scheduled run is made up by the next.',
  });
  giveAccess(fn, setting(env.stackName, Stack.of(scope).stackName), ...access);
  return fn;
}

/** `booking-sync` is `BookingSync` in the template. */
export function pascalCase(name: string): string {
  return name.replace(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
