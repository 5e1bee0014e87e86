import { cpSync } from 'node:fs';
import { join } from 'node:path';

/** In the package, instead of bundle.ts: the bundles are beside it. `import.meta.dirname` is that of the package. */
export function bundleFunctions(names: readonly string[], outdir: string): void {
  for (const name of names)
    cpSync(join(import.meta.dirname, 'functions', name), join(outdir, name), { recursive: true });
}
