import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, inject, test } from 'vitest';

/**
 * Bytes of each bundle, minified and compressed: about five per cent over what it takes. Cold starts grow with them.
 * Over budget? Look for a package that came in by accident; raise the budget only where it is worth its weight.
 */
const budgets: Record<string, { minified: number; compressed: number }> = {
  'booking-reconcile': { minified: 414_000, compressed: 128_000 },
  'booking-sync': { minified: 815_000, compressed: 245_000 },
  bookings: { minified: 547_000, compressed: 173_500 },
  connect: { minified: 447_000, compressed: 141_000 },
  connections: { minified: 788_000, compressed: 240_000 },
  health: { minified: 4_000, compressed: 1_800 },
  'oauth-callback': { minified: 816_000, compressed: 246_000 },
  'payment-confirmed': { minified: 465_000, compressed: 149_000 },
  'token-refresh': { minified: 762_000, compressed: 232_000 },
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
