import { expect, test } from 'vitest';
import {
  type Load,
  latency,
  type Outcome,
  outcomesOf,
  percentile,
  rowsOf,
  type Sent,
  type Way,
} from './latency.ts';
import { goalsOf } from './table.ts';

// `npm run bench` measures times: this test only checks that it runs.
test('the short latency bench pays both ways and finds an event for each payment', {
  timeout: 120_000,
}, async () => {
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
    // Event times have a resolution of one millisecond, which the in-line variant may be below.
    expect(usual, what).toBeGreaterThanOrEqual(0);
    expect(floor, what).toBeGreaterThan(0);
  }
  expect(progress).toContain('steady load, slice 1 of 1, Google at 0 ms');
});

test.each(['0', '2.5', 'many'])('latency rejects --slices %s', async (slices) => {
  const measuring = latency.measure({ short: false, progress: () => {}, values: { slices } });
  await expect(measuring).rejects.toThrow(`--slices ${slices} cannot be`);
});

/** Three payments, one second apart; `burst`: at the same moment. */
const outcomes = (way: Way, load: Load, google: number, answer: number, event: number): Outcome[] =>
  [1, 2, 3].map((number) => {
    const paidAt = load === 'burst' ? 0 : 1000 * number;
    return {
      way,
      load,
      google,
      bookingId: `${way}-${load}-${google}-${number}`,
      paidAt,
      answeredAt: paidAt + answer + number,
      answeredAfter: answer + number,
      eventAfter: event + number,
    };
  });

const rows = rowsOf(
  [
    ...outcomes('ours', 'steady', 0, 7, 14),
    ...outcomes('ours', 'steady', 500, 8, 530),
    ...outcomes('inline', 'steady', 0, 2, 1),
    ...outcomes('inline', 'steady', 500, 502, 501),
    ...outcomes('ours', 'burst', 0, 10, 40),
    ...outcomes('ours', 'burst', 500, 13, 540),
  ],
  [
    { http: 2, queue: 3, read: 1, writes: 4 },
    { http: 2, queue: 3, read: 1, writes: 4 },
  ],
);

function row(what: string) {
  const found = rows.find((each) => each.what === what);
  if (!found) throw new Error(`There is no row "${what}".`);
  return { ...found, met: goalsOf(found).map(({ met }) => met) };
}

test("Google's latency is not part of our own share, which compares with the lower bound", () => {
  const share = 'event without Google, p50';
  expect(row(`steady, Google 0 ms: ${share}`)).toMatchObject({ ours: 16, usual: 3, floor: 6, met: [true] });
  expect(row(`steady, Google 500 ms: ${share}`)).toMatchObject({ ours: 32, floor: 6, met: [false] });
  expect(row(`steady, Google 0 ms: ${share}`).note).toBe(
    'floor: http 2.0, writes 4.0; besides: queue 3.0, read 1.0',
  );
});

test("Google's latency shows in the answers of a service that waits for it", () => {
  expect(row('steady, Google 500 ms: answer, p99')).toMatchObject({ ours: 11, usual: 505 });
  expect(row('steady: answer, p99, Google 500 ms : 0 ms')).toMatchObject({
    ours: 11 / 10,
    usual: 505 / 5,
    met: [true],
  });
  expect(row('burst: answer, p99, Google 500 ms : 0 ms')).toMatchObject({ ours: 16 / 13, met: [false] });
});

test('a burst lasts from its beginning to its last answer and its last event', () => {
  expect(row('burst, Google 500 ms: all answered').ours).toBe(16);
  expect(row('burst, Google 500 ms: all in the calendar').ours).toBe(543);
});

test.each([
  ['no event', [], 'has 0 events instead of one'],
  ['two events', [1100, 1200], 'has 2 events instead of one'],
])('a payment with %s is not a valid outcome', (_, created, message) => {
  const sent: Sent[] = outcomes('ours', 'burst', 0, 1, 1).slice(0, 1);
  expect(() => outcomesOf(sent, new Map([['ours-burst-0-1', created]]))).toThrow(message);
});

test('the time to an event starts at the payment', () => {
  const sent: Sent[] = outcomes('ours', 'steady', 0, 1, 1).slice(0, 1);
  expect(outcomesOf(sent, new Map([['ours-steady-0-1', [1100]]]))).toMatchObject([{ eventAfter: 100 }]);
});

test.each([
  [0.5, 5],
  [0.9, 9],
  [0.99, 10],
  [0.01, 1],
])('of ten figures, a share of %d does not exceed the percentile %d', (share, figure) => {
  expect(percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], share)).toBe(figure);
});
