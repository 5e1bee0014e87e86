import { expect, test } from 'vitest';
import { itemBytes, queryUnits, readUnits, storedBytes, writeUnits } from './capacity.ts';
import { costRows } from './cost.ts';
import {
  auditingOf,
  dollars,
  type Load,
  type MeasuredService,
  paymentsOf,
  recoveringOf,
  refreshesOf,
  refreshingOf,
  standingOf,
  storedConnectionsOf,
  tracesOf,
  usualPaymentsOf,
  usualRefreshingOf,
} from './cost-model.ts';
import { prices } from './prices.ts';

const operation = {
  invocations: 1,
  runs: [{ memoryMb: 1769, ms: 10 }],
  googleCalls: 1,
  waitingMb: 1024,
  apiRequests: 0,
  messages: 0,
  events: 0,
  readUnits: 1,
  writeUnits: 4,
  logBytes: 1024 ** 3 / 1000,
};
const service: MeasuredService = {
  payment: { ...operation, invocations: 2, apiRequests: 1, messages: 1, events: 1 },
  refresh: { ...operation, invocations: 0 },
  idleSweep: operation,
  idleReconcile: operation,
  plainWrites: { connection: 2, booking: 1 },
  stored: { connection: 2048, booking: 4096 },
  standing: { secrets: 7, keys: 1, alarmMetrics: 12, metrics: 10 },
  sweepsPerMonth: 8640,
  reconcilesPerMonth: 43_200,
  refreshConcurrency: 20,
};
const load: Load = {
  payments: 1000,
  connections: 500,
  active: 0.05,
  latency: 300,
  refreshEvery: { inUse: 3000, idle: 250_000 },
};

test('a payment costs the sum of its usage at the listed prices', () => {
  const units = paymentsOf(service, { ...load, payments: 1 });
  expect(units).toMatchObject({
    lambdaRequests: 2,
    apiRequests: 1,
    queueRequests: 3,
    events: 1,
    writeUnits: 4,
  });
  // Ten milliseconds of a whole processor, and 300 of waiting with a gigabyte.
  expect(units.lambdaGbSeconds).toBeCloseTo((1769 / 1024) * 0.01 + 0.3);
  expect(dollars({ writeUnits: 2_000_000, secretMonths: 3 })).toBeCloseTo(2 * 0.625 + 3 * 0.4);
  expect(dollars({ events: 1_000_000 }, { ...prices, events: { ...prices.events, usd: 7 } })).toBe(7);
});

test('less memory stretches CPU time in proportion, and waiting time not at all', () => {
  const quarter = { ...operation, runs: [{ memoryMb: 1769 / 4, ms: 10 }] };
  const spent = (payment: MeasuredService['payment']): number =>
    paymentsOf({ ...service, payment }, { ...load, payments: 1 }).lambdaGbSeconds ?? 0;
  expect(spent(quarter)).toBeCloseTo(spent(operation));
  expect(spent({ ...operation, waitingMb: 512 })).toBeCloseTo(spent(operation) - 0.15);
});

test('twice the load doubles variable cost and leaves fixed cost unchanged', () => {
  const twice = { ...load, payments: 2 * load.payments, connections: 2 * load.connections };
  for (const costOf of [paymentsOf, usualPaymentsOf, refreshingOf, storedConnectionsOf])
    expect(dollars(costOf(service, twice))).toBeCloseTo(2 * dollars(costOf(service, load)));
  expect(dollars(standingOf({ ...service, sweepsPerMonth: 0, reconcilesPerMonth: 0 }))).toBeGreaterThan(
    3 * 0.4 + 1 + 12 * 0.1 + 10 * 0.3,
  );
});

test("our refreshes grow with active users, and the baseline's with registered users", () => {
  const month = 30 * 86_400;
  expect(refreshesOf({ ...load, active: 0 })).toBeCloseTo((500 * month) / 250_000);
  expect(refreshesOf({ ...load, active: 1 })).toBeCloseTo((500 * month) / 3000);
  const usual = (active: number) => usualRefreshingOf(service, { ...load, active }, 1);
  expect(usual(0)).toEqual(usual(1));
  expect(usual(0.05)).toMatchObject({ readUnits: 500 * 720, writeUnits: 2 * 500 * 720 });
});

test('parallel refreshes share their waiting time', () => {
  const waits = (sideBySide: number) => usualRefreshingOf(service, load, sideBySide).lambdaGbSeconds ?? 0;
  expect(waits(1)).toBeCloseTo(20 * waits(20));
});

test('traces each run up to one a second, and one in twenty above that', () => {
  const seconds = 30 * 86_400;
  expect(tracesOf(1000).traces).toBe(1000);
  expect(tracesOf(seconds + 2000).traces).toBe(seconds + 100);
});

test('the cost rows compare with the baseline and judge the goal by it', () => {
  const rows = costRows(service, load);
  const found = rows.find(({ what }) => what === '500 connections refreshed');
  expect(found?.goal).toEqual({ timesBetter: 10 });
  expect(found?.usual).toBeCloseTo(dollars(usualRefreshingOf(service, load, 1)));
  for (const { what, ours } of rows) expect(ours, what).toBeGreaterThan(0);
});

const text = (length: number) => ({ S: 'x'.repeat(length) });
const index = { keys: ['shard', 'due'], projected: ['id', 'shard', 'due', 'user'] };

test('an item has the size of its names and values', () => {
  expect(itemBytes({ id: { S: 'ä' } })).toBe(2 + 2);
  expect(itemBytes({ n: { N: '1790000000' }, b: { BOOL: true } })).toBe(1 + 3 + 1 + 1);
  expect(itemBytes({ l: { L: [{ S: 'ab' }] }, m: { M: { k: { S: 'v' } } } })).toBe(
    1 + 3 + 1 + 2 + 1 + 3 + 1 + 2,
  );
});

test('reads are metered in units of 4 KB, half of that in an index', () => {
  expect([undefined, { id: text(4094) }, { id: text(4095) }].map(readUnits)).toEqual([1, 1, 2]);
  expect(queryUnits([])).toBe(0.5);
  expect(queryUnits([{ id: text(3000) }, { id: text(3000) }])).toBe(1);
});

test('a write is metered by the larger item, and in an index only if indexed fields change', () => {
  const idle = { id: text(10) };
  const due = { ...idle, shard: { S: '1' }, due: { N: '5' } };
  const write = (before: object | undefined, after: object) =>
    writeUnits(before as never, after as never, [index]);
  expect(write({ id: text(1500) }, { id: text(10) })).toBe(2);
  expect(write(undefined, idle)).toBe(1);
  expect(write(idle, due)).toBe(1 + 1);
  expect(write(due, { ...due, other: text(5) })).toBe(1);
  expect(write(due, { ...due, user: text(5) })).toBe(1 + 1);
  expect(write(due, { ...due, due: { N: '6' } })).toBe(1 + 2);
  expect(write(due, idle)).toBe(1 + 1);
});

test('stored bytes include each index that holds the item', () => {
  const due = { id: text(8), shard: { S: '1' }, due: { N: '5' }, big: text(997) };
  expect(storedBytes({ id: text(8) }, [index])).toBe(10 + 100);
  expect(storedBytes(due, [index])).toBe(1021 + 100 + 21 + 100);
});

test('recovery costs runs without payments, and each event nine times', () => {
  const none = recoveringOf({ payments: 0 });
  expect(none).toMatchObject({ schedules: 2880, lambdaRequests: 2880, queueRequests: 0 });
  const one = recoveringOf({ payments: 1 });
  expect((one.lambdaRequests ?? 0) - 2880).toBe(27);
  expect(dollars(recoveringOf({ payments: 100_000 }))).toBeCloseTo(5.15, 1);
});

test('the audit costs a call for each connection, and two reads of each booking ahead', () => {
  const load = { payments: 0, connections: 0, latency: 300 };
  expect(auditingOf(load)).toMatchObject({ lambdaRequests: 720, lambdaGbSeconds: 0, readUnits: 0 });
  expect(auditingOf({ ...load, payments: 30 })).toMatchObject({ readUnits: 30 * 2 * 67 });
  expect(dollars(auditingOf({ payments: 100_000, connections: 10_000, latency: 300 }))).toBeCloseTo(2, 1);
});
