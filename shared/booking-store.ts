import {
  BatchGetItemCommand,
  type DynamoDBClient,
  type KeysAndAttributes,
  PutItemCommand,
} from '@aws-sdk/client-dynamodb';
import type { Booking, PaymentPointer } from './booking.ts';
import type { Connection } from './connection.ts';
import {
  type Cursor,
  conditionally,
  fromItem,
  type IndexQuery,
  type Item,
  queryIndex,
  shardOf,
  toItem,
} from './dynamo.ts';
import { indexes } from './names.ts';

/** A booking that is to be looked at, as an index names it. */
export type BookingRef = { bookingId: string; userId?: string; syncDueAt?: number };
export type BookingPage = { bookings: BookingRef[]; cursor?: Cursor };

/** The table of bookings. */
export type BookingStore = {
  /** Stores a booking over the version it was read at (0: there was none); false where it has changed since. */
  save(booking: Booking): Promise<boolean>;
  /** The same for what is known under a payment's id. */
  savePointer(pointer: PaymentPointer): Promise<boolean>;
  /** One page of bookings whose next attempt is due. From an index: it may lag. */
  due(shard: string, now: number, limit: number, cursor?: Cursor): Promise<BookingPage>;
  /** One page of bookings that wait for this user's connection. From an index: it may lag. */
  waiting(userId: string, limit: number, cursor?: Cursor): Promise<BookingPage>;
};

/** What sync decides on, as it is now (strongly consistent), in one call. */
export type ReadForSync = (names: {
  bookingId?: string | undefined;
  userId?: string | undefined;
  paymentId?: string | undefined;
}) => Promise<Seen>;

export type Seen = { booking?: Booking; connection?: Connection; pointer?: PaymentPointer };

const prefix = 'booking#';
const key = (bookingId: string): string => `${prefix}${bookingId}`;
const pointerKey = (paymentId: string): string => `payment#${paymentId}`;

/** The store on the DynamoDB table `table`, whose due index has `shardCount` shards. */
export function bookingStore(dynamo: DynamoDBClient, table: string, shardCount: number): BookingStore {
  /** Writes an item over the version it was read at, and counts its version up. */
  function put(item: Item & { version: number }): Promise<boolean> {
    return conditionally(
      dynamo.send(
        new PutItemCommand({
          TableName: table,
          Item: toItem({ ...item, version: item.version + 1 }),
          ...(item.version === 0
            ? { ConditionExpression: 'attribute_not_exists(id)' }
            : {
                ConditionExpression: '#version = :version',
                ExpressionAttributeNames: { '#version': 'version' },
                ExpressionAttributeValues: toItem({ ':version': item.version }),
              }),
        }),
      ),
    );
  }

  async function page(query: Omit<IndexQuery, 'table'>): Promise<BookingPage> {
    const { items, ...rest } = await queryIndex<{ id: string; userId?: string; syncDueAt?: number }>(dynamo, {
      table,
      ...query,
    });
    return {
      bookings: items.map(({ id, ...item }) => ({ ...item, bookingId: id.slice(prefix.length) })),
      ...rest,
    };
  }

  return {
    save(booking) {
      return put({ ...booking, ...indexKeys(booking, shardCount), id: key(booking.bookingId) });
    },

    savePointer(pointer) {
      return put({ ...pointer, id: pointerKey(pointer.paymentId) });
    },

    due(shard, now, limit, cursor) {
      const condition = 'syncShard = :shard AND syncDueAt <= :now';
      return page({
        index: indexes.syncDue,
        condition,
        values: { ':shard': shard, ':now': now },
        limit,
        cursor,
      });
    },

    async waiting(userId, limit, cursor) {
      const condition = 'waitingUserId = :userId';
      const values = { ':userId': userId };
      const { bookings, ...rest } = await page({ index: indexes.waiting, condition, values, limit, cursor });
      return { bookings: bookings.map(({ bookingId }) => ({ bookingId, userId })), ...rest };
    },
  };
}

/** The read that sync starts with, across the tables of bookings and connections. */
export function syncReader(
  dynamo: DynamoDBClient,
  tables: { bookings: string; connections: string },
): ReadForSync {
  return async ({ bookingId, userId, paymentId }) => {
    const bookingKeys = [
      ...(bookingId === undefined ? [] : [key(bookingId)]),
      ...(paymentId === undefined ? [] : [pointerKey(paymentId)]),
    ].map((id) => toItem({ id }));
    let request: Record<string, KeysAndAttributes> = {
      ...(bookingKeys.length > 0 ? { [tables.bookings]: { Keys: bookingKeys, ConsistentRead: true } } : {}),
      ...(userId === undefined
        ? {}
        : { [tables.connections]: { Keys: [toItem({ userId })], ConsistentRead: true } }),
    };
    const seen: Seen = {};
    // A throttled table leaves its key unprocessed instead of failing the call.
    for (let tries = 0; tries < 3; tries++) {
      const { Responses = {}, UnprocessedKeys = {} } = await dynamo.send(
        new BatchGetItemCommand({ RequestItems: request }),
      );
      for (const item of Responses[tables.bookings] ?? []) {
        const { id, ...rest } = fromItem<{ id: string }>(item);
        if (id.startsWith(prefix)) seen.booking = rest as unknown as Booking;
        else seen.pointer = rest as unknown as PaymentPointer;
      }
      const [connection] = Responses[tables.connections] ?? [];
      if (connection) seen.connection = fromItem<Connection>(connection);
      if (Object.keys(UnprocessedKeys).length === 0) return seen;
      request = UnprocessedKeys;
    }
    throw new Error('DynamoDB left keys unprocessed three times: the tables are throttled.');
  };
}

/** Keys of the sparse indexes: present only while the booking belongs into the index. */
function indexKeys(
  booking: Booking,
  shardCount: number,
): { syncShard?: string | undefined; waitingUserId?: string | undefined } {
  return {
    syncShard: booking.syncDueAt === undefined ? undefined : shardOf(booking.bookingId, shardCount),
    waitingUserId: booking.status === 'waiting_for_connection' ? booking.userId : undefined,
  };
}
