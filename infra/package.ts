/** `npm run package`: the construct as a package for other CDK apps, with types and bundled functions. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';
import projectJson from '../package.json' with { type: 'json' };
import { bundleFunctions } from './bundle.ts';

const root = join(import.meta.dirname, '..');

/** Builds the package into the folder `out`, and packs it there. Returns the path of the archive. */
export async function buildPackage(out: string): Promise<string> {
  const folder = join(resolve(out), 'package');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  bundleFunctions(readdirSync(join(root, 'functions')), join(folder, 'functions'));
  await bundleConstruct(join(folder, 'index.cjs'));
  emitTypes(join(folder, 'types'));
  for (const file of ['LICENSE', 'CHANGELOG.md']) cpSync(join(root, file), join(folder, file));
  writeFileSync(join(folder, 'README.md'), readme);
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  const packed = run('npm', ['pack', '--json', '--pack-destination', resolve(out)], folder);
  const [archive] = JSON.parse(packed) as [{ filename: string }];
  return join(resolve(out), archive.filename);
}

/** The package has its functions bundled already, and needs no esbuild. */
const prebuilt: Plugin = {
  name: 'prebuilt',
  setup({ onResolve }) {
    onResolve({ filter: /\/bundle\.ts$/ }, () => ({ path: join(root, 'infra/prebuilt.ts') }));
  },
};

/** CommonJS, which both kinds of apps load. The CDK is the app's own. */
async function bundleConstruct(outfile: string): Promise<void> {
  await build({
    entryPoints: [join(root, 'infra/leads-calendar-google.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: ['aws-cdk-lib', 'constructs'],
    plugins: [prebuilt],
    define: { 'import.meta.dirname': '__dirname' },
    logLevel: 'warning',
  });
}

function emitTypes(outDir: string): void {
  const config = join(outDir, '..', 'tsconfig.json');
  const compilerOptions = {
    noEmit: false,
    declaration: true,
    emitDeclarationOnly: true,
    rewriteRelativeImportExtensions: true,
    rootDir: root,
    outDir,
    typeRoots: [join(root, 'node_modules/@types')],
  };
  const files = [join(root, 'infra/leads-calendar-google.ts')];
  writeFileSync(
    config,
    JSON.stringify({ extends: join(root, 'tsconfig.json'), include: [], files, compilerOptions }),
  );
  run(join(root, 'node_modules/.bin/tsc'), ['-p', config]);
  rmSync(config);
}

function run(command: string, args: string[], cwd = root): string {
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

const { name, version, description, license, devDependencies, dependencies } = projectJson;
const manifest = {
  name,
  version,
  description,
  license,
  main: './index.cjs',
  types: './types/infra/leads-calendar-google.d.ts',
  exports: { '.': { types: './types/infra/leads-calendar-google.d.ts', default: './index.cjs' } },
  // The types of the options are valibot's.
  dependencies: { valibot: dependencies.valibot },
  peerDependencies: {
    'aws-cdk-lib': `^${devDependencies['aws-cdk-lib']}`,
    constructs: devDependencies.constructs,
  },
};
const readme = `# ${name}

${description} A construct for your own CDK app:

\`\`\`ts
import { LeadsCalendarGoogle } from '${name}';

const calendar = new LeadsCalendarGoogle(this, 'Calendar', { alarmEmail: 'operator@example.com' });
calendar.bus; // its events: calendar.tables, calendar.api and calendar.functions are there, too
\`\`\`
`;

if (import.meta.main) console.log(await buildPackage(join(root, 'cdk.out')));
