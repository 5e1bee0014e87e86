import { readFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Code whose every branch the simulation should reach. */
const watched = /\/(functions\/(booking-sync|booking-reconcile|token-refresh)|shared)\/(?!.*handler)/;
/** Of `shared`, what bookings and tokens rest on. */
const sharedFiles = /\/shared\/(booking\/(store|payment)|connection\/(access-token|store|revocation))\.ts$/;
/** Fewer watched files mean that some were moved. */
const fewestFiles = 20;
const root = fileURLToPath(new URL('../..', import.meta.url));

/** Starts counting which code this thread reaches. Answers a function that lists the lines which it never reached. */
export function startCoverage(): () => Promise<string[]> {
  const session = new Session();
  session.connect();
  const started = session
    .post('Profiler.enable')
    .then(() => session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true }));
  return async () => {
    await started;
    const { result } = await session.post('Profiler.takePreciseCoverage');
    await session.post('Profiler.stopPreciseCoverage');
    session.disconnect();
    const files = result.filter(
      ({ url }) => watched.test(url) && (!url.includes('/shared/') || sharedFiles.test(url)),
    );
    if (files.length < fewestFiles)
      throw new Error(`Only ${files.length} files are watched: do the patterns of coverage.ts match?`);
    return files
      .flatMap(({ url, functions }) => {
        const path = fileURLToPath(url);
        const text = readFileSync(path, 'utf8');
        return functions
          .flatMap(({ ranges }) => ranges)
          .filter((range) => range.count === 0)
          .map(({ startOffset, endOffset }) => {
            const line = text.slice(0, startOffset).split('\n').length;
            const code = text.slice(startOffset, endOffset).replace(/\s+/g, ' ').trim();
            return `${relative(root, path)}:${line}  ${code.slice(0, 90)}`;
          });
      })
      .sort();
  };
}
