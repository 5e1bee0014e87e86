import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, inject, test } from 'vitest';

/**
 * Bytes of what each function loads at its start, minified and compressed: about five per cent over what it takes. Cold
 * starts grow with them.
 * Over budget? Look for a package that came in by accident; raise the budget only where it is worth its weight.
 */
const budgets: Record<string, { minified: number; compressed: number }> = {
  'booking-reconcile': { minified: 252_000, compressed: 83_000 },
  'booking-sync': { minified: 365_000, compressed: 117_000 },
  bookings: { minified: 335_000, compressed: 110_000 },
  connect: { minified: 307_000, compressed: 103_000 },
  connections: { minified: 323_000, compressed: 105_000 },
  health: { minified: 4_000, compressed: 1_800 },
  'oauth-callback': { minified: 431_000, compressed: 143_000 },
  'payment-confirmed': { minified: 270_000, compressed: 89_000 },
  'token-refresh': { minified: 288_000, compressed: 93_000 },
};

const bundles = join(inject('assembly'), 'bundles');

test('every function has a budget', () => {
  expect(readdirSync(bundles).sort()).toEqual(Object.keys(budgets).sort());
});

test.each(Object.entries(budgets))('%s is within its budget', (name, budget) => {
  const bundle = readFileSync(join(bundles, name, 'index.cjs'));
  expect(bundle.length, 'minified').toBeLessThanOrEqual(budget.minified);
  expect(gzipSync(bundle).length, 'compressed').toBeLessThanOrEqual(budget.compressed);
});

test('what is seldom used is in a file beside the bundles that use it, and loads from there', () => {
  const file = './temporal-polyfill.cjs';
  const users = Object.keys(budgets).filter((name) =>
    readFileSync(join(bundles, name, 'index.cjs'), 'utf8').includes(`require("${file}")`),
  );
  expect(users).toEqual(['bookings', 'payment-confirmed']);
  for (const name of users) {
    const { Temporal } = createRequire(join(bundles, name, 'index.cjs'))(file);
    expect(String(Temporal.PlainDate.from('2026-12-01'))).toBe('2026-12-01');
  }
});
