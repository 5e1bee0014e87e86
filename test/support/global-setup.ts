import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { synthesize } from '../../infra/synthesize.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Folder of the cloud assembly, synthesized and bundled once for all tests. */
    assembly: string;
  }
}

/** Synthesizes and bundles once; tests take the folder with `inject('assembly')`. */
export function setup(project: TestProject): () => void {
  const directory = mkdtempSync(join(tmpdir(), 'leadscalendar-test-'));
  synthesize(directory);
  project.provide('assembly', directory);
  return () => rmSync(directory, { recursive: true, force: true });
}
