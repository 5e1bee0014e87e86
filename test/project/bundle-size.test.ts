import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, inject, test } from 'vitest';

/**
 * Bytes of each function's bundle, minified and compressed: about five per cent above today's size, since cold
 * starts grow with them. Over budget? Look for a package that was added by accident; raise the budget only for
 * good reason.
 */
const budgets: Record<string, { minified: number; compressed: number }> = {
  audit: { minified: 350_000, compressed: 115_000 },
  'booking-reconcile': { minified: 252_000, compressed: 83_000 },
  'booking-sync': { minified: 398_500, compressed: 128_000 },
  bookings: { minified: 320_000, compressed: 105_500 },
  connect: { minified: 243_000, compressed: 85_000 },
  connections: { minified: 348_000, compressed: 111_000 },
  health: { minified: 4_000, compressed: 1_800 },
  'oauth-callback': { minified: 421_000, compressed: 135_000 },
  'payment-confirmed': { minified: 248_000, compressed: 82_000 },
  // With Stripe's package: it is scheduled, so nobody waits for its cold start.
  'payment-recovery': { minified: 900_000, compressed: 230_000 },
  'token-refresh': { minified: 278_000, compressed: 88_000 },
};

const bundles = join(inject('assembly'), 'bundles');

test('every function has a size budget', () => {
  expect(readdirSync(bundles).sort()).toEqual(Object.keys(budgets).sort());
});

test.each(Object.entries(budgets))('the bundle of %s is within its budget', (name, budget) => {
  const bundle = readFileSync(join(bundles, name, 'index.cjs'));
  expect(bundle.length, 'minified').toBeLessThanOrEqual(budget.minified);
  expect(gzipSync(bundle).length, 'compressed').toBeLessThanOrEqual(budget.compressed);
});

test('bundles load the rarely used time zone code from a separate file', () => {
  const file = './temporal-polyfill.cjs';
  const users = Object.keys(budgets).filter((name) =>
    readFileSync(join(bundles, name, 'index.cjs'), 'utf8').includes(`require("${file}")`),
  );
  expect(users).toEqual(['booking-sync', 'bookings', 'payment-confirmed', 'payment-recovery']);
  for (const name of users) {
    const { Temporal } = createRequire(join(bundles, name, 'index.cjs'))(file);
    expect(String(Temporal.PlainDate.from('2026-12-01'))).toBe('2026-12-01');
  }
});
