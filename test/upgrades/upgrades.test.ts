import { beforeAll, expect, it } from 'vitest';
import { splitMac } from '../../shared/crypto/payment-mac.ts';
import { sample, sampleNames, shapeOf } from '../support/schema-samples.ts';
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
  const { violations, bookings, deadLetters, log, first } = await playUpgrade(
    { today, next },
    upgradeAndRollback,
  );
  expect(violations).toEqual([]);
  expect(bookings).toBeGreaterThan(80);
  // Messages of the next release that the rollback left, each of them reported.
  expect(deadLetters).toBeGreaterThan(5);
  const entries = log.today.map((line) => JSON.parse(line));
  const refused = entries.filter(({ error }) => error?.code === 'schema_version_unsupported');
  expect(refused.length).toBeGreaterThanOrEqual(5 * deadLetters);
  expect(entries.filter(({ OperatorError }) => OperatorError === 1)).toHaveLength(refused.length);
  // The samples have every field that was written, so a change of a shape needs another sample or version.
  const written = [...first.items, ...first.messages.map((body) => JSON.parse(splitMac(body).message))];
  const samples = sampleNames('booking-', 'connection', 'link-', 'message-', 'pointer', 'tombstone');
  const known = new Set(samples.flatMap((name) => shapeOf(sample(name))));
  expect(
    [...new Set(written.flatMap((value) => shapeOf(value)))].filter((field) => !known.has(field)),
  ).toEqual([]);
  expect(written.length).toBeGreaterThan(15);
});

it.each(Object.entries(mistakes))('finds that a release %s', async (name, edit) => {
  const { createRelease } = await buildRelease(name.replaceAll(' ', '-'), [edit]);
  const { violations } = await playUpgrade({ today: createRelease, next }, rollback);
  expect(violations).not.toEqual([]);
});
