import { readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';

const projectRoot = join(import.meta.dirname, '../..');

/** A change of the source: `from` is once in the file. */
export type Edit = { file: string; from: string; to: string };

/** Builds release.ts with changed sources, and loads it. */
export async function buildRelease(name: string, edits: Edit[]): Promise<typeof import('./release.ts')> {
  // In the project, so that packages are found, and apart from sources that tests read.
  const outfile = join(projectRoot, 'node_modules/.cache/upgrades', `${process.pid}-${name}.mjs`);
  await build({
    absWorkingDir: projectRoot,
    entryPoints: [join(import.meta.dirname, 'release.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    packages: 'external',
    logLevel: 'warning',
    plugins: [editing(edits)],
  });
  const release = await import(pathToFileURL(outfile).href);
  rmSync(outfile);
  return release;
}

function editing(edits: Edit[]): Plugin {
  return {
    name: 'edits',
    setup({ onLoad, onEnd }) {
      const applied = new Set<Edit>();
      onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const file = relative(projectRoot, path);
        let contents = readFileSync(path, 'utf8');
        for (const edit of edits.filter((one) => one.file === file)) {
          if (contents.split(edit.from).length !== 2)
            throw new Error(`The text to change is not once in ${file}: ${edit.from}`);
          contents = contents.replace(edit.from, () => edit.to);
          applied.add(edit);
        }
        return { contents, loader: 'ts' };
      });
      onEnd(() => {
        for (const edit of edits) if (!applied.has(edit)) throw new Error(`Not in the release: ${edit.file}`);
      });
    },
  };
}
