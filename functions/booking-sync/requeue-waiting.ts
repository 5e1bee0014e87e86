import { type BookingQueue, batchSize, type ConnectionActivated } from '../../shared/booking/queue.ts';
import type { BookingStore } from '../../shared/booking/store.ts';
import { log } from '../../shared/lib/observability.ts';

export type RequeueDeps = { bookings: Pick<BookingStore, 'listWaiting'>; queue: BookingQueue };

/**
 * A user has connected: hands the bookings that waited for it back to the queue, one page a message. A booking that
 * the index does not show yet comes due by itself.
 */
export async function requeueWaiting(deps: RequeueDeps, message: ConnectionActivated): Promise<void> {
  const { userId, tokenVersion, choices = 0, page, after } = message;
  const { bookings, cursor } = await deps.bookings.listWaiting(userId, batchSize, after);
  await deps.queue.sendBatch(
    bookings.map(({ bookingId }) => ({
      type: 'sync',
      bookingId,
      userId,
      cause: `activated-${tokenVersion}-${choices}`,
    })),
  );
  if (cursor) await deps.queue.send({ ...message, page: page + 1, after: cursor });
  if (bookings.length > 0) log.info('Waiting bookings requeued', { userId, bookings: bookings.length, page });
}
