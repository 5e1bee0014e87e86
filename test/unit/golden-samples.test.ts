import { readFileSync } from 'node:fs';
import type { DynamoDBClient, PutItemCommand } from '@aws-sdk/client-dynamodb';
import type { SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { describe, expect, it } from 'vitest';
import { parseBookingMessage } from '../../functions/booking-sync/read-message.ts';
import { fromItem, toItem } from '../../shared/aws/dynamo.ts';
import type { Booking, PaymentPointer } from '../../shared/booking/booking.ts';
import { type BookingMessage, bookingQueue } from '../../shared/booking/queue.ts';
import { conclude } from '../../shared/booking/status.ts';
import { bookingStore, toBooking } from '../../shared/booking/store.ts';
import type { Connection } from '../../shared/connection/connection.ts';
import { connectionStore } from '../../shared/connection/store.ts';

/** Samples of all that is stored or queued, in schema version 1: what these tests read and write must never change. */
const sample = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../fixtures/schema-1/${name}.json`, import.meta.url), 'utf8'));

/** The item that a store writes. */
async function written(write: (dynamo: DynamoDBClient) => Promise<unknown>): Promise<unknown> {
  let item: unknown;
  const client = {
    async send({ input }: PutItemCommand) {
      item = fromItem(input.Item ?? {});
    },
  };
  await write(client as unknown as DynamoDBClient);
  return item;
}

describe('schema version 1', () => {
  it.each(['booking-scheduled', 'booking-in-doubt', 'booking-given-up'])(
    'a %s item is read and written as in the sample',
    async (name) => {
      const item = sample<Booking & { version: number }>(name);
      const booking = toBooking(toItem(item));
      expect(booking).not.toHaveProperty('syncDueAt');
      expect(booking.status).toBe(conclude(booking, booking, { wanted: 'confirmed', now: 0 }).booking.status);
      const version = booking.version - 1;
      const stored = await written((dynamo) =>
        bookingStore(dynamo, 'table', { indexShards: 1, keepDays: 400 }).save({ ...booking, version }),
      );
      expect(stored).toEqual(item);
    },
  );

  it('a booking is due when its index key says so, which an operator may move', () => {
    const item = sample<Booking>('booking-scheduled');
    expect(toBooking(toItem({ ...item, syncDueAt: 5 })).nextRun).toEqual({ why: 'check', at: 5, count: 1 });
    const withoutRun = sample<Booking>('booking-given-up');
    const moved = toBooking(toItem({ ...withoutRun, syncDueAt: 5 }));
    expect(moved.nextRun).toEqual({ why: 'requested', at: 5, count: 0 });
  });

  it.each(['pointer', 'tombstone'])('a %s item is written as in the sample', async (name) => {
    const { id, ...pointer } = sample<PaymentPointer & { id: string }>(name);
    const stored = await written((dynamo) =>
      bookingStore(dynamo, 'table', { indexShards: 1, keepDays: 400 }).savePointer({
        ...pointer,
        version: pointer.version - 1,
      }),
    );
    expect(stored).toEqual({ ...pointer, id });
  });

  it('a connection item is written as in the sample', async () => {
    const item = sample<Connection>('connection');
    const { schemaVersion: _, ...connection } = item;
    const stored = await written((dynamo) =>
      connectionStore(dynamo, 'table', 1).put(connection as Connection, undefined),
    );
    expect(stored).toEqual(item);
  });

  it.each(['message-payment', 'message-sync', 'message-connection-activated'])(
    'a %s is read as in the sample',
    (name) => {
      const message = sample<BookingMessage>(name);
      expect(parseBookingMessage(JSON.stringify(message))).toEqual(message);
    },
  );

  it.each(['message-sync', 'message-connection-activated'])('a %s is sent as in the sample', async (name) => {
    const { schemaVersion: _, sentAt = 0, ...message } = sample<BookingMessage>(name);
    let body: string | undefined;
    const client = {
      async send({ input }: SendMessageCommand) {
        body = input.MessageBody;
      },
    };
    const queue = bookingQueue('url', () => sentAt, client as unknown as SQSClient);
    await queue.send(message as Parameters<typeof queue.send>[0]);
    expect(JSON.parse(body ?? '')).toEqual(sample(name));
  });

  it('a message of another schema version stays in the queue', () => {
    const message = { ...sample<BookingMessage>('message-sync'), schemaVersion: 2 };
    expect(() => parseBookingMessage(JSON.stringify(message))).toThrow();
  });
});
