import * as z from 'zod/mini';
import { AppError } from '../../shared/app-error.ts';
import type { Problem } from '../../shared/booking.ts';
import type { PaymentConfirmed } from '../../shared/booking-queue.ts';
import { toIso } from '../../shared/clock.ts';
import { isIdentifier } from '../../shared/identifier.ts';
import { type Metadata, readAppointment } from './appointment.ts';

/** What a Stripe event asks of us. */
export type Translation = { payment: PaymentConfirmed } | { ignored: string };

const id = z.string().check(z.regex(/^[\w-]{1,100}$/));

const eventSchema = z.object({
  id,
  object: z.literal('event'),
  type: z.string(),
  created: z.number().check(z.int(), z.nonnegative(), z.maximum(9e10)),
  data: z.object({ object: z.looseObject({ id: z.optional(z.string()) }) }),
});
type StripeEvent = z.infer<typeof eventSchema>;

const metadata = z.catch(z.record(z.string(), z.string()), {});

const session = z.object({
  id,
  payment_intent: z.nullish(id),
  payment_status: z.string(),
  metadata,
});
const paymentIntent = z.object({ id, metadata });

/** The confirmed payment that an object stands for, or why it is none. */
type Confirmation = { paymentId: string; metadata: Metadata } | { ignored: string };

function confirmedSession(object: unknown): Confirmation {
  const { id, payment_intent, payment_status, metadata } = session.parse(object);
  // A session completes before the money has come when the method is a slow one; a later event tells.
  if (payment_status === 'unpaid') return { ignored: 'not paid yet' };
  return { paymentId: payment_intent ?? id, metadata };
}

function confirmedIntent(object: unknown): Confirmation {
  const { id, metadata } = paymentIntent.parse(object);
  return { paymentId: id, metadata };
}

/** Event types that confirm a payment. All others are ignored. */
const confirmations: Record<string, (object: unknown) => Confirmation> = {
  'checkout.session.completed': confirmedSession,
  'checkout.session.async_payment_succeeded': confirmedSession,
  'payment_intent.succeeded': confirmedIntent,
};

/**
 * Translates the body of a verified Stripe webhook.
 * Errors (400): `invalid_json`, `unsupported_event_format`.
 */
export async function translateStripeEvent(body: Buffer): Promise<Translation> {
  const event = parseEvent(body);
  const confirm = Object.hasOwn(confirmations, event.type) ? confirmations[event.type] : undefined;
  if (!confirm) return { ignored: `event type ${event.type}` };
  const confirmation = readObject(event, confirm);
  if ('ignored' in confirmation) return confirmation;
  if (!isOurs(confirmation.metadata)) return { ignored: 'no booking in its metadata' };
  return { payment: await translate(event, confirmation.paymentId, confirmation.metadata) };
}

/** Payments of the same Stripe account that have nothing to do with appointments are not our business. */
function isOurs(metadata: Metadata): boolean {
  const has = (name: string): boolean => Object.hasOwn(metadata, name);
  return has('booking_id') || (has('user_id') && has('start'));
}

async function translate(
  event: StripeEvent,
  paymentId: string,
  metadata: Metadata,
): Promise<PaymentConfirmed> {
  const { booking_id: bookingId, user_id: userId } = metadata;
  const { appointment, problems } = await readAppointment(metadata);
  const allProblems = [
    ...checkIdentifier('booking_id', bookingId),
    ...checkIdentifier('user_id', userId),
    ...problems,
  ];
  return {
    type: 'payment.confirmed',
    // A booking without a usable id is recorded under its payment: paid for, so never dropped.
    bookingId: isIdentifier(bookingId) ? bookingId : paymentId,
    ...(isIdentifier(userId) ? { userId } : {}),
    payment: { provider: 'stripe', id: paymentId, eventId: event.id, confirmedAt: toIso(event.created) },
    ...(appointment && allProblems.length === 0 ? { appointment } : {}),
    problems: allProblems,
  };
}

function checkIdentifier(field: string, value: string | undefined): Problem[] {
  if (isIdentifier(value)) return [];
  const message = value
    ? `"${field}" must be 1 to 128 characters of A-Z a-z 0-9 _ . : @ -`
    : `"${field}" is missing.`;
  return [{ code: 'invalid_booking', field, message }];
}

function parseEvent(body: Buffer): StripeEvent {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new AppError('invalid_json', 'The body is not JSON.', { status: 400, cause });
  }
  if ((value as { object?: unknown } | null)?.object === 'v2.core.event') {
    throw new AppError(
      'unsupported_event_format',
      'This is a thin event, which carries no payment. Set the event destination to snapshot payloads.',
      { status: 400 },
    );
  }
  const event = eventSchema.safeParse(value);
  if (event.success) return event.data;
  throw unsupported(event.error);
}

function readObject(event: StripeEvent, read: (object: unknown) => Confirmation): Confirmation {
  try {
    return read(event.data.object);
  } catch (cause) {
    throw unsupported(cause);
  }
}

function unsupported(cause: unknown): AppError {
  return new AppError('unsupported_event_format', 'The body does not have the form of a Stripe event.', {
    status: 400,
    cause,
  });
}
