/** What an operator reads and writes in the tables: through the stores of the functions, and never by a scan. */
import { DeleteItemCommand, GetItemCommand } from '@aws-sdk/client-dynamodb';
import { fromItem, queryIndex, shards, toItem, tryConditionalWrite } from '../../../shared/aws/dynamo.ts';
import type { Booking, PaymentPointer } from '../../../shared/booking/booking.ts';
import {
  type Attention,
  attentionKey,
  type BookingStore,
  bookingStore,
  type ListPosition,
} from '../../../shared/booking/store.ts';
import type { Connection } from '../../../shared/connection/connection.ts';
import { type ConnectionStore, connectionStore } from '../../../shared/connection/store.ts';
import { indexes } from '../../../shared/lib/names.ts';
import type { Target } from './target.ts';

/** A booking that an index names, and since when. */
export type Listed = { bookingId: string; at: number };

export type Records = {
  bookings: BookingStore;
  connections: ConnectionStore;
  pointer(paymentId: string): Promise<PaymentPointer | undefined>;
  /** All bookings of a user, by start, a page at a time. */
  bookingsOf(userId: string): AsyncGenerator<Booking>;
  /** Deletes a booking at the version that was read; false where it has changed since. */
  deleteBooking(booking: Booking): Promise<boolean>;
  /** Users with a connection to a Google account of this address. */
  usersWithEmail(email: string): Promise<string[]>;
  /** Bookings that need attention, the latest first. */
  attention(kind: Attention, limit: number): Promise<Listed[]>;
  /** Bookings whose next run is due before `until` (epoch seconds), the oldest first. */
  due(until: number, limit: number): Promise<Listed[]>;
};

export function recordsOf({ dynamo, output, indexShards, keepDays }: Target): Records {
  const bookingsTable = output('BookingsTableName');
  const connectionsTable = output('ConnectionsTableName');
  const bookings = bookingStore(dynamo, bookingsTable, { indexShards, keepDays });
  return {
    bookings,
    connections: connectionStore(dynamo, connectionsTable, indexShards),

    async pointer(paymentId) {
      const { Item } = await dynamo.send(
        new GetItemCommand({
          TableName: bookingsTable,
          Key: toItem({ id: `payment#${paymentId}` }),
          ConsistentRead: true,
        }),
      );
      return Item && fromItem<PaymentPointer>(Item);
    },

    async *bookingsOf(userId) {
      const range = { userId, from: Number.MIN_SAFE_INTEGER, to: Number.MAX_SAFE_INTEGER, limit: 100 };
      let after: ListPosition | undefined;
      do {
        const page = await bookings.list({ ...range, after });
        // The index may lag: one may be of another user by now.
        yield* page.bookings.filter((booking) => booking.userId === userId);
        after = page.next;
      } while (after);
    },

    deleteBooking({ bookingId, version }) {
      return tryConditionalWrite(
        dynamo.send(
          new DeleteItemCommand({
            TableName: bookingsTable,
            Key: toItem({ id: `booking#${bookingId}` }),
            ConditionExpression: '#version = :version',
            ExpressionAttributeNames: { '#version': 'version' },
            ExpressionAttributeValues: toItem({ ':version': version }),
          }),
        ),
      );
    },

    async usersWithEmail(email) {
      const { items } = await queryIndex<Pick<Connection, 'userId'>>(dynamo, {
        table: connectionsTable,
        index: indexes.email,
        condition: 'email = :email',
        values: { ':email': email },
        limit: 50,
        cursor: undefined,
      });
      return items.map(({ userId }) => userId);
    },

    async attention(kind, limit) {
      const pages = await Promise.all(
        shards(indexShards).map((shard) =>
          queryIndex<{ id: string; attentionAt: number }>(dynamo, {
            table: bookingsTable,
            index: indexes.attention,
            condition: 'attention = :attention',
            values: { ':attention': attentionKey(kind, shard) },
            limit,
            cursor: undefined,
            latestFirst: true,
          }),
        ),
      );
      return pages
        .flatMap(({ items }) => items)
        .map(({ id, attentionAt }) => ({ bookingId: id.slice('booking#'.length), at: attentionAt }))
        .sort((one, other) => other.at - one.at)
        .slice(0, limit);
    },

    async due(until, limit) {
      const pages = await Promise.all(
        shards(indexShards).map((shard) => bookings.listDue(shard, until, limit)),
      );
      return pages
        .flatMap((page) => page.bookings)
        .map(({ bookingId, syncDueAt = 0 }) => ({ bookingId, at: syncDueAt }))
        .sort((one, other) => one.at - other.at)
        .slice(0, limit);
    },
  };
}

/** The bookings of a list, as they are now. */
export async function readAll(
  { bookings }: Records,
  listed: Listed[],
): Promise<(Listed & { booking: Booking })[]> {
  const found: (Listed & { booking: Booking })[] = [];
  for (const one of listed) {
    const booking = await bookings.get(one.bookingId);
    if (booking) found.push({ ...one, booking });
  }
  return found;
}
