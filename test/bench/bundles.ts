/** Builds the bundles of the cold-start part: ours as deployed, and those it is compared with. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { bundling } from '../../infra/bundle.ts';
import type { Template } from '../../infra/local/aws/template.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { type FunctionName, functionNames } from './first-events.ts';

/**
 * - `ours`: the deployed bundle
 * - `floor`: lower bound: the same AWS clients, calls and middy, built in the same way (floor.ts)
 * - `empty`: a handler that does nothing
 * - `usual`: baseline: googleapis, stripe and the AWS SDK in one file (usual/service.ts), built with default
 * settings
 */
export const variants = ['ours', 'floor', 'empty', 'usual'] as const;
export type Variant = (typeof variants)[number];

/** A bundle in a file, and the export name of its handler. */
export type Bundle = { file: string; handler: string };

/**
 * Builds all variants into a folder, ours within a cloud assembly in its folder `assembly`. The assembly has no
 * event source, so that no other function runs during a measurement.
 */
export async function buildVariants(directory: string): Promise<void> {
  const template = synthesize(join(directory, 'assembly')).stacks[0]?.templateFullPath as string;
  writeFileSync(template, JSON.stringify(withoutConsumers(JSON.parse(readFileSync(template, 'utf8')))));
  writeFileSync(bundleOf(directory, 'empty', 'health').file, 'exports.handler = async () => ({});');
  for (const name of functionNames) {
    const make = camelCase(name);
    await build({
      ...bundling,
      stdin: {
        contents: `import { ${make} } from './floor.ts'; export const handler = ${make}();`,
        resolveDir: import.meta.dirname,
      },
      outfile: bundleOf(directory, 'floor', name).file,
    });
  }
  // As NodejsFunction builds by default: not minified, and the AWS SDK is that of Lambda's runtime.
  await build({
    entryPoints: [join(import.meta.dirname, 'usual', 'service.ts')],
    outfile: bundleOf(directory, 'usual', 'health').file,
    bundle: true,
    platform: 'node',
    target: 'node24',
    external: ['@aws-sdk/*', '@smithy/*'],
    logLevel: 'warning',
  });
}

/** The folder of a bundle of `buildVariants`. */
export function bundleOf(directory: string, variant: Variant, name: FunctionName): Bundle {
  switch (variant) {
    case 'ours':
      return { file: join(directory, 'assembly', 'bundles', name, 'index.cjs'), handler: 'handler' };
    case 'floor':
      return { file: join(directory, `floor-${name}.cjs`), handler: 'handler' };
    case 'empty':
      return { file: join(directory, 'empty.cjs'), handler: 'handler' };
    case 'usual':
      return { file: join(directory, 'usual.cjs'), handler: camelCase(name) };
  }
}

function withoutConsumers(template: Template): Template {
  const resources = Object.entries(template.Resources);
  const kept = resources.filter(([, { Type }]) => Type !== 'AWS::Lambda::EventSourceMapping');
  return { ...template, Resources: Object.fromEntries(kept) };
}

/** `booking-sync` is `bookingSync` in a file with all handlers. */
function camelCase(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
