import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** A map that outlives the process. Values are replaced, never changed in place. */
export type Collection<Value> = {
  get(key: string): Value | undefined;
  set(key: string, value: Value): void;
  delete(key: string): void;
  values(): Iterable<Value>;
};

type Journal = {
  collection<Value>(name: string): Collection<Value>;
  close(): void;
};

type Entry = [collection: string, key: string, value?: unknown];

/**
 * Opens a journal of JSON lines, one `[collection, key, value]` for each change (no value: deleted).
 *
 * Each change reaches the operating system before its request is answered, so a process killed by SIGKILL loses
 * nothing that it has acknowledged. A truncated last line is ignored. Each start rewrites the file to the current
 * values. Without a path everything stays in memory.
 */
export function openJournal(path?: string): Journal {
  const collections = new Map<string, Map<string, unknown>>();
  const rows = (name: string): Map<string, unknown> => {
    const known = collections.get(name) ?? new Map<string, unknown>();
    collections.set(name, known);
    return known;
  };

  for (const [name, key, value] of path ? readEntries(path) : []) {
    if (value === undefined) rows(name).delete(key);
    else rows(name).set(key, value);
  }
  let file = path ? compact(path, collections) : undefined;
  const append = (entry: Entry): void => {
    if (file !== undefined) writeSync(file, `${JSON.stringify(entry)}\n`);
  };

  return {
    collection: <Value>(name: string): Collection<Value> => ({
      get: (key) => rows(name).get(key) as Value | undefined,
      set: (key, value) => {
        rows(name).set(key, value);
        append([name, key, value]);
      },
      delete: (key) => {
        if (rows(name).delete(key)) append([name, key]);
      },
      values: () => rows(name).values() as Iterable<Value>,
    }),
    close: () => {
      if (file !== undefined) closeSync(file);
      file = undefined;
    },
  };
}

function readEntries(path: string): Entry[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n');
  // Text after the last line break is unfinished: the process was killed while writing.
  return lines
    .slice(0, -1)
    .filter(Boolean)
    .map((line, index) => {
      try {
        return JSON.parse(line) as Entry;
      } catch (cause) {
        throw new Error(`Line ${index + 1} of ${path} is not JSON. Delete the file to start afresh.`, {
          cause,
        });
      }
    });
}

function compact(path: string, collections: Map<string, Map<string, unknown>>): number {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.new`;
  const file = openSync(temporary, 'w', 0o600);
  for (const [name, rows] of collections) {
    for (const [key, value] of rows) writeSync(file, `${JSON.stringify([name, key, value])}\n`);
  }
  renameSync(temporary, path);
  return file; // Still the same open file, now under its final name.
}
