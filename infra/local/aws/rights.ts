/**
 * Which permissions an AWS call needs, and whether the caller's role has them. Reads identity policies only:
 * neither policies of queues and keys nor those of an organization.
 */
import { type AwsError, awsError } from './aws-json.ts';
import { type Decide, type Decision, type Right, readRole } from './policies.ts';
import { arn, type ResolvedResource, secretName } from './resources.ts';
import { accountId, region } from './template.ts';

/** The services that run here, by their names in IAM. */
export type Service = 'dynamodb' | 'sqs' | 'secretsmanager' | 'events';

type AwsRequest = { service: Service; operation: string; input: AwsInput };

/** The resources that a request names. */
export type AwsInput = {
  TableName?: string;
  IndexName?: string;
  RequestItems?: Record<string, unknown>;
  QueueUrl?: string;
  SecretId?: string;
  Entries?: { EventBusName?: string; Source?: string; DetailType?: string }[];
};

/** The action and resources of a request, and the permissions that its sender lacks. */
type Verdict = { resources: string[]; refusal?: Refusal };
type Refusal = { error: AwsError; advice: string };

export type Rights = {
  /** A function without a role, as in test templates, is allowed everything. */
  check(functionName: string, request: AwsRequest): Verdict;
  /**
   * Lambda checks when an event source is created that the function's role can read the queue.
   * @throws Error that names the missing permission
   */
  checkEventSource(functionName: string, queueArn: string): void;
  /**
   * Whether schedules can invoke their functions. AWS would fail silently at run time.
   * @throws Error that names the schedule whose role lacks the permission
   */
  checkSchedules(schedules: ResolvedResource[]): void;
};

type ResourcesOf = (...types: string[]) => ResolvedResource[];

/** A caller with a role. */
type Caller = { principal: string; decide: Decide };

/** @throws Error when the role of a function has a statement that cannot be evaluated */
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

/** Finds resources by the names in requests. A missing one is left for the service to refuse. */
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

/** The customer managed key of an encrypted resource. AWS's own keys need no permissions. */
function keyOf({ properties }: ResolvedResource): string | undefined {
  const { KMSMasterKeyId } = (properties.SSESpecification ?? {}) as { KMSMasterKeyId?: string };
  const key = (KMSMasterKeyId ?? properties.KmsMasterKeyId ?? properties.KmsKeyId) as string | undefined;
  if (key === undefined || key.startsWith('alias/aws/')) return undefined;
  return key.startsWith('arn:') ? key : arn('kms', key);
}

/** A permission on a resource, and those on its key that the service needs from the caller. */
type Use = { right: Right; key: Right[] };

const usesOf: Record<Service, (operation: string, input: AwsInput, find: Find) => Use[]> = {
  dynamodb(operation, { TableName, IndexName, RequestItems }, find) {
    const tables = RequestItems ? Object.keys(RequestItems) : [TableName ?? '*'];
    return tables.map((table) => use('dynamodb', operation, find(table), IndexName && `/index/${IndexName}`));
  },
  // Batches need the permission of the single operation.
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

/** AWS's message for the function, and our hint for the stack's developer. */
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
