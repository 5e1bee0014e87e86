/** Fields that a newer release has stored, through every write of today's. */
import { GetItemCommand, PutItemCommand } from '@aws-sdk/client-dynamodb';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { cancelBooking, declareBooking, patchBooking } from '../../functions/bookings/change-booking.ts';
import { disconnect } from '../../functions/connections/manage-connection.ts';
import { buildConnection } from '../../functions/oauth-callback/build-connection.ts';
import { fromItem, type Item, toItem } from '../../shared/aws/dynamo.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import type { PaymentFacts } from '../../shared/booking/payment.ts';
import type { Connection, GrantedConnection } from '../../shared/connection/connection.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { ada, startWorld, type World } from './world.ts';

let world: World;
let count = 0;
beforeAll(async () => {
  world = await startWorld();
  await world.connect('user-1');
});
afterAll(() => world?.close());

type Key = { table: 'BookingsTable' | 'ConnectionsTable'; key: Item };

const bookingKey = (bookingId: string): Key => ({
  table: 'BookingsTable',
  key: { id: `booking#${bookingId}` },
});
const pointerKey = (bookingId: string): Key => ({
  table: 'BookingsTable',
  key: { id: `payment#pi_${bookingId}` },
});
const connectionKey = (userId: string): Key => ({ table: 'ConnectionsTable', key: { userId } });

async function read({ table, key }: Key): Promise<Item> {
  const { Item } = await world.dynamo.send(
    new GetItemCommand({ TableName: table, Key: toItem(key), ConsistentRead: true }),
  );
  return fromItem<Item>(Item ?? {});
}

/** Adds fields to a stored item, as the next release does. */
async function add({ table, key }: Key, fields: Item): Promise<void> {
  const item = { ...(await read({ table, key })), ...fields, schemaVersion: 2 };
  await world.dynamo.send(new PutItemCommand({ TableName: table, Item: toItem(item) }));
}

const value = fc.oneof(
  fc.string({ minLength: 1 }),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.array(fc.integer(), { maxLength: 3 }),
  fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.string({ minLength: 1 }), { maxKeys: 3 }),
);
const newerFields = fc
  .dictionary(fc.stringMatching(/^new[A-Z][A-Za-z]{0,8}$/), value, { minKeys: 1, maxKeys: 5 })
  .map((fields): Item => ({ ...fields }));

/** Holds for some sets of fields, each under an id of its own. */
const holds = (property: (fields: Item, id: string) => Promise<void>) =>
  fc.assert(
    fc.asyncProperty(newerFields, (fields) => property(fields, `newer-${++count}`)),
    { numRuns: 5 },
  );

const sync = (bookingId: string) =>
  syncBooking(world.deps, { type: 'sync', bookingId, userId: 'user-1', cause: 'test' });
const target = (bookingId: string) => ({ userId: 'user-1', bookingId });
const hourAt = (seconds: number) => ({ start: toIso(seconds), end: toIso(seconds + 3600) });
const report = (bookingId: string, facts: PaymentFacts) =>
  syncBooking(world.deps, world.reported(bookingId, facts));

describe('fields of a newer release', () => {
  it.each<[string, (bookingId: string) => Promise<unknown>]>([
    ['is synced', sync],
    ['is refunded', (id) => report(id, { refunds: { re_1: { amount: 9000, state: 'done' } } })],
    ['is disputed', (id) => report(id, { disputes: { dp_1: { amount: 9000, state: 'lost' } } })],
    [
      'is paid twice',
      (id) => syncBooking(world.deps, { ...world.payment(id), paymentId: `pi_second_${id}` }),
    ],
    [
      'is moved',
      (id) =>
        patchBooking(world.deps, target(id), { ...hourAt(world.time.now + 200_000) }).then(() => sync(id)),
    ],
    [
      'is declared',
      (id) =>
        declareBooking(world.deps, target(id), {
          summary: 'New',
          ...hourAt(world.time.now + 99_999),
          hold: true,
        }),
    ],
    ['is cancelled', (id) => cancelBooking(world.deps, target(id)).then(() => sync(id))],
    ['waits for a connection', (id) => waitForConnection(id)],
  ])('newer fields stay in a booking and its payment that %s', (_, change) =>
    holds(async (fields, bookingId) => {
      await syncBooking(world.deps, world.payment(bookingId));
      const before = (await read(bookingKey(bookingId))) as unknown as Booking;
      const payments = { [`pi_${bookingId}`]: { ...before.payments[`pi_${bookingId}`], ...fields } };
      await add(bookingKey(bookingId), { ...fields, payments });
      await change(bookingId);
      const after = (await read(bookingKey(bookingId))) as unknown as Booking;
      expect(after).toMatchObject(fields);
      const paid = after.payments[`pi_${bookingId}`];
      if (paid) expect(paid).toMatchObject(fields);
      expect(after.schemaVersion).toBe(after.version === before.version ? 2 : 1);
    }),
  );

  it.each<[string, (bookingId: string) => Promise<unknown>]>([
    ['becomes a pointer', (id) => syncBooking(world.deps, world.payment(id))],
    ['learns more', (id) => report(id, { refunds: { re_2: { amount: 1, state: 'failed' } } })],
  ])('newer fields stay in a tombstone that %s', (_, change) =>
    holds(async (fields, bookingId) => {
      await report(bookingId, { refunds: { re_1: { amount: 9000, state: 'done' } } });
      const { facts } = await read(pointerKey(bookingId));
      await add(pointerKey(bookingId), { ...fields, facts: { ...(facts as object), ...fields } });
      await change(bookingId);
      const after = await read(pointerKey(bookingId));
      expect(after).toMatchObject({ ...fields, schemaVersion: 1 });
      const booking = await world.booking(bookingId);
      expect(after.facts ?? booking?.payments[`pi_${bookingId}`]).toMatchObject(fields);
    }),
  );

  it.each<[string, (connection: GrantedConnection) => Promise<unknown>]>([
    ['is refreshed', ({ userId }) => world.deps.connections.saveTokens(userId, 1, refreshed())],
    ['is not refreshed', (read) => world.deps.connections.releaseLeaseForRetry(read, world.time.now, 1)],
    ['breaks', ({ userId }) => world.deps.connections.markReauthorizationRequired(userId, 1, 'r', 0)],
    ['has completed a revocation', ({ userId }) => world.deps.connections.completeRevocation(userId, 1)],
    ['loses what was retained', (read) => world.deps.connections.deleteRetained(read)],
    ['is used', ({ userId }) => world.deps.connections.recordUse(userId, 1, 1, 2)],
    [
      'gets another calendar',
      (read) =>
        world.deps.connections.updateSettings(read.userId, read, { calendarId: 'team', updatedAt: 1 }),
    ],
    [
      'gets a zone',
      (read) =>
        world.deps.connections.saveTimeZone(read.userId, 1, { calendarId: read.calendarId, timeZone: 'UTC' }),
    ],
    ['is paused', ({ userId }) => world.deps.connections.pauseCalendar(userId, 2, 1)],
    [
      'is encrypted again',
      ({ userId }) => world.deps.connections.replaceCiphertext(userId, 1, { keyId: 'k2', tokens: 't' }),
    ],
    ['is made again', (read) => reconnect(read)],
  ])('newer fields stay in a connection that %s', (_, change) =>
    holds(async (fields, userId) => {
      await world.connect(userId);
      await add(connectionKey(userId), fields);
      expect(await change((await world.connection(userId)) as GrantedConnection)).toBe(true);
      expect(await read(connectionKey(userId))).toMatchObject({ ...fields, schemaVersion: 1 });
    }),
  );

  it('newer fields stay in a connection that is leased, with the version that it had', () =>
    holds(async (fields, userId) => {
      await world.connect(userId);
      await add(connectionKey(userId), fields);
      const { now } = world.time;
      expect(await world.deps.connections.acquireLease(userId, 1, { until: now + 20, now })).toBeDefined();
      expect(await read(connectionKey(userId))).toMatchObject({ ...fields, schemaVersion: 2 });
    }));

  it('newer fields go with a connection that ends, since they may be personal', () =>
    holds(async (fields, userId) => {
      await world.connect(userId);
      await add(connectionKey(userId), fields);
      await disconnect(world.deps, userId);
      const after = await read(connectionKey(userId));
      expect(after).toMatchObject({ status: 'disconnected', schemaVersion: 1 });
      for (const name of Object.keys(fields)) expect(after).not.toHaveProperty(name);
    }));
});

describe('an item of a release that is too new', () => {
  const unsupported = expect.objectContaining({ code: 'schema_version_unsupported' });

  it('an item of a release that is too new is left as it is by API and sync', async () => {
    const bookingId = 'too-new';
    await syncBooking(world.deps, world.payment(bookingId));
    const item = await read(bookingKey(bookingId));
    await world.dynamo.send(
      new PutItemCommand({ TableName: 'BookingsTable', Item: toItem({ ...item, schemaVersion: 3 }) }),
    );
    const before = await read(bookingKey(bookingId));
    await expect(sync(bookingId)).rejects.toEqual(unsupported);
    await expect(cancelBooking(world.deps, target(bookingId))).rejects.toEqual(unsupported);
    expect(await read(bookingKey(bookingId))).toEqual(before);
  });
});

async function waitForConnection(bookingId: string): Promise<void> {
  await patchBooking(world.deps, target(bookingId), { location: 'Room 2' });
  const readForSync: World['deps']['readForSync'] = async (asked) => {
    const { connection: _, ...rest } = await world.deps.readForSync(asked);
    return rest;
  };
  await syncBooking({ ...world.deps, readForSync }, { type: 'sync', bookingId, cause: 'test' });
}

const refreshed = () => ({
  tokens: 't',
  keyId: 'k2',
  accessTokenExpiresAt: 1,
  lastUsedAt: 1,
  lastRefreshedAt: 1,
  refreshAt: 1,
  usedLinks: [],
});

async function reconnect(existing: Connection): Promise<boolean> {
  const state = {
    userId: existing.userId,
    linkTokenHash: 'l',
    verifier: 'v',
    nonce: 'n',
    browserSecretHash: 'b',
  };
  const consent = {
    accessToken: 'a',
    refreshToken: 'r',
    expiresIn: 3599,
    scopes: ['openid'],
    identity: { sub: 'ada-sub', email: ada },
    learned: { chosen: 'primary', calendarId: 'primary' },
  };
  return world.deps.connections.put(await buildConnection(world.deps, state, consent, existing), existing);
}
