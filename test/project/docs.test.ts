/** The documents are complete and refer only to existing things. */
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import {
  type AlarmName,
  alarmReference,
  metricReference,
  runbookOf,
} from '../../infra/operator-reference.ts';
import { problems } from '../../infra/reference.ts';
import { referencePages } from '../../infra/reference-pages.ts';
import { bookingStatuses } from '../../shared/booking/booking.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const readAll = (pattern: string): string => globSync(pattern, { cwd: root }).map(read).join('\n');
const documents = globSync(['*.md', '{docs,infra,test}/**/*.md'], { cwd: root });

test.each(Object.entries(referencePages))('docs/%s matches the code; if not: npm run docs', (name, page) => {
  expect(read(`docs/${name}`)).toBe(page());
});

test('api.md explains every problem code of a booking', () => {
  const payment = [
    'shared/booking/appointment.ts',
    'shared/booking/booking-payments.ts',
    'shared/booking/former-account.ts',
    'shared/payments/booking-from-metadata.ts',
  ]
    .map(read)
    .join('\n');
  const codes = matches(payment + readAll('functions/booking-sync/*.ts'), /\bcode: '(\w+)'/g);
  const listed = Object.keys(problems).filter((code) => !code.startsWith('google_'));
  expect(listed.sort()).toEqual(codes);
});

test('operate.md explains every status of a booking', () => {
  expect(explained('docs/operate.md', '## A booking', '`status`', 'status')).toEqual(
    Object.keys(bookingStatuses).sort(),
  );
});

test('configuration.md lists exactly the alarms and metrics of the source', () => {
  const alarms = matches(read('infra/alarms.ts'), /\balarm\(\s*'(\w+)'/g);
  expect(Object.keys(alarmReference).sort()).toEqual(alarms);
  const metrics = matches(readAll('{functions,shared}/**/*.ts'), /\bmetric\('(\w+)'/g);
  expect(Object.keys(metricReference).sort()).toEqual(metrics);
});

test('every alarm has its runbook, and no runbook is without an alarm', () => {
  const ofAlarms = Object.keys(alarmReference).map((name) => runbookOf(name as AlarmName));
  const runbooks = globSync('docs/runbooks/*.md', { cwd: root });
  expect(runbooks.sort()).toEqual([...ofAlarms, 'docs/runbooks/paid-without-event.md'].sort());
  for (const runbook of runbooks) {
    const headings = [...read(runbook).matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
    expect(headings, runbook).toEqual(['What it means', 'What users notice', 'Look', 'Repair', 'Verify']);
    expect(read(runbook).match(/\S+/g)?.length, `${runbook} fits on one screen`).toBeLessThanOrEqual(210);
  }
});

test('the docs name only commands of the operator that exist', () => {
  const help = read('infra/cli/ops.ts').split('const help')[1]?.split('`;')[0] ?? '';
  const known = matches(help, /^ {2}([a-z-]+)/gm);
  const named = documents.map(read).join('\n');
  const used = matches(named, /(?:npm run (?:-s )?ops --|`ops) ([a-z-]+)/g);
  expect(used.length).toBeGreaterThan(8);
  expect(used.filter((name) => !known.includes(name))).toEqual([]);
});

test('the docs never ask for a write to a table or queue item by hand', () => {
  const texts = documents.map((file) => read(file)).join('\n');
  expect(texts).not.toMatch(/dynamodb (put|update|delete|batch-write)-item|aws sqs send-message/);
});

test('security.md cites only existing test titles', () => {
  const named = [...read('docs/security.md').matchAll(/\[([^\]]+)\]\(\.\.\/(test\/[^)]+)\)/g)];
  expect(named.length).toBeGreaterThan(30);
  for (const [, title = '', file = ''] of named) {
    const titles = [...read(file).matchAll(/\(\s*(['"])((?:(?!\1).)+)\1,\s*(?:async )?\(/g)];
    expect(
      titles.map(([, , text]) => text),
      file,
    ).toContain(title);
  }
});

test('the README names every function and every command', () => {
  const readme = read('README.md');
  for (const name of readdirSync(join(root, 'functions'))) expect(readme).toContain(`\n  ${name}/`);
  for (const script of Object.keys(JSON.parse(read('package.json')).scripts))
    expect(readme).toMatch(new RegExp(`npm (run )?${script}\\b`));
});

test.each(documents)('every link of %s within the project has a target', (document) => {
  for (const target of matches(read(document), /\]\((?!https?:)([^)\s]+)\)/g)) {
    const [path = '', anchor] = target.split('#');
    const file = path === '' ? document : join(dirname(document), path);
    expect(existsSync(join(root, file)), target).toBe(true);
    if (anchor) expect(anchorsOf(file), target).toContain(anchor);
  }
});

/** Names in the first cells of the tables under a heading whose first column has this title. */
function explained(document: string, heading: string, ...columns: string[]): string[] {
  const tables = sectionOf(document, heading)
    .split('\n\n')
    .filter((block) => columns.some((column) => block.startsWith(`| ${column} `)));
  const rows = tables.flatMap((table) => table.split('\n').slice(2));
  return matches(rows.map((row) => row.split(' | ')[0]).join('\n'), /`(\w+)`/g);
}

/** A heading of a document with its whole section. */
function sectionOf(document: string, heading: string): string {
  const [, after] = read(document).split(`\n${heading}\n`);
  if (after === undefined) throw new Error(`${document} has no "${heading}".`);
  const depth = heading.indexOf(' ');
  return after.split(new RegExp(`\n#{1,${depth}} `))[0] ?? '';
}

/** What the first group of a pattern finds in a text: each once, sorted. */
function matches(text: string, pattern: RegExp): string[] {
  return [...new Set([...text.matchAll(pattern)].map(([, found = '']) => found))].sort();
}

/** The anchors that GitHub gives to the headings of a document. */
function anchorsOf(document: string): string[] {
  const used = new Map<string, number>();
  return [...read(document).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => {
    const anchor = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
    const before = used.get(anchor) ?? 0;
    used.set(anchor, before + 1);
    return before === 0 ? anchor : `${anchor}-${before}`;
  });
}

test('no documented command passes a secret as an argument', () => {
  const commands = documents.flatMap((document) =>
    [...read(document).matchAll(/```(?:sh|bash)\n(.*?)```/gs)].map(([, block = '']) => block),
  );
  expect(commands.length).toBeGreaterThan(10);
  const argument = /--secret-string (?!"?file:)\S+|ApiKeyValue=\S+|hexkey:\S+|-hmac \S+|whsec_\w{4}/;
  for (const block of commands) expect(block).not.toMatch(argument);
});
