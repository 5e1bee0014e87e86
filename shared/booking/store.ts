import {
  type AttributeValue,
  BatchGetItemCommand,
  type DynamoDBClient,
  GetItemCommand,
  type KeysAndAttributes,
} from '@aws-sdk/client-dynamodb';
import {
  type Cursor,
  fromItem,
  type IndexQuery,
  type Item,
  putVersioned,
  queryIndex,
  shardOf,
  toItem,
} from '../aws/dynamo.ts';
import type { Connection } from '../connection/connection.ts';
import { toConnection } from '../connection/store.ts';
import { indexes } from '../lib/names.ts';
import { omitUndefined } from '../lib/omit-undefined.ts';
import { requireReadable, schemas } from '../lib/schema.ts';
import { awaitsConnection, type Booking, listedAt, type NextRun, type PaymentPointer } from './booking.ts';
import { accountIdsOf, paymentAccountsKey, toPaymentAccounts } from './payment-accounts.ts';
import { pointerKey, toPointer, unmatchedKeys } from './payment-pointers.ts';

/** A booking that is to be looked at, as an index names it. */
export type BookingRef = { bookingId: string; userId?: string; syncDueAt?: number };
type BookingPage = { bookings: BookingRef[]; cursor?: Cursor };

/** Bookings of a user that are `listedAt` from `from` to `to` (epoch seconds, both included), at most 100, after `after`. */
export type ListQuery = {
  userId: string;
  from: number;
  to: number;
  limit: number;
  after?: ListPosition | undefined;
};
/** Where a page of that list ended. */
export type ListPosition = { startsAt: number; bookingId: string };

/** The table of bookings. */
export type BookingStore = {
  /** The booking as it is now (strongly consistent). */
  get(bookingId: string): Promise<Booking | undefined>;
  /**
   * One page of a user's bookings, by start. Which they are, an index says, and it may lag: what they are is read as it
   * is now, so one may have moved, gone to another user or out of the range.
   */
  list(query: ListQuery): Promise<{ bookings: Booking[]; next?: ListPosition }>;
  /** Stores a booking over the version it was read at (0: there was none); false where it has changed since. */
  save(booking: Booking): Promise<boolean>;
  /**
   * The same for what is known under a payment's id. A pointer outlasts the `bookings` that it leads to: they may be moved,
   * and refunded late.
   */
  savePointer(pointer: PaymentPointer, ...bookings: Booking[]): Promise<boolean>;
} & OpenBookings;

/** Bookings with work to do, by index. */
type OpenBookings = {
  /** One page of bookings whose next attempt is due. From an index: it may lag. */
  listDue(shard: string, now: number, limit: number, cursor?: Cursor): Promise<BookingPage>;
  /** One page of bookings with work to do once this user connects or chooses a calendar. From an index: it may lag. */
  listWaiting(userId: string, limit: number, cursor?: Cursor): Promise<BookingPage>;
};

/** What sync decides on, as it is now (strongly consistent), in one call. */
export type LoadSnapshot = (names: {
  bookingId?: string | undefined;
  userId?: string | undefined;
  paymentId?: string | undefined;
  /** More bookings: those of a payment that names several. */
  bookingIds?: string[] | undefined;
  /** The user whose payment accounts are read. */
  accountsOf?: string | undefined;
}) => Promise<SyncSnapshot>;

export type SyncSnapshot = {
  booking?: Booking;
  connection?: Connection;
  pointer?: PaymentPointer;
  bookings?: Booking[];
  /** Ids of the connected accounts that may pay for the bookings of the user. */
  paymentAccounts?: string[];
};

const prefix = 'booking#';
const key = (bookingId: string): string => `${prefix}${bookingId}`;

/** `indexShards`: shards of the due index. `keepDays`: how long a booking is kept after its end and its last change. */
type StoreOptions = { indexShards: number; keepDays: number };

/** The store on the DynamoDB table `table`. */
export function bookingStore(
  dynamo: DynamoDBClient,
  table: string,
  { indexShards, keepDays }: StoreOptions,
): BookingStore {
  const keepSeconds = keepDays * 86_400;

  const put = (item: Item & { version: number }) => putVersioned(dynamo, table, item);

  return {
    async get(bookingId) {
      const { Item } = await dynamo.send(
        new GetItemCommand({ TableName: table, Key: toItem({ id: key(bookingId) }), ConsistentRead: true }),
      );
      return Item && toBooking(Item);
    },

    async list({ userId, from, to, limit, after }) {
      const { items, cursor } = await queryIndex<{ id: string }>(dynamo, {
        table,
        index: indexes.userBookings,
        condition: 'userId = :userId AND startsAt BETWEEN :from AND :to',
        values: { ':userId': userId, ':from': from, ':to': to },
        limit,
        cursor: after && { userId, startsAt: after.startsAt, id: key(after.bookingId) },
      });
      const keys = items.map(({ id }) => toItem({ id }));
      const { [table]: found = [] } = await readBatch(dynamo, {
        ...(keys.length > 0 ? { [table]: { Keys: keys, ConsistentRead: true } } : {}),
      });
      const bookings = found.map(toBooking).sort(compareByStart);
      if (!cursor) return { bookings };
      const { startsAt, id } = cursor as { startsAt: number; id: string };
      return { bookings, next: { startsAt, bookingId: id.slice(prefix.length) } };
    },

    save(booking) {
      const expiresAt = lastInstant(booking) + keepSeconds;
      const schemaVersion = schemas.booking.writes;
      const id = key(booking.bookingId);
      return put({ ...booking, ...indexKeys(booking, indexShards), expiresAt, id, schemaVersion });
    },

    savePointer(pointer, ...bookings) {
      const last = Math.max(...bookings.map(lastInstant));
      const expiry = bookings.length > 0 && { expiresAt: last + 2 * keepSeconds };
      const schemaVersion = schemas['payment pointer'].writes;
      const index = unmatchedKeys(pointer, indexShards);
      return put({ ...pointer, ...expiry, ...index, id: pointerKey(pointer.paymentId), schemaVersion });
    },

    ...openBookings(dynamo, table),
  };
}

/** The indexes of the table `table`. */
export function openBookings(dynamo: DynamoDBClient, table: string): OpenBookings {
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
    listDue(shard, now, limit, cursor) {
      const condition = 'syncShard = :shard AND syncDueAt <= :now';
      return page({
        index: indexes.syncDue,
        condition,
        values: { ':shard': shard, ':now': now },
        limit,
        cursor,
      });
    },

    async listWaiting(userId, limit, cursor) {
      const condition = 'waitingUserId = :userId';
      const values = { ':userId': userId };
      const { bookings, ...rest } = await page({ index: indexes.waiting, condition, values, limit, cursor });
      return { bookings: bookings.map(({ bookingId }) => ({ bookingId, userId })), ...rest };
    },
  };
}

/** The read that sync starts with, across the tables of bookings and connections. */
export function snapshotLoader(
  dynamo: DynamoDBClient,
  tables: { bookings: string; connections: string },
): LoadSnapshot {
  return async ({ bookingId, userId, paymentId, bookingIds = [], accountsOf }) => {
    const names = [bookingId ?? [], bookingIds].flat().map(key);
    if (paymentId !== undefined) names.push(pointerKey(paymentId));
    if (accountsOf !== undefined) names.push(paymentAccountsKey(accountsOf));
    const found = await readBatch(dynamo, {
      ...keysIn(
        tables.bookings,
        names.map((id) => toItem({ id })),
      ),
      ...keysIn(tables.connections, userId === undefined ? [] : [toItem({ userId })]),
    });
    const itemsOf = (start: string) =>
      (found[tables.bookings] ?? []).filter(({ id }) => id?.S?.startsWith(start) === true);
    const bookings = itemsOf(prefix).map(toBooking);
    const [pointer] = itemsOf(pointerKey(''));
    const [accounts] = itemsOf(paymentAccountsKey(''));
    const [connection] = found[tables.connections] ?? [];
    return omitUndefined({
      paymentAccounts: accounts && accountIdsOf(toPaymentAccounts(accounts)),
      bookings: bookingIds.length > 0 ? bookings : undefined,
      booking: bookingId === undefined ? undefined : bookings[0],
      pointer: pointer && toPointer(pointer),
      connection: connection && toConnection(connection),
    });
  };
}

function keysIn(table: string, Keys: Record<string, AttributeValue>[]): Record<string, KeysAndAttributes> {
  return Keys.length > 0 ? { [table]: { Keys, ConsistentRead: true } } : {};
}

type Found = Record<string, Record<string, AttributeValue>[]>;

/** Reads up to a hundred items in one call. A throttled table leaves keys unprocessed instead of failing the call. */
async function readBatch(dynamo: DynamoDBClient, request: Record<string, KeysAndAttributes>): Promise<Found> {
  const found: Found = {};
  let missing = request;
  for (let tries = 0; Object.keys(missing).length > 0; tries++) {
    if (tries === 3) throw new Error('DynamoDB left keys unprocessed three times: the tables are throttled.');
    const { Responses = {}, UnprocessedKeys = {} } = await dynamo.send(
      new BatchGetItemCommand({ RequestItems: missing }),
    );
    for (const [table, items] of Object.entries(Responses))
      found[table] = [...(found[table] ?? []), ...items];
    missing = UnprocessedKeys;
  }
  return found;
}

/** The booking of an item. Its index key says when it is due: an operator may have moved that. */
export function toBooking(item: Record<string, AttributeValue>): Booking {
  const stored = fromItem<Booking & IndexKeys & { id: string; expiresAt?: number }>(item);
  requireReadable('booking', stored.schemaVersion);
  const {
    id: _,
    syncShard: __,
    waitingUserId: ___,
    startsAt: ____,
    attention: _____,
    attentionAt: ______,
    expiresAt: _______,
    syncDueAt,
    ...booking
  } = stored;
  if (syncDueAt === undefined) return booking;
  const nextRun: Omit<NextRun, 'at'> = booking.nextRun ?? { why: 'requested', count: 0 };
  return { ...booking, nextRun: { ...nextRun, at: syncDueAt } };
}

/** The later of the end of the appointment and the last change (epoch seconds). */
function lastInstant({ appointment, updatedAt }: Booking): number {
  return Math.max(Math.ceil(appointment?.endsAt ?? 0), Math.floor(Date.parse(updatedAt) / 1000));
}

function compareByStart(one: Booking, other: Booking): number {
  const difference = listedAt(one) - listedAt(other);
  return difference || (one.bookingId < other.bookingId ? -1 : 1);
}

/** Keys of the sparse indexes: present only while the booking belongs into the index. */
type IndexKeys = {
  syncShard: string | undefined;
  syncDueAt: number | undefined;
  waitingUserId: string | undefined;
  startsAt: number | undefined;
  attention: string | undefined;
  attentionAt: number | undefined;
};

/** What an operator may look for: bookings that failed, were too late, wait for a connection, or have orphaned payments. */
export const attentions = ['failed', 'missed', 'waiting', 'orphaned'] as const;
export type Attention = (typeof attentions)[number];

function attentionOf({ status, orphaned = [] }: Booking): Attention | undefined {
  if (status === 'failed' || status === 'missed') return status;
  if (status === 'waiting_for_connection') return 'waiting';
  return orphaned.length > 0 ? 'orphaned' : undefined;
}

/** The key of the index `attention`. */
export function attentionKey(attention: Attention, shard: string): string {
  return `${attention}#${shard}`;
}

function indexKeys(booking: Booking, shardCount: number): IndexKeys {
  const { bookingId, userId, nextRun, otherEvents = [], updatedAt } = booking;
  const waits = awaitsConnection(nextRun);
  const attention = attentionOf(booking);
  return {
    attention: attention && attentionKey(attention, shardOf(bookingId, shardCount)),
    attentionAt: attention && Math.floor(Date.parse(updatedAt) / 1000),
    syncShard: nextRun && shardOf(bookingId, shardCount),
    syncDueAt: nextRun?.at,
    waitingUserId: waits || otherEvents.some(({ why }) => why === 'former_account') ? userId : undefined,
    startsAt: userId === undefined ? undefined : listedAt(booking),
  };
}
