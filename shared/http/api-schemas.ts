/**
 * Schemas of the answers of the HTTP API. Functions import only types from here, so their bundles do not grow. OpenAPI is
 * generated from them, and a test compares the answers of the running service. Callers must ignore unknown fields.
 */
import * as v from 'valibot';
import { type BookingStatus, bookingStatuses } from '../booking/booking.ts';
import { eventDetails } from '../booking/event-details.ts';

const text = (description: string) => v.pipe(v.string(), v.description(description));
const optionalText = v.optional(v.string());
const instant = v.pipe(
  v.string(),
  v.metadata({ format: 'date-time', description: 'RFC 3339.', examples: ['2026-11-23T05:57:36Z'] }),
);
const revision = (description: string) => v.pipe(v.number(), v.safeInteger(), v.description(description));
const time = text(
  'RFC 3339 with offset, or a local time in `timeZone`; of whole days, a date, the end being the day after the last.',
);

export const problemSchema = v.pipe(
  v.object({
    code: v.pipe(v.string(), v.metadata({ description: 'For programs.', examples: ['invalid_field'] })),
    message: text('For people.'),
    field: v.optional(text('The field that it is about.')),
  }),
  v.description('One thing that is not as it should be.'),
);

export const errorSchema = v.pipe(
  v.object({
    title: v.string(),
    status: v.pipe(v.number(), v.safeInteger()),
    code: text('Stable: switch on it. docs/api.md says what each means.'),
    detail: text('For people: what, why, and what to do.'),
    problems: v.optional(v.array(problemSchema)),
  }),
  v.description('An error as RFC 9457 has it, with its code.'),
);

export const connectionSchema = v.pipe(
  v.object({
    status: v.picklist(['active', 'reauthorization_required', 'disconnected']),
    reason: v.optional(text("Why it is not active: Google's reason.")),
    email: optionalText,
    scopes: v.optional(v.pipe(v.array(v.string()), v.description('Granted calendar scopes.'))),
    features: v.optional(
      v.pipe(
        v.object({ calendarList: v.boolean(), freeBusy: v.boolean() }),
        v.description('What the granted scopes allow beyond creating events.'),
      ),
    ),
    calendarId: optionalText,
    timeZone: v.optional(
      text('IANA zone of that calendar, as Google says it. Absent where it is not known. It cannot be set.'),
    ),
    connectedAt: v.optional(instant),
    accountChangedAt: v.optional(instant),
    lastRefreshedAt: v.optional(instant),
    disconnectedAt: v.optional(instant),
  }),
  v.description('A connection as LeadsCalendar sees it: never a token.'),
);
/** A connection as LeadsCalendar sees it: never a token. */
export type ConnectionView = v.InferOutput<typeof connectionSchema>;

export const calendarsSchema = v.pipe(
  v.object({
    calendars: v.array(v.looseObject({ id: v.string(), summary: v.string(), primary: v.boolean() })),
  }),
  v.description('Calendars that events can go to, the primary one first.'),
);

export const disconnectedSchema = v.pipe(
  v.object({
    status: v.literal('disconnected'),
    revocation: v.picklist(['done', 'shared', 'pending', 'abandoned']),
  }),
  v.description('The connection has ended; what became of the grant at Google.'),
);

export const bookingSchema = v.pipe(
  v.object({
    bookingId: v.string(),
    status: v.picklist(Object.keys(bookingStatuses) as BookingStatus[]),
    revision: revision('Counts changes of the desired state. Also the ETag.'),
    desired: v.pipe(
      v.object({
        summary: optionalText,
        location: optionalText,
        description: optionalText,
        start: v.optional(time),
        end: v.optional(time),
        timeZone: optionalText,
        hold: v.boolean(),
        ...eventDetails.entries,
        paymentAccount: optionalText,
        cancelledAt: v.optional(instant),
      }),
      v.description(
        'The desired state. Without summary, start and end where a payment named no usable ones.',
      ),
    ),
    observed: v.optional(
      v.pipe(
        v.object({
          calendarId: v.string(),
          eventId: v.string(),
          htmlLink: v.string(),
          revision: revision('The revision that the event shows.'),
          tentative: v.pipe(v.boolean(), v.description('Only held.')),
          meet: v.optional(
            v.pipe(
              v.object({ state: v.picklist(['pending', 'ready', 'failed']), link: optionalText }),
              v.description('Its Meet link, which Google may make a little later.'),
            ),
          ),
        }),
        v.description('The event in the calendar, as far as known. Absent when none exists.'),
      ),
    ),
    payments: v.array(
      v.object({
        paymentId: v.string(),
        standing: v.picklist([
          'unconfirmed',
          'failed',
          'paid',
          'partly_refunded',
          'disputed',
          'refunded',
          'dispute_lost',
        ]),
        confirmedAt: v.optional(instant),
      }),
    ),
    problems: v.array(problemSchema),
    nextAttemptAt: v.optional(
      v.pipe(
        instant,
        v.description('When it is tried next. Absent when it is as it should be, or given up.'),
      ),
    ),
    timeline: v.pipe(
      v.array(v.object({ at: instant, what: v.string(), code: optionalText })),
      v.description('What happened, newest last; the latest twenty.'),
    ),
    createdAt: instant,
    updatedAt: instant,
  }),
  v.description('A booking: its desired state, its calendar event, and why they differ.'),
);
/** A booking as LeadsCalendar sees it. */
export type BookingView = v.InferOutput<typeof bookingSchema>;

export const bookingsSchema = v.pipe(
  v.object({
    bookings: v.array(bookingSchema),
    nextCursor: v.optional(text('For the next page. Absent on the last.')),
  }),
  v.description('A page of bookings by start. It may be shorter than the limit.'),
);
/** A page of bookings. */
export type BookingsView = v.InferOutput<typeof bookingsSchema>;

export const paymentAccountSchema = v.pipe(
  v.object({ accountId: text('Stripe’s id of the connected account.'), boundAt: instant }),
  v.description('A connected account whose payments count for the bookings of the user.'),
);
export type PaymentAccountView = v.InferOutput<typeof paymentAccountSchema>;

export const paymentAccountsSchema = v.pipe(
  v.object({ accounts: v.array(paymentAccountSchema) }),
  v.description('All payment accounts of the user, in the order in which they were bound.'),
);
export type PaymentAccountsView = v.InferOutput<typeof paymentAccountsSchema>;

/** Why a webhook with a valid signature is ignored: a closed list. */
const ignoredReasons = [
  'event_type',
  'unknown_event_type',
  'other_mode',
  'connected_account',
  'setup_session',
  'subscription',
  'invoice_needs_key',
  'paid_out_of_band',
  'charge_without_intent',
  'not_paid_yet',
  'refund_without_payment',
  'no_booking',
] as const;
export type IgnoredReason = (typeof ignoredReasons)[number];

export const receiptSchema = v.pipe(
  v.object({
    received: v.literal(true),
    payment_id: optionalText,
    booking_id: optionalText,
    booking_ids: v.optional(
      v.pipe(v.array(v.string()), v.description('Of a payment for several bookings: those it counts for.')),
    ),
    problems: v.optional(
      v.pipe(v.array(problemSchema), v.description('With `booking_ids`: what cannot be used.')),
    ),
    ignored: v.optional(text('Why the event was ignored. Nothing was changed.')),
    reason: v.optional(
      v.pipe(v.picklist(ignoredReasons), v.description('With `ignored`: docs/api.md says what each means.')),
    ),
  }),
  v.description('The payment is in the queue, or the event was ignored.'),
);

export const healthSchema = v.object({ status: v.literal('ok') });
