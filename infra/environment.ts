/** An environment is one deployment of the service: a file in infra/environments/ describes it, `npm run deploy` uses it. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as v from 'valibot';
import { redactedMessages } from '../shared/lib/schemas.ts';
import { type Options, readConfig, type StackConfig } from './config.ts';
import { nearestTo } from './nearest.ts';

const schema = v.strictObject({
  /** Name of the CloudFormation stack: one for each environment. */
  stackName: v.pipe(
    v.string(),
    v.regex(/^[A-Za-z][A-Za-z0-9-]{0,127}$/, 'Invalid input: expected the name of a stack'),
  ),
  /** Id of the AWS account. */
  account: v.pipe(v.string(), v.regex(/^\d{12}$/, 'Invalid input: expected the 12 digits of an account')),
  region: v.pipe(
    v.string(),
    v.regex(/^[a-z]{2}(-[a-z]+)+-\d$/, 'Invalid input: expected a region such as eu-central-1'),
  ),
  /** Real users and money: the stack is protected from deletion, and alarms need a receiver. */
  production: v.optional(v.boolean(), false),
  /** For a production environment without `alarmEmail`: somebody looks at the alarms in the console. */
  alarmsAreWatched: v.optional(v.boolean(), false),
  /** Tags of every resource. */
  tags: v.optional(v.record(v.string(), v.string()), {}),
  options: v.optional(v.record(v.string(), v.unknown()), {}),
});

/** What a file in infra/environments/ exports as `environment`. Options: docs/configuration.md. */
export type EnvironmentFile = Omit<v.InferInput<typeof schema>, 'options'> & { options?: Options };

export type Environment = Omit<v.InferOutput<typeof schema>, 'options'> & {
  name: string;
  options: StackConfig;
};

const folder = join(import.meta.dirname, 'environments');

/** The names of the environments that have a file. */
export function environmentNames(): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.ts'))
    .map((file) => file.slice(0, -'.ts'.length))
    .sort();
}

/** Loads and checks an environment. Throws with what is wrong with its name or its file. */
export async function loadEnvironment(name: string): Promise<Environment> {
  const names = environmentNames();
  if (!names.includes(name)) {
    throw new Error(
      `There is no environment "${name}": did you mean "${nearestTo(name, names)}"? An environment is a file in infra/environments/; there are ${names.join(', ')}.`,
    );
  }
  const file: { environment?: unknown } = await import(pathToFileURL(join(folder, `${name}.ts`)).href);
  return readEnvironment(name, file.environment);
}

/** Checks what the file of an environment exports. */
export function readEnvironment(name: string, exported: unknown): Environment {
  const parsed = v.safeParse(schema, exported, redactedMessages);
  const where = `infra/environments/${name}.ts`;
  if (!parsed.success) throw new Error(`${where} cannot be used.\n${v.summarize(parsed.issues)}`);
  const { options: given, ...environment } = parsed.output;
  const options = inFile(where, () => readConfig(given));
  if (environment.production && options.alarmEmail === undefined && !environment.alarmsAreWatched) {
    throw new Error(
      `${where}: nobody would hear of an alarm of this production environment. Set options.alarmEmail, or alarmsAreWatched: true if somebody looks at them in the console.`,
    );
  }
  return { name, ...environment, options };
}

function inFile<T>(where: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
  }
}
