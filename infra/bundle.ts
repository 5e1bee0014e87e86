import { join } from 'node:path';
import { buildSync } from 'esbuild';

const projectRoot = join(import.meta.dirname, '..');

/**
 * Bundles `functions/<name>/handler.ts` of every name into `<outdir>/<name>/index.mjs`, each complete in
 * itself: the AWS SDK is inside, so that the version tested is the version that runs, and loads faster.
 *
 * One esbuild run for all. NodejsFunction would start npx and esbuild once for each function, which makes
 * every synth, and so every local start and test run, several times slower.
 */
export function bundleFunctions(names: readonly string[], outdir: string): void {
  buildSync({
    absWorkingDir: projectRoot,
    entryPoints: names.map((name) => ({ in: `functions/${name}/handler.ts`, out: `${name}/index` })),
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    minify: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    // Packages that offer both get their ES modules in: smaller, and without dynamic requires.
    mainFields: ['module', 'main'],
    // CommonJS packages call require() for Node's own modules, which an ES module does not have.
    banner: {
      js: "import{createRequire as __bundleRequire}from'node:module';const require=__bundleRequire(import.meta.url);",
    },
    logLevel: 'warning',
  });
}
