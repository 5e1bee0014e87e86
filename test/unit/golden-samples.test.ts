import type { DynamoDBClient, PutItemCommand, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import type { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import type { SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { composeEvent } from '../../functions/booking-sync/calendar-event.ts';
import { parseBookingMessage } from '../../functions/booking-sync/read-message.ts';
import { writtenOf } from '../../functions/booking-sync/written-event.ts';
import { formatCursor, parseListQuery } from '../../functions/bookings/requests.ts';
import { type BusEvent, eventBridgeBus } from '../../shared/aws/bus.ts';
import { busEventSchema } from '../../shared/aws/bus-events.ts';
import { fromItem, toItem } from '../../shared/aws/dynamo.ts';
import type {
  Appointment,
  Booking,
  EventSnapshot,
  NextRun,
  PaymentPointer,
} from '../../shared/booking/booking.ts';
import type { PaymentFacts } from '../../shared/booking/payment.ts';
import {
  type PaymentAccounts,
  paymentAccountStore,
  toPaymentAccounts,
} from '../../shared/booking/payment-accounts.ts';
import {
  type BookingFromPayment,
  type BookingMessage,
  bookingQueue,
  type ConnectionActivated,
  type NamedBookings,
  type PaymentReported,
  paymentQueue,
  type Sent,
  type SyncRequested,
} from '../../shared/booking/queue.ts';
import { conclude } from '../../shared/booking/status.ts';
import { bookingStore, snapshotLoader, toBooking } from '../../shared/booking/store.ts';
import { type Connection, knownFields, unknownFields } from '../../shared/connection/connection.ts';
import { connectionStore, toConnection } from '../../shared/connection/store.ts';
import { parseKeys } from '../../shared/crypto/keys.ts';
import { decryptState, type OAuthState } from '../../shared/crypto/oauth-state.ts';
import { splitMac, verifyMac } from '../../shared/crypto/payment-mac.ts';
import { decryptTokens, type Tokens } from '../../shared/crypto/token-encryption.ts';
import type { CalendarEvent } from '../../shared/google/calendar.ts';
import { requireReadable, schemas } from '../../shared/lib/schema.ts';
import { cachedSecret } from '../fakes/secret.ts';
import { sample, sampleNames } from '../support/schema-samples.ts';

// Samples never change: a field that is new gets a sample of its own, and one that changes or goes a new version.

/** The input of the command that a store sends. */
async function sentBy<Command extends { input: object }>(
  write: (client: DynamoDBClient) => Promise<unknown>,
): Promise<Command['input']> {
  let sent: Command['input'] = {};
  const send = async ({ input }: Command) => {
    sent = input;
  };
  await write({ send } as unknown as DynamoDBClient);
  return sent;
}

const written = async (write: (client: DynamoDBClient) => Promise<unknown>) =>
  fromItem((await sentBy<PutItemCommand>(write)).Item ?? {});

const bookings = sampleNames('booking-').map((name) => sample<Booking>(name));
const connections = sampleNames('connection').map((name) => sample<Connection>(name));
const messageNames = sampleNames('message-');

describe('schema version 1', () => {
  it.each(sampleNames('booking-'))('a %s item is read and written as in the sample', async (name) => {
    const item = sample<Booking>(name);
    const booking = toBooking(toItem(item));
    expect(booking).not.toHaveProperty('syncDueAt');
    expect(booking.status).toBe(conclude(booking, booking, { wanted: 'confirmed', now: 0 }).booking.status);
    const version = booking.version - 1;
    const stored = await written((dynamo) =>
      bookingStore(dynamo, 'table', { indexShards: 1, keepDays: 400 }).save({ ...booking, version }),
    );
    expect(stored).toEqual(item);
  });

  it('a booking is due when its index key says so, which an operator may move', () => {
    const item = sample<Booking>('booking-scheduled');
    expect(toBooking(toItem({ ...item, syncDueAt: 5 })).nextRun).toEqual({ why: 'check', at: 5, count: 1 });
    const withoutRun = sample<Booking>('booking-given-up');
    const moved = toBooking(toItem({ ...withoutRun, syncDueAt: 5 }));
    expect(moved.nextRun).toEqual({ why: 'requested', at: 5, count: 0 });
  });

  it.each(['pointer', 'pointer-of-several', 'pointer-of-unbound', 'tombstone', 'unmatched'])(
    'a %s item is read and written as in the sample',
    async (name) => {
      const item = sample<PaymentPointer & { id: string; attention?: string; attentionAt?: number }>(name);
      const { id, attention: _, attentionAt: __, ...pointer } = item;
      const client = { send: async () => ({ Responses: { bookings: [toItem(item)] } }) };
      const read = snapshotLoader(client as unknown as DynamoDBClient, {
        bookings: 'bookings',
        connections: 'connections',
      });
      expect(await read({ paymentId: pointer.paymentId })).toEqual({ pointer });
      const stored = await written((dynamo) =>
        bookingStore(dynamo, 'table', { indexShards: 1, keepDays: 400 }).savePointer({
          ...pointer,
          version: pointer.version - 1,
        }),
      );
      expect(stored).toEqual(item);
    },
  );

  it.each(sampleNames('connection'))('a %s item is read and written as in the sample', async (name) => {
    const item = sample<Connection>(name);
    const connection = toConnection(toItem(item));
    expect(unknownFields(connection)).toEqual({});
    const read = { tokenVersion: 1, ...(item.choices === undefined ? {} : { choices: item.choices }) };
    const stored = await written((dynamo) => connectionStore(dynamo, 'table', 1).put(connection, read));
    expect(stored).toEqual(item);
  });

  it('a payment-accounts item is read and written as in the sample', async () => {
    const item = sample<PaymentAccounts & { id: string }>('payment-accounts');
    const read = toPaymentAccounts(toItem(item));
    expect(Object.keys(read).sort()).toEqual(['accounts', 'schemaVersion', 'userId', 'version']);
    const stored = await written((dynamo) =>
      paymentAccountStore(dynamo, 'table', 1).save({ ...read, version: read.version - 1 }),
    );
    expect(stored).toEqual(item);
  });

  it('the attempts of a link are written as in the sample', async () => {
    const { userId, ...fields } = sample<Record<string, unknown>>('link-attempts');
    const { Key, UpdateExpression, ExpressionAttributeValues } = await sentBy<UpdateItemCommand>((dynamo) =>
      connectionStore(dynamo, 'table', 1).countAttempt('l1', 5, fields.expiresAt as number),
    );
    const values = Object.values(fromItem<object>(ExpressionAttributeValues ?? {}));
    expect(fromItem(Key ?? {})).toEqual({ userId });
    expect(UpdateExpression?.match(/\b[a-z]\w+/g)?.sort()).toEqual(
      [...Object.keys(fields), 'expiresAt', 'one', 'schema'].sort(),
    );
    expect(values).toEqual(expect.arrayContaining(Object.values(fields)));
  });

  it.each(messageNames)('a %s is read and sent as in the sample', async (name) => {
    const message = sample<BookingMessage>(name);
    expect(parseBookingMessage(JSON.stringify(message))).toEqual(message);
    const { schemaVersion: _, sentAt = 0, ...fields } = message;
    let body = '';
    const client = {
      async send({ input }: SendMessageCommand) {
        body = splitMac(input.MessageBody ?? '').message;
      },
    } as unknown as SQSClient;
    const clock = () => sentAt;
    const keys = parseKeys('payment-messages', JSON.stringify({ current: 'k', k: 'k'.repeat(64) }));
    if (fields.type === 'payment') await paymentQueue('url', cachedSecret(keys), clock, client).send(fields);
    else await bookingQueue('url', clock, client).send(fields);
    expect(JSON.parse(body)).toEqual(message);
  });

  it('bus events are published as in the samples, one of each type', async () => {
    const events = sample<(BusEvent & Sent)[]>('bus-events');
    expect(events.map(({ type }) => type)).toEqual(
      busEventSchema.options.map(({ entries }) => entries.type.literal),
    );
    for (const event of events) {
      expect(v.parse(busEventSchema, event)).toEqual(event);
      const { schemaVersion: _, ...fields } = event;
      let detail = '';
      const client = {
        async send({ input }: PutEventsCommand) {
          detail = input.Entries?.[0]?.Detail ?? '';
          return { FailedEntryCount: 0 };
        },
      };
      await eventBridgeBus('bus', client as unknown as EventBridgeClient).publish(fields as BusEvent);
      expect(JSON.parse(detail)).toEqual(event);
    }
  });
});

describe('a form that outlives a release', () => {
  type Encrypted<Clear> = { secret: object; text: string; clear: Clear };
  const encrypted = sample<{
    tokens: Encrypted<Tokens> & { userId: string };
    state: Encrypted<OAuthState> & { now: number };
    payment: Encrypted<PaymentReported>;
  }>('encrypted');

  it('encrypted tokens of the sample are decrypted', async () => {
    const { secret, userId, text, clear } = encrypted.tokens;
    const keys = parseKeys('token-encryption', JSON.stringify(secret));
    expect(await decryptTokens(keys, userId, text)).toEqual(clear);
  });

  it('the OAuth state of the sample is decrypted', async () => {
    const { secret, now, text, clear } = encrypted.state;
    const keys = parseKeys('state-encryption', JSON.stringify(secret));
    expect(await decryptState(keys, text, now)).toEqual({ ...clear, iat: now, exp: now + 600 });
  });

  it('the payment of the sample is verified', () => {
    const { secret, text, clear } = encrypted.payment;
    const { message, mac } = splitMac(text);
    verifyMac(parseKeys('payment-messages', JSON.stringify(secret)), message, mac);
    expect(parseBookingMessage(message)).toEqual(clear);
  });

  it('the cursor of the sample continues a list', () => {
    const { text, clear } = sample<Encrypted<{ startsAt: number; bookingId: string }>>('list-cursor');
    expect(formatCursor(clear)).toBe(text);
    expect(parseListQuery({ cursor: text }).after).toEqual(clear);
  });

  it('an event is marked and digested as in the sample, so it is not written again', () => {
    const properties = sample<{ private: Record<string, string>; written: object }>('calendar-event');
    const { cancelledAt: _, ...booking } = toBooking(toItem(sample<Booking>('booking-every-field')));
    const basis = { requestId: 'r1', claim: 'c1' };
    const composed = composeEvent({ ...booking, calendar: { kind: 'absent' } }, 'confirmed', basis);
    expect(composed.body.extendedProperties.private).toEqual(properties.private);
    const read = { extendedProperties: { private: properties.private } } as CalendarEvent;
    expect(writtenOf(read)).toEqual(properties.written);
  });
});

/** All fields of a type: a new one does not compile until it is listed, and fails until a sample has it. */
function fieldsOf<Name extends string>(fields: Record<Name, true>): string[] {
  return Object.keys(fields).sort();
}
const indexKeys = [
  'id',
  'syncShard',
  'syncDueAt',
  'waitingUserId',
  'startsAt',
  'attention',
  'attentionAt',
  'expiresAt',
];
const messages = messageNames.map((name) => sample<BookingMessage>(name));
const payments = messages.filter((message) => message.type === 'payment');
const ofType = (type: string): object[] => messages.filter((message) => message.type === type);

it.each<[string, string[], object[]]>([
  [
    'booking',
    [
      ...indexKeys,
      ...fieldsOf<keyof Booking>({
        schemaVersion: true,
        bookingId: true,
        userId: true,
        appointment: true,
        revision: true,
        hold: true,
        heldAt: true,
        fromPayment: true,
        cancelledAt: true,
        erasedAt: true,
        paymentAccount: true,
        paymentTexts: true,
        payments: true,
        orphaned: true,
        calendar: true,
        eventNumber: true,
        otherEvents: true,
        nextRun: true,
        givenUp: true,
        problems: true,
        status: true,
        published: true,
        timeline: true,
        createdAt: true,
        updatedAt: true,
        version: true,
      }),
    ],
    bookings,
  ],
  [
    'payment pointer',
    [
      'id',
      'attention',
      'attentionAt',
      ...fieldsOf<keyof PaymentPointer>({
        schemaVersion: true,
        paymentId: true,
        bookingId: true,
        userId: true,
        bookings: true,
        unbound: true,
        named: true,
        facts: true,
        expiresAt: true,
        version: true,
      }),
    ],
    [
      sample('pointer'),
      sample('tombstone'),
      sample('pointer-of-several'),
      sample('pointer-of-unbound'),
      sample('unmatched'),
    ],
  ],
  ['connection', fieldsOf(knownFields), connections],
  [
    'event on record',
    fieldsOf<keyof EventSnapshot>({
      calendarId: true,
      eventId: true,
      account: true,
      etag: true,
      htmlLink: true,
      revision: true,
      tentative: true,
      meet: true,
      written: true,
      hasGuests: true,
    }),
    bookings.flatMap(({ calendar }) => ('event' in calendar && calendar.event ? calendar.event : [])),
  ],
  [
    'next run',
    fieldsOf<keyof NextRun>({ why: true, at: true, count: true, since: true, refusal: true }),
    bookings.flatMap(({ nextRun }) => nextRun ?? []),
  ],
  [
    'payment',
    fieldsOf<keyof PaymentFacts>({
      confirmedAt: true,
      failedAt: true,
      amount: true,
      captured: true,
      refundedTotal: true,
      refunds: true,
      refundsIncludeRemainder: true,
      disputes: true,
      recovered: true,
    }),
    bookings.flatMap((booking) => Object.values(booking.payments)),
  ],
  [
    'message of a payment',
    fieldsOf<keyof (PaymentReported & Sent)>({
      type: true,
      schemaVersion: true,
      sentAt: true,
      paymentId: true,
      eventId: true,
      facts: true,
      account: true,
      booking: true,
      bookings: true,
      part: true,
      recovered: true,
    }),
    payments,
  ],
  [
    'bookings that a payment names',
    fieldsOf<keyof NamedBookings>({ bookingIds: true, userId: true, unusableUser: true, problems: true }),
    payments.flatMap((message) => message.bookings ?? []),
  ],
  [
    'booking that a payment names',
    fieldsOf<keyof BookingFromPayment>({
      bookingId: true,
      mustExist: true,
      userId: true,
      unusableUser: true,
      appointment: true,
      paymentTexts: true,
      problems: true,
    }),
    payments.flatMap(({ booking }) => booking ?? []),
  ],
  [
    'appointment',
    fieldsOf<keyof Appointment>({
      summary: true,
      location: true,
      description: true,
      details: true,
      start: true,
      end: true,
      startsAt: true,
      endsAt: true,
    }),
    payments.flatMap(({ booking }) => booking?.appointment ?? []),
  ],
  [
    'message that requests a sync',
    fieldsOf<keyof (SyncRequested & Sent)>({
      type: true,
      schemaVersion: true,
      sentAt: true,
      bookingId: true,
      userId: true,
      cause: true,
      checkSlot: true,
    }),
    ofType('sync'),
  ],
  [
    'message of a connection',
    fieldsOf<keyof (ConnectionActivated & Sent)>({
      type: true,
      schemaVersion: true,
      sentAt: true,
      userId: true,
      tokenVersion: true,
      choices: true,
      page: true,
      after: true,
    }),
    ofType('connection.activated'),
  ],
])('the samples have every field of a %s, and no other', (_, fields, samples) => {
  const found = new Set(samples.flatMap((value) => Object.keys(value)));
  expect([...found].sort()).toEqual([...fields].sort());
});

describe('a schema version that is not read', () => {
  const unsupported = expect.objectContaining({ code: 'schema_version_unsupported' });

  it('a message of a newer version is an error, before its fields are', () => {
    const message = { ...sample<BookingMessage>('message-sync'), schemaVersion: 2, reference: 'r' };
    expect(() => parseBookingMessage(JSON.stringify(message))).toThrow(unsupported);
  });

  it('an unknown field of a message is an error, since the message would be acknowledged', () => {
    const message = { ...sample<BookingMessage>('message-sync'), reference: 'r' };
    expect(() => parseBookingMessage(JSON.stringify(message))).toThrow('There is no such field.');
  });

  it.each(Object.keys(schemas) as (keyof typeof schemas)[])(
    'a %s is never read two versions ahead, or without a version',
    (kind) => {
      const { writes } = schemas[kind];
      expect(() => requireReadable(kind, writes + 2)).toThrow(unsupported);
      expect(() => requireReadable(kind, undefined)).toThrow(unsupported);
    },
  );

  it.each(['booking', 'payment pointer', 'connection'] as const)(
    'a %s is read one version ahead, where fields are only added',
    (kind) => {
      const { writes } = schemas[kind];
      expect(() => requireReadable(kind, writes)).not.toThrow();
      expect(() => requireReadable(kind, writes + 1)).not.toThrow();
    },
  );
});
