import * as v from 'valibot';
import type { PaymentFacts } from '../../../shared/booking/payment.ts';
import { parseJsonBody } from '../../../shared/http/http.ts';
import { toIso } from '../../../shared/lib/clock.ts';
import { anyObject, instant } from '../../../shared/lib/schemas.ts';
import { parseBooking, parseBookings } from '../../../shared/payments/booking-from-metadata.ts';
import { type ParsedEvent, parsePart } from '../../../shared/payments/parse-event.ts';

const id = v.pipe(
  v.string('It must be text.'),
  v.regex(/^[A-Za-z0-9_.:@-]{1,100}$/, 'It must be 1 to 100 characters of A-Z a-z 0-9 _ . : @ -.'),
);
const wholeAmount = "It must be a whole number of the currency's smallest unit, not below 0.";
const amount = v.pipe(v.number(wholeAmount), v.safeInteger(wholeAmount), v.minValue(0, wholeAmount));
const text = v.optional(v.string('It must be text.'));
const objectMessage = ({ expected }: { expected: string | null }) =>
  expected === 'Object' ? 'It must be an object.' : 'It is missing.';

/** The body of a Standard Webhook. */
export const event = v.object(
  {
    type: v.string('It must be text.'),
    timestamp: instant('It must be a time such as 2026-12-01T10:00:00Z.'),
    data: v.pipe(anyObject, v.looseObject({})),
  },
  objectMessage,
);
/** The data of `payment.confirmed` and `payment.failed`. */
export const payment = v.object(
  {
    paymentId: id,
    bookingId: text,
    bookingIds: v.optional(v.array(v.string('It must be text.'), 'It must be a list of ids.')),
    userId: text,
    amount: v.optional(amount),
    booking: v.optional(
      v.pipe(
        anyObject,
        v.object({
          summary: text,
          location: text,
          description: text,
          start: text,
          end: text,
          timeZone: text,
        }),
      ),
    ),
  },
  objectMessage,
);
/** The data of `payment.refunded`. */
export const refund = v.object(
  {
    ...payment.entries,
    refundedAmount: amount,
    refundId: v.optional(v.pipe(id, v.notValue('__proto__', 'It must not be "__proto__".'))),
  },
  objectMessage,
);

type Payment = v.InferOutput<typeof payment>;

const names = { bookingId: 'bookingId', bookingIds: 'bookingIds', userId: 'userId', timeZone: 'timeZone' };

/**
 * Parses the body of a verified Standard Webhook: `{type, timestamp, data}`, documented in docs/integrate.md.
 * @param eventId the header `webhook-id`
 * Errors (400): `invalid_json`, `unsupported_event_format` with problems.
 */
export async function parseStandardEvent(body: Buffer, eventId: string): Promise<ParsedEvent> {
  const { type, timestamp, data } = parsePart(
    event,
    parseJsonBody(body),
    'The body must be {type, timestamp, data}.',
  );
  const report = parseReport(type, data, toIso(Math.floor(Date.parse(timestamp) / 1000)));
  const about = { event: { id: eventId, type: type.slice(0, 100) } };
  if (!report) {
    return { ignored: `unknown event type ${about.event.type}`, reason: 'unknown_event_type', ...about };
  }
  const { payment, facts } = report;

  // Prefixed, so that payments of different providers never collide.
  const paymentId = `standard:${payment.paymentId}`;
  const reported = { type: 'payment', paymentId, eventId, facts } as const;
  // The payment of a refund points to the booking.
  if (type === 'payment.refunded') return { payment: reported };
  const { bookingIds } = payment;
  if (bookingIds)
    return { payment: { ...reported, bookings: parseBookings(bookingIds, metadataOf(payment), names) } };
  const booking = await parseBooking(metadataOf(payment), names, paymentId);
  if (booking) return { payment: { ...reported, booking } };
  return { ignored: 'no booking in its data', reason: 'no_booking', ...about };
}

/** The payment and facts of an event. Undefined for an unknown type. */
function parseReport(
  type: string,
  data: unknown,
  at: string,
): { payment: Payment; facts: PaymentFacts } | undefined {
  switch (type) {
    case 'payment.confirmed': {
      const confirmed = parseData(payment, data);
      return { payment: confirmed, facts: { confirmedAt: at, ...amountOf(confirmed) } };
    }
    case 'payment.failed':
      return { payment: parseData(payment, data), facts: { failedAt: at } };
    case 'payment.refunded': {
      const refunded = parseData(refund, data);
      return { payment: refunded, facts: { ...amountOf(refunded), ...refundOf(refunded) } };
    }
    default:
      return undefined;
  }
}

/** With an id, the amount is that of this refund; without, what was refunded in all. */
function refundOf({ refundId, refundedAmount }: v.InferOutput<typeof refund>): PaymentFacts {
  if (!refundId) return { refundedTotal: refundedAmount };
  return { refunds: { [refundId]: { amount: refundedAmount, state: 'done' } } };
}

function metadataOf({ bookingId, userId, booking }: Payment): Record<string, string> {
  const fields = Object.entries({ ...booking, bookingId, userId });
  return Object.fromEntries(fields.filter((field): field is [string, string] => field[1] !== undefined));
}

function amountOf({ amount }: Payment): { amount?: number } {
  return amount === undefined ? {} : { amount };
}

function parseData<Schema extends v.GenericSchema>(schema: Schema, data: unknown): v.InferOutput<Schema> {
  return parsePart(schema, data, 'The data of the event does not have the documented form.');
}
