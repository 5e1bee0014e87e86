/** Values that break parsers, calendars and databases, and corrupted JSON texts. */
import fc from 'fast-check';
import { ianaNames, icuAbbreviations } from '../fixtures/time-zones.ts';

/** Names with a meaning in JavaScript. */
const treacherousNames = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'then', ''];

const treacherousTexts = [
  ...treacherousNames,
  '\u0000',
  'a\u0000b',
  '\ud800',
  'x\udfff\ud800y',
  '\u202eevil\u2066',
  '\ufeff',
  '\ufffe\uffff',
  '\u2028\u2029',
  '\r\nset-cookie: a=b',
  'ﷺ',
  '👩‍👩‍👧‍👦🏴󠁧󠁢󠁥󠁮󠁧󠁿',
  'e\u0301'.repeat(50),
  '١٢٣',
  '１７９０００００００',
  'NaN',
  '-0',
  'undefined',
  'null',
  '[object Object]',
  '../../etc/passwd',
  '..',
  '.',
  '%00',
  '%',
  '%ff%fe',
  "' OR 1=1 --",
  '#{7*7}{{7*7}}',
  '"><script>fuzz</script>',
  '<img src=x onerror=fuzz>',
];

export const moments = [
  '2026-12-01T10:00:00+01:00',
  '2027-06-01T10:00:00Z',
  '2027-06-01T09:30:00',
  '2027-06-01',
  '0000-01-01',
  '0000-01-01T00:00:00+23:59',
  '0001-01-01T00:00:00Z',
  '1800-01-01T00:00:00',
  '1883-11-18T12:03:58',
  '1969-12-31T23:59:59Z',
  '1969-12-31',
  '2011-12-30T12:00:00',
  '2016-12-31T23:59:60Z',
  '2026-02-30T10:00:00Z',
  '2026-10-25T02:30:00',
  '2027-03-28T02:30:00',
  '2028-02-29',
  '2038-01-19T03:14:08Z',
  '2026-12-01T24:00:00Z',
  '2026-12-01T10:00Z',
  '2026-12-01T10:00:00.123456789+00:00',
  '2026-12-01t10:00:00z',
  '2026-12-01 10:00:00Z',
  '2026-12-01T10:00:00-00:00',
  '2026-12-01T10:00:00+24:00',
  '２０２６-12-01T10:00:00Z',
  '9999-12-31',
  '9999-12-31T23:59:59',
  '9999-12-31T23:59:59Z',
  '9999-12-31T23:59:59-23:59',
  '10000-01-01T00:00:00Z',
  '+010000-01-01T00:00:00Z',
  '-000001-01-01T00:00:00Z',
  '2026-W49-1',
  // Forms that only one of Date.parse and Temporal reads.
  '2026-12-01T10:00:00Z[Europe/Berlin]',
  '2026-12-01T10:00:00+00:00:30',
  '2026-12-01T10:00:00[u-ca=hebrew]',
  '20261201T100000Z',
  '2026-335',
  'Tue, 01 Dec 2026 10:00:00 GMT',
  '+275760-09-13T00:00:00Z',
  '-271821-04-20T00:00:00Z',
];

export const zones = [
  'Europe/Berlin',
  'America/New_York',
  'Pacific/Apia',
  'Pacific/Kiritimati',
  'Antarctica/Troll',
  'Africa/Monrovia',
  'Australia/Lord_Howe',
  'Asia/Kolkata',
  'Etc/GMT+12',
  'UTC',
  'utc',
  'EUROPE/BERLIN',
  'CST6CDT',
  '+01:00',
  'Europe/Berlin[u-ca=hebrew]',
  `${'Very/'.repeat(2000)}Long`,
];

/** Names on which Intl, Temporal and the IANA database may disagree, in any letter case. */
export const contestedZones: fc.Arbitrary<string> = fc
  .tuple(
    fc.oneof(
      fc.constantFrom(
        ...icuAbbreviations,
        'SystemV/PST8PDT',
        'SystemV/EST5',
        'US/Pacific-New',
        'Etc/Unknown',
      ),
      fc.constantFrom(...ianaNames),
      fc.constantFrom(...zones),
    ),
    fc.constantFrom('as it is', 'lower', 'upper', 'mixed'),
  )
  .map(([zone, letters]) => {
    if (letters === 'lower') return zone.toLowerCase();
    if (letters === 'upper') return zone.toUpperCase();
    if (letters === 'as it is') return zone;
    return [...zone].map((it, at) => (at % 2 === 0 ? it.toUpperCase() : it.toLowerCase())).join('');
  });

const others = [
  'guest@example.com',
  "o'brien@example.com",
  'a..b@example.com',
  '"quoted name"@example.com',
  'guest@m\u00fcnchen.example',
  'guest@[127.0.0.1]',
  'guest@-example.com',
  'guest@example',
  `${'a'.repeat(5000)}@example.com`,
  `a@${'b-'.repeat(3000)}c`,
  'https://example.com/offer?x=1',
  'https://user:password@example.com/',
  'https://[::1]:0/',
  'javascript:fuzz',
  'http://\ud800.example.com',
  `https://example.com/${'%20'.repeat(1000)}`,
  'all',
  'private',
  '11',
];

/** Values for a text field, a few of them huge. */
export const texts: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...treacherousTexts) },
  { weight: 6, arbitrary: fc.constantFrom(...moments) },
  { weight: 3, arbitrary: contestedZones },
  { weight: 3, arbitrary: fc.constantFrom(...others) },
  { weight: 3, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }) },
  { weight: 2, arbitrary: fc.string({ maxLength: 200 }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom('x', 'é', '\u0001', '\uffff', '9'), fc.constantFrom(65, 129, 1025, 8193, 70_000))
      .map(([unit, length]) => unit.repeat(length)),
  },
);

/** Texts of up to a megabyte: slow, so rare. */
const hugeTexts = fc
  .tuple(
    fc.constantFrom('x', '\u0001', '\ud800', '漢'),
    fc.constantFrom(250_000, 390_000, 500_000, 1_048_500),
  )
  .map(([unit, length]) => unit.repeat(length / (unit === 'x' ? 1 : 3)));

const deep = (open: string, close: string, depth: number) => open.repeat(depth) + close.repeat(depth);
const many = (count: number, item: (index: number) => string) =>
  `[${Array.from({ length: count }, (_, index) => item(index)).join(',')}]`;

/** JSON that no field expects, and some invalid JSON. */
const treacherousJson = [
  ...['null', 'true', 'false', '0', '-0', '-1', '1.5', '1e400', '-1e400', '1e-400', '9007199254740993', '01'],
  ...[
    'NaN',
    '-Infinity',
    '+1',
    '.5',
    '0x10',
    '9e10',
    '90000000001',
    '8640000000001',
    '-62135596801',
    '40321',
  ],
  ...['[]', '{}', '[[]]', '[null]', '""', '"\\ud800"', '"\\u0000"', "'single'", '"\t"', 'undefined', ''],
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"a":1,"a":2}',
  deep('[', ']', 10_000),
  deep('{"a":', '}', 10_000).replace('}', '1}'),
  deep('{"__proto__":', '}', 5_000).replace('}', '1}'),
  many(3_000, (index) => `{"method":"popup","minutes":${index}}`),
  many(201, (index) => `{"email":"guest${index}@example.com"}`),
  many(6, (index) => `{"method":"email","minutes":${index}}`),
  '[{"email":"a@example.com","optional":true,"displayName":"\\ud800"}]',
  '[{"method":"popup","minutes":-0}]',
  '{"title":"x","url":"http://x"}',
];

export const json: fc.Arbitrary<string> = fc.oneof(
  { weight: 10, arbitrary: texts.map((text) => JSON.stringify(text)) },
  { weight: 8, arbitrary: fc.constantFrom(...treacherousJson) },
  { weight: 2, arbitrary: fc.json() },
);

/** JSON as a tree that can express more than JavaScript objects: duplicate names, `-0`, texts that are no JSON. */
type Node = { raw: string } | { items: Node[] } | { members: [string, Node][] };

function toNode(value: unknown): Node {
  if (Array.isArray(value)) return { items: value.map(toNode) };
  if (typeof value !== 'object' || value === null) return { raw: JSON.stringify(value) };
  return { members: Object.entries(value).map(([name, inner]) => [name, toNode(inner)]) };
}

function toText(node: Node): string {
  if ('raw' in node) return node.raw;
  if ('items' in node) return `[${node.items.map(toText).join(',')}]`;
  return `{${node.members.map(([name, inner]) => `${JSON.stringify(name)}:${toText(inner)}`).join(',')}}`;
}

type Mutation = {
  kind: 'replace' | 'remove' | 'duplicate' | 'rename' | 'add' | 'wrap' | 'deepen';
  /** One of the relevant members, or of all. */
  at: number;
  anywhere: boolean;
  name: string;
  raw: string;
};

const mutation = (extra: string[]): fc.Arbitrary<Mutation> =>
  fc.record({
    kind: fc.constantFrom(
      'replace',
      'replace',
      'replace',
      'remove',
      'duplicate',
      'rename',
      'add',
      'wrap',
      'deepen',
    ),
    at: fc.nat(1000),
    anywhere: fc.integer({ min: 0, max: 9 }).map((it) => it === 9),
    name: fc.oneof(fc.constantFrom(...treacherousNames), fc.constantFrom('a', ...extra)),
    raw: fc.oneof(
      { weight: 300, arbitrary: json },
      {
        weight: extra.length > 0 ? 150 : 0,
        arbitrary: fc.constantFrom('""', ...extra.map((it) => JSON.stringify(it))),
      },
      { weight: 2, arbitrary: hugeTexts.map((text) => JSON.stringify(text)) },
    ),
  });

/** The members of a tree, as their objects and positions. */
function membersOf(node: Node, isWanted: (name: string) => boolean): { of: [string, Node][]; at: number }[] {
  if ('raw' in node) return [];
  if ('items' in node) return node.items.flatMap((item) => membersOf(item, isWanted));
  return node.members.flatMap(([name, inner], at) => [
    ...(isWanted(name) ? [{ of: node.members, at }] : []),
    ...membersOf(inner, isWanted),
  ]);
}

function apply(root: Node, { kind, at, anywhere, name, raw }: Mutation, matter: ReadonlySet<string>): void {
  const found = membersOf(root, (member) => anywhere || matter.has(member));
  const chosen = found[at % found.length];
  if (!chosen) return;
  const { of, at: index } = chosen;
  const [oldName, old] = of[index] as [string, Node];
  switch (kind) {
    case 'replace':
      of[index] = [oldName, { raw }];
      break;
    case 'remove':
      of.splice(index, 1);
      break;
    case 'duplicate':
      of.push([oldName, { raw }]);
      break;
    case 'rename':
      of[index] = [name, old];
      break;
    case 'add':
      of.push([name, { raw }]);
      break;
    case 'wrap':
      of[index] = [oldName, { items: [old] }];
      break;
    case 'deepen':
      of[index] = [oldName, { raw: `${'[['.repeat(2_000)}${toText(old)}${']]'.repeat(2_000)}` }];
  }
}

/**
 * One of `bases` as JSON text, unchanged or corrupted in a few places.
 * @param matter names of members that the code reads: most changes are to these
 * @param extra texts with a meaning at this place
 */
export function tampered(bases: unknown[], matter: string[], extra: string[] = []): fc.Arbitrary<string> {
  const names = new Set(matter);
  const changes = fc.oneof(
    { weight: 1, arbitrary: fc.constant([]) },
    { weight: 5, arbitrary: fc.array(mutation(extra), { minLength: 1, maxLength: 3 }) },
  );
  const whole = fc.tuple(fc.nat(bases.length - 1), changes).map(([base, mutations]) => {
    const root = toNode(bases[base]);
    for (const each of mutations) apply(root, each, names);
    return toText(root);
  });
  const cut = fc.tuple(whole, fc.nat(10_000)).map(([text, at]) => text.slice(0, at % (text.length + 1)));
  return fc.oneof(
    { weight: 30, arbitrary: whole },
    { weight: 1, arbitrary: cut },
    { weight: 2, arbitrary: json },
  );
}
