import * as z from 'zod/mini';
import type { BookingMessage } from '../../shared/booking-queue.ts';
import { eventDetails } from '../../shared/event-details.ts';

const time = z.union([
  z.object({ dateTime: z.string(), timeZone: z.optional(z.string()) }),
  z.object({ date: z.string() }),
]);
const text = z.string();
const problem = z.object({ code: text, message: text, field: z.optional(text) });
const facts = z.object({
  confirmedAt: z.optional(text),
  failedAt: z.optional(text),
  amount: z.optional(z.number()),
  refundedTotal: z.optional(z.number()),
  refunds: z.optional(
    z.record(text, z.object({ amount: z.number(), state: z.enum(['open', 'done', 'failed']) })),
  ),
  disputes: z.optional(z.record(text, z.enum(['open', 'won', 'lost']))),
});
const schema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('payment'),
    paymentId: text,
    eventId: text,
    facts,
    booking: z.optional(
      z.object({
        bookingId: text,
        userId: z.optional(text),
        appointment: z.optional(
          z.object({
            summary: text,
            location: z.optional(text),
            description: z.optional(text),
            details: z.optional(eventDetails),
            start: time,
            end: time,
            startsAt: z.number(),
            endsAt: z.number(),
          }),
        ),
        problems: z.array(problem),
      }),
    ),
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
