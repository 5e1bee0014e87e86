/**
 * Reads the identity policies of a template's roles and decides as IAM does. An unsupported statement is an error,
 * so that no permission is ever assumed.
 * Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
 */
import * as v from 'valibot';
import { redactedMessages } from '../../../shared/lib/schemas.ts';
import type { ResolvedResource } from './resources.ts';

/** Keys that statements may set conditions on. */
const contextKeys = ['events:source', 'events:detail-type', 'kms:ViaService'] as const;

/** A permission that a call needs. `context` holds other facts about the call. */
export type Right = {
  action: string;
  resource: string;
  context: Partial<Record<(typeof contextKeys)[number], string>>;
};

/** An explicit deny wins over any allow; without either the call is denied. */
export type Decision = 'allowed' | 'denied' | 'not allowed';

/** Decides on one role. */
export type Decide = (right: Right) => Decision;

type Test = (text: string) => boolean;

const texts = v.union([
  v.pipe(
    v.string(),
    v.transform((text) => [text]),
  ),
  v.array(v.string()),
]);
const anyOf = (toTest: (pattern: string) => Test) =>
  v.pipe(
    texts,
    v.transform((values): Test => {
      const tests = values.map(toTest);
      return (text) => tests.some((test) => test(text));
    }),
  );
const equal = (value: string): Test => {
  return (text) => text === value;
};
const like = (pattern: string): Test => wildcards(pattern, '');

const Policy = v.object({
  Statement: v.array(
    v.strictObject({
      Sid: v.optional(v.string()),
      Effect: v.picklist(['Allow', 'Deny']),
      Action: anyOf((pattern) => wildcards(pattern, 'i')),
      Resource: anyOf(like),
      Condition: v.optional(
        v.strictObject({
          StringEquals: v.optional(v.record(v.picklist(contextKeys), anyOf(equal)), {}),
          StringLike: v.optional(v.record(v.picklist(contextKeys), anyOf(like)), {}),
        }),
      ),
    }),
  ),
});
type Statement = v.InferOutput<typeof Policy>['Statement'][number];

/**
 * Reads all policies of a role, inline and attached.
 * @param policies those of the template that name the roles they are attached to
 * @throws Error that names the role when a policy cannot be evaluated here
 */
export function readRole(role: ResolvedResource, policies: ResolvedResource[]): Decide {
  for (const unread of ['ManagedPolicyArns', 'PermissionsBoundary']) {
    if (unread in role.properties) {
      throw new Error(
        `The role ${role.logicalId} has ${unread}, which the local stack cannot read. ` +
          'Write its rights into the template, or teach infra/local/aws/policies.ts.',
      );
    }
  }
  const inline = (role.properties.Policies ?? []) as { PolicyDocument: unknown }[];
  const attached = policies.filter(({ properties }) =>
    ((properties.Roles ?? []) as unknown[]).includes(role.ref),
  );
  const documents = [...inline, ...attached.map(({ properties }) => properties)];
  const statements = documents.flatMap(({ PolicyDocument }) => readPolicy(role, PolicyDocument));
  return (right) => {
    const matching = statements.filter((statement) => applies(statement, right));
    if (matching.some(({ Effect }) => Effect === 'Deny')) return 'denied';
    return matching.length > 0 ? 'allowed' : 'not allowed';
  };
}

function readPolicy(role: ResolvedResource, document: unknown): Statement[] {
  const parsed = v.safeParse(Policy, document, redactedMessages);
  if (parsed.success) return parsed.output.Statement;
  throw new Error(
    `A policy of the role ${role.logicalId} has something that the local stack does not evaluate. ` +
      `Teach infra/local/aws/policies.ts, or write it differently:\n${v.summarize(parsed.issues)}`,
  );
}

function applies({ Action, Resource, Condition }: Statement, { action, resource, context }: Right): boolean {
  if (!Action(action) || !Resource(resource)) return false;
  const conditions = [Condition?.StringEquals ?? {}, Condition?.StringLike ?? {}].flatMap(
    Object.entries<Test>,
  );
  // A condition on a key that the call lacks fails.
  return conditions.every(([key, test]) => {
    const value = context[key as keyof Right['context']];
    return value !== undefined && test(value);
  });
}

/** `*` matches any text and `?` one character. */
function wildcards(pattern: string, flags: '' | 'i'): Test {
  const source = pattern
    .replace(/[\\^$.|+()[\]{}]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  const expression = new RegExp(`^${source}$`, `s${flags}`);
  return (text) => expression.test(text);
}
