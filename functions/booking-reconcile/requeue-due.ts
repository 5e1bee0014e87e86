import { type Cursor, shards } from '../../shared/aws/dynamo.ts';
import { type BookingQueue, batchSize } from '../../shared/booking/queue.ts';
import type { BookingRef, BookingStore } from '../../shared/booking/store.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import { log, metric } from '../../shared/lib/observability.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';

export type ReconcileDeps = {
  bookings: Pick<BookingStore, 'listDue'>;
  queue: BookingQueue;
  clock: Clock;
  indexShards: number;
  /** Whether there is time for another page. */
  timeLeft: () => boolean;
};

const pageSize = 100;

/**
 * Puts due bookings back on the queue, all shards concurrently; the rest stays due for the next run. Idempotent, since
 * sync decides from the table.
 */
export async function requeueDueBookings(deps: ReconcileDeps): Promise<{ requeued: number }> {
  const results = await Promise.all(shards(deps.indexShards).map((shard) => requeueShard(deps, shard)));
  const requeued = results.reduce((sum, result) => sum + result.requeued, 0);
  if (requeued > 0) log.info('Due bookings requeued', { requeued });
  metric('BookingsRequeued', requeued);
  metric('OldestDue', Math.max(...results.map(({ oldest }) => oldest)));
  return { requeued };
}

/** `oldest`: for how many seconds the first booking of the shard has been due. */
async function requeueShard(
  deps: ReconcileDeps,
  shard: string,
): Promise<{ requeued: number; oldest: number }> {
  const now = deps.clock();
  let requeued = 0;
  let first: number | undefined;
  let cursor: Cursor | undefined;
  do {
    const page = await deps.bookings.listDue(shard, now, pageSize, cursor);
    first ??= page.bookings[0]?.syncDueAt;
    requeued += await requeue(deps.queue, page.bookings);
    cursor = page.cursor;
  } while (cursor && deps.timeLeft());
  return { requeued, oldest: now - (first ?? now) };
}

async function requeue(queue: BookingQueue, bookings: BookingRef[]): Promise<number> {
  let accepted = 0;
  for (let first = 0; first < bookings.length; first += batchSize) {
    const batch = bookings.slice(first, first + batchSize);
    accepted += await queue.sendBatch(
      batch.map(({ bookingId, userId, syncDueAt }) =>
        omitUndefined({ type: 'sync' as const, bookingId, userId, cause: `due-${syncDueAt}` }),
      ),
    );
  }
  return accepted;
}
