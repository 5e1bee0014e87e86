import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ConflictPolicy } from '../../functions/booking-sync/decide.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { calendarScope } from '../../shared/google-oauth.ts';
import { optionalScopes } from '../../shared/names.ts';
import { startWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
});
afterEach(() => world.close());

const withFreeBusy = { scopes: ['openid', calendarScope, optionalScopes.freeBusy] };
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

it('does not take its own event, left by a run that was cut off, for a conflict', async () => {
  await world.connect('user-1', withFreeBusy);
  const bookings = { ...world.deps.bookings, save: () => Promise.reject(new Error('cut off')) };
  await expect(
    syncBooking({ ...world.deps, bookings, conflictPolicy: 'hold' }, world.payment('b1')),
  ).rejects.toThrow('cut off');
  await pay('b1', 'hold');
  expect((await world.booking('b1'))?.status).toBe('scheduled');
  expect(world.events()).toHaveLength(1);
});
