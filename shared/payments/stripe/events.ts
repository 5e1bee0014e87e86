import * as v from 'valibot';
import type { PaymentReported } from '../../booking/queue.ts';
import { toIso } from '../../lib/clock.ts';
import type { InvoicesPaidOutOfBand, StripeMode } from '../../lib/config.ts';
import { anyObject, instant } from '../../lib/schemas.ts';
import { parseBooking, parseBookings, parseReference } from '../booking-from-metadata.ts';
import { type Ignored, type ParsedEvent, parsePart } from '../parse-event.ts';
import { ignoredType } from './ignored-types.ts';
import { paymentOfInvoice, paymentsPath } from './invoices.ts';
import { objectParsers, type StripeReport, stripeId } from './object-parsers.ts';
import { notForUs, type Recipient, recipientFields } from './recipient.ts';

/** A thin event only references its object, which has to be fetched from Stripe; so do the payments of an invoice. */
export type ThinEvent = v.InferOutput<typeof referenceSchema> & { livemode: boolean };

/** Fetches what an event references. Errors: `unsupported_event_format` if no API key is stored. */
export type FetchObject = (event: ThinEvent) => Promise<unknown>;

type StripeEvent = Recipient & {
  id: string;
  type: string;
  at: string;
  /** Undefined where the event says it: objects of thin events have the version that they are fetched with. */
  apiVersion?: string | undefined;
  /** The object of a snapshot event; of a thin one, only `fetch` gives it. */
  snapshot?: unknown;
  fetch: () => Promise<unknown>;
};

const snapshotSchema = v.object({
  id: stripeId,
  object: v.literal('event'),
  type: v.string(),
  api_version: v.fallback(v.optional(v.string()), undefined),
  created: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(9e10)),
  data: v.object({ object: anyObject }),
  ...recipientFields,
});

const thinSchema = v.object({
  id: stripeId,
  type: v.string(),
  created: instant('It must be a time such as 2026-12-01T10:00:00Z.'),
  /** The snapshot event of the same change, where both kinds are delivered. */
  snapshot_event: v.nullish(stripeId),
  ...recipientFields,
});

const referenceSchema = v.object({
  id: stripeId,
  // A path of Stripe's own API, so that nothing else is ever fetched.
  related_object: v.object({ url: v.pipe(v.string(), v.regex(/^\/v1(\/[\w-]+)+$/)) }),
});

const names = {
  bookingId: 'booking_id',
  bookingIds: 'booking_ids',
  userId: 'user_id',
  timeZone: 'time_zone',
};

/**
 * Parses an event of Stripe, from a verified webhook or Stripe's event bus. `fetchObject` completes a thin event of a known type. The object is then
 * newer than the event, which does no harm: facts only grow.
 * @param acceptedMode the mode whose payments count in this deployment
 * @param outOfBand what an invoice counts as that no money through Stripe has paid
 * Errors (400): `unsupported_event_format`; and those of `fetchObject`.
 */
export async function parseStripeEvent(
  value: unknown,
  acceptedMode: StripeMode,
  fetchObject: FetchObject,
  outOfBand: InvoicesPaidOutOfBand,
): Promise<ParsedEvent> {
  const event = parseEvent(value, fetchObject);
  const { id, type, at, apiVersion } = event;
  const about = { event: { id, type: type.slice(0, 100) } };
  const notOurs = notForUs(event, acceptedMode);
  if (notOurs) return { ...notOurs, ...about };
  const read = objectParsers.get(type);
  if (!read) return { ...ignoredType(type, event.snapshot), ...about };
  const report = read(await event.fetch(), { at, apiVersion });
  if ('ignored' in report) return { ...report, ...about };
  const payment = await toPayment(report, id);
  if ('ignored' in payment) return { ...payment, ...about };
  const { invoice, facts } = report;
  if (!invoice) return { payment };

  const fetchPayments = () =>
    fetchObject({ id, livemode: event.livemode, related_object: { url: paymentsPath(invoice.id) } });
  const paid = await paymentOfInvoice(invoice, outOfBand, fetchPayments);
  if ('ignored' in paid) return { ...paid, ...about };
  const { paymentId, ...amount } = paid;
  // Again, since a booking without an id has that of its payment.
  const found = await toPayment({ ...report, paymentId, facts: { ...facts, ...amount } }, id);
  return 'ignored' in found ? { ...found, ...about } : { payment: found };
}

async function toPayment(
  { paymentId, facts, metadata, reference }: StripeReport,
  eventId: string,
): Promise<PaymentReported | Ignored> {
  const payment = { type: 'payment', paymentId, eventId, facts } as const;
  if (!metadata) return payment;
  const { booking_ids: ids } = metadata;
  if (ids !== undefined) return { ...payment, bookings: parseBookings(splitIds(ids), metadata, names) };
  const booking =
    (await parseBooking(metadata, names, paymentId)) ?? parseReference(reference, metadata, names);
  if (booking) return { ...payment, booking };
  // Most accounts also receive payments that are not for appointments.
  return { ignored: 'no booking in its metadata', reason: 'no_booking' };
}

/** The ids in a text, separated by commas. */
function splitIds(text: string): string[] {
  return text
    .split(',')
    .map((id) => id.trim())
    .filter((id) => id !== '');
}

function parseEvent(value: unknown, fetchObject: FetchObject): StripeEvent {
  if ((value as { object?: unknown } | null)?.object === 'v2.core.event') {
    const event = parsePart(thinSchema, value, 'This does not have the form of a thin event of Stripe.');
    const { livemode, account, context } = event;
    return {
      id: event.snapshot_event ?? event.id,
      // Events of Stripe's first API carry its version here; the second one has no payments of its own.
      type: event.type.replace(/^v1\./, ''),
      at: toIso(Math.floor(Date.parse(event.created) / 1000)),
      livemode,
      account,
      context,
      fetch: async () =>
        fetchObject({
          ...parsePart(referenceSchema, value, 'This thin event names no object that could be fetched.'),
          livemode,
        }),
    };
  }
  const event = parsePart(snapshotSchema, value, 'This does not have the form of a Stripe event.');
  const { id, type, livemode, account, context } = event;
  const { object } = event.data;
  return {
    id,
    type,
    at: toIso(event.created),
    apiVersion: event.api_version,
    livemode,
    account,
    context,
    snapshot: object,
    fetch: async () => object,
  };
}
