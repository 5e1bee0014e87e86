import { defineConfig } from 'vitest/config';

/** Tests that look at the synthesized stack, its bundles or its package. */
const ofStack = [
  'access',
  'bundle-size',
  'events-delivery',
  'openapi',
  'package',
  'stripe-bus',
  'stripe-connect',
].map((name) => `test/project/${name}.test.ts`);
const ofUnit = ['test/{project,unit}/**/*.test.ts', 'test/bench/cost-model.test.ts'];
const shared = {
  setupFiles: ['test/support/setup.ts'],
  testTimeout: 30_000,
  hookTimeout: 60_000,
  // Long enough for a busy machine: polling ends as soon as the value is right.
  expect: { poll: { timeout: 15_000 } },
};

export default defineConfig({
  test: {
    projects: [
      { test: { ...shared, name: 'unit', include: ofUnit, exclude: ofStack } },
      {
        test: {
          ...shared,
          name: 'stack',
          include: [
            'test/{bench,chaos,e2e,fuzz,integration,local-stack,simulation,upgrades}/**/*.test.ts',
            ...ofStack,
          ],
          exclude: ['test/bench/cost-model.test.ts'],
          globalSetup: ['test/support/global-setup.ts'],
        },
      },
    ],
  },
});
