/**
 * Reads a synthesized CloudFormation template: finds it in a cloud assembly and resolves its intrinsic functions,
 * so that the local stack runs exactly the deployed template.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export type Resource = { Type: string; Properties?: Record<string, unknown> };
export type Template = {
  Parameters?: Record<string, { Default?: unknown }>;
  Resources: Record<string, Resource>;
  Outputs?: Record<string, { Value: unknown; Description?: string }>;
};

/** The attributes of a resource for the rest of a template: `Ref` and `Fn::GetAtt`. */
export type ResourceValues = { ref: string; attributes: Record<string, string> };
export type ValuesOf = (logicalId: string, resource: Resource) => ResourceValues;

/** Account and region of the local stack. */
export const region = 'us-east-1';
export const accountId = '000000000000';

const pseudoParameters: Record<string, string> = {
  'AWS::Region': region,
  'AWS::AccountId': accountId,
  'AWS::Partition': 'aws',
  'AWS::URLSuffix': 'amazonaws.com',
  'AWS::StackName': 'local',
  'AWS::StackId': `arn:aws:cloudformation:${region}:${accountId}:stack/local/local`,
  'AWS::NoValue': '',
};

/** A template of an assembly, with the folders of its file assets by the S3 key a function names. */
type AssemblyTemplate = { template: Template; assetPaths: Map<string, string> };

/**
 * Reads the only stack of a cloud assembly.
 * @param directory folder with the assembly's `manifest.json` (`cdk.out`)
 * @throws Error when the folder holds no assembly, or not exactly one stack
 */
export function readAssembly(directory: string): AssemblyTemplate {
  const manifest = readJson(join(directory, 'manifest.json')) as {
    artifacts: Record<string, { type: string; properties?: { templateFile?: string; file?: string } }>;
  };
  const artifacts = Object.values(manifest.artifacts);
  const templates = artifacts.filter((artifact) => artifact.type === 'aws:cloudformation:stack');
  const templateFile = templates[0]?.properties?.templateFile;
  if (templates.length !== 1 || !templateFile) {
    throw new Error(`${directory} holds ${templates.length} stacks; the local stack runs exactly one.`);
  }
  const manifests = artifacts.flatMap(({ type, properties }) =>
    type === 'cdk:asset-manifest' && properties?.file ? [properties.file] : [],
  );
  const assetPaths = new Map(manifests.flatMap((file) => readAssets(directory, file)));
  return { template: readJson(join(directory, templateFile)) as Template, assetPaths };
}

/** The file assets of a manifest: S3 key and folder. */
function readAssets(directory: string, manifest: string): [string, string][] {
  const { files = {} } = readJson(join(directory, manifest)) as {
    files?: Record<
      string,
      { source: { path?: string }; destinations: Record<string, { objectKey: string }> }
    >;
  };
  return Object.values(files).flatMap(({ source: { path }, destinations }) =>
    path === undefined
      ? []
      : Object.values(destinations).map(({ objectKey }): [string, string] => [
          objectKey,
          join(directory, path),
        ]),
  );
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'));
}

/**
 * Returns a function that replaces every intrinsic in a piece of the template by its value.
 * Properties whose value is `AWS::NoValue` are left out, as CloudFormation does.
 * @throws Error (from the returned function) that names an unknown intrinsic, resource or attribute
 */
export function resolver(template: Template, valuesOf: ValuesOf): (value: unknown) => unknown {
  const lookUp = (logicalId: string): ResourceValues => {
    const resource = template.Resources[logicalId];
    if (!resource) {
      throw new Error(`The template refers to "${logicalId}", which is neither a resource nor a parameter.`);
    }
    return valuesOf(logicalId, resource);
  };
  const ref = (name: string): unknown => {
    if (name in pseudoParameters) return pseudoParameters[name];
    const parameter = template.Parameters?.[name];
    return parameter ? (parameter.Default ?? '') : lookUp(name).ref;
  };
  const getAtt = (logicalId: string, attribute: string): string => {
    const value = lookUp(logicalId).attributes[attribute];
    if (value === undefined) {
      const type = template.Resources[logicalId]?.Type;
      throw new Error(
        `The local stack does not know the attribute "${attribute}" of ${logicalId} (${type}). ` +
          'Add it to infra/local/aws/resources.ts.',
      );
    }
    return value;
  };
  const substitute = (text: string, variables: Record<string, unknown>): string =>
    text.replace(/\$\{(!?)([^}]+)\}/g, (_whole, literal: string, name: string) => {
      if (literal) return `\${${name}}`;
      if (name in variables) return String(resolve(variables[name]));
      const dot = name.indexOf('.');
      return String(dot < 0 ? ref(name) : getAtt(name.slice(0, dot), name.slice(dot + 1)));
    });

  const intrinsics: Record<string, (argument: unknown) => unknown> = {
    Ref: (name) => ref(String(name)),
    'Fn::GetAtt': (argument) => {
      const [logicalId, attribute] =
        typeof argument === 'string' ? argument.split(/\.(.*)/s) : list(argument);
      return getAtt(String(logicalId), String(resolve(attribute)));
    },
    'Fn::Join': (argument) => {
      const [separator, parts] = list(argument);
      return list(resolve(parts)).join(String(separator));
    },
    'Fn::Sub': (argument) =>
      typeof argument === 'string'
        ? substitute(argument, {})
        : substitute(String(list(argument)[0]), list(argument)[1] as Record<string, unknown>),
    'Fn::Select': (argument) => {
      const [index, values] = list(resolve(argument));
      return list(values)[Number(index)];
    },
    'Fn::Split': (argument) => {
      const [separator, text] = list(resolve(argument));
      return String(text).split(String(separator));
    },
  };

  function resolve(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(resolve);
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value);
    const [first] = entries;
    if (entries.length === 1 && first && (first[0] === 'Ref' || first[0].startsWith('Fn::'))) {
      const intrinsic = intrinsics[first[0]];
      if (!intrinsic) {
        throw new Error(`The template uses ${first[0]}, which the local stack does not resolve.`);
      }
      return intrinsic(first[1]);
    }
    return Object.fromEntries(
      entries.filter(([, inner]) => !isNoValue(inner)).map(([key, inner]) => [key, resolve(inner)]),
    );
  }
  return resolve;
}

function list(value: unknown): unknown[] {
  if (!Array.isArray(value)) {
    throw new Error(`An intrinsic function of the template needs a list here: ${JSON.stringify(value)}`);
  }
  return value;
}

function isNoValue(value: unknown): boolean {
  return typeof value === 'object' && value !== null && (value as { Ref?: unknown }).Ref === 'AWS::NoValue';
}
