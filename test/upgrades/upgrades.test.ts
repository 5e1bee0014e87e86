import { beforeAll, expect, it } from 'vitest';
import { buildRelease } from './build-release.ts';
import { mistakes, nextRelease } from './next-release.ts';
import { playUpgrade, rollback, upgradeAndRollback } from './two-releases.ts';

type Create = Awaited<ReturnType<typeof buildRelease>>['createRelease'];
let today: Create;
let next: Create;
beforeAll(async () => {
  const built = [buildRelease('today', []), buildRelease('next', nextRelease)] as const;
  [{ createRelease: today }, { createRelease: next }] = await Promise.all(built);
});

it('an upgrade, a rollback and an upgrade again lose no booking, message or newer field', async () => {
  const { violations, bookings, deadLetters, log } = await playUpgrade({ today, next }, upgradeAndRollback);
  expect(violations).toEqual([]);
  expect(bookings).toBeGreaterThan(80);
  // Messages of the next release that the rollback left, each of them reported.
  expect(deadLetters).toBeGreaterThan(5);
  const entries = log.today.map((line) => JSON.parse(line));
  const refused = entries.filter(({ error }) => error?.code === 'schema_version_unsupported');
  expect(refused.length).toBeGreaterThanOrEqual(5 * deadLetters);
  expect(entries.filter(({ OperatorError }) => OperatorError === 1)).toHaveLength(refused.length);
});

it.each(Object.entries(mistakes))('finds that a release %s', async (name, edit) => {
  const { createRelease } = await buildRelease(name.replaceAll(' ', '-'), [edit]);
  const { violations } = await playUpgrade({ today: createRelease, next }, rollback);
  expect(violations).not.toEqual([]);
});
