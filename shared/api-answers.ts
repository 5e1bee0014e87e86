/**
 * What the HTTP API answers, as schemas. Functions take only types from here, so that it costs their bundles nothing;
 * docs/openapi.json is generated from it (`npm run docs`), and a test holds the answers of the running service
 * against it. Callers must ignore fields that they do not know: more may be added.
 */
import * as z from 'zod';
import { eventDetails } from './event-details.ts';

const instant = z
  .string()
  .meta({ format: 'date-time', description: 'RFC 3339.', examples: ['2026-11-23T05:57:36Z'] });
const time = z.string().meta({
  description: 'RFC 3339 with offset; of whole days, a date, the end being the day after the last.',
});
const scope = z.string();

export const problemSchema = z
  .object({
    code: z.string().meta({ description: 'For programs.', examples: ['invalid_field'] }),
    message: z.string().meta({ description: 'For people.' }),
    field: z.string().optional().meta({ description: 'The field that it is about.' }),
  })
  .meta({ description: 'One thing that is not as it should be.' });

export const errorSchema = z
  .object({
    title: z.string(),
    status: z.int(),
    code: z.string().meta({ description: 'Stable: switch on it. docs/api.md says what each means.' }),
    detail: z.string().meta({ description: 'For people: what, why, and what to do.' }),
    problems: z.array(problemSchema).optional(),
  })
  .meta({ description: 'An error as RFC 9457 has it, with its code.' });

export const connectionSchema = z
  .object({
    status: z.enum(['active', 'reauthorization_required', 'disconnected']),
    reason: z.string().optional().meta({ description: "Why it is not active: Google's reason." }),
    email: z.string().optional(),
    scopes: z.array(scope).optional(),
    features: z
      .object({ calendarList: z.boolean(), freeBusy: z.boolean() })
      .optional()
      .meta({ description: 'What the granted scopes allow beyond entering events.' }),
    calendarId: z.string().optional(),
    timeZone: z.string().optional(),
    connectedAt: instant.optional(),
    accountChangedAt: instant.optional(),
    lastRefreshedAt: instant.optional(),
    disconnectedAt: instant.optional(),
  })
  .meta({ description: 'A connection as LeadsCalendar sees it: never a token.' });
/** A connection as LeadsCalendar sees it: never a token. */
export type ConnectionView = z.output<typeof connectionSchema>;

export const calendarsSchema = z
  .object({
    calendars: z.array(z.object({ id: z.string(), summary: z.string(), primary: z.boolean() }).loose()),
  })
  .meta({ description: 'Calendars that events can go to, the primary one first.' });

export const disconnectedSchema = z
  .object({
    status: z.literal('disconnected'),
    revocation: z.enum(['done', 'shared', 'pending', 'abandoned']),
  })
  .meta({ description: 'The connection has ended; what became of the grant at Google.' });

export const bookingSchema = z
  .object({
    bookingId: z.string(),
    status: z.enum([
      'declared',
      'held',
      'pending',
      'scheduled',
      'waiting_for_connection',
      'cancelled',
      'conflict',
      'deleted_by_user',
      'missed',
      'failed',
    ]),
    revision: z.int().meta({ description: 'Grows whenever what is desired changes. Also the ETag.' }),
    desired: z
      .object({
        summary: z.string().optional(),
        location: z.string().optional(),
        description: z.string().optional(),
        start: time.optional(),
        end: time.optional(),
        timeZone: z.string().optional(),
        hold: z.boolean(),
        ...eventDetails.shape,
        cancelledAt: instant.optional(),
      })
      .meta({
        description: 'What is to stand. Without summary, start and end where a payment named no usable ones.',
      }),
    observed: z
      .object({
        calendarId: z.string(),
        eventId: z.string(),
        htmlLink: z.string(),
        revision: z.int().meta({ description: 'The revision that the event shows.' }),
        tentative: z.boolean().meta({ description: 'Only held.' }),
        meet: z
          .object({ state: z.enum(['pending', 'ready', 'failed']), link: z.string().optional() })
          .optional()
          .meta({ description: 'Its Meet link, which Google may make a little later.' }),
      })
      .optional()
      .meta({ description: 'What is known to stand in the calendar. Absent when nothing is.' }),
    payments: z.array(
      z.object({
        paymentId: z.string(),
        standing: z.enum([
          'unconfirmed',
          'failed',
          'paid',
          'partly_refunded',
          'disputed',
          'refunded',
          'dispute_lost',
        ]),
        confirmedAt: instant.optional(),
      }),
    ),
    problems: z.array(problemSchema),
    nextAttemptAt: instant
      .optional()
      .meta({ description: 'When it is tried next. Absent when it is as it should be, or given up.' }),
    timeline: z
      .array(z.object({ at: instant, what: z.string(), code: z.string().optional() }))
      .meta({ description: 'What happened, newest last; the latest twenty.' }),
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ description: 'A booking: what is to stand, what stands, and why.' });
/** A booking as LeadsCalendar sees it. */
export type BookingView = z.output<typeof bookingSchema>;

export const bookingsSchema = z
  .object({
    bookings: z.array(bookingSchema),
    nextCursor: z.string().optional().meta({ description: 'For the next page. Absent on the last.' }),
  })
  .meta({ description: 'A page of bookings by start. It may be shorter than the limit.' });
/** A page of bookings. */
export type BookingsView = z.output<typeof bookingsSchema>;

export const receiptSchema = z
  .object({
    received: z.literal(true),
    payment_id: z.string().optional(),
    booking_id: z.string().optional(),
    ignored: z.string().optional().meta({ description: 'Nothing was to be done, and why.' }),
  })
  .meta({ description: 'The payment is in the queue, or was of no concern.' });

export const healthSchema = z.object({ status: z.literal('ok') });
