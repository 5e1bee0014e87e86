import type { ReconcileDeps } from '../../functions/booking-reconcile/requeue-due.ts';
import type { ConflictPolicy } from '../../functions/booking-sync/conflicts.ts';
import type { VerifyDeps } from '../../functions/booking-sync/read-message.ts';
import type { RequeueDeps } from '../../functions/booking-sync/requeue-waiting.ts';
import type { SyncDeps } from '../../functions/booking-sync/sync-booking.ts';
import type { BookingsDeps } from '../../functions/bookings/change-booking.ts';
import type { AccountsDeps } from '../../functions/bookings/payment-accounts.ts';
import type { ConnectDeps } from '../../functions/connect/start-connection.ts';
import type { ConnectionsDeps } from '../../functions/connections/manage-connection.ts';
import type { CallbackDeps } from '../../functions/oauth-callback/complete-connection.ts';
import type { WebhookDeps, WebhookSecrets } from '../../functions/payment-confirmed/payment-provider.ts';
import { parseWebhookSecrets } from '../../functions/payment-confirmed/webhook-secrets.ts';
import type { SweepDeps } from '../../functions/token-refresh/refresh-due.ts';
import type { BusEvent } from '../../shared/aws/bus.ts';
import { fromItem } from '../../shared/aws/dynamo.ts';
import { type CachedSecret, secret } from '../../shared/aws/secrets.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import { paymentAccountStore } from '../../shared/booking/payment-accounts.ts';
import { bookingStore, snapshotLoader } from '../../shared/booking/store.ts';
import type { Connection } from '../../shared/connection/connection.ts';
import { connectionStore } from '../../shared/connection/store.ts';
import { type Keys, parseKeys } from '../../shared/crypto/keys.ts';
import { type GoogleClient, parseGoogleClient } from '../../shared/google/client-secret.ts';
import { type KeyPurpose, keySecrets, optionalScopes } from '../../shared/lib/names.ts';
import { createClients, type Hooks } from './clients.ts';
import { watchDoubts } from './doubts.ts';
import { simulatedDynamo, tableShapes, type Written } from './dynamodb.ts';
import { courseOf, type FaultName, outageOf, type Profile, type Target } from './faults.ts';
import { clientId, publicUrl, simulatedGoogle } from './google.ts';
import { createInvocations } from './invocations.ts';
import { simulatedQueue } from './queue.ts';
import { signingSecrets } from './rotations.ts';
import { createScheduler, type Process, randomOf } from './scheduler.ts';

/** The service and the world around it, all in memory, in one simulated time and under one seed. */

export const startsAt = Date.parse('2026-11-23T09:00:00Z');
/** More than happens in any scenario that comes to an end. */
const mostThings = 100_000;
export const indexShards = 2;
const refreshPolicy = { inUseFor: 86_400, margin: 900, keepAlive: 3 * 86_400 };
const noFaults: Profile = { chances: {} };
const passing: FaultName[] = ['404', '410'];
/** Milliseconds. */
const passesWithin = 50_000;
const comesAgainAfter = 900_000;
const paymentPolicy = { refunded: 'cancel', disputeLost: 'cancel' } as const;

export type WorldOptions = {
  seed: number;
  profile: Profile;
  conflictPolicy: ConflictPolicy;
  /** Faults that are left out in this replay, by operation. */
  without: ReadonlySet<string>;
  accounts: Parameters<typeof simulatedGoogle>[0]['accounts'];
};

/** A fault that took place: in which operation, and where that went. */
export type Injected = { operation: string; fault: FaultName; target: Target; at: number };

export type Secrets = {
  tokenKeys: CachedSecret<Keys<'token-encryption'>>;
  stateKeys: CachedSecret<Keys<'state-encryption'>>;
  linkKeys: CachedSecret<Keys<'link-signing'>>;
  messageKeys: CachedSecret<Keys<'payment-messages'>>;
  googleClient: CachedSecret<GoogleClient>;
  webhooks: CachedSecret<WebhookSecrets>;
};

/** What the use cases ask of the world. */
export type Deps = CallbackDeps &
  SyncDeps &
  WebhookDeps &
  VerifyDeps &
  ConnectDeps &
  ConnectionsDeps &
  BookingsDeps &
  AccountsDeps &
  RequeueDeps &
  ReconcileDeps &
  SweepDeps;

export type World = ReturnType<typeof createWorld>;

export function createWorld({ seed, profile, conflictPolicy, without, accounts }: WorldOptions) {
  const scheduler = createScheduler(startsAt, mostThings);
  const { now } = scheduler;
  const chance = (what: string) => randomOf(`${seed} ${what}`);
  const watchers: Written[] = [];
  const dynamo = simulatedDynamo(tableShapes, (table, item, before) => {
    const { id, userId, status, version = { N: '' } } = item;
    trace(`${table}: ${id?.S ?? userId?.S} ${status?.S ?? ''} ${version.N ? `version ${version.N}` : ''}`);
    for (const watch of watchers) watch(table, item, before);
    if (table === 'bookings' && id?.S?.startsWith('booking#'))
      doubts.concluded(id.S.slice('booking#'.length));
  });
  const doubts = watchDoubts((bookingId) =>
    world.bookings().find((booking) => booking.bookingId === bookingId),
  );
  const queue = simulatedQueue(now, () => world.maxReceived);
  const google = simulatedGoogle({
    accounts,
    clientSecret: 'canary-client-secret-1',
    now,
    random: chance('google'),
  });
  const published: BusEvent[] = [];
  const texts: Record<string, string> = {
    'google-oauth-client': JSON.stringify({
      web: { client_id: clientId, client_secret: 'canary-client-secret-1' },
    }),
    'webhook-signing': signingSecrets('whsec_canary-signing-secret-1'),
    ...Object.fromEntries(
      Object.keys(keySecrets).map((purpose) => [
        purpose,
        JSON.stringify({ current: 'k1', k1: `canary-${purpose}-1`.padEnd(64, '.') }),
      ]),
    ),
  };
  const injected: Injected[] = [];
  const lines: string[] = [];
  const trace = (what: string): void => {
    lines.push(`${((now() - startsAt) / 1000).toFixed(3).padStart(12)} s  ${what}`);
  };
  const operations = new Map<Target, number>();
  let calm = false;
  let outage: { of: (target: Target) => boolean; isRateLimit: boolean; until: number } | undefined;
  /** Since when an address has been answered as missing although it is not, and which process has learned the truth. */
  const missing = new Map<string, number>();
  const found = new Map<string, { at: number; by: Process }>();

  /**
   * Whether a fault may take place. What passes is over within a minute, and the truth is answered before it may come
   * again: the same answer twice, at least a minute apart, is true. While the run that learned the truth has not recorded
   * it, or has crashed before it could, no other run is deceived again for a while: it could not know better.
   */
  function mayPass(process: Process, fault: FaultName, path: string | undefined): boolean {
    if (path === undefined || !passing.includes(fault)) return true;
    // A search for a moved event reads each calendar once: a known limit.
    if (google.isMoved(path.split('/').at(-1))) return false;
    const truth = found.get(path);
    const isUnrecorded = truth && truth.by !== process && (truth.by.dead || !truth.by.ended);
    if (isUnrecorded && now() - truth.at < comesAgainAfter) return false;
    const since = missing.get(path) ?? now();
    missing.set(path, since);
    return now() - since < passesWithin;
  }

  function outageAt(target: Target): FaultName | undefined {
    if (calm || outage === undefined || now() >= outage.until || !outage.of(target)) return undefined;
    return outageOf(target, outage.isRateLimit);
  }

  /** An operation of a process: from here on it takes its course. */
  function call<T>(
    process: Process,
    target: Target,
    effect: (fault?: FaultName) => T,
    path?: string,
  ): Promise<T> {
    process.operations += 1;
    const operation = `${process.name}/${process.operations}`;
    const random = chance(operation);
    const out = outageAt(target);
    const earlier = operations.get(target) ?? 0;
    operations.set(target, earlier + 1);
    const drawn = courseOf(target, random, calm ? noFaults : profile, out, earlier);
    if (drawn.fault === undefined || without.has(operation) || !mayPass(process, drawn.fault, path)) {
      if (path !== undefined && missing.delete(path)) found.set(path, { at: now(), by: process });
      const usual =
        drawn.fault === undefined ? drawn : courseOf(target, random, noFaults, undefined, earlier);
      const { before, after } = usual.course;
      return scheduler.operate(process, { before, after }, () => effect());
    }
    injected.push({ operation, fault: drawn.fault, target, at: now() });
    trace(`! ${drawn.fault}: ${target} in ${process.name}, operation ${process.operations}`);
    if (drawn.pauses) process.paused = true;
    const { fault } = drawn;
    return scheduler.operate(process, drawn.course, () => effect(fault));
  }

  const hooks: Hooks = { afterRefresh: () => {}, afterGoogle: () => {} };
  const { dynamoOf, clockOf, queueOf, busOf, googleOf, calendarOf } = createClients({
    call,
    now,
    chance,
    isCalm: () => calm,
    trace,
    dynamo,
    queue,
    google,
    published,
    doubts,
    hooks,
  });

  const invocations = createInvocations({
    scheduler,
    chance,
    onCrash: doubts.crashed,
    secretsOf: (environment) => world.secretsOf(environment),
    depsOf: (process, secrets) => world.depsOf(process, secrets),
  });

  const world = {
    scheduler,
    now,
    chance,
    dynamo,
    queue,
    google,
    published,
    injected,
    doubts,
    /** What happened, line by line. */
    lines,
    trace,
    texts,
    /** How often the queue hands a message out before it gives it up; the template has 5. */
    maxReceived: 5,
    watchers,
    /** Bookings and connections as they are stored. */
    bookings: (): Booking[] =>
      dynamo
        .items('bookings')
        .filter(({ id }) => id?.S?.startsWith('booking#'))
        .map((item) => fromItem<Booking>(item)),
    connections: (): Connection[] =>
      dynamo
        .items('connections')
        .map((item) => fromItem<Connection>(item))
        .filter(({ status }) => status !== undefined),
    watchGoogle: (watch: (method: string) => void) => {
      hooks.afterGoogle = watch;
    },
    /** Called for each refresh that begins, with whether another one of the same connection has not ended yet. */
    watchRefreshes: (watch: (besideAnother: boolean) => void) => {
      hooks.afterRefresh = watch;
    },
    beginOutage(of: (target: Target) => boolean, milliseconds: number, isRateLimit = false): void {
      outage = { of, isRateLimit, until: now() + milliseconds };
    },
    /** From now on nothing goes wrong any more. */
    calmDown(): void {
      calm = true;
    },
    isCalm: () => calm,
    secretsOf(environment: () => Process): Secrets {
      const clock = () => Math.floor((now() + environment().skew) / 1000);
      const read = (id: string): Promise<string> => {
        const text = () => texts[id] as string;
        return call(environment(), 'secret', text);
      };
      const keysOf = <Purpose extends KeyPurpose>(purpose: Purpose) =>
        secret(purpose, (value) => parseKeys(purpose, value), clock, read);
      return {
        tokenKeys: keysOf('token-encryption'),
        stateKeys: keysOf('state-encryption'),
        linkKeys: keysOf('link-signing'),
        messageKeys: keysOf('payment-messages'),
        googleClient: secret('google-oauth-client', parseGoogleClient, clock, read),
        webhooks: secret('webhook-signing', parseWebhookSecrets, clock, read),
      };
    },

    /** What the use cases ask of the world, on behalf of one process. */
    depsOf(process: Process, { webhooks, ...secrets }: Secrets): Deps {
      const client = dynamoOf(process);
      const clock = clockOf(process);
      const queue = queueOf(process, secrets.messageKeys);
      const oauth: CallbackDeps = {
        connections: connectionStore(client, 'connections', indexShards),
        google: googleOf(process),
        calendar: calendarOf(process),
        ...secrets,
        bus: busOf(process),
        queue,
        clock,
        random: process.random,
        refreshPolicy,
        publicUrl,
      };
      const random = process.random;
      return {
        ...oauth,
        ...secrets,
        queue,
        payments: queue,
        secrets: webhooks,
        bookings: bookingStore(client, 'bookings', { indexShards, keepDays: 400 }),
        accounts: paymentAccountStore(client, 'bookings', indexShards),
        readForSync: snapshotLoader(client, { bookings: 'bookings', connections: 'connections' }),
        stripeMode: 'live',
        invoicesPaidOutOfBand: 'ignore',
        // No event of a scenario needs a key.
        stripeKeys: { get: async () => ({}), reload: async () => undefined },
        stripeApi: { fetch, baseUrl: 'https://api.stripe.com' },
        sleep: async (milliseconds: number): Promise<void> => {
          await call(process, 'sleep', () => {});
          await new Promise<void>((resolve) => scheduler.at(milliseconds, () => process.dead || resolve()));
        },
        randomSecret: () => `random ${process.name} ${Math.floor(random() * 2 ** 48).toString(36)}`,
        indexShards,
        concurrency: 3,
        conflictPolicy,
        paymentPolicy,
        authorizationUrl: 'https://accounts.example.com/auth',
        returnOrigins: [],
        calendarScope: 'owned' as const,
        optionalScopes: Object.values(optionalScopes),
        timeLeft: () => true,
      };
    },

    /** Runs an invocation of a function in an environment of its own, for at most `timeout` milliseconds. */
    invoke: <T>(name: string, functionName: string, timeout: number, run: (deps: Deps) => Promise<T>) =>
      invocations.invoke(name, functionName, timeout, run),

    /** A while, for a caller outside. */
    pause: (milliseconds: number): Promise<void> =>
      new Promise((resolve) => scheduler.at(milliseconds, resolve)),
  };
  return world;
}
