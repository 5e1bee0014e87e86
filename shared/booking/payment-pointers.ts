import { type AttributeValue, type DynamoDBClient, GetItemCommand } from '@aws-sdk/client-dynamodb';
import { attentionPages, fromItem, shardOf, shards, toItem } from '../aws/dynamo.ts';
import { requireReadable } from '../lib/schema.ts';
import type { PaymentPointer } from './booking.ts';
import { holdsMoney } from './booking-payments.ts';

/** What is known under the ids of payments, in the table of bookings. */

export const pointerKey = (paymentId: string): string => `payment#${paymentId}`;

type IndexKeys = { attention: string; attentionAt: number };

/** The payment pointer of an item. */
export function toPointer(item: Record<string, AttributeValue>): PaymentPointer {
  const {
    id: _,
    attention: __,
    attentionAt: ___,
    ...pointer
  } = fromItem<PaymentPointer & { id: string } & Partial<IndexKeys>>(item);
  requireReadable('payment pointer', pointer.schemaVersion);
  return pointer;
}

/** Keys of a payment that holds money and pays for no booking. */
export function unmatchedKeys(pointer: PaymentPointer, shardCount: number): IndexKeys | undefined {
  if (!isUnmatched(pointer)) return undefined;
  return {
    attention: unmatchedKey(shardOf(pointer.paymentId, shardCount)),
    attentionAt: Math.floor(Date.parse(pointer.facts?.confirmedAt ?? '') / 1000),
  };
}

/** Whether a payment holds money and pays for no booking. */
export function isUnmatched({ bookingId, bookings, facts }: Omit<PaymentPointer, 'version'>): boolean {
  return bookingId === undefined && bookings === undefined && holdsMoney(facts);
}

const unmatchedKey = (shard: string): string => `unmatched#${shard}`;

/** Payments that were confirmed before `until` (epoch seconds), hold money and pay for no booking. From an index: it may lag. */
export async function* unmatchedPayments(
  dynamo: DynamoDBClient,
  table: string,
  indexShards: number,
  until: number,
): AsyncGenerator<PaymentPointer> {
  const keys = shards(indexShards).map(unmatchedKey);
  for await (const ids of attentionPages(dynamo, table, keys, { until })) {
    for (const id of ids) {
      const pointer = await readPointer(dynamo, table, id.slice(pointerKey('').length));
      if (pointer && isUnmatched(pointer)) yield pointer;
    }
  }
}

/** What is known under a payment's id, as it is now (strongly consistent). */
export async function readPointer(
  dynamo: DynamoDBClient,
  table: string,
  paymentId: string,
): Promise<PaymentPointer | undefined> {
  const { Item } = await dynamo.send(
    new GetItemCommand({
      TableName: table,
      Key: toItem({ id: pointerKey(paymentId) }),
      ConsistentRead: true,
    }),
  );
  return Item && toPointer(Item);
}
