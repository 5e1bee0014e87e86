import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ConflictPolicy } from '../../functions/booking-sync/conflicts.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { calendarScopes } from '../../shared/google/token-endpoint.ts';
import { optionalScopes } from '../../shared/lib/names.ts';
import { startWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
});
afterEach(() => world.close());

const withFreeBusy = { scopes: ['openid', calendarScopes.owned, optionalScopes.freeBusy] };
const pay = (bookingId: string, conflictPolicy: ConflictPolicy) =>
  syncBooking({ ...world.deps, conflictPolicy }, world.payment(bookingId));
const codes = async (bookingId: string) => (await world.booking(bookingId))?.problems.map(({ code }) => code);

describe('two payments for one slot', () => {
  it('creates both events without a free/busy call by default', async () => {
    await world.connect('user-1', withFreeBusy);
    await pay('b1', 'create');
    await pay('b2', 'create');
    expect(world.events()).toHaveLength(2);
    expect(world.calls()).toEqual(['events.insert', 'events.insert']);
  });

  it('creates both events and flags the second as a conflict', async () => {
    await world.connect('user-1', withFreeBusy);
    await pay('b1', 'flag');
    await pay('b2', 'flag');
    expect(world.events()).toHaveLength(2);
    expect([await codes('b1'), await codes('b2')]).toEqual([[], ['calendar_conflict']]);
    expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.scheduled', 'booking.conflict']);
  });

  it('the second payment stays in conflict until it changes', async () => {
    await world.connect('user-1', withFreeBusy);
    await pay('b1', 'hold');
    await pay('b2', 'hold');
    await pay('b2', 'hold');
    expect(world.events()).toHaveLength(1);
    expect((await world.booking('b2'))?.status).toBe('conflict');
    expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.conflict']);
  });
});

it('deletes an event that was applied late beside another booking', async () => {
  await world.connect('user-1', withFreeBusy);
  const { calendar } = world.deps;
  let arrive = async (): Promise<unknown> => undefined;
  const swallowing: typeof calendar = {
    ...calendar,
    async fetch(url, init) {
      if (init.method !== 'POST' || String(url).includes('freeBusy')) return calendar.fetch(url, init);
      arrive = () => calendar.fetch(url, { ...init, signal: AbortSignal.timeout(5000) });
      throw new DOMException('The operation timed out', 'TimeoutError');
    },
  };
  const conflictPolicy = 'hold';
  await syncBooking({ ...world.deps, calendar: swallowing, conflictPolicy }, world.payment('b2'));
  await pay('b1', 'hold');
  const again = async () => {
    world.time.now = ((await world.booking('b2'))?.nextRun?.at ?? Number.NaN) + 1;
    await syncBooking(
      { ...world.deps, conflictPolicy },
      { type: 'sync', bookingId: 'b2', userId: 'user-1', cause: 'test' },
    );
  };
  await again();
  expect(await world.booking('b2')).toMatchObject({ status: 'conflict', calendar: { kind: 'in_doubt' } });
  await arrive();
  expect(world.events()).toHaveLength(2);
  await again();
  expect(world.events()).toMatchObject([{ summary: 'Meeting b1' }]);
  expect((await world.booking('b2'))?.status).toBe('conflict');
  expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.conflict']);
});

it('publishes a conflict once when the re-check finds no event', async () => {
  await world.connect('user-1', withFreeBusy);
  await pay('b1', 'hold');
  await syncBooking({ ...world.deps, conflictPolicy: 'hold' }, world.payment('b2'), { repeated: true });
  // Two reads a minute apart must agree.
  for (let read = 0; read < 2; read++) {
    const syncDueAt = (await world.booking('b2'))?.nextRun?.at ?? Number.NaN;
    world.time.now = syncDueAt + 1;
    await syncBooking(
      { ...world.deps, conflictPolicy: 'hold' },
      { type: 'sync', bookingId: 'b2', userId: 'user-1', cause: 'test' },
    );
  }
  const settled = await world.booking('b2');
  expect(settled?.status).toBe('conflict');
  expect(settled).not.toMatchObject({ calendar: { kind: 'in_doubt' } });
  expect(settled).not.toHaveProperty('nextRun');
  expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.conflict']);
});

describe('a hold in an occupied slot', () => {
  const declare = () => world.declare('b2', { hold: true, status: 'pending' });
  const hold = (conflictPolicy: ConflictPolicy) =>
    syncBooking(
      { ...world.deps, conflictPolicy },
      { type: 'sync', bookingId: 'b2', userId: 'user-1', cause: 'test' },
    );

  it('a hold beside another appointment is flagged, and flagged again when it is paid', async () => {
    await world.connect('user-1', withFreeBusy);
    await pay('b1', 'flag');
    await declare();
    await hold('flag');
    expect(await codes('b2')).toEqual(['calendar_conflict']);
    await pay('b2', 'flag');
    expect(await codes('b2')).toEqual(['calendar_conflict']);
    expect(world.bus.types().slice(1)).toEqual(['booking.conflict', 'booking.scheduled', 'booking.conflict']);
  });

  it('a hold in conflict publishes the conflict again when it is paid', async () => {
    await world.connect('user-1', withFreeBusy);
    await pay('b1', 'hold');
    await declare();
    await hold('hold');
    expect((await world.booking('b2'))?.status).toBe('conflict');
    await pay('b2', 'hold');
    expect((await world.booking('b2'))?.status).toBe('conflict');
    expect(world.bus.types().slice(1)).toEqual(['booking.conflict', 'booking.conflict']);
    expect(world.events()).toHaveLength(1);
  });
});

describe('a calendar without free/busy access', () => {
  it.each<[string, () => Promise<unknown>]>([
    ['without permission', () => world.connect('user-1')],
    [
      'without an answer of Google',
      async () => {
        await world.connect('user-1', withFreeBusy);
        world.google.control.fail({ on: 'freebusy.query', times: 2, how: { status: 503 } });
      },
    ],
  ])('availability is unknown, not free, %s', async (_, connect) => {
    await connect();
    await pay('b1', 'hold');
    expect((await world.booking('b1'))?.status).toBe('scheduled');
    expect(await codes('b1')).toEqual(['calendar_conflict_unknown']);
  });

  it('availability is unknown when Google answers 200 with an error for the calendar', async () => {
    await world.connect('user-1', { ...withFreeBusy, calendarId: 'nowhere@group.calendar.google.com' });
    await pay('b1', 'hold');
    expect(world.calls()).toEqual(['freebusy.query', 'events.insert']);
    expect((await world.booking('b1'))?.status).toBe('pending');
  });
});

it('an event of its own from a crashed run is no conflict, also when the check fails', async () => {
  await world.connect('user-1', withFreeBusy);
  const bookings = { ...world.deps.bookings, save: () => Promise.reject(new Error('cut off')) };
  await expect(
    syncBooking({ ...world.deps, bookings, conflictPolicy: 'hold' }, world.payment('b1')),
  ).rejects.toThrow('cut off');
  world.google.control.fail({ on: 'events.get', times: 2, how: { status: 503 } });
  await pay('b1', 'hold');
  expect((await world.booking('b1'))?.status).toBe('pending');
  expect(world.bus.types()).not.toContain('booking.conflict');
  world.time.now = ((await world.booking('b1'))?.nextRun?.at ?? Number.NaN) + 1;
  await pay('b1', 'hold');
  expect((await world.booking('b1'))?.status).toBe('scheduled');
  expect(world.events()).toHaveLength(1);
});
