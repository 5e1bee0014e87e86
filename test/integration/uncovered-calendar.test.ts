import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requeueWaiting } from '../../functions/booking-sync/requeue-waiting.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { changeConnection } from '../../functions/connections/manage-connection.ts';
import { type CalendarState, recordedEvent } from '../../shared/booking/booking.ts';
import type { SyncRequested } from '../../shared/booking/queue.ts';
import { encryptTokens } from '../../shared/crypto/token-encryption.ts';
import { calendarScopes } from '../../shared/google/token-endpoint.ts';
import { bookingSteps } from './booking-steps.ts';
import { ada, ben, startWorld, type World } from './world.ts';

/**
 * A valid permission that does not cover one shared calendar. It stops the bookings in that calendar, and no
 * others.
 */

const owned = ['openid', calendarScopes.owned];
const shared = ['openid', calendarScopes.shared];

let world: World;
beforeEach(async () => {
  world = await startWorld();
  world.google.control.share(ben, 'primary', ada, 'writer');
});
afterEach(() => world.close());
const { again, sync, stored, move, refund } = bookingSteps(() => world);

/** Connects the same account again, with another permission. */
async function reconnect(scopes: string[]): Promise<void> {
  const known = await world.connection('user-1');
  if (known?.status !== 'active') throw new Error('The connection is not active.');
  world.time.now += 60;
  const granted = world.google.control.grant({ clientId: 'test-client', email: ada, scopes });
  const { accessToken, refreshToken = '' } = granted;
  const now = world.time.now;
  const sealed = await encryptTokens(world.tokenKeys.value, now, 'user-1', { accessToken, refreshToken });
  const accessTokenExpiresAt = now + 3599;
  const tokenVersion = known.tokenVersion + 1;
  const connection = { ...known, ...sealed, scopes, accessTokenExpiresAt, tokenVersion, connectedAt: now };
  const isStored = await world.deps.connections.put({ ...connection, calendarId: 'primary' }, known);
  expect(isStored).toBe(true);
}

const statusOfConnection = async () => (await world.connection('user-1'))?.status;
const shownEvents = () => world.google.control.events(ben).filter(({ status }) => status !== 'cancelled');
/** Syncs the bookings that are requeued when the user connects or chooses a calendar. */
const release = async () => {
  world.queue.messages.length = 0;
  const tokenVersion = (await world.connection('user-1'))?.tokenVersion ?? 0;
  await requeueWaiting(world.deps, {
    type: 'connection.activated',
    userId: 'user-1',
    tokenVersion,
    page: 0,
  });
  for (const message of world.queue.messages.splice(0)) await sync(message as SyncRequested);
};
const uncovered = {
  status: 'pending',
  nextRun: { why: 'refused', refusal: { by: 'calendar', reason: 'insufficientPermissions' } },
  problems: [
    {
      code: 'google_permission_missing',
      message: expect.stringContaining('does not cover the calendar of this event'),
    },
  ],
};

describe('an event in a calendar that the permission no longer covers', () => {
  beforeEach(async () => {
    await world.connect('user-1', { calendarId: ben, scopes: shared });
    await sync(world.payment('b1'));
    expect(shownEvents()).toHaveLength(1);
    await reconnect(owned);
    world.google.control.clearRequests();
    world.bus.events.length = 0;
  });

  it.each([
    ['refunded', refund, 'events.delete'],
    ['moved', move, 'events.patch'],
  ])('only the booking of an uncovered calendar waits when it is %s', async (_, change, call) => {
    await change();
    expect(world.calls()).toEqual([call, 'events.list']);
    expect(await stored()).toMatchObject(uncovered);
    expect(await statusOfConnection()).toBe('active');
    expect(world.bus.events).toEqual([]);

    await sync(world.payment('b2'));
    expect(await stored('b2')).toMatchObject({
      status: 'scheduled',
      calendar: { event: { calendarId: 'primary' } },
    });
  });

  it('a booking of an uncovered calendar waits after each reconnect, which stays active', async () => {
    await refund();
    for (let times = 0; times < 3; times++) {
      await reconnect(owned);
      await release();
      expect(await stored()).toMatchObject({
        ...uncovered,
        nextRun: { ...uncovered.nextRun, count: times + 2 },
      });
      expect(await statusOfConnection()).toBe('active');
    }
  });

  it('deletes an uncovered event once the user grants a permission that covers it', async () => {
    await refund();
    await reconnect(shared);
    await release();
    expect(shownEvents()).toEqual([]);
    expect((await stored()).status).toBe('cancelled');
  });

  it('retries an uncovered event until the appointment is over, and keeps the connection', async () => {
    await refund();
    while ((await stored()).status === 'pending') {
      const syncDueAt = (await stored()).nextRun?.at;
      if (syncDueAt === undefined) throw new Error('The booking would wait for ever.');
      world.time.now = syncDueAt;
      await sync();
    }
    expect(world.time.now).toBeGreaterThanOrEqual((await stored()).appointment?.endsAt ?? 0);
    expect(await statusOfConnection()).toBe('active');
    expect(world.bus.types()).not.toContain('connection.reauthorization_required');
  });

  it.each([
    ['while it is in doubt', { doubt: true }],
    ['by a message that is delivered twice', { doubt: false }],
  ])('an event in an uncovered calendar that is read %s breaks no connection', async (_, { doubt }) => {
    const booking = await stored();
    const event = recordedEvent(booking);
    if (!event) throw new Error('There is no event.');
    const { calendarId, eventId } = event;
    const notFound = { calendarId, eventId, since: 0 };
    const calendar: CalendarState = doubt
      ? { kind: 'in_doubt', event, until: 0, notFound }
      : booking.calendar;
    await world.deps.bookings.save({ ...booking, calendar });
    await syncBooking(world.deps, again(), { repeated: true });
    expect(await stored()).toMatchObject(uncovered);
    expect(await statusOfConnection()).toBe('active');
  });

  it('a booking in an uncovered calendar stays scheduled at the check a day before', async () => {
    const booking = await stored();
    await world.deps.bookings.save({ ...booking, nextRun: { why: 'check', at: world.time.now, count: 1 } });
    await sync();
    expect(await stored()).toMatchObject({ status: 'scheduled', problems: [] });
    expect(world.calls().at(-1)).toBe('events.list');
    expect(await statusOfConnection()).toBe('active');
  });

  it('retries soon when the primary calendar is unavailable', async () => {
    world.google.control.fail({
      on: 'events.list',
      times: 2,
      how: { status: 503, reason: 'backendError' },
    });
    await refund();
    expect(await stored()).toMatchObject({ status: 'pending', problems: [{ code: 'google_transient' }] });
    expect(await stored()).not.toMatchObject({ nextRun: { why: 'refused' } });
    expect(await statusOfConnection()).toBe('active');
  });

  it('breaks the connection when the primary calendar is refused too', async () => {
    world.google.control.fail({
      on: 'events.list',
      how: { status: 403, reason: 'insufficientPermissions' },
    });
    await refund();
    expect((await stored()).status).toBe('waiting_for_connection');
    expect(await statusOfConnection()).toBe('reauthorization_required');
  });
});

describe('a chosen calendar that the permission does not cover', () => {
  it('a new booking waits until the user chooses a calendar that is covered', async () => {
    await world.connect('user-1', { calendarId: ben, scopes: owned });
    await sync(world.payment('b1'));
    expect(await stored()).toMatchObject(uncovered);
    expect(await statusOfConnection()).toBe('active');
    await changeConnection(world.deps, 'user-1', { calendarId: 'primary' });
    await release();
    expect(await stored()).toMatchObject({
      status: 'scheduled',
      calendar: { event: { calendarId: 'primary' } },
    });
  });
});
