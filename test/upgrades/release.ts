/** One release of the service, wired as its handlers do, over tables, queue, bus and Google that releases share. */
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import type { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import type { SQSClient } from '@aws-sdk/client-sqs';
import { requeueDueBookings } from '../../functions/booking-reconcile/requeue-due.ts';
import { processBatch } from '../../functions/booking-sync/process-batch.ts';
import { verifiedMessages } from '../../functions/booking-sync/read-message.ts';
import { requeueWaiting } from '../../functions/booking-sync/requeue-waiting.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { cancelBooking, declareBooking, patchBooking } from '../../functions/bookings/change-booking.ts';
import { completeConnection } from '../../functions/oauth-callback/complete-connection.ts';
import { refreshDueConnections } from '../../functions/token-refresh/refresh-due.ts';
import { eventBridgeBus } from '../../shared/aws/bus.ts';
import { bookingQueue, type PaymentReported, paymentQueue } from '../../shared/booking/queue.ts';
import { bookingStore, snapshotLoader } from '../../shared/booking/store.ts';
import { connectionStore } from '../../shared/connection/store.ts';
import { fingerprint } from '../../shared/crypto/fingerprint.ts';
import { type Keys, parseKeys } from '../../shared/crypto/keys.ts';
import { encryptState } from '../../shared/crypto/oauth-state.ts';
import type { GoogleClient } from '../../shared/google/client-secret.ts';
import { googleEndpoints } from '../../shared/google/endpoints.ts';
import { lightFetch } from '../../shared/google/light-fetch.ts';
import { type GoogleIdentity, googleTokens, type TokenResponse } from '../../shared/google/token-endpoint.ts';
import type { KeyPurpose } from '../../shared/lib/names.ts';
import { setLogSink } from '../../shared/lib/observability.ts';
import type { QueuedMessage } from '../simulation/queue.ts';

/** What releases share. */
export type Surroundings = {
  dynamo: DynamoDBClient;
  tables: { bookings: string; connections: string };
  indexShards: number;
  sqs: SQSClient;
  eventBridge: EventBridgeClient;
  googleUrl: string;
  googleClient: GoogleClient;
  /** The secret of each purpose, as text. */
  secret: string;
  clock: () => number;
};

/** What Google answers to a consent. */
export type Granted = TokenResponse & { identity: Omit<GoogleIdentity, 'nonce'> };

const browser = 'browser'.padEnd(43, '.');
const nonce = 'nonce';

export type Release = ReturnType<typeof createRelease>;

export function createRelease(around: Surroundings, log: (line: string) => void) {
  setLogSink(log);
  const { dynamo, tables, indexShards, sqs, clock } = around;
  const endpoints = googleEndpoints(around.googleUrl);
  const cached = <T>(value: T) => ({ get: async () => value, reload: async () => undefined });
  const keysOf = <Purpose extends KeyPurpose>(purpose: Purpose) =>
    cached<Keys<Purpose>>(parseKeys(purpose, around.secret));
  const stateKeys = keysOf('state-encryption');
  const messageKeys = keysOf('payment-messages');
  const payments = paymentQueue('bookings.fifo', messageKeys, clock, sqs);
  const deps = {
    connections: connectionStore(dynamo, tables.connections, indexShards),
    bookings: bookingStore(dynamo, tables.bookings, { indexShards, keepDays: 400 }),
    readForSync: snapshotLoader(dynamo, tables),
    queue: bookingQueue('bookings.fifo', clock, sqs),
    bus: eventBridgeBus('bus', around.eventBridge),
    google: googleTokens(endpoints),
    googleClient: cached(around.googleClient),
    calendar: { fetch: lightFetch, baseUrl: endpoints.calendar },
    tokenKeys: keysOf('token-encryption'),
    messageKeys,
    payments,
    clock,
    random: () => 0.5,
    sleep: async () => {},
    refreshPolicy: { inUseFor: 86_400, margin: 900, keepAlive: 3 * 86_400 },
    indexShards,
    concurrency: 4,
    timeLeft: () => true,
    conflictPolicy: 'create' as const,
    paymentPolicy: { refunded: 'cancel', disputeLost: 'cancel' } as const,
  };

  return {
    pay: (payment: PaymentReported) => payments.send(payment),
    declare: (userId: string, bookingId: string, body: object) =>
      declareBooking(deps, { userId, bookingId }, body),
    patch: (userId: string, bookingId: string, body: object) =>
      patchBooking(deps, { userId, bookingId }, body),
    cancel: (userId: string, bookingId: string) => cancelBooking(deps, { userId, bookingId }),

    /** Works through messages. Answers the ids of those that stay. */
    work: (messages: QueuedMessage[]) =>
      processBatch(
        messages.map(({ received, ...record }) => ({ ...record, repeated: received > 1 })),
        verifiedMessages(deps),
        (message, delivery) =>
          message.type === 'connection.activated'
            ? requeueWaiting(deps, message)
            : syncBooking(deps, message, delivery),
      ),
    status: async (bookingId: string) => (await deps.bookings.get(bookingId))?.status,
    reconcile: () => requeueDueBookings(deps),
    refresh: () => refreshDueConnections(deps),

    /** Sends a user to Google: the state that comes back, maybe to another release. */
    async beginConnection(userId: string, link: string): Promise<string> {
      const now = clock();
      const state = {
        userId,
        linkTokenHash: link,
        verifier: 'v',
        nonce,
        browserSecretHash: fingerprint(browser),
      };
      return encryptState(await stateKeys.get(), state, now, now + 600);
    },
    finishConnection(state: string, { identity, ...granted }: Granted) {
      const exchangeCode = async () => ({ ...granted, identity: { ...identity, nonce } });
      const google = { ...deps.google, exchangeCode };
      const query = new URLSearchParams({ state, code: 'code' });
      return completeConnection(
        { ...deps, google, stateKeys, publicUrl: 'http://localhost' },
        { query, browser },
      );
    },
  };
}
