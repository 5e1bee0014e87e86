/** Samples of all that is stored or sent, by schema version: what today's release reads and writes. */
import { readdirSync, readFileSync } from 'node:fs';

const folder = new URL('../fixtures/schema-1/', import.meta.url);
const names = readdirSync(folder).map((file) => file.replace('.json', ''));

export function sample<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8'));
}

/** The names of the samples that begin like this. */
export function sampleNames(...starts: string[]): string[] {
  return names.filter((name) => starts.some((start) => name.startsWith(start)));
}

/** Objects whose keys are ids or the names of an index: any key is right. */
const maps = ['payments', 'refunds', 'disputes', 'fields', 'guests', 'refused', 'after'];

/** Each field of a value as its path with its type: `calendar.event.revision: number`. */
export function shapeOf(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((entry) => shapeOf(entry, `${path}[]`));
  if (typeof value !== 'object' || value === null) return [`${path}: ${typeof value}`];
  const isMap = maps.includes(path.split('.').at(-1) ?? '');
  return Object.entries(value).flatMap(([name, part]) => shapeOf(part, `${path}.${isMap ? '*' : name}`));
}
