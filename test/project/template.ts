/** Reads a synthesized CloudFormation template by names instead of hashed ids. */

export type Resource = {
  Type: string;
  // biome-ignore lint/suspicious/noExplicitAny: CloudFormation's own shapes, which each assertion spells out
  Properties: any;
  DeletionPolicy?: string;
  UpdateReplacePolicy?: string;
  Metadata: Record<string, string>;
};

export type Template = {
  Resources: Record<string, Resource>;
  Outputs: Record<string, { Value: unknown; Description: string }>;
};

export type TemplateView = {
  template: Template;
  /** The resource at a path of the construct tree, e.g. `BookingSync/Function`. Throws if it is missing. */
  at(path: string): Resource;
  ofType(type: string): Resource[];
  /** A value as text, with references as paths in angle brackets: `<Bookings.Arn>/index/waiting`. */
  text(value: unknown): string;
  /**
   * All permissions of the template, sorted: `Connect/Role may dynamodb: GetItem on ConnectionsTable`, with `if
   * <condition>` if there is one. Roles by their policies and by who can assume them, other resources by their own
   * policy. Throws on a statement that it cannot express.
   */
  grants(): string[];
  /** A circle of resources that depend on each other, if there is one. */
  circle(): string[] | undefined;
};

export function viewOf(template: Template): TemplateView {
  const pathOf = (logicalId: string): string => {
    const path = template.Resources[logicalId]?.Metadata['aws:cdk:path'] ?? logicalId;
    return path.replace(/^LeadsCalendarGoogle\/(Default\/)?/, '').replace(/\/Resource$/, '');
  };

  const text = (value: unknown): string => {
    if (typeof value !== 'object' || value === null) return String(value);
    if ('Ref' in value) return `<${pathOf(value.Ref as string)}>`;
    if ('Fn::GetAtt' in value) {
      const [id, attribute] = value['Fn::GetAtt'] as [string, string];
      return `<${pathOf(id)}.${attribute}>`;
    }
    if ('Fn::Join' in value) {
      const [separator, parts] = value['Fn::Join'] as [string, unknown[]];
      return parts.map(text).join(separator);
    }
    throw new Error(`An intrinsic function that this reader does not know: ${JSON.stringify(value)}`);
  };

  const at = (path: string): Resource => {
    const found = Object.entries(template.Resources).find(([id]) => pathOf(id) === path)?.[1];
    if (!found) throw new Error(`The template has no resource at ${path}.`);
    return found;
  };

  const grants = (): string[] => {
    const lines = Object.entries(template.Resources).flatMap(([id, { Type, Properties = {} }]) => {
      const name = pathOf(id);
      const all = statementsIn(Properties);
      if (Type === 'AWS::IAM::Role') {
        const {
          AssumeRolePolicyDocument,
          ManagedPolicyArns = [],
          PermissionsBoundary,
          Policies,
        } = Properties;
        if (PermissionsBoundary) throw new Error(`${name} has a permissions boundary.`);
        return [
          ...inWords(name, 'may', statementsIn(Policies)),
          ...inWords(name, 'lets', statementsIn(AssumeRolePolicyDocument)),
          ...list<unknown>(ManagedPolicyArns).map((arn) => `${name} may all of ${text(arn)}`),
        ];
      }
      if (Type === 'AWS::IAM::Policy') {
        const { Roles, Users = [], Groups = [] } = Properties;
        if (Users.length + Groups.length > 0) throw new Error(`${name} is for users or groups.`);
        return list<unknown>(Roles).flatMap((role) => inWords(plain(role), 'may', all));
      }
      if (Type === 'AWS::Lambda::Permission') {
        const { Action, FunctionName, Principal, SourceArn, ...others } = Properties;
        if (Object.keys(others).length > 0) throw new Error(`${name} has ${Object.keys(others)}.`);
        const source = SourceArn ? ` if aws:SourceArn = ${plain(SourceArn)}` : '';
        return [`${plain(FunctionName)} lets ${plain(Principal)} ${Action.replace(':', ': ')}${source}`];
      }
      const owners = list<unknown>(Properties.Queues ?? Properties.Topics ?? { Ref: id });
      return owners.flatMap((owner) => inWords(plain(owner), 'lets', all));
    });
    // A path with several methods has an equal permission for each of them.
    return [...new Set(lines)].sort();
  };

  /** Statements as lines: one per resource and condition, with all its actions. */
  const inWords = (who: string, verb: 'may' | 'lets', statements: Statement[]): string[] => {
    const actionsOn = new Map<string, string[]>();
    for (const { Sid: _, Effect, Action, Resource, Principal, Condition = {}, ...others } of statements) {
      if (Object.keys(others).length > 0)
        throw new Error(`A statement of ${who} has ${Object.keys(others)}.`);
      const conditions = Object.entries(Condition).flatMap(([operator, tests]) =>
        Object.entries(tests).map(([key, value]) => {
          const sign = ['StringEquals', 'ArnEquals', 'Bool'].includes(operator) ? '=' : operator;
          return `${key} ${sign} ${list(value).map(plain).join(' or ')}`;
        }),
      );
      const does = `${who} ${Effect === 'Allow' ? verb : refusals[verb]}`;
      for (const principal of Principal === undefined ? [''] : principalsOf(Principal)) {
        for (const resource of Resource === undefined ? [''] : list(Resource)) {
          for (const action of list(Action)) {
            const [service, name = ''] = action.split(':');
            const key = [
              [does, principal, service].filter(Boolean).join(' '),
              [
                ...(resource === '' ? [] : [`on ${plain(resource)}`]),
                ...(conditions.length > 0 ? [`if ${conditions.join(' and ')}`] : []),
              ].join(' '),
            ].join('\n');
            actionsOn.set(key, [...(actionsOn.get(key) ?? []), name]);
          }
        }
      }
    }
    return [...actionsOn].map(([key, names]) => {
      const [head, tail] = key.split('\n');
      return `${head}: ${[...new Set(names)].sort().join(', ')} ${tail}`.trim();
    });
  };

  /** As `text`, with resources by name, and our account and region as ours. */
  const plain = (value: unknown): string =>
    text(value)
      .replace(/^arn:<AWS::Partition>:([\w-]+):<AWS::Region>:<AWS::AccountId>:/, 'our $1:')
      .replaceAll('<AWS::AccountId>', 'our account')
      .replaceAll('<AWS::Region>', '<region>')
      .replace(/<(?!AWS::|region)([^>]*?)(\.Arn)?>/g, '$1');

  const principalsOf = (principal: Principal): string[] => {
    if (principal === '*') return ['anybody'];
    return Object.entries(principal).flatMap(([kind, names]) =>
      list(names).map((name) => {
        const who = plain(name);
        if (who === '*') return 'anybody';
        if (kind === 'AWS' && who === accountRoot) return 'our account';
        if (kind === 'Service') return who;
        throw new Error(`A principal that this reader does not know: ${JSON.stringify(principal)}`);
      }),
    );
  };

  const circle = (): string[] | undefined => {
    const done = new Set<string>();
    const visit = (id: string, trail: string[]): string[] | undefined => {
      if (trail.includes(id)) return [...trail, id].map(pathOf);
      if (done.has(id)) return undefined;
      for (const next of referencesIn(template.Resources[id])) {
        const found = next in template.Resources ? visit(next, [...trail, id]) : undefined;
        if (found) return found;
      }
      done.add(id);
      return undefined;
    };
    for (const id of Object.keys(template.Resources)) {
      const found = visit(id, []);
      if (found) return found;
    }
    return undefined;
  };

  return {
    template,
    at,
    ofType: (type) => Object.values(template.Resources).filter((resource) => resource.Type === type),
    text,
    grants,
    circle,
  };
}

type Principal = '*' | Record<string, unknown>;
type Statement = {
  Sid?: string;
  Effect: string;
  Action: string | string[];
  Resource?: unknown;
  Principal?: Principal;
  Condition?: Record<string, Record<string, unknown>>;
};

const accountRoot = 'arn:<AWS::Partition>:iam::our account:root';
const refusals = { may: 'may never', lets: 'refuses' };

/** The statements of all policies in a part of a template. */
function statementsIn(part: unknown): Statement[] {
  if (typeof part !== 'object' || part === null) return [];
  if ('Statement' in part) return list(part.Statement as Statement | Statement[]);
  return Object.values(part).flatMap(statementsIn);
}

function list<T>(value: T | T[]): T[] {
  return Array.isArray(value) ? value : [value];
}

/** The logical ids that a part of a template refers to or depends on. */
function referencesIn(part: unknown): string[] {
  if (typeof part !== 'object' || part === null) return [];
  return Object.entries(part).flatMap(([key, value]) => {
    if (key === 'Ref') return [value as string];
    if (key === 'Fn::GetAtt') return [(value as string[])[0] as string];
    if (key === 'DependsOn') return list(value as string | string[]);
    return referencesIn(value);
  });
}
