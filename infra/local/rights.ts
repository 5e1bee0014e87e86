/**
 * Which rights a call to AWS needs, and whether the role of the function that makes it has them. Looks at identity
 * policies only: neither the policies of queues and keys nor those of an organization.
 */
import { type AwsError, awsError } from './aws-json.ts';
import { type Decide, type Decision, type Right, readRole } from './policies.ts';
import { arn, type ResolvedResource, secretName } from './resources.ts';
import { accountId, region } from './template.ts';

/** The services that run here, by their names in IAM. */
export type Service = 'dynamodb' | 'sqs' | 'secretsmanager' | 'events';

export type AwsRequest = { service: Service; operation: string; input: AwsInput };

/** What of a request names its resources. */
export type AwsInput = {
  TableName?: string;
  IndexName?: string;
  RequestItems?: Record<string, unknown>;
  QueueUrl?: string;
  SecretId?: string;
  Entries?: { EventBusName?: string; Source?: string; DetailType?: string }[];
};

/** What a request is about, and what its sender lacks to make it. */
export type Verdict = { resources: string[]; refusal?: Refusal };
export type Refusal = { error: AwsError; advice: string };

export type Rights = {
  /** A function without a role, as only a template made for a test has it, may do everything. */
  check(functionName: string, request: AwsRequest): Verdict;
  /**
   * What Lambda checks when an event source is created: it reads the queue under the role of the function.
   * @throws Error that names the right that the role lacks
   */
  checkEventSource(functionName: string, queueArn: string): void;
  /**
   * Whether schedules may invoke their functions. AWS finds out when they run, and tells nobody.
   * @throws Error that names the schedule whose role may not
   */
  checkSchedules(schedules: ResolvedResource[]): void;
};

type ResourcesOf = (...types: string[]) => ResolvedResource[];

/** Somebody who acts under a role. */
type Caller = { principal: string; decide: Decide };

/** @throws Error when the role of a function has something that cannot be evaluated */
export function createRights(functions: ResolvedResource[], resourcesOf: ResourcesOf): Rights {
  const find = finder(resourcesOf);
  const policies = resourcesOf('AWS::IAM::Policy', 'AWS::IAM::ManagedPolicy');
  const caller = (roleArn: unknown, session: string): Caller | undefined => {
    if (roleArn === undefined) return undefined;
    const role = resourcesOf('AWS::IAM::Role').find((role) => role.arn === roleArn);
    if (!role) throw new Error(`The role ${roleArn} of ${session} is not in the template.`);
    const principal = `arn:aws:sts::${accountId}:assumed-role/${role.ref}/${session}`;
    return { principal, decide: readRole(role, policies) };
  };
  const callers = new Map(functions.map(({ ref, properties }) => [ref, caller(properties.Role, ref)]));

  return {
    check(functionName, { service, operation, input }) {
      const uses = usesOf[service](operation, input, find);
      const refusal = firstRefusal(callers.get(functionName), uses);
      const resources = [...new Set(uses.map(({ right }) => right.resource))];
      return { resources, ...(refusal ? { refusal } : {}) };
    },
    checkEventSource(functionName, queueArn) {
      const operations = ['ReceiveMessage', 'DeleteMessage', 'GetQueueAttributes'];
      const uses = operations.map((operation) => use('sqs', operation, find(queueArn)));
      const refusal = firstRefusal(callers.get(functionName), uses);
      if (!refusal) return;
      throw new Error(`The queue cannot be an event source of ${functionName}: its role ${refusal.advice}`);
    },
    checkSchedules(schedules) {
      for (const { ref, properties } of schedules) {
        const { Arn, RoleArn } = properties.Target as { Arn: string; RoleArn?: string };
        const right = { action: 'lambda:InvokeFunction', resource: Arn, context: {} };
        const refusal = firstRefusal(caller(RoleArn, ref), [{ right, key: [] }]);
        if (refusal) throw new Error(`The schedule ${ref} cannot run: its role ${refusal.advice}`);
      }
    },
  };
}

function firstRefusal(caller: Caller | undefined, uses: Use[]): Refusal | undefined {
  if (!caller) return undefined;
  for (const right of uses.flatMap(({ right, key }) => [right, ...key])) {
    const decision = caller.decide(right);
    if (decision !== 'allowed') return refusal(caller, right, decision);
  }
  return undefined;
}

type Target = { arn: string; keyArn?: string };
type Find = (nameOrArn: string) => Target;

/** Finds resources by what requests call them. One that does not exist is left for the service to refuse. */
function finder(resourcesOf: ResourcesOf): Find {
  const targets = new Map<string, Target>();
  for (const resource of resourcesOf(
    'AWS::DynamoDB::Table',
    'AWS::DynamoDB::GlobalTable',
    'AWS::SQS::Queue',
    'AWS::SecretsManager::Secret',
    'AWS::Events::EventBus',
  )) {
    const keyArn = keyOf(resource);
    const target = { arn: resource.arn, ...(keyArn ? { keyArn } : {}) };
    const names = resource.type.endsWith('::Secret')
      ? [secretName(resource.logicalId, resource.properties)]
      : [];
    for (const name of [resource.ref, resource.arn, ...names]) targets.set(name, target);
  }
  return (nameOrArn) => targets.get(nameOrArn) ?? { arn: nameOrArn };
}

/** The customer managed key that a resource is encrypted with. AWS's own keys need no rights. */
function keyOf({ properties }: ResolvedResource): string | undefined {
  const { KMSMasterKeyId } = (properties.SSESpecification ?? {}) as { KMSMasterKeyId?: string };
  const key = (KMSMasterKeyId ?? properties.KmsMasterKeyId ?? properties.KmsKeyId) as string | undefined;
  if (key === undefined || key.startsWith('alias/aws/')) return undefined;
  return key.startsWith('arn:') ? key : arn('kms', key);
}

/** A right on a resource, and those on its key that the service needs of the caller. */
type Use = { right: Right; key: Right[] };

const usesOf: Record<Service, (operation: string, input: AwsInput, find: Find) => Use[]> = {
  dynamodb(operation, { TableName, IndexName, RequestItems }, find) {
    const tables = RequestItems ? Object.keys(RequestItems) : [TableName ?? '*'];
    return tables.map((table) => use('dynamodb', operation, find(table), IndexName && `/index/${IndexName}`));
  },
  // Batches need the right of the single operation.
  sqs: (operation, { QueueUrl = '*' }, find) => [use('sqs', operation.replace(/Batch$/, ''), find(QueueUrl))],
  secretsmanager: (operation, { SecretId = '*' }, find) => [use('secretsmanager', operation, find(SecretId))],
  events: (operation, { Entries = [] }, find) =>
    Entries.map(({ EventBusName, Source, DetailType }) => {
      const bus = EventBusName ? find(EventBusName) : { arn: arn('events', 'event-bus/default') };
      const { right, key } = use('events', operation, bus);
      const context = {
        ...(Source === undefined ? {} : { 'events:source': Source }),
        ...(DetailType === undefined ? {} : { 'events:detail-type': DetailType }),
      };
      return { right: { ...right, context }, key };
    }),
};

function use(service: Service, operation: string, target: Target, below = ''): Use {
  const right = { action: `${service}:${operation}`, resource: `${target.arn}${below}`, context: {} };
  const { keyArn } = target;
  if (!keyArn) return { right, key: [] };
  const actions = ['kms:Decrypt', ...(operation === 'SendMessage' ? ['kms:GenerateDataKey'] : [])];
  const context = { 'kms:ViaService': `${service}.${region}.amazonaws.com` };
  return { right, key: actions.map((action) => ({ action, resource: keyArn, context })) };
}

/** In AWS's words for the function, and in ours for whoever wrote the stack. */
function refusal({ principal }: Caller, { action, resource }: Right, decision: Decision): Refusal {
  const why =
    decision === 'denied'
      ? 'with an explicit deny in an identity-based policy'
      : `because no identity-based policy allows the ${action} action`;
  const lacks = decision === 'denied' ? 'is denied' : 'lacks';
  return {
    error: awsError(
      'AccessDeniedException',
      `User: ${principal} is not authorized to perform: ${action} on resource: ${resource} ${why}`,
      resource.startsWith('arn:aws:sqs:') ? 403 : 400,
    ),
    advice: `${lacks} the right ${action} on ${resource}, so AWS would refuse this. Rights are given in infra/stack.ts.`,
  };
}
