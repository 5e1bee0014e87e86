import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, inject, test } from 'vitest';

/**
 * Bytes of each bundle, minified and compressed: about five per cent over what it takes. Cold starts grow with them.
 * Over budget? Look for a package that came in by accident; raise the budget only where it is worth its weight.
 */
const budgets: Record<string, { minified: number; compressed: number }> = {
  'booking-reconcile': { minified: 285_000, compressed: 92_000 },
  'booking-sync': { minified: 467_000, compressed: 148_000 },
  bookings: { minified: 404_000, compressed: 134_000 },
  connect: { minified: 307_000, compressed: 103_000 },
  connections: { minified: 419_000, compressed: 135_000 },
  health: { minified: 4_000, compressed: 1_800 },
  'oauth-callback': { minified: 455_000, compressed: 145_000 },
  'payment-confirmed': { minified: 340_000, compressed: 114_000 },
  'token-refresh': { minified: 392_000, compressed: 126_000 },
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
