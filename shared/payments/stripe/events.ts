import * as v from 'valibot';
import type { PaymentReported } from '../../booking/queue.ts';
import { toIso } from '../../lib/clock.ts';
import type { StripeSettings } from '../../lib/config.ts';
import { omitUndefined } from '../../lib/omit-undefined.ts';
import { anyObject, instant } from '../../lib/schemas.ts';
import { parseBooking, parseBookings, parseReference } from '../booking-from-metadata.ts';
import { type Ignored, type ParsedEvent, parsePart } from '../parse-event.ts';
import { ignoredType } from './ignored-types.ts';
import { paymentOfInvoice, paymentsPath } from './invoices.ts';
import { objectParsers, type StripeReport, stripeId } from './object-parsers.ts';
import {
  connectedAccountOf,
  type ExpectedAccounts,
  notForUs,
  type Recipient,
  recipientFields,
} from './recipient.ts';

/** A thin event only references its object, which has to be fetched from Stripe; so do the payments of an invoice. */
export type ThinEvent = v.InferOutput<typeof referenceSchema> & {
  livemode: boolean;
  /** The connected account that has the object. */
  account?: string | undefined;
};

/** Fetches what an event references. Errors: `unsupported_event_format` if no API key is stored. */
export type FetchObject = (event: ThinEvent) => Promise<unknown>;

type StripeEvent = {
  recipient: Recipient;
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
 * Parses an event of Stripe, from a verified webhook, Stripe's event bus, or its list of events. `fetchObject` completes
 * a thin event of a known type. The object is then newer than the event, which does no harm: facts only grow.
 * Errors (400): `unsupported_event_format`; and those of `fetchObject`.
 */
export async function parseStripeEvent(
  value: unknown,
  settings: StripeSettings & { accounts: ExpectedAccounts },
  fetchObject: FetchObject,
): Promise<ParsedEvent> {
  const event = parseEvent(value, fetchObject);
  const { id, type, at, apiVersion, recipient } = event;
  const about = { event: { id, type: type.slice(0, 100) } };
  const notOurs = notForUs(recipient, settings);
  if (notOurs) return { ...notOurs, ...about };
  const read = objectParsers.get(type);
  if (!read) return { ...ignoredType(type, event.snapshot), ...about };
  const report = read(await event.fetch(), { at, apiVersion });
  if ('ignored' in report) return { ...report, ...about };
  const account = connectedAccountOf(recipient);
  const payment = await toPayment(report, id, account);
  if ('ignored' in payment) return { ...payment, ...about };
  const { invoice, facts } = report;
  if (!invoice) return { payment };

  const { livemode } = recipient;
  const fetchPayments = () =>
    fetchObject({ id, livemode, account, related_object: { url: paymentsPath(invoice.id) } });
  const paid = await paymentOfInvoice(invoice, settings.invoicesPaidOutOfBand, fetchPayments);
  if ('ignored' in paid) return { ...paid, ...about };
  const { paymentId, ...amount } = paid;
  // Again, since a booking without an id has that of its payment.
  const found = await toPayment({ ...report, paymentId, facts: { ...facts, ...amount } }, id, account);
  return 'ignored' in found ? { ...found, ...about } : { payment: found };
}

/**
 * A payment of a connected account has its account in its id: so no event of another account is ever taken for one about
 * it.
 */
async function toPayment(
  { paymentId: id, facts, metadata, reference }: StripeReport,
  eventId: string,
  account: string | undefined,
): Promise<PaymentReported | Ignored> {
  const paymentId = account === undefined ? id : `${account}:${id}`;
  const payment = omitUndefined({ type: 'payment' as const, paymentId, eventId, facts, account });
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
    const recipient = { livemode, account, context };
    return {
      id: event.snapshot_event ?? event.id,
      // Events of Stripe's first API carry its version here; the second one has no payments of its own.
      type: event.type.replace(/^v1\./, ''),
      at: toIso(Math.floor(Date.parse(event.created) / 1000)),
      recipient,
      fetch: async () =>
        fetchObject({
          ...parsePart(referenceSchema, value, 'This thin event names no object that could be fetched.'),
          livemode,
          account: connectedAccountOf(recipient),
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
    recipient: { livemode, account, context },
    snapshot: object,
    fetch: async () => object,
  };
}
