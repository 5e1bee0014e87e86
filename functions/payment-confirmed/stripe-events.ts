import * as v from 'valibot';
import { toIso } from '../../shared/clock.ts';
import { anyObject, instant } from '../../shared/schemas.ts';
import { parseBody, readPart, type Translation } from './event-body.ts';
import { readBooking } from './named-booking.ts';
import { ignoredTypes, readers, stripeId } from './stripe-facts.ts';

/** A thin event only names its object, which is to be fetched from Stripe. */
export type ThinEvent = v.InferOutput<typeof referenceSchema>;

/** Fetches the object that a thin event names. */
export type FetchObject = (event: ThinEvent) => Promise<unknown>;

type StripeEvent = { id: string; type: string; at: string; object: () => Promise<unknown> };

const snapshotSchema = v.object({
  id: stripeId,
  object: v.literal('event'),
  type: v.string(),
  created: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(9e10)),
  data: v.object({ object: anyObject }),
});

const thinSchema = v.object({
  id: stripeId,
  type: v.string(),
  created: instant('must be a time such as 2026-12-01T10:00:00Z'),
  /** The snapshot event of the same change, where both kinds are delivered. */
  snapshot_event: v.nullish(stripeId),
});

const referenceSchema = v.object({
  id: stripeId,
  // A path of Stripe's own API: what we fetch is never somewhere else.
  related_object: v.object({ url: v.pipe(v.string(), v.regex(/^\/v1(\/[\w-]+)+$/)) }),
  /** Account or organization on whose behalf it is fetched. */
  context: v.nullish(v.pipe(v.string(), v.regex(/^[\w/-]{1,200}$/))),
});

const names = { bookingId: 'booking_id', userId: 'user_id', timeZone: 'time_zone' };

/**
 * Translates the body of a verified Stripe webhook. A thin event of a type that matters is completed by `fetchObject`;
 * it stands for the object as it is now, which does no harm: facts only grow.
 * Errors (400): `invalid_json`, `unsupported_event_format`; and those of `fetchObject`.
 */
export async function translateStripeEvent(body: Buffer, fetchObject: FetchObject): Promise<Translation> {
  const event = readEvent(parseBody(body), fetchObject);
  const read = readers.get(event.type);
  if (!read) {
    return {
      ignored: `${ignoredTypes.has(event.type) ? '' : 'unknown '}event type ${event.type.slice(0, 100)}`,
    };
  }
  const report = read(await event.object(), event.at);
  if ('ignored' in report) return report;

  const { paymentId, facts, metadata } = report;
  const payment = { type: 'payment', paymentId, eventId: event.id, facts } as const;
  if (!metadata) return { payment };
  const booking = await readBooking(metadata, names, paymentId);
  // Payments of the same Stripe account that have nothing to do with appointments are not our business.
  return booking ? { payment: { ...payment, booking } } : { ignored: 'no booking in its metadata' };
}

function readEvent(value: unknown, fetchObject: FetchObject): StripeEvent {
  if ((value as { object?: unknown } | null)?.object === 'v2.core.event') {
    const event = readPart(thinSchema, value, 'The body does not have the form of a thin event of Stripe.');
    return {
      id: event.snapshot_event ?? event.id,
      // Events of Stripe's first API carry its version here; the second one has no payments of its own.
      type: event.type.replace(/^v1\./, ''),
      at: toIso(Math.floor(Date.parse(event.created) / 1000)),
      object: async () =>
        fetchObject(
          readPart(referenceSchema, value, 'This thin event names no object that could be fetched.'),
        ),
    };
  }
  const event = readPart(snapshotSchema, value, 'The body does not have the form of a Stripe event.');
  return {
    id: event.id,
    type: event.type,
    at: toIso(event.created),
    object: async () => event.data.object,
  };
}
