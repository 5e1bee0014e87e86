import { AppError } from './app-error.ts';

/**
 * The schema versions of each kind of item and message: those that this release reads, and the one that it writes. The
 * next release only adds fields to an item, so its items are read as well; its messages go back to the queue.
 */
export const schemas = {
  booking: { reads: [1, 2], writes: 1 },
  'payment pointer': { reads: [1, 2], writes: 1 },
  connection: { reads: [1, 2], writes: 1 },
  'payment accounts': { reads: [1, 2], writes: 1 },
  'link attempts': { reads: [], writes: 1 },
  message: { reads: [1], writes: 1 },
  'bus event': { reads: [], writes: 1 },
} as const satisfies Record<string, { reads: readonly number[]; writes: number }>;

/** Rejects an item or message of a version that this release does not read. Errors: `schema_version_unsupported`. */
export function requireReadable(kind: keyof typeof schemas, version: number | undefined): void {
  const reads: readonly number[] = schemas[kind].reads;
  if (version !== undefined && reads.includes(version)) return;
  throw new AppError(
    'schema_version_unsupported',
    `A ${kind} has schema version ${version}, and this release reads ${reads.join(' and ')} only. Deploy the release that wrote it, or a later one.`,
  );
}
