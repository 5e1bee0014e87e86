import { expect, test } from 'vitest';
import { calls } from './calls.ts';
import { coldStartChart } from './chart.ts';
import { coldStart, firstCalls } from './cold-start.ts';
import { cost } from './cost.ts';
import { functionNames } from './first-events.ts';
import { median, type Row } from './part.ts';
import { refresh } from './refresh.ts';
import { simulatedSweep } from './refresh-simulated.ts';
import { goalsOf, table } from './table.ts';

// `npm run bench` measures times: these tests only check that it runs.
test('the short cold-start bench starts every function and its baseline', {
  timeout: 300_000,
}, async () => {
  const progress: string[] = [];
  const rows = await coldStart.measure({ short: true, progress: (text) => progress.push(text), values: {} });
  expect(rows.map(({ what }) => what)).toEqual(functionNames);
  for (const { what, ours, floor, empty, usual } of rows) {
    for (const figure of [ours, floor, empty, usual]) expect(figure, what).toBeGreaterThan(0);
  }
  expect(progress.at(-1)).toBe('round 1 of 1');
  const drawn = coldStartChart(rows);
  for (const { what, ours } of rows) expect(drawn).toContain(`${what}: ours ${Math.round(ours)}`);
});

test("the lower bound makes exactly the calls of each function's first event", {
  timeout: 300_000,
}, async () => {
  const calls = await firstCalls(() => {});
  for (const name of functionNames) expect(calls[name].floor, name).toEqual(calls[name].ours);
  expect(calls['booking-sync'].ours).toContain('POST /calendar/v3/calendars/primary/events');
});

// test/e2e/calls.test.ts lists the calls, test/bench/cost-model.test.ts checks the prices.
test('the short calls bench counts calls and items of every operation', { timeout: 120_000 }, async () => {
  const rows = await calls.measure({ short: true, progress: () => {}, values: {} });
  expect(rows.filter(({ unit }) => unit === 'calls')).toHaveLength(17);
  for (const { what, ours, floor, note } of rows) {
    expect(ours, what).toBeGreaterThanOrEqual(floor ?? 0);
    if (floor !== undefined && ours > floor) expect(note, what).toBeTruthy();
  }
});

test('the short cost bench computes a month at the requested load', {
  timeout: 120_000,
}, async () => {
  const values = { payments: '2000000', connections: '300', active: '7.5' };
  const rows = await cost.measure({ short: true, progress: () => {}, values });
  const of = (what: string) => rows.find((each) => each.what === what)?.ours;
  expect(of('2,000,000 payments')).toBeCloseTo(2 * (of('a million payments') ?? 0));
  expect(of('refreshes, 7.5 % in use')).toBeGreaterThan(0);
  for (const { what, ours, usual = 1 } of rows) {
    expect(ours, what).toBeGreaterThan(0);
    expect(usual, what).toBeGreaterThan(0);
  }
});

test.each([
  ['active', '101'],
  ['payments', 'many'],
])('cost rejects --%s %s', async (name, value) => {
  const measuring = cost.measure({ short: true, progress: () => {}, values: { [name]: value } });
  await expect(measuring).rejects.toThrow(`--${name} ${value} cannot be`);
});

test('the short refresh bench sweeps due connections, simulated and real', { timeout: 300_000 }, async () => {
  const progress: string[] = [];
  const rows = await refresh.measure({ short: true, progress: (text) => progress.push(text), values: {} });
  const of = (what: string) => rows.filter((each) => each.what.startsWith(what)).map(({ ours }) => ours);
  // A sweep that has not refreshed every due connection ends the bench.
  expect(of('measured')).toHaveLength(4);
  expect(of('calls per connection')[0]).toBeCloseTo(3, 1);
  expect(of('items read from the index per connection')).toEqual([1]);
  expect(of('on paper: 10 million, 10 %')[0]).toBeCloseTo(1e6 / 2850 + 9e6 / (3 * 86_400 + 150));
  for (const { what, ours, floor = 1 } of rows) {
    expect(ours, what).toBeGreaterThan(0);
    expect(floor, what).toBeGreaterThan(0);
  }
  expect(progress.at(-1)).toBe('sweeping 100, 40 side by side: 1 s or more');
});

test('a sweep over many connections costs only what its due connections cost', async () => {
  const among = (connections: number) =>
    simulatedSweep({ connections, due: 100, concurrency: 20, tableLatency: 4, tokenLatency: 120 });
  const [few, many] = [await among(200), await among(20_000)];
  for (const { asked } of [few, many]) expect(asked).toMatchObject({ calls: 3 * 100 + 4, itemsOfIndex: 100 });
});

// In simulated time, independent of the machine.
test.each([
  [1000, 20, 0.9],
  [10_000, 20, 0.93],
  [4000, 100, 0.88],
])(
  'a sweep over %d connections keeps %d lanes busy',
  { timeout: 60_000 },
  async (due, concurrency, least) => {
    const { report, asked, seconds } = await simulatedSweep({
      connections: due,
      due,
      concurrency,
      tableLatency: 4,
      tokenLatency: 120,
    });
    expect(report).toMatchObject({ refreshed: due, failed: 0 });
    expect(asked.googleSeconds / concurrency / seconds).toBeGreaterThan(least);
  },
);

const row: Row = { what: 'sync', unit: 'ms', ours: 115, floor: 100, usual: 800 };

test.each<[Partial<Row>, boolean[]]>([
  [{ goal: { timesFloor: 1.2 } }, [true]],
  [{ goal: { timesFloor: 1.14 } }, [false]],
  [{ goal: { timesBetter: 6.9 } }, [true]],
  [{ goal: { timesBetter: 7 } }, [false]],
  [{ goal: { atMost: 115 } }, [true]],
  [{ goal: { timesFloor: 1.14, timesBetter: 2, atMost: 100 } }, [false, true, false]],
  [{}, []],
])('judges each of the goals of %j separately', (goal, met) => {
  expect(goalsOf({ ...row, ...goal }).map((each) => each.met)).toEqual(met);
});

test('the table shows the columns that have figures, and whether goals are met', () => {
  const rows: Row[] = [
    { ...row, goal: { timesFloor: 1.1 } },
    { what: 'memory', unit: 'MB', ours: 0.0123 },
  ];
  expect(table({ name: 'part', title: 'A part', seconds: 3, rows }).split('\n')).toEqual([
    'A part (took 3 s)',
    '          ours  unit  floor  × floor  usual  × better  goal',
    'sync       115  ms      100     1.15    800      6.96  ✗ 1.1 × floor',
    'memory  0.0123  MB',
  ]);
});

test.each([
  [[3, 1, 2], 2],
  [[4, 1, 2, 3], 2.5],
  [[7], 7],
])('the median of %j is %d', (figures, middle) => {
  expect(median(figures)).toBe(middle);
});
