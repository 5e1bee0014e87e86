import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { cancelBooking } from '../../functions/bookings/change-booking.ts';
import { type Booking, recordedEvent } from '../../shared/booking/booking.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { ada, startWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
  await world.connect('user-1');
});
afterEach(() => world.close());

const bookingId = 'b1';
const again = () => syncBooking(world.deps, { type: 'sync', bookingId, userId: 'user-1', cause: 'test' });
const stored = async (): Promise<Booking> => (await world.booking(bookingId)) as Booking;
const count = (route: string) => world.calls().filter((each) => each === route).length;
const settle = async () => {
  world.time.now = ((await stored()).nextRun?.at ?? Number.NaN) + 1;
  await again();
};

/** As the bookings API does: changes the desired state and requests a sync. */
async function change(desired: Partial<Booking>): Promise<void> {
  const booking = await stored();
  await world.deps.bookings.save({
    ...booking,
    ...desired,
    revision: booking.revision + 1,
    status: 'pending',
  });
}
async function reschedule(hours: number, more: object = {}): Promise<void> {
  const { appointment } = await stored();
  if (!appointment) throw new Error('nothing to reschedule');
  const startsAt = appointment.startsAt + hours * 3600;
  const endsAt = startsAt + 3600;
  await change({
    appointment: {
      ...appointment,
      ...more,
      startsAt,
      endsAt,
      start: { dateTime: toIso(startsAt) },
      end: { dateTime: toIso(endsAt) },
    },
  });
}
const declare = (change?: Partial<Booking>) => world.declare(bookingId, change);

describe('a rescheduled booking', () => {
  beforeEach(() => syncBooking(world.deps, world.payment(bookingId)));

  it('rescheduling moves the same event', async () => {
    const [before] = world.events();
    await reschedule(2, { location: 'Room 7' });
    await again();
    const [event] = world.events();
    expect(event).toMatchObject({ id: before?.id, location: 'Room 7' });
    expect(Date.parse(event?.start?.dateTime ?? '') - Date.parse(before?.start?.dateTime ?? '')).toBe(
      7_200_000,
    );
    expect(world.calls()).toEqual(['events.insert', 'events.patch']);
    expect(await stored()).toMatchObject({
      status: 'scheduled',
      calendar: { event: { revision: 2, etag: event?.etag } },
    });
    expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.rescheduled']);
  });

  it('removes location and description from the event when the booking drops them', async () => {
    await reschedule(0, { location: 'Room 7', description: 'Bring it' });
    await again();
    await reschedule(0, { location: undefined, description: undefined });
    await again();
    const [event] = world.events();
    expect(event).not.toHaveProperty('location');
    expect(event).not.toHaveProperty('description');
  });

  it('a stale run does not undo a reschedule', async () => {
    const read = world.deps.readForSync;
    let overtaken = false;
    const readForSync: typeof read = async (what) => {
      const seen = await read(what);
      if (!overtaken) {
        overtaken = true;
        await reschedule(2);
        await again();
      }
      return seen;
    };
    const message = { type: 'sync', bookingId, userId: 'user-1', cause: 'test' } as const;
    await syncBooking({ ...world.deps, readForSync }, message, { repeated: true });
    expect(count('events.patch')).toBe(1);
    expect(await stored()).toMatchObject({ status: 'scheduled', calendar: { event: { revision: 2 } } });
  });

  it('a reschedule overwrites changes by the owner, after reading the event', async () => {
    const observed = recordedEvent(await stored());
    await world.deps.bookings.save({
      ...(await stored()),
      calendar: { kind: 'present', event: { ...observed, etag: '"stale"' } },
    } as Booking);
    await reschedule(1);
    await again();
    expect(world.calls()).toEqual(['events.insert', 'events.patch', 'events.get', 'events.patch']);
    expect((await stored()).status).toBe('scheduled');
  });

  it('a reschedule creates a new event when the owner has deleted the old one', async () => {
    world.google.control.deleteEvent(ada, recordedEvent(await stored())?.eventId ?? '');
    await reschedule(1);
    await again();
    expect(world.events()).toHaveLength(1);
    expect(await stored()).toMatchObject({ status: 'scheduled', calendar: { event: { revision: 2 } } });
  });

  it('retries a reschedule later while Google is unavailable', async () => {
    await reschedule(1);
    world.google.control.fail({ on: 'events.patch', times: 2, how: { status: 503 } });
    await again();
    expect(await stored()).toMatchObject({
      status: 'pending',
      problems: [{ code: 'google_transient' }],
      calendar: { event: { revision: 1 } },
    });
    world.time.now += 60;
    await again();
    expect(await stored()).toMatchObject({ status: 'scheduled', calendar: { event: { revision: 2 } } });
  });

  it('a reschedule with a lost response is verified and not written twice', async () => {
    await reschedule(1);
    world.google.control.fail({ on: 'events.patch', how: { lose: 'response' } });
    await again();
    expect(world.events()).toHaveLength(1);
    expect(await stored()).toMatchObject({ status: 'scheduled', calendar: { event: { revision: 2 } } });
  });

  it('a rescheduled event stays in its calendar when the user chooses another one', async () => {
    await world.deps.connections.updateSettings(
      'user-1',
      { tokenVersion: 1 },
      { calendarId: 'another', updatedAt: 0 },
    );
    await reschedule(1);
    await again();
    expect(recordedEvent(await stored())?.calendarId).toBe('primary');
  });
});

describe('a cancelled booking', () => {
  it('cancelling deletes the event, regardless of payments', async () => {
    await syncBooking(world.deps, world.payment(bookingId));
    await change({ cancelledAt: toIso(world.time.now) });
    await again();
    expect(world.events()).toEqual([]);
    expect((await stored()).status).toBe('cancelled');
    await syncBooking(world.deps, { ...world.payment(bookingId), paymentId: 'pi_late' });
    expect(world.events()).toEqual([]);
  });

  it('a booking that is cancelled before its event existed never gets one', async () => {
    await declare({ cancelledAt: toIso(world.time.now), status: 'cancelled' });
    await syncBooking(world.deps, world.payment(bookingId));
    expect(count('events.insert')).toBe(0);
    expect((await stored()).status).toBe('cancelled');
  });
});

describe('a request that is applied late', () => {
  type Fetch = typeof world.deps.calendar.fetch;
  /** Delays requests of one method, as if the network had lost them, until the test applies them. */
  function keepBack(method: string) {
    const kept: (() => ReturnType<Fetch>)[] = [];
    const fetch: Fetch = (url, init) => {
      if (init.method !== method) return world.deps.calendar.fetch(url, init);
      kept.push(() => world.deps.calendar.fetch(url, { ...init, signal: AbortSignal.timeout(5000) }));
      return Promise.reject(new DOMException('The operation timed out', 'TimeoutError'));
    };
    const deps = { ...world.deps, calendar: { ...world.deps.calendar, fetch } };
    return { deps, arrive: async () => void (await Promise.all(kept.map((send) => send()))) };
  }
  const cancel = () => cancelBooking(world.deps, { userId: 'user-1', bookingId });
  it('leaves no event when a late insert follows a cancellation', async () => {
    const { deps, arrive } = keepBack('POST');
    await syncBooking(deps, world.payment(bookingId));
    expect(await stored()).toMatchObject({ status: 'pending', nextRun: { count: 1 } });
    await cancel();
    await again();
    expect(await stored()).toMatchObject({ status: 'cancelled', calendar: { kind: 'in_doubt' } });
    await arrive();
    expect(world.events()).toHaveLength(1);
    await settle();
    expect(world.events()).toEqual([]);
    const settled = await stored();
    expect(settled).toMatchObject({ status: 'cancelled' });
    expect(settled).not.toMatchObject({ calendar: { kind: 'in_doubt' } });
    expect(settled).not.toHaveProperty('nextRun');
    expect(world.bus.types()).toEqual(['booking.cancelled']);
  });

  it('leaves no event when a late insert follows a refusal in the same run', async () => {
    const { deps, arrive } = keepBack('POST');
    const { fetch } = deps.calendar;
    let refused = false;
    const calendar: typeof deps.calendar = {
      ...deps.calendar,
      async fetch(url, init) {
        if (refused) return world.deps.calendar.fetch(url, init);
        refused = true;
        world.google.control.fail({ on: 'events.insert', how: { status: 400, reason: 'invalid' } });
        return fetch(url, init);
      },
    };
    await syncBooking({ ...deps, calendar }, world.payment(bookingId));
    expect((await stored()).status).toBe('failed');
    await cancel();
    await again();
    await arrive();
    expect(world.events()).toHaveLength(1);
    await settle();
    expect(world.events()).toEqual([]);
    expect((await stored()).status).toBe('cancelled');
  });

  it('two reads without an event end the re-check of a lost insert', async () => {
    await syncBooking(keepBack('POST').deps, world.payment(bookingId));
    await cancel();
    await again();
    await settle();
    // Two reads a minute apart must agree.
    await settle();
    const settled = await stored();
    expect(settled).not.toMatchObject({ calendar: { kind: 'in_doubt' } });
    expect(settled).not.toHaveProperty('nextRun');
  });
});

describe('a paused run', () => {
  it('a run that was paused too long records and publishes nothing, and reads again', async () => {
    const { fetch } = world.deps.calendar;
    let stood = false;
    const standStill: typeof fetch = async (url, init) => {
      const answer = await fetch(url, init);
      if (init.method === 'POST' && !stood) {
        stood = true;
        world.time.now += 190;
        // In the meantime another run has deleted the event, and crashed.
        for (const { id } of world.events()) world.google.control.deleteEvent(ada, id as string);
      }
      return answer;
    };
    const calendar = { ...world.deps.calendar, fetch: standStill };
    await syncBooking({ ...world.deps, calendar }, world.payment(bookingId));
    expect(world.events()).toHaveLength(1);
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 1 });
    expect(world.bus.events.map(({ type }) => type)).toEqual(['booking.scheduled']);
  });

  it('a run that was paused too long calls Google only with a new snapshot', async () => {
    const { readForSync } = world.deps;
    let stood = false;
    const standStill: typeof readForSync = async (keys) => {
      const seen = await readForSync(keys);
      if (!stood) {
        stood = true;
        world.time.now += 190;
        // In the meantime another run has created the event, and the user has cancelled the booking.
        await syncBooking(world.deps, world.payment(bookingId));
        await cancelBooking(world.deps, { userId: 'user-1', bookingId });
        await again();
      }
      return seen;
    };
    await syncBooking({ ...world.deps, readForSync: standStill }, world.payment(bookingId));
    expect(count('events.insert')).toBe(1);
    expect(await stored()).toMatchObject({ status: 'cancelled' });
  });
});

it('a run that took too long reads its event once more', async () => {
  const { fetch } = world.deps.calendar;
  const slow: typeof fetch = async (url, init) => {
    const answer = await fetch(url, init);
    if (init.method === 'POST') world.time.now += 20;
    return answer;
  };
  const sync = (sentAt: number) => {
    const calendar = { ...world.deps.calendar, fetch: slow };
    return syncBooking({ ...world.deps, calendar }, { ...world.payment(bookingId), sentAt });
  };
  await sync(world.time.now - 140);
  expect(count('events.get')).toBe(1);
  expect(await stored()).toMatchObject({ status: 'scheduled', calendar: { kind: 'in_doubt' } });
  await settle();
  expect(world.events()).toHaveLength(1);
  expect(await stored()).toMatchObject({ status: 'scheduled', calendar: { kind: 'present' } });
});

it('republishes the current status after a lost write', async () => {
  await syncBooking(world.deps, world.payment(bookingId));
  await reschedule(2);
  let overtaken = false;
  const bus: typeof world.deps.bus = {
    ...world.deps.bus,
    async publish(...events) {
      if (!overtaken) {
        overtaken = true;
        await cancelBooking(world.deps, { userId: 'user-1', bookingId });
        await again();
      }
      await world.deps.bus.publish(...events);
    },
  };
  await syncBooking({ ...world.deps, bus }, { type: 'sync', bookingId, userId: 'user-1', cause: 'test' });
  expect((await stored()).status).toBe('cancelled');
  expect(world.bus.types()).toEqual([
    'booking.scheduled',
    'booking.cancelled',
    'booking.rescheduled',
    'booking.cancelled',
  ]);
  expect(new Set(world.bus.events.map(({ id }) => id)).size).toBe(4);
  expect(world.events()).toEqual([]);
});

it('reads the calendar for a redriven message, which an earlier run may have tried', async () => {
  const message = { ...world.payment(bookingId), sentAt: world.time.now };
  const bookings = { ...world.deps.bookings, save: () => Promise.reject(new Error('cut off')) };
  await expect(syncBooking({ ...world.deps, bookings }, message)).rejects.toThrow('cut off');
  expect(world.events()).toHaveLength(1);
  await declare({ cancelledAt: toIso(world.time.now), status: 'cancelled' });
  world.time.now += 3600;
  await syncBooking(world.deps, message);
  expect(world.events()).toEqual([]);
});

describe('a booking that is declared before it is paid', () => {
  it('creates no event until a payment references the declared booking', async () => {
    await declare();
    await again();
    expect(world.calls()).toEqual([]);
    const { appointment: _, ...named } = world.payment(bookingId).booking;
    await syncBooking(world.deps, { ...world.payment(bookingId), booking: named });
    expect(world.events()).toHaveLength(1);
    expect((await stored()).status).toBe('scheduled');
  });

  it('a payment confirms the tentative event of a hold', async () => {
    await declare({ hold: true, status: 'pending' });
    await again();
    expect(world.events()).toMatchObject([{ status: 'tentative' }]);
    expect((await stored()).status).toBe('held');
    expect(await stored()).not.toHaveProperty('nextRun');
    expect(world.bus.types()).toEqual([]);
    await syncBooking(world.deps, world.payment(bookingId));
    expect(world.events()).toMatchObject([{ status: 'confirmed' }]);
    expect(world.calls()).toEqual(['events.insert', 'events.patch']);
    expect(world.bus.types()).toEqual(['booking.scheduled']);
  });

  it('deletes the tentative event when the hold is removed, and the booking is declared again', async () => {
    await declare({ hold: true, status: 'pending' });
    await again();
    const { hold: _, ...booking } = await stored();
    await world.deps.bookings.save({ ...booking, revision: 2, status: 'pending' });
    await again();
    expect(world.events()).toEqual([]);
    expect((await stored()).status).toBe('declared');
    expect(world.bus.types()).toEqual(['booking.hold_released']);
    await syncBooking(world.deps, world.payment(bookingId));
    expect((await stored()).status).toBe('scheduled');
  });

  it('deletes the tentative event when the payment fails', async () => {
    await declare({ hold: true, status: 'pending' });
    await again();
    await syncBooking(world.deps, {
      ...world.payment(bookingId),
      facts: { failedAt: toIso(world.time.now) },
    });
    expect(world.events()).toEqual([]);
    expect((await stored()).status).toBe('declared');
    expect(world.bus.types()).toEqual(['booking.hold_released']);
  });
});

describe('an event that its owner deletes', () => {
  const later = (days: number) => {
    const message = world.payment(bookingId);
    const { appointment } = message.booking;
    if (!appointment) throw new Error('no appointment');
    const startsAt = appointment.startsAt + days * 86_400;
    const times = {
      startsAt,
      endsAt: startsAt + 3600,
      start: { dateTime: toIso(startsAt) },
      end: { dateTime: toIso(startsAt + 3600) },
    };
    return { ...message, booking: { ...message.booking, appointment: { ...appointment, ...times } } };
  };
  beforeEach(async () => {
    await syncBooking(world.deps, later(5));
    world.google.control.clearRequests();
  });

  it('a check a day before detects a deletion by the owner, publishes it and does not undo it', async () => {
    const booking = await stored();
    const { nextRun, appointment } = booking;
    expect(nextRun?.at).toBe((appointment?.startsAt ?? 0) - 86_400);
    world.google.control.deleteEvent(ada, recordedEvent(booking)?.eventId ?? '');
    await again();
    expect(world.calls()).toEqual([]);
    world.time.now = nextRun?.at ?? 0;
    await world.deps.connections.put(
      { ...(await world.connection('user-1')), tokenVersion: 2, accessTokenExpiresAt: 0 } as never,
      { tokenVersion: 1 },
    );
    await again();
    expect(await stored()).toMatchObject({ status: 'deleted_by_user' });
    expect(await stored()).not.toHaveProperty('nextRun');
    await syncBooking(world.deps, later(5), { repeated: true });
    expect(world.events()).toEqual([]);
    const [, deleted, repeated] = world.bus.events;
    expect(deleted).toMatchObject({ type: 'booking.deleted_by_user' });
    expect(repeated?.id).toBe(deleted?.id);
  });

  it('creates the event again when the booking changes after a deletion by the owner', async () => {
    world.google.control.deleteEvent(ada, recordedEvent(await stored())?.eventId ?? '');
    world.time.now = (await stored()).nextRun?.at ?? 0;
    await again();
    await reschedule(1);
    await again();
    expect(world.events()).toHaveLength(1);
    expect((await stored()).status).toBe('scheduled');
  });

  it('checks an existing event once, with one call', async () => {
    world.time.now = (await stored()).nextRun?.at ?? 0;
    await again();
    await again();
    expect(world.calls()).toEqual(['token', 'events.get']);
    expect(await stored()).toMatchObject({ status: 'scheduled' });
    expect(await stored()).not.toHaveProperty('nextRun');
  });

  it.each<[string, () => unknown]>([
    [
      'Google is unavailable',
      () => world.google.control.fail({ on: 'events.get', times: 2, how: { status: 503 } }),
    ],
    ['no token is available', () => world.google.control.fail({ on: 'token', how: { status: 503 } })],
    ['the grant was revoked', () => world.google.control.revokeGrant(ada)],
  ])('repeats the check later when %s, and keeps the booking scheduled', async (_, fail) => {
    world.time.now = (await stored()).nextRun?.at ?? 0;
    fail();
    await again();
    expect(await stored()).toMatchObject({ status: 'scheduled', nextRun: { at: world.time.now + 3600 } });
    expect(world.bus.types()).not.toContain('booking.waiting');
  });
});
