import * as v from 'valibot';
import { type CachedSecret, withSecret } from '../../shared/aws/secrets.ts';
import { eventDetails } from '../../shared/booking/event-details.ts';
import type { BookingMessage } from '../../shared/booking/queue.ts';
import type { Keys } from '../../shared/crypto/keys.ts';
import { splitMac, verifyMac } from '../../shared/crypto/payment-mac.ts';
import { hasCode } from '../../shared/lib/app-error.ts';
import { reportOperatorError } from '../../shared/lib/observability.ts';
import { requireReadable } from '../../shared/lib/schema.ts';
import { anyObject, isJsonObject, redactedMessages } from '../../shared/lib/schemas.ts';
import type { ReadMessage } from './process-batch.ts';

export type VerifyDeps = {
  messageKeys: CachedSecret<Keys<'payment-messages'>>;
  tokenKeys: CachedSecret<Keys<'token-encryption'>>;
};

/**
 * Reads messages, and believes a payment only with the MAC of payment-confirmed: several functions may send. Other
 * messages cause no more than a read of the table, so they need no proof.
 * Errors: `payment_message_invalid`, and those of the secret.
 */
export function verifiedMessages({ messageKeys, tokenKeys }: VerifyDeps): ReadMessage {
  return async (body) => {
    const { message: text, mac } = splitMac(body);
    const message: unknown = JSON.parse(text);
    if (!isJsonObject(message) || message.type !== 'payment') return validMessage(message);
    const verifying = withSecret(messageKeys, ['payment_message_invalid'], (keys) =>
      verifyMac(keys, text, mac),
    );
    // Sync needs the token keys next: read together, the two secrets cost a new environment one wait.
    const [verified] = await Promise.allSettled([verifying, tokenKeys.get()]);
    if (verified.status === 'rejected') throw reported(verified.reason);
    return validMessage(message);
  };
}

function reported(error: unknown): unknown {
  if (hasCode(error, 'payment_message_invalid', 'not_configured')) {
    reportOperatorError('Payment message not verified', error);
  }
  return error;
}

const time = v.union([
  v.strictObject({ dateTime: v.string(), timeZone: v.optional(v.string()) }),
  v.strictObject({ date: v.string() }),
]);
const text = v.string();
const problem = v.strictObject({ code: text, message: text, field: v.optional(text) });
/** A record with any ids as keys: v.record leaves out `constructor`, for one. */
const recordOf = <Value extends v.GenericSchema>(value: Value) =>
  v.pipe(
    anyObject,
    v.transform(Object.entries),
    v.array(v.tuple([text, value])),
    v.transform((entries) => Object.fromEntries(entries) as Record<string, v.InferOutput<Value>>),
  );
const facts = v.pipe(
  anyObject,
  v.strictObject({
    confirmedAt: v.optional(text),
    failedAt: v.optional(text),
    amount: v.optional(v.number()),
    captured: v.optional(v.number()),
    refundedTotal: v.optional(v.number()),
    refunds: v.optional(
      recordOf(v.strictObject({ amount: v.number(), state: v.picklist(['open', 'done', 'failed']) })),
    ),
    refundsIncludeRemainder: v.optional(v.literal(true)),
    disputes: v.optional(
      recordOf(
        v.strictObject({ amount: v.optional(v.number()), state: v.picklist(['open', 'won', 'lost']) }),
      ),
    ),
  }),
);
/** The user that a payment names. */
const namedUser = { userId: v.optional(text), unusableUser: v.optional(v.literal(true)) };
const sent = { schemaVersion: v.number(), sentAt: v.optional(v.number()) };
const schema = v.variant('type', [
  v.strictObject({
    type: v.literal('payment'),
    ...sent,
    paymentId: text,
    eventId: text,
    facts,
    account: v.optional(text),
    booking: v.optional(
      v.strictObject({
        bookingId: text,
        mustExist: v.optional(v.literal(true)),
        ...namedUser,
        appointment: v.optional(
          v.strictObject({
            summary: text,
            location: v.optional(text),
            description: v.optional(text),
            details: v.optional(eventDetails),
            start: time,
            end: time,
            startsAt: v.number(),
            endsAt: v.number(),
          }),
        ),
        paymentTexts: v.optional(recordOf(text)),
        problems: v.array(problem),
      }),
    ),
    bookings: v.optional(
      v.strictObject({ bookingIds: v.array(text), ...namedUser, problems: v.array(problem) }),
    ),
    part: v.optional(v.literal(true)),
    recovered: v.optional(v.literal(true)),
  }),
  v.strictObject({
    type: v.literal('sync'),
    ...sent,
    bookingId: text,
    userId: v.optional(text),
    cause: text,
    checkSlot: v.optional(v.literal(true)),
  }),
  v.strictObject({
    type: v.literal('connection.activated'),
    ...sent,
    userId: text,
    tokenVersion: v.number(),
    choices: v.optional(v.number()),
    page: v.number(),
    after: v.optional(recordOf(v.unknown())),
  }),
]);

/**
 * Reads a message. Throws on a body that is not ours, which sends it to the dead-letter queue for a person to look at.
 * A field that is not known is an error too: the message would be acknowledged without it.
 * Errors: `schema_version_unsupported`.
 */
export function parseBookingMessage(body: string): BookingMessage {
  return validMessage(JSON.parse(body));
}

function validMessage(message: unknown): BookingMessage {
  if (isJsonObject(message) && typeof message.schemaVersion === 'number')
    requireReadable('message', message.schemaVersion);
  const parsed = v.safeParse(schema, message, redactedMessages);
  if (parsed.success) return parsed.output as BookingMessage;
  throw new Error(v.summarize(parsed.issues));
}
