import { expect, test } from 'vitest';
import { latency, type Outcome, percentile, rowsOf } from './latency.ts';
import { goalsOf } from './table.ts';

// How long anything takes is for `npm run bench` to say: here it only has to run.
test('the short mode pays both ways and finds an event for each payment', { timeout: 120_000 }, async () => {
  const progress: string[] = [];
  const rows = await latency.measure({ short: true, progress: (text) => progress.push(text), values: {} });
  expect(rows.map(({ what }) => what)).toEqual([
    'steady, Google 0 ms: answer, p50',
    'steady, Google 0 ms: answer, p99',
    'burst, Google 0 ms: answer, p50',
    'burst, Google 0 ms: answer, p99',
    'steady, Google 0 ms: event, p50',
    'steady, Google 0 ms: event, p99',
    'burst, Google 0 ms: event, p50',
    'burst, Google 0 ms: event, p99',
    'steady, Google 0 ms: event without Google, p50',
    'steady, Google 0 ms: event without Google, p99',
    'burst, Google 0 ms: all answered',
    'burst, Google 0 ms: all in the calendar',
  ]);
  for (const { what, ours, usual, floor = 1 } of rows) {
    expect(ours, what).toBeGreaterThan(0);
    // An event's time is to the millisecond, which the in-line way may not need.
    expect(usual, what).toBeGreaterThanOrEqual(0);
    expect(floor, what).toBeGreaterThan(0);
  }
  expect(progress).toContain('steady load, slice 1 of 1, Google at 0 ms');
});

const outcomes = (way: Outcome['way'], google: number, answer: number, event: number): Outcome[] =>
  [1, 2, 3].map((number) => ({
    way,
    load: 'steady',
    google,
    bookingId: `${way}-${google}-${number}`,
    sentAt: 1000 * number,
    answeredAfter: answer + number,
    event: event + number,
  }));

test('what Google takes is no part of our own share, and is seen in the answers of who waits for it', () => {
  const rows = rowsOf(
    [
      ...outcomes('ours', 0, 7, 20),
      ...outcomes('ours', 500, 8, 530),
      ...outcomes('inline', 0, 2, 1),
      ...outcomes('inline', 500, 502, 501),
    ],
    [
      { http: 2, queue: 3, read: 1, writes: 4 },
      { http: 2, queue: 3, read: 1, writes: 4 },
    ],
  );
  const row = (what: string) => {
    const found = rows.find((each) => each.what === what);
    if (!found) throw new Error(`There is no row "${what}".`);
    return { ...found, met: goalsOf(found).map(({ met }) => met) };
  };
  const share = 'event without Google, p50';
  expect(row(`steady, Google 0 ms: ${share}`)).toMatchObject({ ours: 22, usual: 3, floor: 10, met: [true] });
  expect(row(`steady, Google 500 ms: ${share}`)).toMatchObject({
    ours: 32,
    usual: 3,
    floor: 10,
    met: [false],
  });
  expect(row('steady, Google 500 ms: answer, p99')).toMatchObject({ ours: 11, usual: 505 });
  expect(row('steady: answer p99, Google 500 ms : 0 ms')).toMatchObject({
    ours: 11 / 10,
    usual: 505 / 5,
    met: [true],
  });
});

test.each([
  [0.5, 5],
  [0.9, 9],
  [0.99, 10],
  [0.01, 1],
])('of ten figures, a share of %d does not exceed the percentile %d', (share, figure) => {
  expect(percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], share)).toBe(figure);
});
