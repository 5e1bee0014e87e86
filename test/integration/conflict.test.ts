import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ConflictPolicy } from '../../functions/booking-sync/decide.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { calendarScopes } from '../../shared/google-oauth.ts';
import { optionalScopes } from '../../shared/names.ts';
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

describe('two payers for one slot', () => {
  it('both get it where nobody asked for more, at no call of its own', async () => {
    await world.connect('user-1', withFreeBusy);
    await pay('b1', 'create');
    await pay('b2', 'create');
    expect(world.events()).toHaveLength(2);
    expect(world.calls()).toEqual(['events.insert', 'events.insert']);
  });

  it('both get it, and the second is flagged', async () => {
    await world.connect('user-1', withFreeBusy);
    await pay('b1', 'flag');
    await pay('b2', 'flag');
    expect(world.events()).toHaveLength(2);
    expect([await codes('b1'), await codes('b2')]).toEqual([[], ['calendar_conflict']]);
    expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.scheduled', 'booking.conflict']);
  });

  it('the second is held until it changes', async () => {
    await world.connect('user-1', withFreeBusy);
    await pay('b1', 'hold');
    await pay('b2', 'hold');
    await pay('b2', 'hold');
    expect(world.events()).toHaveLength(1);
    expect((await world.booking('b2'))?.status).toBe('conflict');
    expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.conflict']);
  });
});

it('withdraws an event that Google created late beside another booking', async () => {
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
    world.time.now = ((await world.booking('b2'))?.syncDueAt ?? Number.NaN) + 1;
    await syncBooking(
      { ...world.deps, conflictPolicy },
      { type: 'sync', bookingId: 'b2', userId: 'user-1', cause: 'test' },
    );
  };
  await again();
  expect(await world.booking('b2')).toMatchObject({ status: 'conflict', unsettled: true });
  await arrive();
  expect(world.events()).toHaveLength(2);
  await again();
  expect(world.events()).toMatchObject([{ summary: 'Meeting b1' }]);
  expect((await world.booking('b2'))?.status).toBe('conflict');
  expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.conflict', 'booking.conflict']);
});

it('and the look ends it where nothing was entered: a conflict is told once', async () => {
  await world.connect('user-1', withFreeBusy);
  await pay('b1', 'hold');
  await syncBooking({ ...world.deps, conflictPolicy: 'hold' }, world.payment('b2'), { repeated: true });
  // Two reads a minute apart must agree.
  for (let read = 0; read < 2; read++) {
    const { syncDueAt = Number.NaN } = (await world.booking('b2')) ?? {};
    world.time.now = syncDueAt + 1;
    await syncBooking(
      { ...world.deps, conflictPolicy: 'hold' },
      { type: 'sync', bookingId: 'b2', userId: 'user-1', cause: 'test' },
    );
  }
  const settled = await world.booking('b2');
  expect(settled?.status).toBe('conflict');
  expect(settled).not.toHaveProperty('unsettled');
  expect(settled).not.toHaveProperty('syncDueAt');
  expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.conflict']);
});

describe('a slot that is to be held until it is paid', () => {
  const declare = () => world.declare('b2', { hold: true, status: 'pending' });
  const hold = (conflictPolicy: ConflictPolicy) =>
    syncBooking(
      { ...world.deps, conflictPolicy },
      { type: 'sync', bookingId: 'b2', userId: 'user-1', cause: 'test' },
    );

  it('beside another appointment is flagged when it is held, and still when it is paid', async () => {
    await world.connect('user-1', withFreeBusy);
    await pay('b1', 'flag');
    await declare();
    await hold('flag');
    expect(await codes('b2')).toEqual(['calendar_conflict']);
    await pay('b2', 'flag');
    expect(await codes('b2')).toEqual(['calendar_conflict']);
    expect(world.bus.types().slice(1)).toEqual(['booking.conflict', 'booking.scheduled', 'booking.conflict']);
  });

  it('and could not be, is told again when it is paid all the same', async () => {
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

describe('a calendar that cannot be seen', () => {
  it.each<[string, () => Promise<unknown>]>([
    ['for want of permission', () => world.connect('user-1')],
    [
      'since Google does not answer',
      async () => {
        await world.connect('user-1', withFreeBusy);
        world.google.control.fail({ on: 'freebusy.query', times: 2, how: { status: 503 } });
      },
    ],
  ])('is unknown and never free, %s', async (_, connect) => {
    await connect();
    await pay('b1', 'hold');
    expect((await world.booking('b1'))?.status).toBe('scheduled');
    expect(await codes('b1')).toEqual(['calendar_conflict_unknown']);
  });

  it('is unknown where Google answers 200 with an error for it', async () => {
    await world.connect('user-1', { ...withFreeBusy, calendarId: 'nowhere@group.calendar.google.com' });
    await pay('b1', 'hold');
    expect(world.calls()).toEqual(['freebusy.query', 'events.insert']);
    expect((await world.booking('b1'))?.status).toBe('pending');
  });
});

it('does not take its own event, left by a run that was cut off, for a conflict, nor a look at it that fails', async () => {
  await world.connect('user-1', withFreeBusy);
  const bookings = { ...world.deps.bookings, save: () => Promise.reject(new Error('cut off')) };
  await expect(
    syncBooking({ ...world.deps, bookings, conflictPolicy: 'hold' }, world.payment('b1')),
  ).rejects.toThrow('cut off');
  world.google.control.fail({ on: 'events.get', times: 2, how: { status: 503 } });
  await pay('b1', 'hold');
  expect((await world.booking('b1'))?.status).toBe('pending');
  expect(world.bus.types()).not.toContain('booking.conflict');
  world.time.now = ((await world.booking('b1'))?.syncDueAt ?? Number.NaN) + 1;
  await pay('b1', 'hold');
  expect((await world.booking('b1'))?.status).toBe('scheduled');
  expect(world.events()).toHaveLength(1);
});
