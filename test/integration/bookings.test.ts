import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { requeueDueBookings } from '../../functions/booking-reconcile/requeue-due.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import {
  cancelBooking,
  declareBooking,
  patchBooking,
  type WriteResult,
} from '../../functions/bookings/change-booking.ts';
import { listBookings, viewBooking } from '../../functions/bookings/view-booking.ts';
import type { SyncRequested } from '../../shared/booking/queue.ts';
import type { BookingStore } from '../../shared/booking/store.ts';
import { startWorld, type World } from './world.ts';

let world: World;
let bookingId: string;
let number = 0;
const userId = 'user-1';

beforeAll(async () => {
  world = await startWorld();
  await world.connect(userId);
});
afterAll(() => world?.close());
beforeEach(() => {
  number += 1;
  bookingId = `booking-${number}`;
  world.queue.messages.length = 0;
  world.queue.unavailable = false;
});

const day = '2027-03-01';
const meeting = (change: Record<string, unknown> = {}) => ({
  summary: `Meeting ${bookingId}`,
  start: `${day}T10:00:00+01:00`,
  end: `${day}T11:00:00+01:00`,
  ...change,
});
const target = (change: { userId?: string; ifMatch?: string } = {}) => ({ userId, bookingId, ...change });
const declare = (change: Record<string, unknown> = {}, who = {}): Promise<WriteResult> =>
  declareBooking(world.deps, target(who), meeting(change));
const patch = (change: unknown, who = {}): Promise<WriteResult> =>
  patchBooking(world.deps, target(who), change);
const cancel = (who = {}): Promise<WriteResult> => cancelBooking(world.deps, target(who));
const view = () => viewBooking(world.deps, userId, bookingId);
const event = () => world.events().find(({ summary }) => summary?.endsWith(bookingId));

/** Processes the messages in the queue, as booking-sync does. */
async function drain(): Promise<void> {
  for (const message of world.queue.messages.splice(0)) {
    await syncBooking(world.deps, message as SyncRequested);
  }
}
const pay = () => syncBooking(world.deps, world.payment(bookingId));

describe('declaring a booking', () => {
  it('an unpaid booking creates no event and needs no sync', async () => {
    expect(await declare()).toMatchObject({
      outcome: 'created',
      booking: { status: 'declared', revision: 1, payments: [], desired: { hold: false } },
    });
    expect(world.queue.messages).toEqual([]);
    expect(event()).toBeUndefined();

    await pay();
    expect(await view()).toMatchObject({
      status: 'scheduled',
      desired: meeting(),
      observed: { calendarId: 'primary', revision: 1, tentative: false },
      payments: [{ paymentId: `pi_${bookingId}`, standing: 'paid' }],
    });
    // The declared appointment applies, not the payment's.
    expect(Date.parse(event()?.start?.dateTime ?? '')).toBe(Date.parse(meeting().start));
  });

  it('declaring a booking twice changes nothing', async () => {
    await declare({
      timeZone: 'Europe/Berlin',
      location: 'Here',
      attendees: [{ email: 'guest@example.com' }],
    });
    const before = await world.booking(bookingId);
    const again = await declare({
      timeZone: 'Europe/Berlin',
      location: 'Here',
      attendees: [{ email: 'guest@example.com' }],
    });
    expect(again).toMatchObject({ outcome: 'unchanged', booking: { revision: 1 } });
    expect(await world.booking(bookingId)).toEqual(before);
  });

  it('declaring a booking with a hold creates a tentative event', async () => {
    expect(await declare({ hold: true })).toMatchObject({
      outcome: 'accepted',
      booking: { status: 'pending', nextAttemptAt: expect.any(String) },
    });
    expect(world.queue.messages).toEqual([{ type: 'sync', bookingId, userId, cause: 'revision-1' }]);
    await drain();
    expect(await view()).toMatchObject({ status: 'held', observed: { tentative: true } });
    expect(event()?.status).toBe('tentative');
    await pay();
    expect(event()?.status).toBe('confirmed');
  });

  it('declaring a booking again replaces its appointment', async () => {
    await declare();
    expect(await declare({ location: 'There' })).toMatchObject({
      outcome: 'changed',
      booking: { status: 'declared', revision: 2, desired: { location: 'There' } },
    });
  });

  it('declaring a booking repairs one whose payment had no usable appointment', async () => {
    const { booking, ...message } = world.payment(bookingId);
    const { appointment: _, ...named } = booking;
    const problems = [{ code: 'invalid_booking', field: 'start', message: '"start" is missing.' }];
    await syncBooking(world.deps, { ...message, booking: { ...named, problems } });
    expect(await view()).toMatchObject({ status: 'failed', desired: { hold: false } });
    expect(await declare()).toMatchObject({
      outcome: 'accepted',
      booking: { status: 'pending', problems: [] },
    });
    await drain();
    expect(await view()).toMatchObject({ status: 'scheduled' });
    expect(event()).toBeDefined();
  });

  it('declares a booking of whole days', async () => {
    expect(await declare({ start: day, end: '2027-03-03' })).toMatchObject({
      booking: { desired: { start: day, end: '2027-03-03' } },
    });
    await pay();
    expect(event()).toMatchObject({ start: { date: day }, end: { date: '2027-03-03' } });
  });

  it.each<[Record<string, unknown>, string]>([
    [{ summary: undefined }, 'summary'],
    [{ summary: '' }, 'summary'],
    [{ summary: 'x'.repeat(1025) }, 'summary'],
    [{ description: 7 }, 'description'],
    [{ start: 'tomorrow' }, 'start'],
    [{ start: `${day}T10:00:00` }, 'start'],
    [{ start: '2027-03-28T02:30:00', timeZone: 'Europe/Berlin' }, 'start'],
    [{ end: `${day}T10:00:00+01:00` }, 'end'],
    [{ end: '2027-03-02' }, 'end'],
    [{ end: '2027-02-30' }, 'end'],
    [{ timeZone: '+01:00' }, 'timeZone'],
    [{ hold: 'yes' }, 'hold'],
    [{ attendees: [{ email: 'nobody' }] }, 'attendees.0.email'],
    [{ colour: '1' }, 'colour'],
  ])('refuses to declare %j and names the field', async (change, field) => {
    await expect(declare(change)).rejects.toMatchObject({
      code: 'invalid_request',
      status: 400,
      problems: [{ code: 'invalid_field', field, message: expect.any(String) }],
    });
    expect(await world.booking(bookingId)).toBeUndefined();
  });
});

describe('changing a booking', () => {
  it('a patch moves the event and increases the revision', async () => {
    await declare({ timeZone: 'Europe/Berlin', location: 'Here' });
    await pay();
    const moved = await patch({ start: `${day}T14:00:00`, end: `${day}T15:00:00`, location: null });
    expect(moved).toMatchObject({ outcome: 'accepted', booking: { revision: 2, status: 'pending' } });
    await drain();
    expect(await view()).toMatchObject({
      status: 'scheduled',
      observed: { revision: 2 },
      desired: { start: `${day}T14:00:00`, timeZone: 'Europe/Berlin' },
    });
    expect((await view()).desired).not.toHaveProperty('location');
    expect(Date.parse(event()?.start?.dateTime ?? '')).toBe(Date.UTC(2027, 2, 1, 13));
    expect(event()?.location).toBeUndefined();
  });

  it('changing only the zone of a local time keeps the instant', async () => {
    await declare({ start: `${day}T10:00:00`, end: `${day}T11:00:00`, timeZone: 'Europe/Berlin' });
    await patch({ timeZone: 'America/New_York' });
    expect((await view()).desired).toMatchObject({
      start: `${day}T04:00:00-05:00`,
      end: `${day}T05:00:00-05:00`,
    });
    await patch({ timeZone: null });
    expect((await view()).desired).toMatchObject({ start: `${day}T04:00:00-05:00` });
    expect((await view()).desired).not.toHaveProperty('timeZone');
  });

  it('declaring and patching accept the desired state that a view shows', async () => {
    await declare({ start: `${day}T10:00:00`, end: `${day}T11:00:00`, timeZone: 'Europe/Berlin' });
    const { start, end, timeZone } = (await view()).desired;
    expect(await declare({ start, end, timeZone })).toMatchObject({ outcome: 'unchanged' });
    expect(await patch({ timeZone })).toMatchObject({ outcome: 'unchanged' });
  });

  it('changing only the zone of a time with an offset keeps the instant', async () => {
    await declare();
    await patch({ timeZone: 'America/New_York' });
    expect((await view()).desired).toMatchObject({ start: `${day}T04:00:00-05:00` });
  });

  it('a patch merges lists and details as RFC 7396 defines', async () => {
    await declare({
      attendees: [{ email: 'one@example.com' }],
      source: { title: 'A', url: 'https://example.com/a' },
    });
    await patch({ attendees: [{ email: 'two@example.com' }], source: { title: 'B' } });
    expect((await view()).desired).toMatchObject({
      attendees: [{ email: 'two@example.com' }],
      source: { title: 'B', url: 'https://example.com/a' },
    });
    await patch({ attendees: null, source: null });
    expect((await view()).desired).not.toHaveProperty('source');
  });

  it('a patch with the current values changes nothing', async () => {
    await declare({ timeZone: 'Europe/Berlin' });
    const { desired } = await view();
    expect(await patch({})).toMatchObject({ outcome: 'unchanged', booking: { revision: 1 } });
    expect(await patch(desired)).toMatchObject({ outcome: 'unchanged', booking: { revision: 1 } });
  });

  it('a patch releases a hold and takes it again', async () => {
    await declare({ hold: true });
    await drain();
    await patch({ hold: false });
    await drain();
    expect(event()).toBeUndefined();
    await patch({ hold: true });
    await drain();
    expect(event()?.status).toBe('tentative');
  });

  it.each([
    ['null for what must be', { summary: null }, 'summary'],
    ['an end before the start', { end: `${day}T09:00:00+01:00` }, 'end'],
    ['no object', 'later', 'body'],
    ['an unknown field', { status: 'scheduled' }, 'status'],
  ])('refuses a patch with %s', async (_, change, field) => {
    await declare();
    await expect(patch(change)).rejects.toMatchObject({ code: 'invalid_request', problems: [{ field }] });
    expect(await view()).toMatchObject({ revision: 1 });
  });

  it.each(['declare', 'patch', 'cancel'] as const)('%s honours If-Match', async (operation) => {
    const operations = {
      declare: (who: object) => declare({}, who),
      patch: (who: object) => patch({}, who),
      cancel,
    };
    await declare({ location: 'Here' });
    await patch({ location: 'There' });
    await expect(operations[operation]({ ifMatch: '"1"' })).rejects.toMatchObject({
      code: 'revision_mismatch',
      status: 412,
    });
    expect(await view()).toMatchObject({ revision: 2 });
    await operations[operation]({ ifMatch: '"7", "2"' });
    await operations[operation]({ ifMatch: '*' }).catch(() => undefined);
  });
});

describe('cancelling a booking', () => {
  it('cancelling deletes the event permanently, regardless of payments', async () => {
    await declare();
    await pay();
    expect(await cancel()).toMatchObject({ outcome: 'accepted', booking: { revision: 2 } });
    expect(await cancel()).toMatchObject({ outcome: 'accepted', booking: { revision: 2 } });
    await drain();
    expect(event()).toBeUndefined();
    expect(await cancel()).toMatchObject({
      outcome: 'unchanged',
      booking: { status: 'cancelled', revision: 2 },
    });
    await pay();
    expect(event()).toBeUndefined();
    await expect(declare()).rejects.toMatchObject({ code: 'booking_cancelled', status: 409 });
    await expect(patch({ location: 'There' })).rejects.toMatchObject({ code: 'booking_cancelled' });
  });

  it('cancelling a booking without an event needs no sync, and a later payment creates none', async () => {
    await declare();
    expect(await cancel()).toMatchObject({ outcome: 'changed', booking: { status: 'cancelled' } });
    expect(world.queue.messages).toEqual([]);
    await pay();
    expect(event()).toBeUndefined();
  });

  it('cancelling a failed booking reads the calendar, since an attempt may have created an event', async () => {
    await declare();
    const stored = await world.booking(bookingId);
    if (stored)
      await world.deps.bookings.save({
        ...stored,
        calendar: { kind: 'in_doubt', until: 1 },
        givenUp: { reason: 'failed', revision: stored.revision, presence: 'absent' },
      });
    const before = world.calls().length;
    expect(await cancel()).toMatchObject({ outcome: 'accepted', booking: { status: 'pending' } });
    await drain();
    expect(await view()).toMatchObject({ status: 'cancelled' });
    expect(world.calls().slice(before)).toEqual(['events.get']);
  });

  it('cancels a booking that never had an appointment', async () => {
    const { booking, ...message } = world.payment(bookingId);
    const { appointment: _, ...named } = booking;
    const problems = [{ code: 'invalid_booking', field: 'start', message: '"start" is missing.' }];
    await syncBooking(world.deps, { ...message, booking: { ...named, problems } });
    expect(await cancel()).toMatchObject({ outcome: 'changed', booking: { status: 'cancelled' } });
    expect((await world.booking(bookingId))?.nextRun?.at).toBeUndefined();
  });
});

describe('ownership of a booking', () => {
  it('hides a booking from other users', async () => {
    await declare();
    const other = { userId: 'user-2' };
    const notFound = { code: 'booking_not_found', status: 404 };
    await expect(viewBooking(world.deps, 'user-2', bookingId)).rejects.toMatchObject(notFound);
    await expect(declare({}, other)).rejects.toMatchObject(notFound);
    await expect(declare({}, { ...other, ifMatch: '"1"' })).rejects.toMatchObject(notFound);
    await expect(patch({}, other)).rejects.toMatchObject(notFound);
    await expect(cancel(other)).rejects.toMatchObject(notFound);
    expect(await view()).toMatchObject({ revision: 1 });
  });

  const failedBy = async (change: { userId?: string }) => {
    const { booking, ...message } = world.payment(bookingId);
    const { userId: _, appointment: __, ...named } = booking;
    const problems = [{ code: 'invalid_booking', field: 'start', message: '"start" is missing.' }];
    await syncBooking(world.deps, { ...message, booking: { ...named, ...change, problems } });
  };

  it('only the user of the payment can adopt a failed booking', async () => {
    await failedBy({ userId });
    await expect(declare({}, { userId: 'user-2' })).rejects.toMatchObject({ code: 'booking_not_found' });
    await declare();
    await drain();
    expect(await view()).toMatchObject({ status: 'scheduled' });
  });

  it('no user can adopt a failed booking whose payment names no usable user', async () => {
    await failedBy({});
    for (const who of [userId, 'user-2']) {
      await expect(declare({}, { userId: who })).rejects.toMatchObject({ code: 'booking_not_found' });
      await expect(patch({}, { userId: who })).rejects.toMatchObject({ code: 'booking_not_found' });
    }
    expect((await world.booking(bookingId))?.status).toBe('failed');
    // A later message of the payment may still name the user.
    await pay();
    expect(await view()).toMatchObject({ status: 'scheduled' });
  });
});

describe('write conflicts and outages', () => {
  /** A store whose next saves lose against another writer. */
  function contended(times: number): BookingStore {
    let left = times;
    return {
      ...world.deps.bookings,
      save: async (booking) => {
        if (left-- <= 0) return world.deps.bookings.save(booking);
        const stored = await world.deps.bookings.get(booking.bookingId);
        if (stored) await world.deps.bookings.save(stored);
        return false;
      },
    };
  }

  it('a change is decided again after a write conflict, and fails after four', async () => {
    await declare();
    const change = { location: 'There' };
    await expect(
      patchBooking({ ...world.deps, bookings: contended(4) }, target(), change),
    ).rejects.toMatchObject({ code: 'concurrent_update', status: 409, retryable: true });
    expect(await patchBooking({ ...world.deps, bookings: contended(3) }, target(), change)).toMatchObject({
      outcome: 'changed',
      booking: { revision: 2 },
    });
  });

  it('a change that could not be queued comes due by itself', async () => {
    world.queue.unavailable = true;
    expect(await declare({ hold: true })).toMatchObject({ outcome: 'accepted' });
    world.queue.unavailable = false;
    await requeueDueBookings({ ...world.deps, timeLeft: () => true });
    const ours = world.queue.messages.filter(
      (message) => 'bookingId' in message && message.bookingId === bookingId,
    );
    expect(ours).toHaveLength(1);
  });
});

describe('the list of bookings', () => {
  const lister = 'user-lists';
  const list = (query: Record<string, string> = {}, who = lister) => listBookings(world.deps, who, query);
  const ids = async (query: Record<string, string> = {}) =>
    (await list(query)).bookings.map((booking) => booking.bookingId);

  beforeAll(async () => {
    for (const [id, hour, who] of [
      ['list-c', 12, lister],
      ['list-a', 10, lister],
      ['list-b', 11, lister],
      ['list-x', 11, 'user-other'],
    ] as const) {
      await declareBooking(
        world.deps,
        { userId: who, bookingId: id },
        { summary: id, start: `${day}T${hour}:00:00Z`, end: `${day}T${hour}:30:00Z` },
      );
    }
    await cancelBooking(world.deps, { userId: lister, bookingId: 'list-b' });
  });

  it("lists only the user's bookings, by start", async () => {
    expect(await ids()).toEqual(['list-a', 'list-b', 'list-c']);
    expect((await list({}, 'user-none')).bookings).toEqual([]);
  });

  it('lists a range that includes from and excludes to', async () => {
    expect(await ids({ from: `${day}T11:00:00Z`, to: `${day}T13:00:00+01:00` })).toEqual(['list-b']);
  });

  it('lists bookings from before 1970', async () => {
    const target = { userId: 'user-old', bookingId: 'list-old' };
    await declareBooking(world.deps, target, { summary: 'old', start: '1969-07-20', end: '1969-07-21' });
    const { bookings } = await list({}, 'user-old');
    expect(bookings.map((booking) => booking.bookingId)).toEqual(['list-old']);
  });

  it('lists bookings by status', async () => {
    expect(await ids({ status: 'cancelled' })).toEqual(['list-b']);
  });

  it('lists bookings in pages', async () => {
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await list({ limit: '1', from: day.concat('T00:00:00Z'), ...(cursor ? { cursor } : {}) });
      seen.push(...page.bookings.map((booking) => booking.bookingId));
      cursor = page.nextCursor;
    } while (cursor);
    expect(seen).toEqual(['list-a', 'list-b', 'list-c']);
  });

  it('omits bookings from a list when the index is staler than the table', async () => {
    await patchBooking(
      world.deps,
      { userId: lister, bookingId: 'list-c' },
      { start: `${day}T20:00:00Z`, end: `${day}T21:00:00Z` },
    );
    expect(await ids({ from: `${day}T19:00:00Z` })).toEqual(['list-c']);
    expect(await ids({ to: `${day}T19:00:00Z` })).toEqual(['list-a', 'list-b']);
  });

  const cursorOf = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  it.each<[Record<string, string>, string]>([
    [{ status: 'paid' }, 'status'],
    [{ from: 'yesterday' }, 'from'],
    [{ to: day }, 'to'],
    [{ from: `${day}T11:00:00Z`, to: `${day}T11:00:00Z` }, 'to'],
    [{ limit: '0' }, 'limit'],
    [{ limit: '101' }, 'limit'],
    [{ limit: '1.5' }, 'limit'],
    [{ limit: 'many' }, 'limit'],
    [{ stauts: 'failed' }, 'stauts'],
    [{ cursor: 'x' }, 'cursor'],
    [{ cursor: cursorOf([1]) }, 'cursor'],
    [{ cursor: cursorOf([1, 'a#b']) }, 'cursor'],
    [{ cursor: `${cursorOf([1_800_000_000, 'list-a'])}A` }, 'cursor'],
    [{ cursor: cursorOf([1, 'list-a']), from: `${day}T11:00:00Z` }, 'cursor'],
  ])('refuses the list query %j and names the field', async (query, field) => {
    await expect(list(query)).rejects.toMatchObject({ code: 'invalid_request', problems: [{ field }] });
  });
});
