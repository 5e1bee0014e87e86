import { createHash } from 'node:crypto';
import { type DynamoDBClient, GetItemCommand } from '@aws-sdk/client-dynamodb';
import { attentionPages, fromItem, shardOf, shards, toItem, tryUpdate } from '../aws/dynamo.ts';
import type { EventPlace } from './booking.ts';

/** What the audit has found, in the table of bookings. */

/**
 * - `paid_without_event`: money is held, and no event stands in the calendar
 * - `event_without_booking`: an event of ours whose booking is unknown, cancelled or of another user
 * - `wrong_time`: an event shows an older time of its booking, and its owner has not moved it
 * - `refunded_still_scheduled`: no money is held any more, and the event stands
 * - `duplicate_events`: a booking has a second event
 */
export type CalendarKind =
  | 'paid_without_event'
  | 'event_without_booking'
  | 'wrong_time'
  | 'refunded_still_scheduled'
  | 'duplicate_events';

/** A difference between bookings and calendars that a second read has confirmed. */
export type CalendarFinding = {
  kind: CalendarKind;
  bookingId: string;
  /** Whose calendar was read. */
  userId: string;
  /** Where the event is, or should be. */
  place: EventPlace;
};

/**
 * - `payment_not_recorded`: Stripe has confirmed it hours ago, and nothing of it is on record. `event`: Stripe's
 * - `paid_without_booking`: money is held, and its booking was not declared within a day
 */
export type PaymentFinding = {
  paymentId: string;
  /** The booking and the user that the payment names. */
  bookingId?: string;
  userId?: string;
} & (
  | { kind: 'payment_not_recorded'; event: { id: string; mode: 'live' | 'test'; account?: string } }
  | { kind: 'paid_without_booking' }
);

export type Finding = CalendarFinding | PaymentFinding;

/** Whether a finding is about a payment, and not about a calendar. */
export function isOfPayment(finding: Finding): finding is PaymentFinding {
  return 'paymentId' in finding;
}

/** Instants are epoch seconds. A finding without `resolvedAt` is open. */
type Seen = { findingId: string; firstSeenAt: number; seenAt: number; resolvedAt?: number };
export type StoredFinding = Finding & Seen;

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
export function findingIdOf(finding: Finding): string {
  return createHash('sha256')
    .update(JSON.stringify(identityOf(finding)))
    .digest('hex')
    .slice(0, 16);
}

function identityOf(finding: Finding): string[] {
  if (isOfPayment(finding)) return [finding.kind, finding.paymentId];
  const { kind, bookingId, userId, place } = finding;
  // A booking may have several events that it does not know; of its own there is one.
  return [kind, bookingId, userId, kind === 'paid_without_event' ? '' : place.eventId];
}

export function findingStore(dynamo: DynamoDBClient, table: string, indexShards: number): FindingStore {
  const key = (findingId: string) => ({ id: `${prefix}${findingId}` });

  async function get(findingId: string): Promise<StoredFinding | undefined> {
    const { Item } = await dynamo.send(
      new GetItemCommand({ TableName: table, Key: toItem(key(findingId)), ConsistentRead: true }),
    );
    if (!Item) return undefined;
    type Indexed = { id: string; expiresAt: number; attention?: string; attentionAt?: number };
    const {
      id: _,
      expiresAt: __,
      attention: ___,
      attentionAt: ____,
      ...stored
    } = fromItem<StoredFinding & Indexed>(Item);
    return { ...stored, findingId } as StoredFinding;
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
      const keys = shards(indexShards).map((shard) => `${prefix}${shard}`);
      for await (const ids of attentionPages(dynamo, table, keys)) {
        for (const id of ids) {
          const finding = await get(id.slice(prefix.length));
          if (finding && finding.resolvedAt === undefined) yield finding;
        }
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
