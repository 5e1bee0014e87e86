/** `npm run docs`: writes the documents that are made from code. Tests fail when they are out of date. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventsJsonSchema } from './events-schema.ts';
import { openApi } from './openapi.ts';
import { referencePages } from './reference-pages.ts';

const write = (name: string, text: string): void =>
  writeFileSync(join(import.meta.dirname, '..', 'docs', name), text);
const json = (document: unknown): string => `${JSON.stringify(document, null, 2)}\n`;

write('events.schema.json', json(eventsJsonSchema()));
write('openapi.json', json(openApi()));
for (const [name, page] of Object.entries(referencePages)) write(name, page());
