/**
 * Every event that LeadsCalendar is told of, as a schema. Functions take only types from here, so that it costs their
 * bundles nothing; docs/events.schema.json is generated from it (`npm run docs`), and tests hold published events
 * against it. Receivers must ignore fields that they do not know: more may be added.
 */
import * as z from 'zod';

const eventTime = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
  .meta({ format: 'date-time', description: 'When it happened: RFC 3339, UTC, whole seconds.' });
const userId = z.string().meta({ description: "LeadsCalendar's id of the user." });

/** Describes a type of event: when it is published, and its fields beside those that every event has. */
function event<const Type extends string, Fields extends z.core.$ZodLooseShape>(
  type: Type,
  when: string,
  fields: Fields,
) {
  return z
    .object({
      type: z.literal(type),
      id: z.string().meta({
        description: 'The same for each delivery and repetition of this event: what to deduplicate by.',
        examples: [`${type}:${type.startsWith('booking') ? 'booking-1042' : 'user-17'}:1`],
      }),
      time: eventTime,
      ...fields,
    })
    .meta({ id: type, description: when });
}

const problem = z
  .object({
    code: z.string().meta({ description: 'For programs; see docs/api.md, problems of a booking.' }),
    message: z.string().meta({ description: 'For people.' }),
    field: z.string().optional().meta({ description: 'The metadata or field that it is about.' }),
  })
  .meta({ id: 'problem', description: 'Why a booking is not as it should be.' });

const booking = {
  bookingId: z.string().meta({ description: "LeadsCalendar's id of the booking." }),
  paymentId: z
    .string()
    .optional()
    .meta({ description: "The payment provider's id of the payment.", examples: ['pi_3Q'] }),
};

/** Where the event of a booking stands. */
const standing = {
  calendarId: z.string().meta({ description: "Google's id of the calendar.", examples: ['primary'] }),
  eventId: z.string().meta({ description: "Google's id of the calendar event." }),
  htmlLink: z.string().meta({ description: 'The calendar event as a web page, for those who may see it.' }),
  meetLink: z
    .string()
    .optional()
    .meta({ description: 'The Google Meet link, where one was asked for and is made.' }),
};

export const busEventSchema = z.discriminatedUnion('type', [
  event('connection.activated', 'A user has connected Google Calendar, or connected it again.', {
    userId,
    reason: z.enum(['first_consent', 'consented_again']),
  }),
  event(
    'connection.account_changed',
    'A user has connected another Google account than before. Published beside connection.activated.',
    { userId, reason: z.literal('other_account') },
  ),
  event(
    'connection.reauthorization_required',
    'Google no longer accepts the grant. Bookings of the user wait until the user connects again.',
    {
      userId,
      reason: z.string().meta({
        description: "Google's reason.",
        examples: ['invalid_grant', 'admin_policy_enforced', 'invalid_rapt', 'insufficientPermissions'],
      }),
    },
  ),
  event('connection.disconnected', 'The connection was ended through the API; its tokens are deleted.', {
    userId,
    reason: z.literal('requested'),
  }),
  event('booking.scheduled', "The event stands in the user's calendar.", {
    userId,
    ...booking,
    ...standing,
    problems: z.array(problem).min(1).optional(),
  }),
  event(
    'booking.rescheduled',
    "The event stands in the user's calendar as it was changed: another time, other words, or its Meet link.",
    { userId, ...booking, ...standing },
  ),
  event('booking.cancelled', 'Nothing stands in the calendar any more: no payment pays for it.', {
    userId: userId.optional(),
    ...booking,
    problems: z.array(problem).min(1).optional(),
  }),
  event(
    'booking.conflict',
    'Something else stands in the calendar at that time, or whether it does could not be seen: see problems. Depending on the operator, the booking was entered all the same, or not.',
    {
      userId,
      ...booking,
      problems: z.array(problem).min(1),
    },
  ),
  event(
    'booking.deleted_by_user',
    'The owner of the calendar has deleted the event by hand. It is left so unless the booking changes.',
    {
      userId,
      ...booking,
      problems: z.array(problem).min(1).optional(),
    },
  ),
  event('booking.waiting', "The booking waits for the user's connection. Published once for each wait.", {
    userId,
    ...booking,
    problems: z.array(problem).min(1),
  }),
  event('booking.failed', 'The booking cannot be put into the calendar as it is.', {
    userId: userId.optional(),
    ...booking,
    problems: z.array(problem).min(1),
  }),
  event('booking.missed', 'The appointment was over before it could be put into the calendar.', {
    userId,
    ...booking,
    problems: z.array(problem).min(1).optional(),
  }),
]);

export type BusEventType = z.output<typeof busEventSchema>['type'];
