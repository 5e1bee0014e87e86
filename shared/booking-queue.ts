import { createHash } from 'node:crypto';
import { SendMessageBatchCommand, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import * as z from 'zod/mini';
import type { Appointment, Payment, Problem } from './booking.ts';

/** A verified payment, translated. Without an appointment the problems say why there is none. */
export type PaymentConfirmed = {
  type: 'payment.confirmed';
  bookingId: string;
  userId?: string;
  payment: Payment;
  appointment?: Appointment;
  problems: Problem[];
};

/** A booking is to be looked at again. `cause` tells two requests apart that mean the same otherwise. */
export type SyncRequested = { type: 'sync'; bookingId: string; userId?: string; cause: string };

/** A user has connected: bookings that waited for it are to be synced. `page` and `after` continue a long list. */
export type ConnectionActivated = {
  type: 'connection.activated';
  userId: string;
  tokenVersion: number;
  page: number;
  after?: Record<string, unknown>;
};

export type BookingMessage = PaymentConfirmed | SyncRequested | ConnectionActivated;

/** The FIFO queue of bookings. Resolves when the queue holds the messages durably. */
export type BookingQueue = {
  send(message: BookingMessage): Promise<void>;
  /** At most ten. Answers how many were taken. */
  sendBatch(messages: BookingMessage[]): Promise<number>;
};

/** SQS takes at most this many messages in one call. */
export const batchSize = 10;

/** The queue at `queueUrl`. */
export function bookingQueue(queueUrl: string): BookingQueue {
  const sqs = new SQSClient();
  return {
    async send(message) {
      await sqs.send(new SendMessageCommand({ QueueUrl: queueUrl, ...entry(message) }));
    },
    async sendBatch(messages) {
      if (messages.length === 0) return 0;
      const Entries = messages.map((message, index) => ({ Id: String(index), ...entry(message) }));
      const { Successful = [] } = await sqs.send(
        new SendMessageBatchCommand({ QueueUrl: queueUrl, Entries }),
      );
      return Successful.length;
    },
  };
}

/**
 * Group: one per booking, so that two workers seldom meet on one. Deduplication (five minutes) by content: a second
 * delivery of the same event is dropped early; nothing depends on it.
 */
function entry(message: BookingMessage): {
  MessageBody: string;
  MessageGroupId: string;
  MessageDeduplicationId: string;
} {
  const body = JSON.stringify(message);
  return {
    MessageBody: body,
    MessageGroupId: message.type === 'connection.activated' ? message.userId : message.bookingId,
    MessageDeduplicationId: createHash('sha256').update(body).digest('hex'),
  };
}

const time = z.object({ dateTime: z.string(), timeZone: z.optional(z.string()) });
const text = z.string();
const problem = z.object({ code: text, message: text, field: z.optional(text) });
const schema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('payment.confirmed'),
    bookingId: text,
    userId: z.optional(text),
    payment: z.object({ provider: z.literal('stripe'), id: text, eventId: text, confirmedAt: text }),
    appointment: z.optional(
      z.object({
        summary: text,
        location: z.optional(text),
        description: z.optional(text),
        start: time,
        end: time,
        startsAt: z.number(),
        endsAt: z.number(),
      }),
    ),
    problems: z.array(problem),
  }),
  z.object({ type: z.literal('sync'), bookingId: text, userId: z.optional(text), cause: text }),
  z.object({
    type: z.literal('connection.activated'),
    userId: text,
    tokenVersion: z.number(),
    page: z.number(),
    after: z.optional(z.record(text, z.unknown())),
  }),
]);

/** Reads a message. Throws on a body that is not ours, which sends it to the dead-letter queue for a person to look at. */
export function parseBookingMessage(body: string): BookingMessage {
  return schema.parse(JSON.parse(body)) as BookingMessage;
}
