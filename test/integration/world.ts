import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import type { ConflictPolicy } from '../../functions/booking-sync/conflicts.ts';
import { googleOAuth } from '../../functions/oauth-callback/verify-identity.ts';
import {
  createTables,
  type DynamoDbKind,
  dynamoDbClient,
  startDynamoDb,
} from '../../infra/local/aws/dynamodb.ts';
import { resolveResources } from '../../infra/local/aws/resources.ts';
import { readAssembly } from '../../infra/local/aws/template.ts';
import { type GoogleSimulator, startGoogleSimulator } from '../../infra/local/google/simulator.ts';
import { type Booking, newBooking } from '../../shared/booking/booking.ts';
import type { PaymentFacts } from '../../shared/booking/payment.ts';
import type { BookingFromPayment, PaymentReported } from '../../shared/booking/queue.ts';
import { bookingStore, snapshotLoader } from '../../shared/booking/store.ts';
import type { GrantedConnection } from '../../shared/connection/connection.ts';
import { connectionStore } from '../../shared/connection/store.ts';
import { type Keys, parseKeys } from '../../shared/crypto/keys.ts';
import { encryptTokens } from '../../shared/crypto/token-encryption.ts';
import type { GoogleClient } from '../../shared/google/client-secret.ts';
import { googleEndpoints } from '../../shared/google/endpoints.ts';
import { lightFetch } from '../../shared/google/light-fetch.ts';
import { calendarScopes } from '../../shared/google/token-endpoint.ts';
import { toIso } from '../../shared/lib/clock.ts';
import type { KeyPurpose } from '../../shared/lib/names.ts';
import { type RecordedBus, recordedBus } from '../fakes/bus.ts';
import { type RecordedQueue, recordedQueue } from '../fakes/queue.ts';
import { cachedSecret } from '../fakes/secret.ts';

export const indexShards = 4;
export const ada = 'ada@example.com';
export const ben = 'ben@example.com';
export const redirectUri = 'http://localhost:3000/google/callback';

/** A secret in memory with one random key, `k1`. */
export function newKeys<Purpose extends KeyPurpose>(purpose: Purpose) {
  const text = JSON.stringify({ current: 'k1', k1: randomBytes(32).toString('hex') });
  return cachedSecret<Keys<Purpose>>(parseKeys(purpose, text));
}

/** The tables of the template on a real DynamoDB engine. */
export async function startTables(kind: DynamoDbKind = 'dynalite') {
  const dynamodb = await startDynamoDb(kind);
  const { template } = readAssembly(inject('assembly'));
  const tables = resolveResources(template, { apiUrl: '', queueUrlBase: '' }).resourcesOf(
    'AWS::DynamoDB::Table',
  );
  await createTables(dynamodb.endpoint, tables);
  const dynamo = dynamoDbClient(dynamodb.endpoint);
  return {
    dynamo,
    names: { bookings: 'BookingsTable', connections: 'ConnectionsTable' },
    close: async () => {
      dynamo.destroy();
      await dynamodb.close();
    },
  };
}

/**
 * Sync and token use cases on real stores, Google's own client library and the simulated Google, under one clock
 * that tests control. Only bus, queue and secrets are in memory; the end-to-end tests use real ones.
 */
export type World = Awaited<ReturnType<typeof startWorld>>;

export async function startWorld() {
  const time = { now: Math.floor(Date.now() / 1000) };
  const client = { clientId: 'test-client', clientSecret: 'test-secret', redirectUris: [redirectUri] };
  const google: GoogleSimulator = await startGoogleSimulator({
    clients: [client],
    now: () => time.now * 1000,
  });
  const tables = await startTables();
  const endpoints = googleEndpoints(google.url);
  const bus: RecordedBus = recordedBus();
  const queue: RecordedQueue = recordedQueue();
  const tokenKeys = newKeys('token-encryption');
  const googleClient = cachedSecret<GoogleClient>(client);
  const store = connectionStore(tables.dynamo, tables.names.connections, indexShards);
  const read = snapshotLoader(tables.dynamo, tables.names);
  const deps = {
    connections: store,
    bookings: bookingStore(tables.dynamo, tables.names.bookings, { indexShards, keepDays: 400 }),
    readForSync: read,
    google: googleOAuth(endpoints),
    googleClient,
    tokenKeys,
    stateKeys: newKeys('state-encryption'),
    linkKeys: newKeys('link-signing'),
    apiKeys: newKeys('api-signing'),
    messageKeys: newKeys('payment-messages'),
    bus,
    queue,
    payments: queue,
    calendar: { fetch: lightFetch, baseUrl: endpoints.calendar },
    clock: () => time.now,
    random: () => 0.5,
    // Waiting is real, so that other workers can run; it is only shorter.
    sleep: (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds / 10)),
    refreshPolicy: { inUseFor: 86_400, margin: 900, keepAlive: 3 * 86_400 },
    indexShards,
    concurrency: 20,
    conflictPolicy: 'create' as ConflictPolicy,
    paymentPolicy: { refunded: 'cancel', disputeLost: 'cancel' } as const,
  };

  return {
    time,
    google,
    deps,
    bus,
    queue,
    tokenKeys,
    googleClient,
    dynamo: tables.dynamo,
    tableNames: tables.names,
    /** A user connected to Ada's account, with tokens of the simulated Google. */
    async connect(userId: string, change: Partial<GrantedConnection> = {}): Promise<GrantedConnection> {
      const scopes = change.scopes ?? ['openid', calendarScopes.owned];
      const granted = google.control.grant({ clientId: client.clientId, email: ada, scopes });
      const connection: GrantedConnection = {
        userId,
        status: 'active',
        googleSub: 'ada-sub',
        email: ada,
        scopes,
        calendarId: 'primary',
        ...(await encryptTokens(tokenKeys.value, time.now, userId, {
          accessToken: granted.accessToken,
          refreshToken: granted.refreshToken as string,
        })),
        accessTokenExpiresAt: time.now + 3599,
        tokenVersion: 1,
        lastUsedAt: time.now,
        lastRefreshedAt: time.now,
        refreshAt: time.now + 2700,
        refreshFailures: 0,
        usedLinks: [],
        connectedAt: time.now,
        updatedAt: time.now,
        ...change,
      };
      await store.put(connection, undefined);
      return (await store.get(userId)) as GrantedConnection;
    },
    /** A payment of 9000 that names a booking for tomorrow. */
    payment(
      bookingId: string,
      change: Partial<BookingFromPayment> = {},
    ): PaymentReported & { booking: BookingFromPayment } {
      const startsAt = time.now + 86_400;
      const iso = (seconds: number) => `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`;
      return {
        type: 'payment',
        paymentId: `pi_${bookingId}`,
        eventId: `evt_${bookingId}`,
        facts: { confirmedAt: iso(time.now), amount: 9000 },
        booking: {
          bookingId,
          userId: 'user-1',
          appointment: {
            summary: `Meeting ${bookingId}`,
            start: { dateTime: iso(startsAt) },
            end: { dateTime: iso(startsAt + 3600) },
            startsAt,
            endsAt: startsAt + 3600,
          },
          problems: [],
          ...change,
        },
      };
    },
    /** Declares an unpaid booking for tomorrow. */
    async declare(bookingId: string, change: Partial<Booking> = {}): Promise<void> {
      const { userId, appointment } = this.payment(bookingId).booking;
      const at = toIso(time.now);
      const fields = { bookingId, ...(userId ? { userId } : {}), ...(appointment ? { appointment } : {}) };
      await deps.bookings.save(newBooking({ ...fields, ...change }, at));
    },
    /** Other facts of the payment of a booking, by payment only. */
    reported(bookingId: string, facts: PaymentFacts): PaymentReported {
      return { type: 'payment', paymentId: `pi_${bookingId}`, eventId: 'evt_other', facts };
    },
    async booking(bookingId: string): Promise<Booking | undefined> {
      return (await read({ bookingId })).booking;
    },
    connection: store.get,
    /** Events in Ada's calendars. */
    events: () => google.control.events(ada).filter(({ status }) => status !== 'cancelled'),
    /** Calls to Google so far, by route. */
    calls: () => google.control.requests().map(({ route }) => route),
    async close() {
      await google.close();
      await tables.close();
    },
  };
}
