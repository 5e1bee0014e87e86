import { dirname, join } from 'node:path';
import { type BuildOptions, buildSync } from 'esbuild';

const projectRoot = join(import.meta.dirname, '..');

/** A package in a file of its own, loaded when first needed: it would be a fifth of a bundle, and its import time. */
const seldomUsed = 'temporal-polyfill';
const seldomUsedFile = `./${seldomUsed}.cjs`;

/** How all functions are built. test/bench/README.md has the measurements behind the settings. */
export const bundling = {
  absWorkingDir: projectRoot,
  // By name: package.json next to cdk.out would make ES modules of .js files.
  outExtension: { '.js': '.cjs' },
  bundle: true,
  minify: true,
  platform: 'node',
  target: 'node24',
  // CommonJS imports in four fifths of the time that an ES module of the same code takes.
  format: 'cjs',
  // Packages that offer both are read as ES modules, so that unused code is left out.
  mainFields: ['module', 'main'],
  // Lazy imports stay within CommonJS: the ES module loader takes longer, and reads every property of what it loads.
  supported: { 'dynamic-import': false },
  alias: {
    // The credential providers that Lambda never uses are a third of a bundle.
    '@aws-sdk/credential-provider-node': join(import.meta.dirname, 'lambda-credentials.ts'),
    // The only part in use. Its index loads every kind of Google's credentials.
    'google-auth-library': 'google-auth-library/build/src/auth/oauth2client.js',
    [seldomUsed]: seldomUsedFile,
  },
  // node-fetch is google-auth-library's, for a Node without fetch. It is never loaded: nothing is fetched through it.
  external: [seldomUsedFile, 'node-fetch'],
  logLevel: 'warning',
} satisfies BuildOptions;

/**
 * Bundles `functions/<name>/handler.ts` of every name into `<outdir>/<name>/index.cjs`, each complete in
 * itself: the AWS SDK is inside, so that the version tested is the version that runs, and loads faster.
 *
 * One esbuild run for all: NodejsFunction by itself starts npx and esbuild for each function in turn, which takes four
 * times as long in every synth, local start and test run.
 */
export function bundleFunctions(names: readonly string[], outdir: string): void {
  const { metafile } = buildSync({
    ...bundling,
    entryPoints: names.map((name) => ({ in: `functions/${name}/handler.ts`, out: `${name}/index` })),
    outdir,
    metafile: true,
  });
  const users = Object.entries(metafile.outputs).filter(([, { imports }]) =>
    imports.some(({ path }) => path === seldomUsedFile),
  );
  for (const [file] of users) {
    buildSync({
      ...bundling,
      alias: {},
      entryPoints: [seldomUsed],
      outfile: join(projectRoot, dirname(file), seldomUsedFile),
    });
  }
}
