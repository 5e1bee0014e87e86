/**
 * Which resource types of the template run on this machine, which are ignored, and each one's `Ref` and
 * `Fn::GetAtt`. Names and attributes depend only on the template and a few addresses, so they are resolved before
 * anything runs.
 */
import {
  accountId,
  type Resource,
  type ResourceValues,
  region,
  resolver,
  type Template,
  type ValuesOf,
} from './template.ts';

/** Addresses in place of those that AWS would assign. */
type Addresses = { apiUrl: string; queueUrlBase: string };

export const arn = (service: string, resource: string): string =>
  `arn:aws:${service}:${region}:${accountId}:${resource}`;

/** A literal name in the template; a computed one counts as absent. */
const literal = (name: unknown): string | undefined => (typeof name === 'string' ? name : undefined);

/** The name of a resource without one in the template: its logical id without the hash that CDK adds. */
const plainName = (logicalId: string): string => logicalId.replace(/[0-9A-F]{8}$/, '');

/** Functions are named after their folder: `BookingSyncFunction3CF2093C` is `booking-sync`. */
const describeFunction: Describe = (logicalId, properties) => {
  const name =
    literal(properties.FunctionName) ??
    plainName(logicalId)
      .replace(/(?<=.)Function$/, '')
      .replace(/(?<=[a-z0-9])[A-Z]/g, (letter) => `-${letter}`)
      .toLowerCase();
  return { ref: name, attributes: { Arn: arn('lambda', `function:${name}`) } };
};

type Describe = (logicalId: string, properties: Record<string, unknown>, at: Addresses) => ResourceValues;

function named(property: string, service: string, prefix = ''): Describe {
  return (logicalId, properties) => {
    const name = literal(properties[property]) ?? plainName(logicalId);
    return { ref: name, attributes: { Arn: arn(service, `${prefix}${name}`), Name: name } };
  };
}

const describeQueue: Describe = (logicalId, properties, at) => {
  const name = queueName(logicalId, properties);
  return {
    ref: `${at.queueUrlBase}/${accountId}/${name}`,
    attributes: {
      Arn: arn('sqs', name),
      QueueName: name,
      QueueUrl: `${at.queueUrlBase}/${accountId}/${name}`,
    },
  };
};

/** The name of a queue, as CloudFormation would choose it if the template has none. */
export function queueName(logicalId: string, properties: Record<string, unknown>): string {
  return literal(properties.QueueName) ?? `${plainName(logicalId)}${properties.FifoQueue ? '.fifo' : ''}`;
}

const describeSecret: Describe = (logicalId, properties) => {
  const secretArn = arn('secretsmanager', `secret:${secretName(logicalId, properties)}-local0`);
  return { ref: secretArn, attributes: { Id: secretArn } };
};

/** The name of a secret, as CloudFormation would choose it if the template has none. */
export function secretName(logicalId: string, properties: Record<string, unknown>): string {
  return literal(properties.Name) ?? plainName(logicalId);
}

const describeRole: Describe = (logicalId, properties) => {
  const name = literal(properties.RoleName) ?? plainName(logicalId);
  return {
    ref: name,
    attributes: { Arn: `arn:aws:iam::${accountId}:role/${name}`, RoleId: logicalId },
  };
};

const describeApi: Describe = (logicalId, _properties, at) => ({
  ref: logicalId,
  attributes: { ApiEndpoint: at.apiUrl, ApiId: logicalId },
});

const describeOther: Describe = (logicalId) => ({ ref: logicalId, attributes: { Id: logicalId } });

/** Types that the local stack runs or evaluates. */
const running: Record<string, Describe> = {
  'AWS::DynamoDB::Table': named('TableName', 'dynamodb', 'table/'),
  'AWS::DynamoDB::GlobalTable': named('TableName', 'dynamodb', 'table/'),
  'AWS::SQS::Queue': describeQueue,
  'AWS::SecretsManager::Secret': describeSecret,
  'AWS::Events::ApiDestination': named('Name', 'events', 'api-destination/'),
  'AWS::Events::Connection': named('Name', 'events', 'connection/'),
  'AWS::Events::EventBus': named('Name', 'events', 'event-bus/'),
  'AWS::Events::Rule': named('Name', 'events', 'rule/'),
  'AWS::IAM::Role': describeRole,
  'AWS::IAM::Policy': describeOther,
  'AWS::IAM::ManagedPolicy': describeOther,
  'AWS::Lambda::Function': describeFunction,
  'AWS::Lambda::EventSourceMapping': describeOther,
  'AWS::ApiGatewayV2::Api': describeApi,
  'AWS::ApiGatewayV2::Route': describeOther,
  'AWS::ApiGatewayV2::Integration': describeOther,
  'AWS::Scheduler::Schedule': named('Name', 'scheduler', 'schedule/default/'),
};

/**
 * Types without a meaning on one machine: resource policies, throttling, encryption at rest, monitoring,
 * bookkeeping.
 */
const ignored = new Set([
  'AWS::ApiGateway::Account',
  'AWS::ApiGatewayV2::Stage',
  'AWS::CDK::Metadata',
  'AWS::CloudWatch::Alarm',
  'AWS::CloudWatch::CompositeAlarm',
  'AWS::CloudWatch::Dashboard',
  'AWS::KMS::Alias',
  'AWS::KMS::Key',
  'AWS::Lambda::EventInvokeConfig',
  'AWS::Lambda::Permission',
  'AWS::Logs::LogGroup',
  'AWS::Logs::MetricFilter',
  'AWS::Logs::ResourcePolicy',
  'AWS::SNS::Subscription',
  'AWS::SNS::Topic',
  'AWS::SNS::TopicPolicy',
  'AWS::SQS::QueuePolicy',
  'AWS::Scheduler::ScheduleGroup',
  'AWS::SecretsManager::ResourcePolicy',
]);

/** A resource with its intrinsics replaced by values. */
export type ResolvedResource = {
  logicalId: string;
  type: string;
  properties: Record<string, unknown>;
  ref: string;
  arn: string;
};

/** What a template declares, with its intrinsics replaced by values. */
type Resolved = {
  /** Lists the resources of the given types, in the template's order. */
  resourcesOf: (...types: string[]) => ResolvedResource[];
  outputs: Record<string, string>;
};

/**
 * Resolves all resources that run here, and the outputs.
 * @throws Error that names a resource whose type is neither run nor ignored
 */
export function resolveResources(template: Template, at: Addresses): Resolved {
  for (const [logicalId, { Type }] of Object.entries(template.Resources)) {
    if (Type in running || ignored.has(Type)) continue;
    throw new Error(
      `The local stack cannot run ${logicalId}: it does not know resources of type ${Type}. ` +
        'Teach it the type in infra/local/aws/resources.ts, or list it there as one without a meaning here.',
    );
  }
  const valuesOf: ValuesOf = (logicalId, resource) =>
    running[resource.Type]?.(logicalId, resource.Properties ?? {}, at) ?? standIn(logicalId, resource);
  const resolve = resolver(template, valuesOf);
  const resources = Object.entries(template.Resources)
    .filter(([, resource]) => resource.Type in running)
    .map(([logicalId, resource]) => {
      const { ref, attributes } = valuesOf(logicalId, resource);
      const properties = resolve(resource.Properties ?? {}) as Record<string, unknown>;
      return { logicalId, type: resource.Type, properties, ref, arn: attributes.Arn ?? ref };
    });
  const outputs = Object.entries(template.Outputs ?? {}).map(([name, { Value }]) => [
    name,
    String(resolve(Value)),
  ]);
  return {
    resourcesOf: (...types) => resources.filter(({ type }) => types.includes(type)),
    outputs: Object.fromEntries(outputs),
  };
}

/** Other resources refer to ignored ones: a function to its role, a table to its key. */
function standIn(logicalId: string, resource: Resource): ResourceValues {
  const value = arn(resource.Type.split('::')[1]?.toLowerCase() ?? 'local', logicalId);
  return { ref: logicalId, attributes: { Arn: value, KeyId: logicalId, TopicArn: value } };
}
