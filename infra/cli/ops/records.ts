/** What an operator reads and writes in the tables: through the stores of the functions, and never by a scan. */
import { DeleteItemCommand } from '@aws-sdk/client-dynamodb';
import { type Cursor, queryIndex, shards, toItem, tryConditionalWrite } from '../../../shared/aws/dynamo.ts';
import type { Booking, PaymentPointer } from '../../../shared/booking/booking.ts';
import {
  type PaymentAccountStore,
  paymentAccountStore,
  paymentAccountsKey,
} from '../../../shared/booking/payment-accounts.ts';
import { readPointer } from '../../../shared/booking/payment-pointers.ts';
import {
  type Attention,
  attentionKey,
  attentions,
  type BookingStore,
  bookingStore,
  type ListPosition,
} from '../../../shared/booking/store.ts';
import type { Connection } from '../../../shared/connection/connection.ts';
import { type ConnectionStore, connectionStore } from '../../../shared/connection/store.ts';
import { indexes } from '../../../shared/lib/names.ts';
import type { Target } from './target.ts';

/** A booking that an index names, and since when. */
type Listed = { bookingId: string; at: number };

export type Records = {
  bookings: BookingStore;
  connections: ConnectionStore;
  accounts: PaymentAccountStore;
  pointer(paymentId: string): Promise<PaymentPointer | undefined>;
  /** All bookings of a user from `from` on (epoch seconds), by start, a page at a time. */
  bookingsOf(userId: string, from?: number): AsyncGenerator<Booking>;
  /** Deletes a booking at the version that was read; false where it has changed since. */
  deleteBooking(booking: Booking): Promise<boolean>;
  /** Deletes the list of accounts that may pay for bookings of a user. */
  deletePaymentAccounts(userId: string): Promise<void>;
  /** Users with a connection to a Google account of this address. */
  usersWithEmail(email: string): Promise<string[]>;
  /** Bookings that need attention, the latest first. */
  attention(kind: Attention, limit: number): Promise<Listed[]>;
  /** Bookings whose next run is due before `until` (epoch seconds), the oldest first. */
  due(until: number, limit: number): Promise<Listed[]>;
};

/** Where the records are. */
type Tables = Pick<Target, 'dynamo' | 'output' | 'indexShards' | 'keepDays'>;

export function recordsOf({ dynamo, output, indexShards, keepDays }: Tables): Records {
  const bookingsTable = output('BookingsTableName');
  const connectionsTable = output('ConnectionsTableName');
  const bookings = bookingStore(dynamo, bookingsTable, { indexShards, keepDays });
  return {
    bookings,
    connections: connectionStore(dynamo, connectionsTable, indexShards),
    accounts: paymentAccountStore(dynamo, bookingsTable, indexShards),

    pointer: (paymentId) => readPointer(dynamo, bookingsTable, paymentId),

    async *bookingsOf(userId, from = Number.MIN_SAFE_INTEGER) {
      const range = { userId, from, to: Number.MAX_SAFE_INTEGER, limit: 100 };
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

    async deletePaymentAccounts(userId) {
      await dynamo.send(
        new DeleteItemCommand({ TableName: bookingsTable, Key: toItem({ id: paymentAccountsKey(userId) }) }),
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
      const found = await ofAllShards(indexShards, limit, async (shard, left, cursor) => {
        const { items, ...rest } = await queryIndex<{ id: string; attentionAt: number }>(dynamo, {
          table: bookingsTable,
          index: indexes.attention,
          condition: 'attention = :attention',
          values: { ':attention': attentionKey(kind, shard) },
          limit: left,
          cursor,
          latestFirst: true,
        });
        return {
          listed: items.map(({ id, attentionAt }) => ({
            bookingId: id.slice('booking#'.length),
            at: attentionAt,
          })),
          ...rest,
        };
      });
      return found.sort((one, other) => other.at - one.at).slice(0, limit);
    },

    async due(until, limit) {
      const found = await ofAllShards(indexShards, limit, async (shard, left, cursor) => {
        const { bookings: page, ...rest } = await bookings.listDue(shard, until, left, cursor);
        return {
          listed: page.map(({ bookingId, syncDueAt = 0 }) => ({ bookingId, at: syncDueAt })),
          ...rest,
        };
      });
      return found.sort((one, other) => one.at - other.at).slice(0, limit);
    },
  };
}

/** Keys that are asked for at once: less than the megabyte that DynamoDB answers. */
const pageSize = 1000;

type Page = (
  shard: string,
  limit: number,
  cursor: Cursor | undefined,
) => Promise<{ listed: Listed[]; cursor?: Cursor }>;

/** The first `limit` of each shard, page by page. */
async function ofAllShards(indexShards: number, limit: number, page: Page): Promise<Listed[]> {
  const all = shards(indexShards).map(async (shard) => {
    const found: Listed[] = [];
    let cursor: Cursor | undefined;
    do {
      const next = await page(shard, Math.min(limit - found.length, pageSize), cursor);
      found.push(...next.listed);
      cursor = next.cursor;
    } while (cursor && found.length < limit);
    return found;
  });
  return (await Promise.all(all)).flat();
}

/** The lists of bookings that an operator may ask for. */
export const listKinds = [...attentions, 'due'] as const;
export type ListKind = (typeof listKinds)[number];

/** The first `limit` bookings of a list. */
export function listOf(records: Records, kind: ListKind, now: number, limit: number): Promise<Listed[]> {
  return kind === 'due' ? records.due(now, limit) : records.attention(kind, limit);
}

/** What is known of a payment, and its booking. One that names no usable booking is recorded under its own id. */
export async function readPayment(
  records: Records,
  id: string,
): Promise<{ pointer: PaymentPointer | undefined; booking: Booking | undefined }> {
  const pointer = await records.pointer(id);
  // Of several bookings none is shown more than another.
  const booking = pointer?.bookings ? undefined : await records.bookings.get(pointer?.bookingId ?? id);
  return { pointer, booking };
}

/** Bookings that are read side by side. */
const readsAtOnce = 25;

/** The bookings of a list, as they are now. */
export async function readAll(
  { bookings }: Records,
  listed: Listed[],
): Promise<(Listed & { booking: Booking })[]> {
  const found: (Listed & { booking: Booking })[] = [];
  for (let at = 0; at < listed.length; at += readsAtOnce) {
    const part = listed.slice(at, at + readsAtOnce);
    const read = await Promise.all(part.map(({ bookingId }) => bookings.get(bookingId)));
    for (const [index, one] of part.entries()) {
      const booking = read[index];
      if (booking) found.push({ ...one, booking });
    }
  }
  return found;
}
