import { join } from 'node:path';
import { Duration, RemovalPolicy, Validations } from 'aws-cdk-lib';
import { Effect, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import {
  ApplicationLogLevel,
  Architecture,
  Code,
  LoggingFormat,
  Runtime,
  SystemLogLevel,
  Tracing,
} from 'aws-cdk-lib/aws-lambda';
import { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs';
import { LogGroup, type RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { type Access, giveAccess } from './access.ts';

export interface ServiceFunctionProps {
  /** Folder in `functions/`. */
  readonly name: string;
  readonly description: string;
  /** Where the bundles are: `<bundles>/<name>/index.cjs`. */
  readonly bundles: string;
  readonly timeoutSeconds: number;
  /** MB. The share of a CPU grows with it, and with that the speed of cold starts, TLS and signatures. */
  readonly memorySize: number;
  readonly logRetention: RetentionDays;
  /** All that it may do, beside writing its own log and traces. */
  readonly access: readonly Access[];
}

/**
 * One function of `functions/` with a log group and a role of its own. The role starts empty: AWS's managed
 * basic role could write to every log group of the account.
 */
export function serviceFunction(scope: Construct, props: ServiceFunctionProps): NodejsFunction {
  const own = new Construct(scope, pascalCase(props.name));

  const logGroup = new LogGroup(own, 'Logs', {
    retention: props.logRetention,
    removalPolicy: RemovalPolicy.DESTROY,
  });
  const role = new Role(own, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
  role.addToPolicy(
    new PolicyStatement({
      effect: Effect.ALLOW,
      actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
      resources: [logGroup.logGroupArn],
    }),
  );

  const fn = new NodejsFunction(own, 'Function', {
    description: props.description,
    runtime: Runtime.NODEJS_24_X,
    architecture: Architecture.ARM_64,
    // Bundled already, see bundle.ts.
    code: Code.fromAsset(join(props.bundles, props.name)),
    handler: 'index.handler',
    timeout: Duration.seconds(props.timeoutSeconds),
    memorySize: props.memorySize,
    role,
    logGroup,
    loggingFormat: LoggingFormat.JSON,
    applicationLogLevelV2: ApplicationLogLevel.INFO,
    // Lambda's own START, END and REPORT lines cost as much as ours and say less.
    systemLogLevelV2: SystemLogLevel.WARN,
    // Lambda's own tracing: no SDK in the bundle, sampled, and the only trace of time lost before our code runs.
    tracing: Tracing.ACTIVE,
  });
  Validations.of(role).acknowledge({
    id: 'AwsSolutions-IAM5[Resource::*]',
    reason: 'X-Ray has no resources to name: PutTraceSegments and PutTelemetryRecords exist for * only.',
  });
  Validations.of(fn).acknowledge({
    id: 'Serverless-LambdaDLQ',
    reason:
      'Serves asynchronous invocations. API and queue invoke synchronously; a missed scheduled run is made up by the next.',
  });
  giveAccess(fn, ...props.access);
  return fn;
}

function pascalCase(name: string): string {
  return name.replace(/(^|-)([a-z])/g, (_, _dash, letter: string) => letter.toUpperCase());
}
