/**
 * Every event that is published to LeadsCalendar, as a schema. Functions take only types from here, so that it costs their
 * bundles nothing; docs/events.schema.json is generated from it (`npm run docs`), and tests hold published events
 * against it. Receivers must ignore fields that they do not know: more may be added.
 */
import * as v from 'valibot';
import { schemas } from '../lib/schema.ts';

const text = (description: string, examples?: string[]) =>
  v.pipe(v.string(), v.metadata({ description, ...(examples ? { examples } : {}) }));

const eventTime = v.pipe(
  v.string(),
  v.metadata({ format: 'date-time', description: 'When it happened: RFC 3339, UTC, whole seconds.' }),
  v.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
);
const schemaVersion = v.pipe(
  v.literal(schemas['bus event'].writes),
  v.description('The version of this shape: it grows where a field changes its meaning or goes.'),
);
const amount = (description: string) =>
  v.pipe(v.number(), v.description(`${description} In the smallest unit of the payment's currency.`));
const count = (description: string) => v.pipe(v.number(), v.integer(), v.description(description));
const userId = text("LeadsCalendar's id of the user.");

/** Describes a type of event: when it is published, and its fields beside those that every event has. */
function event<const Type extends string, Fields extends v.ObjectEntries>(
  type: Type,
  when: string,
  fields: Fields,
) {
  return v.pipe(
    v.object({
      type: v.literal(type),
      id: text('The same for each delivery and repetition of this event: what to deduplicate by.', [
        type.startsWith('payment')
          ? `${type}:pi_3Q:too_late:booking-1042`
          : `${type}:${type.startsWith('booking') ? 'booking-1042' : 'user-17'}:1`,
      ]),
      time: eventTime,
      schemaVersion,
      ...fields,
    }),
    v.description(when),
  );
}

export const problemSchema = v.pipe(
  v.object({
    code: text('For programs; see docs/api.md, problems of a booking.'),
    message: text('For people.'),
    field: v.optional(text('The metadata or field that it is about.')),
  }),
  v.description('Why a booking is not as it should be.'),
);
const problems = v.pipe(v.array(problemSchema), v.minLength(1));

const booking = {
  bookingId: text("LeadsCalendar's id of the booking."),
  paymentId: v.optional(text("The payment provider's id of the payment.", ['pi_3Q'])),
};

/** Where the event of a booking stands. */
const eventLocation = {
  calendarId: text("Google's id of the calendar.", ['primary']),
  eventId: text("Google's id of the calendar event."),
  htmlLink: text('The calendar event as a web page, for those who may see it.'),
  meetLink: v.optional(text('The Google Meet link, where one was asked for and is made.')),
};

export const busEventSchema = v.variant('type', [
  event('connection.activated', 'A user has connected Google Calendar, or connected it again.', {
    userId,
    reason: v.picklist(['first_consent', 'consented_again']),
  }),
  event(
    'connection.account_changed',
    'A user has connected another Google account than before. Published beside connection.activated.',
    { userId, reason: v.literal('other_account') },
  ),
  event(
    'connection.reauthorization_required',
    'Google no longer accepts the grant. Bookings of the user wait until the user connects again.',
    {
      userId,
      reason: text("Google's reason.", [
        'invalid_grant',
        'admin_policy_enforced',
        'invalid_rapt',
        'insufficientPermissions',
      ]),
    },
  ),
  event('connection.disconnected', 'The connection was ended through the API; its tokens are deleted.', {
    userId,
    reason: v.literal('requested'),
  }),
  event(
    'connection.account_shared',
    'A user has disconnected, or connected another Google account, while other users are connected to the former account: they keep access to its calendar. Published at least once.',
    {
      userId,
      reason: v.picklist(['disconnected', 'other_account']),
      otherUserIds: v.pipe(
        v.array(v.string()),
        v.minLength(1),
        v.description("LeadsCalendar's ids of those other users, at most 50."),
      ),
    },
  ),
  event('booking.scheduled', "The event exists in the user's calendar.", {
    userId,
    ...booking,
    ...eventLocation,
    problems: v.optional(problems),
  }),
  event(
    'booking.rescheduled',
    "The event in the user's calendar shows a change: another time, other words, or its Meet link.",
    { userId, ...booking, ...eventLocation, problems: v.optional(problems) },
  ),
  event(
    'booking.cancelled',
    'No event exists any more: refunded, a dispute was lost, cancelled by the backend, or its payment pays for another booking (see problems).',
    {
      userId: v.optional(userId),
      ...booking,
      problems: v.optional(problems),
    },
  ),
  event(
    'booking.conflict',
    'Another event exists at that time, or whether one does could not be seen: see problems. The option onConflict decides whether the event is created all the same.',
    {
      userId,
      ...booking,
      problems,
    },
  ),
  event(
    'booking.deleted_by_user',
    'The owner of the calendar has deleted the event by hand. It is left so unless the booking changes.',
    {
      userId,
      ...booking,
      problems: v.optional(problems),
    },
  ),
  event('booking.waiting', "The booking waits for the user's connection. Published once for each wait.", {
    userId,
    ...booking,
    problems,
  }),
  event('booking.failed', 'The booking cannot be put into the calendar as it is.', {
    userId: v.optional(userId),
    ...booking,
    problems,
  }),
  event(
    'booking.hold_released',
    'The tentative event was deleted: a payment failed or expired, or the backend took the hold back. The booking is declared as before.',
    {
      userId,
      ...booking,
      problems: v.optional(problems),
    },
  ),
  event(
    'payment.orphaned',
    'A payment was confirmed that pays for no booking, or for one that needs no payment. A person should look at it: it may have to be refunded.',
    {
      userId: v.optional(text("LeadsCalendar's id of the user that the payment names, or of the booking's.")),
      bookingId: text('The booking that the payment references.'),
      paymentId: text("The payment provider's id of the payment.", ['pi_3Q']),
      reason: v.picklist([
        'booking_cancelled',
        'already_paid',
        'too_late',
        'already_used',
        'user_mismatch',
        'booking_unknown',
        'account_mismatch',
      ]),
      paidBookingId: v.optional(text('The booking that the payment pays for instead.')),
      amount: v.optional(amount('What was paid, where it is known.')),
      refundedAmount: amount('How much of it was refunded so far.'),
    },
  ),
  event(
    'audit.completed',
    'The daily audit has compared every booking of last week and of 60 days ahead with its calendar.',
    {
      from: v.pipe(eventTime, v.description('Appointments that start then or later were compared.')),
      to: v.pipe(eventTime, v.description('Those that start until then.')),
      users: count('Users who were looked at.'),
      unreadUsers: count(
        'Of them, those without a working connection, and those whose calendar could not be read.',
      ),
      bookings: count('Bookings that were compared.'),
      waitingBookings: count('Of them, paid ones that say themselves that their event is missing.'),
      openFindings: count('What is neither correct nor visibly waiting: `ops findings` shows it.'),
    },
  ),
  event(
    'booking.missed',
    'The appointment was over before it, or its last change, was in the calendar, as far as could be seen.',
    {
      userId,
      ...booking,
      problems: v.optional(problems),
    },
  ),
]);

type BusEventOutput = v.InferOutput<typeof busEventSchema>;
export type BusEventType = BusEventOutput['type'];

/**
 * Why a payment pays for no booking, or for one that needs no payment:
 * - `booking_cancelled`: the booking was cancelled before the payment arrived
 * - `already_paid`: another payment had paid for the booking before; both count
 * - `too_late`: the appointment was over and had no event
 * - `already_used`: the payment pays for another booking
 * - `user_mismatch`: the booking belongs to another user than the payment names
 * - `booking_unknown`: no booking with the referenced id was declared
 * - `account_mismatch`: it was paid to a connected account that is not bound to the user
 */
export type OrphanReason = Extract<BusEventOutput, { type: 'payment.orphaned' }>['reason'];
