/** Log streams of the functions: the latest lines in memory, all of them in files. */
import { createWriteStream, mkdirSync, type WriteStream } from 'node:fs';
import { join } from 'node:path';
import type { LogLine } from './functions.ts';

type LogStreams = {
  write(line: LogLine): void;
  /** The latest lines, oldest first. */
  lines(): LogLine[];
  close(): Promise<void>;
};

const maxLines = 5000;

/** @param directory gets one file per function; no files when absent */
export function createLogStreams(directory?: string): LogStreams {
  const buffered: LogLine[] = [];
  const files = new Map<string, WriteStream>();
  if (directory) mkdirSync(directory, { recursive: true });
  return {
    write(line) {
      buffered.push(line);
      if (buffered.length > maxLines) buffered.shift();
      if (!directory) return;
      let file = files.get(line.functionName);
      if (!file) {
        file = createWriteStream(join(directory, `${line.functionName}.log`), { flags: 'a' });
        files.set(line.functionName, file);
      }
      file.write(`${line.text}\n`);
    },
    lines: () => [...buffered],
    async close() {
      await Promise.all([...files.values()].map((file) => new Promise<void>((done) => file.end(done))));
    },
  };
}
