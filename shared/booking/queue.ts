import { createHash } from 'node:crypto';
import { SendMessageBatchCommand, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import type { CachedSecret } from '../aws/secrets.ts';
import type { Keys } from '../crypto/keys.ts';
import { withMac } from '../crypto/payment-mac.ts';
import type { Problem } from '../lib/app-error.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { describeError, log } from '../lib/observability.ts';
import { schemas } from '../lib/schema.ts';
import type { Appointment } from './booking.ts';
import type { PaymentFacts } from './payment.ts';
import type { PaymentTexts } from './payment-texts.ts';

/** A verified message of a payment provider, translated: what it says of a payment, and of the booking it is for. */
export type PaymentReported = {
  type: 'payment';
  /** The provider's id of the payment; the same for its session, its refunds and its disputes. */
  paymentId: string;
  /** The provider's id of the message. */
  eventId: string;
  facts: PaymentFacts;
  /** The connected account of Stripe that was paid: it must be bound to the booking's user. */
  account?: string;
  /** The booking that the payment names. Refunds and disputes need not: the payment leads to it. */
  booking?: BookingFromPayment;
  /** The payment names several bookings. */
  bookings?: NamedBookings;
  /** Of a payment for several bookings, the message about one of them. */
  part?: true;
  /** It was found among Stripe's events, and maybe not delivered by a webhook. */
  recovered?: true;
};

/** The declared bookings that one payment pays for. `problems`: of names that cannot be used. */
export type NamedBookings = {
  /** At most `maxBookings`, none twice. */
  bookingIds: string[];
  problems: Problem[];
} & Pick<BookingFromPayment, 'userId' | 'unusableUser'>;

/** Bookings that one payment may pay for. */
export const maxBookings = 20;

/** A booking as a payment names it. Without an appointment the problems say why there is none. */
export type BookingFromPayment = {
  bookingId: string;
  /** Only a declared booking is meant: the payment does not create one, since its payer may have chosen the id. */
  mustExist?: true;
  userId?: string;
  /** A user is named, by an id that cannot be used: the payment counts for no booking of any user. */
  unusableUser?: true;
  appointment?: Appointment;
  /** What the payment says of the appointment, where there are problems. */
  paymentTexts?: PaymentTexts;
  problems: Problem[];
};

/**
 * A booking is to be looked at again. `cause` tells two requests apart that mean the same otherwise. `checkSlot`:
 * another booking has taken the same slot at the same moment, so whose it is must be checked again.
 */
export type SyncRequested = {
  type: 'sync';
  bookingId: string;
  userId?: string;
  cause: string;
  checkSlot?: true;
};

/** A user has connected or chosen a calendar: bookings that waited for it are to be synced. `page` and `after` continue a long list. */
export type ConnectionActivated = {
  type: 'connection.activated';
  userId: string;
  tokenVersion: number;
  /** Counts the user's settings changes: set where a calendar was chosen, so that it is not taken for the connecting before. */
  choices?: number;
  page: number;
  after?: Record<string, unknown>;
};

/** What each message carries in the queue: the version of its shape, and the epoch second in which it was first sent. */
export type Sent = { schemaVersion?: number; sentAt?: number };

export type BookingMessage = (PaymentReported | SyncRequested | ConnectionActivated) & Sent;

/**
 * The FIFO queue of bookings, for messages that need no proof: they only cause a read of the table. Resolves when the
 * queue holds the messages durably.
 */
export type BookingQueue = {
  send(message: SyncRequested | ConnectionActivated): Promise<void>;
  /** At most ten. Answers how many were taken. */
  sendBatch(messages: (SyncRequested | ConnectionActivated)[]): Promise<number>;
};

/** The same queue, for payments: each message carries a MAC, without which booking-sync does not believe it. */
export type PaymentQueue = {
  /** Reads the keys ahead, for a new environment to do while it waits for something else. */
  prepare(): Promise<unknown>;
  send(message: PaymentReported): Promise<void>;
  /** Sends all, ten in a call. Throws where one was not taken. */
  sendAll(messages: PaymentReported[]): Promise<void>;
};

/** SQS takes at most this many messages in one call. */
export const batchSize = 10;

/** The queue at `queueUrl`. */
export function bookingQueue(queueUrl: string, clock: Clock = systemClock, client?: SQSClient): BookingQueue {
  const sqs = lazyClient(client);
  return {
    async send(message) {
      await sqs().send(new SendMessageCommand({ QueueUrl: queueUrl, ...toSqsEntry(message, clock()) }));
    },
    async sendBatch(messages) {
      if (messages.length === 0) return 0;
      const Entries = messages.map((message, index) => ({
        Id: String(index),
        ...toSqsEntry(message, clock()),
      }));
      const { Successful = [] } = await sqs().send(
        new SendMessageBatchCommand({ QueueUrl: queueUrl, Entries }),
      );
      return Successful.length;
    },
  };
}

/** The queue at `queueUrl` for payments. `keys` make the MACs. */
export function paymentQueue(
  queueUrl: string,
  keys: CachedSecret<Keys<'payment-messages'>>,
  clock: Clock = systemClock,
  client?: SQSClient,
): PaymentQueue {
  const sqs = lazyClient(client);
  async function signedEntry(message: PaymentReported) {
    const now = clock();
    const entry = toSqsEntry(message, now);
    return { ...entry, MessageBody: withMac(await keys.get(), entry.MessageBody, now) };
  }
  return {
    prepare: keys.get,
    async send(message) {
      await sqs().send(new SendMessageCommand({ QueueUrl: queueUrl, ...(await signedEntry(message)) }));
    },
    async sendAll(messages) {
      for (let start = 0; start < messages.length; start += batchSize) {
        const signed = await Promise.all(messages.slice(start, start + batchSize).map(signedEntry));
        const Entries = signed.map((entry, index) => ({ Id: String(index), ...entry }));
        const { Failed = [] } = await sqs().send(
          new SendMessageBatchCommand({ QueueUrl: queueUrl, Entries }),
        );
        if (Failed.length > 0)
          throw new Error(
            `The queue refused ${Failed.length} of ${Entries.length} messages: ${Failed[0]?.Code}.`,
          );
      }
    },
  };
}

/** Requests the sync of bookings that wait for this user's calendar. If that fails, they are synced when they are due. */
export async function requestWaitingBookings(
  queue: BookingQueue,
  connection: Pick<ConnectionActivated, 'userId' | 'tokenVersion' | 'choices'>,
): Promise<void> {
  try {
    await queue.send({ type: 'connection.activated', ...connection, page: 0 });
  } catch (error) {
    const { userId } = connection;
    log.warn('Waiting bookings not requeued, they stay due', { userId, error: describeError(error) });
  }
}

/** A client that is made when it is first used: sync holds a queue that it seldom uses. */
function lazyClient(client: SQSClient | undefined): () => SQSClient {
  let created = client;
  return () => {
    created ??= new SQSClient();
    return created;
  };
}

/**
 * Group: one per booking, so that two workers seldom meet on one. Deduplication (five minutes) by content: a second
 * delivery of the same event is dropped early; nothing depends on it.
 */
function toSqsEntry(
  message: BookingMessage,
  sentAt: number,
): {
  MessageBody: string;
  MessageGroupId: string;
  MessageDeduplicationId: string;
} {
  return {
    MessageBody: JSON.stringify({ ...message, schemaVersion: schemas.message.writes, sentAt }).replace(
      /[\ud800-\udfff\ufffe\uffff]/g,
      escaped,
    ),
    MessageGroupId: groupOf(message),
    MessageDeduplicationId: createHash('sha256').update(JSON.stringify(message)).digest('hex'),
  };
}

/** JSON lets characters stand as they are that a queue may refuse: those beyond U+FFFD. */
function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16)}`;
}

function groupOf(message: BookingMessage): string {
  switch (message.type) {
    case 'payment':
      return message.booking?.bookingId ?? message.paymentId;
    case 'sync':
      return message.bookingId;
    case 'connection.activated':
      return message.userId;
  }
}
