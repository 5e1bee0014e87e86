/** Reads a synthesized CloudFormation template the way a person would: by names instead of hashed ids. */

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
  /** The resource at a path of the construct tree, e.g. `BookingSync/Function`. Throws where there is none. */
  at(path: string): Resource;
  ofType(type: string): Resource[];
  /** A value as text, with references as paths in angle brackets: `<Bookings.Arn>/index/waiting`. */
  text(value: unknown): string;
  /** What a role may do, one line for each right: `action resource [if key operator value]`, sorted. */
  rights(rolePath: string): string[];
  /** A chain of resources that wait for each other in a circle, where there is one. */
  circle(): string[] | undefined;
};

export function viewOf(template: Template): TemplateView {
  const pathOf = (logicalId: string): string => {
    const path = template.Resources[logicalId]?.Metadata['aws:cdk:path'] ?? logicalId;
    return path.replace(/^LeadsCalendarGoogle\//, '').replace(/\/Resource$/, '');
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

  const rights = (rolePath: string): string[] => {
    type Statement = { Effect: string; Action: string | string[]; Resource: unknown; Condition?: Conditions };
    type Conditions = Record<string, Record<string, unknown>>;
    const statements: Statement[] = at(`${rolePath}/DefaultPolicy`).Properties.PolicyDocument.Statement;
    return statements
      .flatMap(({ Effect, Action, Resource, Condition = {} }) => {
        if (Effect !== 'Allow') throw new Error(`A statement of ${rolePath} has the effect ${Effect}.`);
        const conditions = Object.entries(Condition).flatMap(([operator, tests]) =>
          Object.entries(tests).map(([key, value]) => ` if ${key} ${operator} ${text(value)}`),
        );
        return list(Action).flatMap((action) =>
          list(Resource).map((resource) => `${action} ${text(resource)}${conditions.join('')}`),
        );
      })
      .sort();
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
    rights,
    circle,
  };
}

function list<T>(value: T | T[]): T[] {
  return Array.isArray(value) ? value : [value];
}

/** The logical ids that a part of a template refers to, or says it depends on. */
function referencesIn(part: unknown): string[] {
  if (typeof part !== 'object' || part === null) return [];
  return Object.entries(part).flatMap(([key, value]) => {
    if (key === 'Ref') return [value as string];
    if (key === 'Fn::GetAtt') return [(value as string[])[0] as string];
    if (key === 'DependsOn') return list(value as string | string[]);
    return referencesIn(value);
  });
}
