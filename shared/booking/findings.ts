import { createHash } from 'node:crypto';
import { type DynamoDBClient, GetItemCommand } from '@aws-sdk/client-dynamodb';
import { type Cursor, fromItem, queryIndex, shardOf, shards, toItem, tryUpdate } from '../aws/dynamo.ts';
import { indexes } from '../lib/names.ts';
import type { EventPlace } from './booking.ts';

/** What the audit has found, in the table of bookings. */

/**
 * - `paid_without_event`: money is held, and no event stands in the calendar
 * - `event_without_booking`: an event of ours whose booking is unknown, cancelled or of another user
 * - `wrong_time`: an event shows an older time of its booking, and its owner has not moved it
 * - `refunded_still_scheduled`: no money is held any more, and the event stands
 * - `duplicate_events`: a booking has a second event
 */
export type FindingKind =
  | 'paid_without_event'
  | 'event_without_booking'
  | 'wrong_time'
  | 'refunded_still_scheduled'
  | 'duplicate_events';

/** A difference between bookings and calendars that a second read has confirmed. */
export type Finding = {
  kind: FindingKind;
  bookingId: string;
  /** Whose calendar was read. */
  userId: string;
  /** Where the event is, or should be. */
  place: EventPlace;
};

/** Instants are epoch seconds. A finding without `resolvedAt` is open. */
export type StoredFinding = Finding & {
  findingId: string;
  firstSeenAt: number;
  seenAt: number;
  resolvedAt?: number;
};

export type FindingStore = {
  /** Stores a finding, or that it was seen again: one that was resolved is open again. */
  record(finding: Finding, now: number): Promise<void>;
  get(findingId: string): Promise<StoredFinding | undefined>;
  /** Open findings, a page of each shard at a time. From an index: it may lag. */
  open(): AsyncGenerator<StoredFinding>;
  /** Marks as resolved what was not seen since `seenBefore`. False where it was seen again. */
  resolve(findingId: string, seenBefore: number, now: number): Promise<boolean>;
};

const keepSeconds = 30 * 86_400;
const prefix = 'finding#';

/** The same for a repeat, so that it is the same item. */
export function findingIdOf({ kind, bookingId, userId, place }: Finding): string {
  // A booking may have several events that it does not know; of its own there is one.
  const event = kind === 'paid_without_event' ? '' : place.eventId;
  return createHash('sha256')
    .update(JSON.stringify([kind, bookingId, userId, event]))
    .digest('hex')
    .slice(0, 16);
}

export function findingStore(dynamo: DynamoDBClient, table: string, indexShards: number): FindingStore {
  const key = (findingId: string) => ({ id: `${prefix}${findingId}` });

  async function get(findingId: string): Promise<StoredFinding | undefined> {
    const { Item } = await dynamo.send(
      new GetItemCommand({ TableName: table, Key: toItem(key(findingId)), ConsistentRead: true }),
    );
    if (!Item) return undefined;
    const { kind, bookingId, userId, place, firstSeenAt, seenAt, resolvedAt } = fromItem<StoredFinding>(Item);
    const stored = { findingId, kind, bookingId, userId, place, firstSeenAt, seenAt };
    return resolvedAt === undefined ? stored : { ...stored, resolvedAt };
  }

  return {
    get,

    async record(finding, now) {
      const findingId = findingIdOf(finding);
      const { firstSeenAt = now } = (await get(findingId)) ?? {};
      await tryUpdate(dynamo, {
        table,
        key: key(findingId),
        set: {
          ...finding,
          firstSeenAt,
          seenAt: now,
          expiresAt: now + keepSeconds,
          attention: `${prefix}${shardOf(findingId, indexShards)}`,
          attentionAt: firstSeenAt,
        },
        remove: ['resolvedAt'],
        condition: 'attribute_not_exists(seenAt) OR seenAt <= :now',
        values: { ':now': now },
      });
    },

    async *open() {
      for (const shard of shards(indexShards)) {
        let cursor: Cursor | undefined;
        do {
          const page = await queryIndex<{ id: string }>(dynamo, {
            table,
            index: indexes.attention,
            condition: 'attention = :attention',
            values: { ':attention': `${prefix}${shard}` },
            limit: 100,
            cursor,
          });
          for (const { id } of page.items) {
            const finding = await get(id.slice(prefix.length));
            if (finding && finding.resolvedAt === undefined) yield finding;
          }
          cursor = page.cursor;
        } while (cursor);
      }
    },

    async resolve(findingId, seenBefore, now) {
      const resolved = await tryUpdate(dynamo, {
        table,
        key: key(findingId),
        set: { resolvedAt: now },
        remove: ['attention', 'attentionAt'],
        condition: 'seenAt < :seen',
        values: { ':seen': seenBefore },
      });
      return resolved !== undefined;
    },
  };
}
