import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requeueDueBookings } from '../../functions/booking-reconcile/requeue-due.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { seededRandom } from '../../infra/local/google/faults.ts';
import type { SyncRequested } from '../../shared/booking/queue.ts';
import type { Fetch } from '../../shared/google/light-fetch.ts';
import { startWorld, type World } from './world.ts';

/** Rate limits of one user: after a refusal, that user's bookings make no calls for a while. */

let world: World;
beforeEach(async () => {
  world = await startWorld();
  await world.connect('user-1');
});
afterEach(() => world.close());

const again = (bookingId: string): SyncRequested => ({
  type: 'sync',
  bookingId,
  userId: 'user-1',
  cause: 'test',
});
const limited = { status: 429, reason: 'rateLimitExceeded' };

describe('a calendar whose calls Google rate-limits', () => {
  it.each([limited, { status: 403, reason: 'userRateLimitExceeded' }, { status: 429, html: true as const }])(
    'a calendar limited by %j is not called again for the next booking',
    async (how) => {
      world.google.control.fail({ on: 'events.insert', how });
      await syncBooking(world.deps, world.payment('b1'));
      await syncBooking(world.deps, world.payment('b2'));
      expect(world.calls()).toEqual(['events.insert']);
      const second = await world.booking('b2');
      expect(second).toMatchObject({
        status: 'pending',
        problems: [{ code: 'google_rate_limited' }],
      });
      await syncBooking(world.deps, world.payment('b2'));
      expect((await world.booking('b2'))?.version).toBe(second?.version);
      world.time.now = (second?.nextRun?.at ?? 0) + 1;
      await syncBooking(world.deps, again('b2'));
      expect(await world.booking('b2')).toMatchObject({ status: 'scheduled', problems: [] });
    },
  );

  it('a rate limit of one user does not affect other users', async () => {
    await world.connect('user-2');
    world.google.control.fail({ on: 'events.insert', how: limited });
    await syncBooking(world.deps, world.payment('b1'));
    await syncBooking(world.deps, world.payment('b2', { userId: 'user-2' }));
    expect((await world.booking('b2'))?.status).toBe('scheduled');
  });

  it('a rate limit keeps a redelivered message in doubt', async () => {
    await syncBooking(world.deps, world.payment('b1'));
    world.google.control.fail({ on: 'events.insert', how: limited });
    await syncBooking(world.deps, world.payment('b2'));
    await syncBooking(world.deps, again('b1'), { repeated: true });
    expect(await world.booking('b1')).toMatchObject({ status: 'pending', calendar: { kind: 'in_doubt' } });
    world.time.now += 600;
    await syncBooking(world.deps, again('b1'));
    expect(await world.booking('b1')).toMatchObject({ status: 'scheduled' });
    // Again, since a crashed run may have published something else in between.
    expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.scheduled']);
  });
});

it("creates three times a minute's limit of bookings with few refused calls", async () => {
  const perMinute = 20;
  const bookings = Array.from({ length: 3 * perMinute }, (_, index) => `b${index}`);
  let calls: number[] = [];
  let refused = 0;
  const fetch: Fetch = async (url, init) => {
    calls = [...calls.filter((at) => at > world.time.now - 60), world.time.now];
    if (calls.length <= perMinute) return world.deps.calendar.fetch(url, init);
    refused += 1;
    const error = { code: 429, message: 'Rate Limit Exceeded', errors: [{ reason: 'rateLimitExceeded' }] };
    return Response.json({ error }, { status: 429 });
  };
  const deps = { ...world.deps, random: seededRandom(7), calendar: { ...world.deps.calendar, fetch } };
  const atOnce = 5;
  for (let first = 0; first < bookings.length; first += atOnce)
    await Promise.all(
      bookings.slice(first, first + atOnce).map((id) => syncBooking(deps, world.payment(id))),
    );
  const start = world.time.now;
  while (world.events().length < bookings.length && world.time.now < start + 600) {
    world.time.now += 60;
    world.queue.messages.length = 0;
    await requeueDueBookings({ ...world.deps, timeLeft: () => true });
    const due = world.queue.messages as SyncRequested[];
    for (let first = 0; first < due.length; first += atOnce)
      await Promise.all(due.slice(first, first + atOnce).map((message) => syncBooking(deps, message)));
  }
  expect(world.events()).toHaveLength(bookings.length);
  expect(refused).toBeLessThanOrEqual(4 * atOnce);
  expect(world.time.now - start).toBeLessThanOrEqual(360);
}, 60_000);
