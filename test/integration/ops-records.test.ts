import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Records, readAll, recordsOf } from '../../infra/cli/ops/records.ts';
import { newBooking } from '../../shared/booking/booking.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { startTables } from './world.ts';

/** More than a page of the index has, and than a page of a user's list. */
const count = 1100;
const at = 1_900_000_000;
const idOf = (index: number) => `b${String(index).padStart(4, '0')}`;

let tables: Awaited<ReturnType<typeof startTables>>;
let records: Records;

beforeAll(async () => {
  tables = await startTables();
  const { dynamo } = tables;
  records = recordsOf({ dynamo, output: (name) => name.replace('Name', ''), indexShards: 1, keepDays: 400 });
  for (let index = 0; index < count; index += 50) {
    const some = Array.from({ length: 50 }, (_, more) => index + more);
    await Promise.all(
      some.map((each) => {
        const nextRun = { why: 'retry', at: at + each, count: 1 } as const;
        const fields = { bookingId: idOf(each), userId: 'user-1', status: 'failed', nextRun } as const;
        return records.bookings.save(newBooking(fields, toIso(at + each)));
      }),
    );
  }
}, 120_000);
afterAll(() => tables?.close());

it('lists what needs attention beyond a page of the index, the latest first', async () => {
  const listed = await records.attention('failed', count);
  expect(listed.map(({ bookingId }) => bookingId)).toEqual(
    Array.from({ length: count }, (_, index) => idOf(count - 1 - index)),
  );
  expect((await readAll(records, listed)).map(({ booking }) => booking.bookingId)).toHaveLength(count);
  expect(await records.attention('failed', 30)).toEqual(listed.slice(0, 30));
});

it('lists what is due beyond a page of the index, the oldest first', async () => {
  const listed = await records.due(at + count, count);
  expect(listed.map(({ bookingId }) => bookingId)).toEqual(
    Array.from({ length: count }, (_, index) => idOf(index)),
  );
  expect(await records.due(at + 9, count)).toHaveLength(10);
});

it('reads all bookings of a user, from a moment on, each once', async () => {
  const from = at + 900;
  const ids: string[] = [];
  for await (const { bookingId } of records.bookingsOf('user-1', from)) ids.push(bookingId);
  expect(ids).toEqual(Array.from({ length: count - 900 }, (_, index) => idOf(900 + index)));
});
