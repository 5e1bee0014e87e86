/** That comments, docs and test titles are written in plain words, as CONTRIBUTING.md asks. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync } from 'rolldown/utils';
import { describe, expect, it } from 'vitest';

type Text = { file: string; line: number; text: string };
type Node = { type: string; start: number; [key: string]: unknown };

const root = join(import.meta.dirname, '../..');
const longestTitle = 90;
/** Of all pages that are not generated: what one reads in a morning. */
const documentationWords = 15_700;

/** Phrases that slow a reader down, each with its replacement. */
const phrases: [RegExp, string][] = [
  [/\b(nobody|somebody|anybody|whoever|whom)\b/gi, 'the role: worker, user, consumer, operator, Google'],
  [/\b(whatever|whichever)\b/gi, 'any, or the cases by name'],
  [/\b(in vain|comes? to nothing|came to nothing)\b/gi, 'without success, failed'],
  [/\b(mends?|mended)\b/gi, 'fix, repair'],
  [/\bconcedes?\b/gi, 'record the failure'],
  [/\b(unheard|heard of)\b/gi, 'in doubt, with unknown outcome'],
  [/\bof which\b/gi, 'whose, or a sentence of its own'],
  [/\bthere is none\b/gi, 'it is missing, there is no …'],
  [/\bstood still\b/gi, 'was paused'],
  [/\b(is told|are told|was told|told of|tells? of)\b/gi, 'publish, notify, show'],
  [/\bwhat is due\b/gi, 'the due connections, bookings'],
];

const sources = (pattern: string): string[] =>
  globSync(pattern, { cwd: root, exclude: ['**/node_modules'] }).filter((file) => !/cdk\.out/.test(file));
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const codeFiles = sources('{functions,shared,infra}/**/*.ts');
const testFiles = sources('test/**/*.ts');
const titles = testFiles
  .filter((file) => file.endsWith('.test.ts'))
  .flatMap((file) => titlesIn(file, read(file)));
const pages = sources('**/*.md').filter((file) => !isGenerated(read(file)));

const groups: [string, Text[]][] = [
  ['comments of code', codeFiles.flatMap((file) => commentsIn(file, read(file)))],
  ['comments of tests', testFiles.flatMap((file) => commentsIn(file, read(file)))],
  ['docs', pages.flatMap((file) => linesOf(file, read(file)))],
  ['test titles', titles],
];

describe('the language of the project', () => {
  it.each(groups)('%s have less than one hard phrase in 2,000 words', (_, texts) => {
    const found = hardPhrasesIn(texts);
    expect(wordsIn(texts)).toBeGreaterThan(1000);
    expect((found.length / wordsIn(texts)) * 2000, found.join('\n')).toBeLessThan(1);
  });

  it('test titles are short and name a situation and a result', () => {
    expect(titles.length).toBeGreaterThan(1000);
    expect(titles.flatMap(problemsOfTitle)).toEqual([]);
  });

  it('the documentation can be read in a morning', () => {
    // Runbooks are read one at a time: each has a limit of its own.
    const documents = pages.filter((file) => !file.startsWith('docs/runbooks/')).map(read);
    const words = documents.reduce((sum, page) => sum + (page.match(/\S+/g) ?? []).length, 0);
    expect(documents.length).toBeGreaterThan(20);
    expect(words).toBeLessThanOrEqual(documentationWords);
  });
});

describe('the check of the language', () => {
  const sample = [
    '/**',
    ' * Nobody knows.',
    ' */',
    "const text = '// whoever'; // Tells of it.",
    'const pattern = /\\/\\/ whatever/;',
    'describe(`in backticks`, () => {',
    "  it.each([1])('%s', () => {});",
    "  it.skipIf(false)('what is left', () => {});",
    "  test('a title', { timeout: 1 }, () => {});",
    '});',
    "other('not a title', () => {});",
  ].join('\n');

  it('reads comments with their lines, and no strings or patterns', () => {
    expect(commentsIn('a.ts', sample)).toEqual([
      { file: 'a.ts', line: 1, text: '*' },
      { file: 'a.ts', line: 2, text: ' * Nobody knows.' },
      { file: 'a.ts', line: 3, text: ' ' },
      { file: 'a.ts', line: 4, text: ' Tells of it.' },
    ]);
  });

  it('reads the titles of describe, it and test in every form', () => {
    expect(titlesIn('a.test.ts', sample)).toEqual([
      { file: 'a.test.ts', line: 6, text: 'in backticks' },
      { file: 'a.test.ts', line: 7, text: '%s' },
      { file: 'a.test.ts', line: 8, text: 'what is left' },
      { file: 'a.test.ts', line: 9, text: 'a title' },
    ]);
  });

  it('reports the place of a hard phrase and the words to use instead', () => {
    expect(hardPhrasesIn(commentsIn('a.ts', sample))).toEqual([
      'a.ts:2 "Nobody": use the role: worker, user, consumer, operator, Google',
      'a.ts:4 "Tells of": use publish, notify, show',
    ]);
  });

  it.each([
    ...['nobody', 'somebody', 'anybody', 'whoever', 'whom', 'whatever', 'whichever', 'unheard', 'heard of'],
    ...[
      'mend',
      'mends',
      'mended',
      'concede',
      'concedes',
      'in vain',
      'of which',
      'there is none',
      'stood still',
    ],
    ...['is told', 'are told', 'was told', 'told of', 'tell of', 'tells of', 'what is due'],
    ...['come to nothing', 'comes to nothing', 'came to nothing'],
  ])('finds the phrase "%s" in any letter case', (phrase) => {
    const found = (text: string) => hardPhrasesIn([{ file: 'a.md', line: 1, text }]).length;
    expect([`It ${phrase} here.`, phrase.toUpperCase(), `x${phrase}x`].map(found)).toEqual([1, 1, 0]);
  });

  it('reports titles that are long or start a noun clause', () => {
    const problems = (text: string) => problemsOfTitle({ file: 'a.test.ts', line: 1, text });
    expect(problems('x'.repeat(longestTitle))).toEqual([]);
    expect(problems('x'.repeat(longestTitle + 1))).toEqual([
      `a.test.ts:1 has 91 characters: ${'x'.repeat(91)}`,
    ]);
    for (const start of ['what', 'Whoever', 'that', 'whose', 'how', 'where'])
      expect(problems(`${start} is left`)).toEqual([`a.test.ts:1 starts a noun clause: ${start} is left`]);
    expect(problems('whole days last a day')).toEqual([]);
  });

  it('counts words without numbers and signs', () => {
    expect(wordsIn([{ file: 'a.md', line: 1, text: "| It doesn't count 12 | `signs` |" }])).toBe(4);
  });
});

/** Each line of each comment, as the parser sees them: no strings, templates or patterns. */
function commentsIn(file: string, source: string): Text[] {
  return parseSync(file, source).comments.flatMap(({ value, start }) =>
    value.split('\n').map((text, index) => ({ file, line: lineAt(source, start) + index, text })),
  );
}

/** The titles of all tests and groups of a file; those made by a variable are not read. */
function titlesIn(file: string, source: string): Text[] {
  const found: Text[] = [];
  visit(parseSync(file, source).program as unknown as Node, (node) => {
    if (node.type !== 'CallExpression' || !/^(describe|it|test)$/.test(nameOfCall(node))) return;
    const [title, ...rest] = node.arguments as (Node & { value?: unknown; end: number })[];
    if (title === undefined || rest.length === 0) return;
    if (title.type === 'TemplateLiteral' || typeof title.value === 'string') {
      const text = source.slice(title.start + 1, title.end - 1).replaceAll("\\'", "'");
      found.push({ file, line: lineAt(source, title.start), text });
    }
  });
  return found;
}

/** Calls back for a node and all nodes in it, from the first to the last. */
function visit(node: unknown, seen: (node: Node) => void): void {
  if (Array.isArray(node)) for (const each of node) visit(each, seen);
  else if (typeof node === 'object' && node !== null) {
    if ('type' in node) seen(node as Node);
    for (const child of Object.values(node)) visit(child, seen);
  }
}

/** `it` for `it(…)`, `it.each(…)(…)` and `it.skipIf(…)(…)`. */
function nameOfCall(node: Node | undefined): string {
  if (node?.type === 'Identifier') return String(node.name);
  return node === undefined ? '' : nameOfCall((node.callee ?? node.object ?? node.tag) as Node | undefined);
}

function hardPhrasesIn(texts: Text[]): string[] {
  return texts.flatMap(({ file, line, text }) =>
    phrases.flatMap(([pattern, instead]) =>
      (text.match(pattern) ?? []).map((phrase) => `${file}:${line} "${phrase}": use ${instead}`),
    ),
  );
}

function problemsOfTitle({ file, line, text }: Text): string[] {
  const problems: string[] = [];
  if (text.length > longestTitle) problems.push(`${file}:${line} has ${text.length} characters: ${text}`);
  if (/^(what|who|how|where|that|those who|which)(ever)?\b|^whose\b/i.test(text))
    problems.push(`${file}:${line} starts a noun clause: ${text}`);
  return problems;
}

function wordsIn(texts: Text[]): number {
  return texts.reduce((sum, { text }) => sum + (text.match(/[A-Za-z']+/g) ?? []).length, 0);
}

function linesOf(file: string, page: string): Text[] {
  return page.split('\n').map((text, index) => ({ file, line: index + 1, text }));
}

function lineAt(source: string, offset: number): number {
  return source.slice(0, offset).split('\n').length;
}

/** Pages that `npm run docs` writes say so in their first lines. */
function isGenerated(page: string): boolean {
  return page.split('\n').slice(0, 5).join('\n').includes('Generated by `npm run docs`');
}
