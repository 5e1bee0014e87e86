/** Builds what the cold-start part starts: ours as it is deployed, and what it is compared with. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { bundling } from '../../infra/bundle.ts';
import type { Template } from '../../infra/local/template.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { type FunctionName, functionNames } from './first-events.ts';

/**
 * - `ours`: the bundle that is deployed
 * - `floor`: the same AWS clients, calls and middy, and nothing else, built in the same way (floor.ts)
 * - `empty`: a handler that does nothing
 * - `usual`: googleapis, stripe and the AWS SDK in one file (usual/service.ts), built in the usual way
 */
export const variants = ['ours', 'floor', 'empty', 'usual'] as const;
export type Variant = (typeof variants)[number];

/** A bundle that is in a file, and the name under which it exports its handler. */
export type Bundle = { file: string; handler: string };

/**
 * Builds all variants into a folder, ours within a cloud assembly in its folder `assembly`. In that, nothing takes
 * messages from the queue: no function is to run beside the one that is started.
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

/** Where `buildVariants` puts a bundle. */
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

/** `booking-sync` is `bookingSync` where handlers stand side by side in one file. */
function camelCase(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
