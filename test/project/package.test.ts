/** The construct as a package: installed into an app of its own, type-checked and synthesized there. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App, Stack } from 'aws-cdk-lib';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { LeadsCalendarGoogle } from '../../infra/leads-calendar-google.ts';
import { buildPackage } from '../../infra/package.ts';
import packageJson from '../../package.json' with { type: 'json' };

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const root = join(import.meta.dirname, '../..');
const { name } = packageJson;
let directory: string;
let app: string;
let installed: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'package-test-'));
  const archive = await buildPackage(directory);
  app = join(directory, 'app');
  installed = join(app, 'node_modules', name);
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', archive, '-C', installed, '--strip-components=1']);
  // What npm would install beside it: its dependencies and peers, and what any CDK app in TypeScript has.
  for (const module of ['aws-cdk-lib', 'constructs', 'valibot', '@types'])
    symlinkSync(join(root, 'node_modules', module), join(app, 'node_modules', module));
  writeFileSync(
    join(app, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        strict: true,
        module: 'nodenext',
        target: 'es2022',
        noEmit: true,
        types: ['node'],
        skipLibCheck: true,
      },
    }),
  );
  writeFileSync(join(app, 'app.ts'), source('{ throttleRate: 7, returnOrigins: "https://app.example.com" }'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const source = (props: string): string => `
import { App, Stack } from 'aws-cdk-lib';
import { LeadsCalendarGoogle } from '${name}';
const app = new App({ outdir: 'out', analyticsReporting: false });
const calendar = new LeadsCalendarGoogle(new Stack(app, 'Company'), 'Calendar', ${props});
console.log(calendar.bus.eventBusName.length, Object.keys(calendar.functions).length, calendar.tables.bookings.tableName.length);
app.synth();
`;

/** What the compiler says of the app. */
function typeCheck(): string {
  const tsc = join(root, 'node_modules/.bin/tsc');
  const { stdout, stderr } = spawnSync(tsc, ['-p', app], { cwd: app, encoding: 'utf8' });
  return stdout + stderr;
}

/** A template without what differs by where it was synthesized. */
const comparable = (text: string): unknown =>
  JSON.parse(text.replace(/"aws:asset:path": ?"[^"]*"/g, '"aws:asset:path":""'));

describe('the package', () => {
  it('names the CDK as a peer, and holds no source, test or secret', () => {
    const { peerDependencies, dependencies } = JSON.parse(
      readFileSync(join(installed, 'package.json'), 'utf8'),
    );
    expect(Object.keys(peerDependencies)).toEqual(['aws-cdk-lib', 'constructs']);
    expect(Object.keys(dependencies)).toEqual(['valibot']);
    expect(readdirSync(installed).sort()).toEqual(
      ['CHANGELOG.md', 'LICENSE', 'README.md', 'functions', 'index.cjs', 'package.json', 'types'].sort(),
    );
    expect(readFileSync(join(installed, 'index.cjs'), 'utf8')).not.toContain(root);
  });

  it('has types: a right app compiles, a wrong option does not', () => {
    expect(typeCheck()).toBe('');
    writeFileSync(join(app, 'app.ts'), source('{ throttleRtae: 7 }'));
    expect(typeCheck()).toContain("'throttleRtae' does not exist");
    writeFileSync(
      join(app, 'app.ts'),
      source('{ throttleRate: 7, returnOrigins: "https://app.example.com" }'),
    );
  });

  it("synthesizes in another app what the project's own construct does", () => {
    const ran = spawnSync(process.execPath, ['app.ts'], { cwd: app, encoding: 'utf8' });
    expect(ran.stderr).not.toContain('Error');
    expect(ran.stdout).toMatch(/^\d+ 11 \d+$/m);
    const own = new App({ outdir: join(directory, 'own'), analyticsReporting: false });
    new LeadsCalendarGoogle(new Stack(own, 'Company'), 'Calendar', {
      throttleRate: 7,
      returnOrigins: 'https://app.example.com',
    });
    own.synth();
    const [theirs, ours] = [join(app, 'out'), join(directory, 'own')].map((out) =>
      comparable(readFileSync(join(out, 'Company.template.json'), 'utf8')),
    );
    expect(theirs).toEqual(ours);
  });
});
