import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { shards } from '../../shared/aws/dynamo.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import {
  type BookingStore,
  bookingStore,
  type ListPosition,
  type LoadSnapshot,
  snapshotLoader,
} from '../../shared/booking/store.ts';
import type { GrantedConnection } from '../../shared/connection/connection.ts';
import { type ConnectionStore, connectionStore } from '../../shared/connection/store.ts';
import { dynamoClientOf, simulatedDynamo, tableShapes } from '../simulation/dynamodb.ts';
import { indexShards, startTables } from './world.ts';

/** The tables of the simulation, with the interface of the other engines. */
function simulatedTables() {
  const engine = simulatedDynamo(tableShapes);
  return {
    dynamo: dynamoClientOf(async (command) => engine.execute(command)),
    names: { bookings: 'bookings', connections: 'connections' },
    close: async () => {},
  };
}

const hasJava = spawnSync('java', ['-version']).status === 0;
const now = 1_790_000_000;
let number = 0;

// The same contract on every engine, since one alone may differ from AWS. The simulation's engine is valid only if
// it behaves like the others.
describe.each(['dynalite', 'dynamodb-local', 'the simulation'] as const)('the stores on %s', (engine) => {
  describe.skipIf(engine === 'dynamodb-local' && !hasJava && !process.env.CI)('', () => {
    let tables: Pick<Awaited<ReturnType<typeof startTables>>, 'dynamo' | 'names' | 'close'>;
    let connections: ConnectionStore;
    let bookings: BookingStore;
    let read: LoadSnapshot;
    let userId: string;
    let bookingId: string;

    beforeAll(async () => {
      tables = engine === 'the simulation' ? simulatedTables() : await startTables(engine);
      connections = connectionStore(tables.dynamo, tables.names.connections, indexShards);
      bookings = bookingStore(tables.dynamo, tables.names.bookings, { indexShards, keepDays: 400 });
      read = snapshotLoader(tables.dynamo, tables.names);
    });
    afterAll(() => tables?.close());
    beforeEach(() => {
      number += 1;
      userId = `user-${number}`;
      bookingId = `booking-${number}`;
    });

    const connection = (change: Partial<GrantedConnection> = {}): GrantedConnection => ({
      userId,
      status: 'active',
      googleSub: 'sub',
      email: 'ada@example.com',
      scopes: ['openid'],
      calendarId: 'primary',
      tokens: 'sealed',
      accessTokenExpiresAt: now + 3600,
      tokenVersion: 1,
      keyId: 'k1',
      lastUsedAt: now,
      lastRefreshedAt: now,
      refreshAt: now + 2700,
      refreshFailures: 0,
      usedLinks: [{ link: 'l', until: now }],
      connectedAt: now,
      updatedAt: now,
      ...change,
    });
    const booking = (change: Partial<Booking> = {}): Booking => ({
      schemaVersion: 1,
      bookingId,
      userId,
      status: 'pending',
      calendar: { kind: 'absent' },
      payments: { pi_1: { confirmedAt: '2026-09-21T14:13:20Z', amount: 9000 } },
      problems: [],
      revision: 1,
      eventNumber: 0,
      timeline: [],
      createdAt: '2026-09-21T14:13:20Z',
      updatedAt: '2026-09-21T14:13:20Z',
      version: 0,
      ...change,
    });
    const dueUsers = async (at: number) => {
      const pages = await Promise.all(
        shards(indexShards).map((shard) => connections.listDue(shard, at, 100)),
      );
      return pages.flatMap((page) => page.userIds);
    };
    const dueBookings = async (at: number) => {
      const pages = await Promise.all(shards(indexShards).map((shard) => bookings.listDue(shard, at, 100)));
      return pages.flatMap((page) => page.bookings);
    };
    const lease = (change: object = {}) => ({ until: now + 20, now, ...change });

    const startingAt = (id: string, startsAt: number, change: Partial<Booking> = {}) =>
      booking({
        bookingId: id,
        appointment: {
          summary: id,
          start: { dateTime: '2026-12-01T10:00:00Z' },
          end: { dateTime: '2026-12-01T11:00:00Z' },
          startsAt,
          endsAt: startsAt + 3600,
        },
        ...change,
      });

    it('returns a booking as it was saved', async () => {
      expect(await bookings.get(bookingId)).toBeUndefined();
      await bookings.save(startingAt(bookingId, now));
      expect(await bookings.get(bookingId)).toMatchObject({ ...startingAt(bookingId, now), version: 1 });
    });

    it("lists a user's bookings by start, within an inclusive range, in pages", async () => {
      const ids = ['a', 'b', 'c', 'd'].map((name) => `${bookingId}-${name}`);
      for (const [index, id] of [...ids].reverse().entries())
        await bookings.save(startingAt(id, now + 10 * (ids.length - index)));
      await bookings.save(startingAt(`${bookingId}-other`, now + 20, { userId: `${userId}-other` }));
      await bookings.save(booking({ bookingId: `${bookingId}-without-appointment` }));
      const listed = async (from = 0, to = Number.MAX_SAFE_INTEGER) => {
        const found: string[] = [];
        let after: ListPosition | undefined;
        do {
          const page = await bookings.list({ userId, from, to, limit: 2, after });
          found.push(...page.bookings.map((one) => one.bookingId));
          after = page.next;
        } while (after);
        return found;
      };
      // One without an appointment stands where it was made.
      expect(await listed()).toEqual([`${bookingId}-without-appointment`, ...ids]);
      expect(await listed(now + 1)).toEqual(ids);
      expect(await listed(now + 20, now + 30)).toEqual(ids.slice(1, 3));
      expect(await listed(now + 50)).toEqual([]);
    });

    it('lists a moved booking at its new time', async () => {
      await bookings.save(startingAt(bookingId, now));
      await bookings.save(startingAt(bookingId, now + 100, { version: 1 }));
      const at = async (from: number) => (await bookings.list({ userId, from, to: from, limit: 9 })).bookings;
      expect(await at(now)).toEqual([]);
      expect(await at(now + 100)).toMatchObject([{ bookingId }]);
    });

    it('returns a connection as it was put', async () => {
      expect(await connections.get(userId)).toBeUndefined();
      expect(await connections.put(connection(), undefined)).toBe(true);
      expect(await connections.get(userId)).toEqual({
        ...connection(),
        schemaVersion: 1,
        refreshShard: expect.any(String),
      });
    });

    it('puts a connection only over the version that was read', async () => {
      await connections.put(connection(), undefined);
      expect(await connections.put(connection({ tokenVersion: 2 }), undefined)).toBe(false);
      expect(await connections.put(connection({ tokenVersion: 3 }), { tokenVersion: 2 })).toBe(false);
      expect(await connections.put(connection({ tokenVersion: 2, email: 'new' }), { tokenVersion: 1 })).toBe(
        true,
      );
      expect(await connections.get(userId)).toMatchObject({ tokenVersion: 2, email: 'new' });
    });

    it("puts a connection over a user's choice only if the choice was read", async () => {
      await connections.put(connection(), undefined);
      await connections.updateSettings(userId, { tokenVersion: 1 }, { calendarId: 'team', updatedAt: now });
      const again = connection({ tokenVersion: 2 });
      expect(await connections.put(again, { tokenVersion: 1 })).toBe(false);
      expect(await connections.put(again, { tokenVersion: 1, choices: 2 })).toBe(false);
      expect(await connections.put(again, { tokenVersion: 1, choices: 1 })).toBe(true);
      expect(await connections.get(userId)).toMatchObject({ tokenVersion: 2, choices: 1 });
    });

    it('grants a lease to one worker at a time, and to the next once it has expired', async () => {
      await connections.put(connection(), undefined);
      expect(await connections.acquireLease(userId, 1, lease())).toMatchObject({
        leaseUntil: now + 20,
        tokens: 'sealed',
      });
      const another = (change: object = {}) => lease({ until: now + 20.5, ...change });
      expect(await connections.acquireLease(userId, 1, another())).toBeUndefined();
      expect(await connections.acquireLease(userId, 1, another({ now: now + 19 }))).toBeUndefined();
      expect(await connections.acquireLease(userId, 1, another({ now: now + 20 }))).toMatchObject({
        leaseUntil: now + 20.5,
      });
    });

    it('grants no lease on another version, a broken connection or a missing one', async () => {
      expect(await connections.acquireLease(userId, 1, lease())).toBeUndefined();
      expect(await connections.get(userId)).toBeUndefined();
      await connections.put(connection({ status: 'reauthorization_required' }), undefined);
      expect(await connections.acquireLease(userId, 1, lease())).toBeUndefined();
      await connections.put(connection({ tokenVersion: 2 }), { tokenVersion: 1 });
      expect(await connections.acquireLease(userId, 1, lease())).toBeUndefined();
    });

    it('saves tokens once per version and ends the lease', async () => {
      await connections.put(connection({ refreshFailures: 3 }), undefined);
      await connections.acquireLease(userId, 1, lease());
      const refreshed = {
        tokens: 'sealed anew',
        keyId: 'k2',
        accessTokenExpiresAt: now + 7200,
        lastUsedAt: now,
        lastRefreshedAt: now + 1,
        refreshAt: now + 6300,
        usedLinks: [],
      };
      expect(await connections.saveTokens(userId, 1, refreshed)).toBe(true);
      expect(await connections.saveTokens(userId, 1, { ...refreshed, tokens: 'late' })).toBe(false);
      const saved = await connections.get(userId);
      expect(saved).toMatchObject({
        ...refreshed,
        tokenVersion: 2,
        refreshFailures: 0,
        updatedAt: now + 1,
      });
      expect(saved).not.toHaveProperty('leaseUntil');
    });

    it('removes a connection that needs reauthorization from the refresh index', async () => {
      await connections.put(connection({ refreshAt: now - 1 }), undefined);
      expect(await dueUsers(now)).toContain(userId);
      expect(await connections.markReauthorizationRequired(userId, 7, 'invalid_grant', now)).toBe(false);
      expect(await connections.markReauthorizationRequired(userId, 1, 'invalid_grant', now)).toBe(true);
      expect(await connections.get(userId)).toMatchObject({
        status: 'reauthorization_required',
        reason: 'invalid_grant',
        tokenVersion: 2,
      });
      expect(await dueUsers(now)).not.toContain(userId);
    });

    it('lists a connection as due from its time on, in pages', async () => {
      await connections.put(connection({ refreshAt: now + 10 }), undefined);
      expect(await dueUsers(now + 9)).not.toContain(userId);
      expect(await dueUsers(now + 10)).toContain(userId);

      const others = Array.from({ length: 12 }, (_, index) => `${userId}-${index}`);
      for (const other of others)
        await connections.put(connection({ userId: other, refreshAt: now + 5 }), undefined);
      const seen: string[] = [];
      for (const shard of shards(indexShards)) {
        let cursor: Record<string, unknown> | undefined;
        do {
          const page = await connections.listDue(shard, now + 5, 2, cursor);
          expect(page.userIds.length).toBeLessThanOrEqual(2);
          seen.push(...page.userIds);
          cursor = page.cursor;
        } while (cursor);
      }
      expect(seen).toEqual(expect.arrayContaining(others));
      expect(new Set(seen).size).toBe(seen.length);
    });

    it('postpones a refresh and records a use or a zone only over the version that was read', async () => {
      await connections.put(connection(), undefined);
      await connections.acquireLease(userId, 1, lease());
      const leased = { userId, tokenVersion: 1, leaseUntil: now + 20 };
      expect(await connections.releaseLeaseForRetry({ ...leased, leaseUntil: now + 19 }, now + 60, 1)).toBe(
        false,
      );
      expect(await connections.releaseLeaseForRetry({ userId, tokenVersion: 1 }, now + 60, 1)).toBe(false);
      expect(await connections.releaseLeaseForRetry({ ...leased, tokenVersion: 2 }, now + 60, 1)).toBe(false);
      expect(await connections.releaseLeaseForRetry(leased, now + 60, 1)).toBe(true);
      expect(await connections.releaseLeaseForRetry(leased, now + 60, 1)).toBe(false);
      expect(await connections.get(userId)).toMatchObject({
        refreshAt: now + 60,
        refreshFailures: 1,
        tokenVersion: 1,
      });
      expect(await connections.acquireLease(userId, 1, lease())).toMatchObject({ leaseUntil: now + 20 });
      expect(await connections.recordUse(userId, 1, now + 5, now + 99)).toBe(true);
      expect(await connections.recordUse(userId, 2, now + 6, now + 99)).toBe(false);
      const { calendarId } = connection();
      const timeZone = 'Asia/Tokyo';
      const other = { calendarId: 'other@example.com', timeZone };
      expect(await connections.saveTimeZone(userId, 1, other)).toBe(false);
      expect(await connections.saveTimeZone(userId, 2, { calendarId, timeZone })).toBe(false);
      expect(await connections.get(userId)).not.toHaveProperty('timeZone');
      expect(await connections.saveTimeZone(userId, 1, { calendarId, timeZone })).toBe(true);
      expect(await connections.get(userId)).toMatchObject({
        lastUsedAt: now + 5,
        refreshAt: now + 99,
        timeZone,
      });
    });

    it('grants the lease on a due connection without a prior read, for any status', async () => {
      await connections.put(connection({ refreshAt: now + 1 }), undefined);
      expect(await connections.acquireLeaseIfDue(userId, lease())).toBeUndefined();
      expect(await connections.acquireLeaseIfDue(userId, lease({ now: now + 1 }))).toMatchObject({
        userId,
        leaseUntil: now + 20,
      });
      expect(
        await connections.acquireLeaseIfDue(userId, lease({ now: now + 2, until: now + 22 })),
      ).toBeUndefined();
      expect(await connections.acquireLeaseIfDue('nobody', lease())).toBeUndefined();
      expect(await connections.get('nobody')).toBeUndefined();
    });

    it('ending a revocation deletes a disconnected record and keeps an active one', async () => {
      const revocation = { tokens: 'sealed', googleSub: 'old' };
      await connections.put(connection({ revocation }), undefined);
      expect(await connections.completeRevocation(userId, 2)).toBe(false);
      expect(await connections.completeRevocation(userId, 1)).toBe(true);
      expect(await connections.get(userId)).toEqual({
        ...connection(),
        schemaVersion: 1,
        refreshShard: expect.any(String),
      });

      const ended = {
        userId,
        status: 'disconnected' as const,
        disconnectedAt: now,
        tokenVersion: 2,
        refreshFailures: 0,
        usedLinks: [],
        updatedAt: now,
      };
      await connections.put({ ...ended, keyId: 'k1', revocation, refreshAt: now }, { tokenVersion: 1 });
      expect(await dueUsers(now)).toContain(userId);
      expect(await connections.completeRevocation(userId, 2, now + 900)).toBe(true);
      const kept = { ...ended, schemaVersion: 1, refreshAt: now + 900, refreshShard: expect.any(String) };
      expect(await connections.get(userId)).toEqual(kept);
      expect(await dueUsers(now)).not.toContain(userId);
      expect(await dueUsers(now + 900)).toContain(userId);
      expect(await connections.deleteRetained({ userId, tokenVersion: 1 })).toBe(false);
      expect(await connections.deleteRetained({ userId, tokenVersion: 2 })).toBe(true);
      expect(await connections.get(userId)).toEqual({ ...ended, schemaVersion: 1 });
      expect(await dueUsers(now + 900)).not.toContain(userId);
    });

    it('finds users by the key of their tokens, until they are re-encrypted', async () => {
      await connections.put(connection({ keyId: `key-of-${userId}` }), undefined);
      expect((await connections.listByKeyId(`key-of-${userId}`, 10)).userIds).toEqual([userId]);
      expect(await connections.replaceCiphertext(userId, 2, { keyId: 'k2', tokens: 'late' })).toBe(false);
      expect(await connections.replaceCiphertext(userId, 1, { keyId: 'k2', tokens: 'sealed anew' })).toBe(
        true,
      );
      expect(await connections.get(userId)).toMatchObject({
        keyId: 'k2',
        tokens: 'sealed anew',
        tokenVersion: 1,
      });
      expect((await connections.listByKeyId(`key-of-${userId}`, 10)).userIds).toEqual([]);
    });

    it('counts attempts of a link up to a limit, also concurrent ones, apart from connections', async () => {
      const link = `link-of-${userId}`;
      const attempts = await Promise.all(
        Array.from({ length: 8 }, () => connections.countAttempt(link, 5, now + 600)),
      );
      expect(attempts.filter((isAllowed) => isAllowed)).toHaveLength(5);
      expect(await connections.countAttempt(`${link}-b`, 5, now + 600)).toBe(true);
      expect(await connections.get(userId)).toBeUndefined();
    });

    it('names the other users with an active connection to a Google account', async () => {
      const googleSub = `sub-of-${userId}`;
      await connections.put(connection({ googleSub }), undefined);
      expect(await connections.listOtherUsers(googleSub, userId)).toEqual([]);
      await connections.put(
        connection({ userId: `${userId}-b`, googleSub, status: 'reauthorization_required' }),
        undefined,
      );
      expect(await connections.listOtherUsers(googleSub, userId)).toEqual([]);
      await connections.put(connection({ userId: `${userId}-c`, googleSub }), undefined);
      expect(await connections.listOtherUsers(googleSub, userId)).toEqual([`${userId}-c`]);
    });

    it("records a user's choice on an active connection, and changes nothing else", async () => {
      await connections.put(connection(), undefined);
      await connections.acquireLease(userId, 1, lease());
      expect(
        await connections.updateSettings(
          userId,
          { tokenVersion: 1 },
          { calendarId: 'team', timeZone: 'UTC', updatedAt: now + 1 },
        ),
      ).toBe(true);
      expect(await connections.get(userId)).toMatchObject({
        calendarId: 'team',
        leaseUntil: now + 20,
        tokenVersion: 1,
      });
      expect(
        await connections.updateSettings(userId, { tokenVersion: 2 }, { calendarId: 'team', updatedAt: now }),
      ).toBe(false);
      await connections.updateSettings(
        userId,
        { tokenVersion: 1, choices: 1 },
        { calendarId: 'home', updatedAt: now },
      );
      expect(await connections.get(userId)).not.toHaveProperty('timeZone');
      await connections.markReauthorizationRequired(userId, 1, 'invalid_grant', now);
      expect(
        await connections.updateSettings(userId, { tokenVersion: 2 }, { calendarId: 'team', updatedAt: now }),
      ).toBe(false);
    });

    it('reads booking and connection together, also if one is missing', async () => {
      expect(await read({ bookingId, userId })).toEqual({});
      await connections.put(connection(), undefined);
      await bookings.save(booking());
      const found = await read({ bookingId, userId });
      expect(found).toMatchObject({ booking: { ...booking(), version: 1 }, connection: { userId } });
      expect(await read({ bookingId })).toEqual({ booking: expect.anything() });
    });

    it('saves a booking only over the version that was read', async () => {
      expect(await bookings.save(booking())).toBe(true);
      expect(await bookings.save(booking())).toBe(false);
      expect(await bookings.save(booking({ version: 1, status: 'scheduled' }))).toBe(true);
      expect(await bookings.save(booking({ version: 1, status: 'failed' }))).toBe(false);
      expect((await read({ bookingId })).booking).toMatchObject({ version: 2, status: 'scheduled' });
    });

    it('keeps a booking in the due index exactly while it is due', async () => {
      await bookings.save(booking({ nextRun: { why: 'retry', at: now + 30, count: 1 } }));
      expect(await dueBookings(now + 29)).not.toContainEqual(expect.objectContaining({ bookingId }));
      expect(await dueBookings(now + 30)).toContainEqual(
        expect.objectContaining({ bookingId, userId, syncDueAt: now + 30 }),
      );
      const { nextRun, ...read1 } = (await read({ bookingId })).booking as Booking;
      expect(nextRun).toEqual({ why: 'retry', at: now + 30, count: 1 });
      await bookings.save({ ...read1, status: 'scheduled' });
      expect(await dueBookings(now + 30)).not.toContainEqual(expect.objectContaining({ bookingId }));
    });

    it("keeps a booking in its user's waiting index exactly while it waits", async () => {
      await bookings.save(
        booking({ status: 'waiting_for_connection', nextRun: { why: 'no_connection', at: now, count: 1 } }),
      );
      expect((await bookings.listWaiting(userId, 10)).bookings).toEqual([{ bookingId, userId }]);
      expect((await bookings.listWaiting('somebody else', 10)).bookings).toEqual([]);
      const held = (await read({ bookingId })).booking as Booking;
      const { nextRun: _, ...rest } = held;
      await bookings.save({ ...rest, status: 'scheduled' });
      expect((await bookings.listWaiting(userId, 10)).bookings).toEqual([]);
    });
  });
});
