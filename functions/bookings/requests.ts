import * as v from 'valibot';
import {
  descriptionFits,
  descriptionLimit,
  isLocalTime,
  maxLengths,
  parseAppointment,
} from '../../shared/booking/appointment.ts';
import {
  type Appointment,
  type Booking,
  type BookingStatus,
  bookingStatuses,
  type EventTime,
} from '../../shared/booking/booking.ts';
import { eventDetails } from '../../shared/booking/event-details.ts';
import type { ListPosition, ListQuery } from '../../shared/booking/store.ts';
import { invalidRequest, parseRequest } from '../../shared/http/invalid-request.ts';
import type { AppError } from '../../shared/lib/app-error.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { accountMessage, accountPattern } from '../../shared/lib/connected-account.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';
import { instant, isIdentifier, isJsonObject } from '../../shared/lib/schemas.ts';
import { isTimeZone } from '../../shared/lib/time-zone.ts';

/** The desired state of a booking. */
export type Desired = { appointment: Appointment; hold: boolean; paymentAccount?: string };

const text = (most: number) =>
  v.pipe(v.string('It must be text.'), v.maxLength(most, `It must not be longer than ${most} characters.`));

const time = (description: string) => v.pipe(text(64), v.description(description));

/** The body of PUT: an appointment, and whether its slot is held until it is paid. */
export const bookingSchema = v.strictObject({
  summary: v.pipe(
    text(maxLengths.summary),
    v.minLength(1, 'It must not be empty.'),
    v.description('Title of the event.'),
  ),
  location: v.optional(text(maxLengths.location)),
  description: v.optional(
    v.pipe(
      text(maxLengths.description),
      v.check(descriptionFits, `It ${descriptionLimit}.`),
      v.description('Text of the event. `&` counts as 5 characters and `<` as 4, because they are escaped.'),
    ),
  ),
  start: time('RFC 3339 with offset, a local time together with `timeZone`, or a date for whole days.'),
  end: time('The same form. Of whole days, the day after the last.'),
  timeZone: v.optional(
    v.pipe(
      text(64),
      v.check(isTimeZone, 'It must be an IANA zone such as Europe/Berlin.'),
      v.description('IANA zone. Ignored for whole days, which have the zone of the calendar.'),
    ),
  ),
  hold: v.optional(
    v.pipe(
      v.boolean('It must be true or false.'),
      v.description('Whether a tentative event holds the slot until the booking is paid.'),
    ),
  ),
  paymentAccount: v.optional(
    v.pipe(
      v.string('It must be text.'),
      v.regex(accountPattern, accountMessage),
      v.description(
        'With Stripe Connect: an account that may pay for this booking, beside those of the user.',
      ),
    ),
  ),
  ...eventDetails.entries,
});
type BookingBody = v.InferOutput<typeof bookingSchema>;

/**
 * The desired state in the body of PUT.
 * Errors (400): `invalid_request` with a problem for each field.
 */
export async function parseDesired(body: unknown): Promise<Desired> {
  const { summary, location, description, start, end, timeZone, hold, paymentAccount, ...details } =
    parseRequest(bookingSchema, body);
  const texts = omitUndefined({ summary, location, description, start, end, timeZone });
  const { appointment, problems } = await parseAppointment(texts as Record<string, string>, 'timeZone');
  if (!appointment) throw invalidRequest(problems.map((problem) => ({ ...problem, code: 'invalid_field' })));
  const defined = omitUndefined(details);
  return {
    appointment: { ...appointment, ...(Object.keys(defined).length > 0 ? { details: defined } : {}) },
    hold: hold ?? false,
    ...(paymentAccount === undefined ? {} : { paymentAccount }),
  };
}

/**
 * The desired state after a merge patch (RFC 7396) of the booking's body. A patch of the time zone alone keeps the
 * instants, and shows them in that zone. Errors: those of parseDesired.
 */
export function parsePatch(booking: Booking, patch: unknown): Promise<Desired> {
  const body = toBody(booking);
  const changesZone = isJsonObject(patch) && patch.timeZone !== undefined && patch.timeZone !== body.timeZone;
  return parseDesired(mergePatch(changesZone ? { ...body, ...timesOf(booking) } : body, patch));
}

/** The local times of a booking as instants. */
function timesOf({ appointment }: Booking): { start?: string; end?: string } {
  if (!appointment) return {};
  const { start, end, startsAt, endsAt } = appointment;
  return omitUndefined({
    start: isLocalTime(start) ? toIso(startsAt) : undefined,
    end: isLocalTime(end) ? toIso(endsAt) : undefined,
  });
}

/** Depth of objects in the body of a booking: the body itself, and `source` in it. */
const maxPatchDepth = 2;

/**
 * Merges by RFC 7396: null removes a member. A patch deeper than any booking is not merged, so that it cannot exhaust
 * the stack; the schema rejects it.
 */
function mergePatch(target: unknown, patch: unknown, depth = maxPatchDepth): unknown {
  if (!isJsonObject(patch) || depth === 0) return patch;
  const merged = new Map(Object.entries(isJsonObject(target) ? target : {}));
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name);
    else merged.set(name, mergePatch(merged.get(name), value, depth - 1));
  }
  return Object.fromEntries(merged);
}

/** The body of PUT that would declare this booking. */
export function toBody({
  appointment,
  hold: held,
  paymentAccount,
}: Booking): Partial<BookingBody> & { hold: boolean } {
  const hold = held === true;
  if (!appointment) return { hold };
  const { summary, location, description, start, end, details } = appointment;
  const timeZone = 'date' in start ? undefined : start.timeZone;
  return omitUndefined({
    summary,
    location,
    description,
    start: textOf(start),
    end: textOf(end),
    timeZone,
    hold,
    paymentAccount,
    ...details,
  });
}

const textOf = (time: EventTime): string => ('date' in time ? time.date : time.dateTime);

const statuses = Object.keys(bookingStatuses) as BookingStatus[];
const timeMessage = 'It must be a time such as 2026-12-01T10:00:00Z, in a URL with %2B for a plus sign.';
const minLimit = 1;
const maxLimit = 100;
const limitMessage = `It must be a whole number from ${minLimit} to ${maxLimit}.`;

/** The query of the list. */
export const listSchema = v.strictObject({
  status: v.optional(v.picklist(statuses, `It must be one of ${statuses.join(', ')}.`)),
  from: v.optional(instant(timeMessage)),
  to: v.optional(instant(timeMessage)),
  cursor: v.optional(text(512)),
  limit: v.optional(
    v.pipe(
      v.unknown(),
      v.toNumber(limitMessage),
      v.integer(limitMessage),
      v.minValue(minLimit, limitMessage),
      v.maxValue(maxLimit, limitMessage),
    ),
    50,
  ),
});

/**
 * Reads the query of the list: `from` is included, `to` is not.
 * Errors (400): `invalid_request` with a problem for each field.
 */
export function parseListQuery(
  query: unknown,
): Required<Omit<ListQuery, 'userId' | 'after'>> &
  Pick<ListQuery, 'after'> & { status?: BookingStatus | undefined } {
  const { status, from, to, cursor, limit } = parseRequest(listSchema, query);
  const first = from === undefined ? Number.MIN_SAFE_INTEGER : toEpochSeconds(from);
  const last = to === undefined ? Number.MAX_SAFE_INTEGER : toEpochSeconds(to) - 1;
  if (last < first) {
    throw invalidRequest([{ code: 'invalid_field', field: 'to', message: 'It must be later than "from".' }]);
  }
  const after = cursor === undefined ? undefined : parseCursor(cursor);
  // A cursor of another range: DynamoDB would reject it too.
  if (after && (after.startsAt < first || after.startsAt > last)) throw invalidCursor();
  return { status, from: first, to: last, limit, after };
}

/** Rounded up, since appointments begin on whole seconds. */
const toEpochSeconds = (time: string): number => Math.ceil(Date.parse(time) / 1000);

const cursorSchema = v.strictTuple([v.pipe(v.number(), v.safeInteger()), v.custom<string>(isIdentifier)]);

/** A position as an opaque cursor. It has no user: the bearer token decides whose list it is. */
export function formatCursor({ startsAt, bookingId }: ListPosition): string {
  return Buffer.from(JSON.stringify([startsAt, bookingId])).toString('base64url');
}

function parseCursor(cursor: string): ListPosition {
  try {
    const [startsAt, bookingId] = v.parse(
      cursorSchema,
      JSON.parse(Buffer.from(cursor, 'base64url').toString()),
    );
    const position = { startsAt, bookingId };
    if (formatCursor(position) === cursor) return position;
  } catch {
    // Not a cursor: reported below.
  }
  throw invalidCursor();
}

function invalidCursor(): AppError {
  return invalidRequest([
    {
      code: 'invalid_field',
      field: 'cursor',
      message: 'It must be the "nextCursor" of the page before, sent with the same "from" and "to".',
    },
  ]);
}
