import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requeueWaiting } from '../../functions/booking-sync/requeue-waiting.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { declareBooking, patchBooking } from '../../functions/bookings/change-booking.ts';
import type { FaultEffect, RouteName } from '../../infra/local/google/faults.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import type { SyncRequested } from '../../shared/booking/queue.ts';
import { setLogSink } from '../../shared/lib/observability.ts';
import { startWorld, type World } from './world.ts';

/** One answer of Google proves little: these tests show which answers count, and what ends the wait. */

let world: World;
beforeEach(async () => {
  world = await startWorld();
  await world.connect('user-1');
});
afterEach(() => world.close());

const sync = (message: Parameters<typeof syncBooking>[1]) => syncBooking(world.deps, message);
const again = (): SyncRequested => ({ type: 'sync', bookingId: 'b1', userId: 'user-1', cause: 'test' });
const fails = (on: RouteName | 'events', how: FaultEffect, times = 1) =>
  world.google.control.fail({ on, times, how });
const target = { userId: 'user-1', bookingId: 'b1' };
const body = (booking: Booking | undefined, hours = 0) => ({
  summary: booking?.appointment?.summary,
  start: new Date(((booking?.appointment?.startsAt ?? 0) + hours * 3600) * 1000).toISOString(),
  end: new Date(((booking?.appointment?.endsAt ?? 0) + hours * 3600) * 1000).toISOString(),
});
/** Lines of the log while `work` runs. */
async function logged(work: () => Promise<void>): Promise<Record<string, unknown>[]> {
  const lines: Record<string, unknown>[] = [];
  setLogSink((line) => lines.push(JSON.parse(line)));
  try {
    await work();
  } finally {
    setLogSink(() => {});
  }
  return lines;
}

describe('a status without the envelope of Google', () => {
  it.each([400, 401, 403, 404, 409, 410, 412, 413])(
    "retries at once after %i without Google's envelope on an insert",
    async (status) => {
      fails('events.insert', { status, html: true });
      await sync(world.payment('b1'));
      expect(world.calls()).toEqual(['events.insert', 'events.insert']);
      expect((await world.booking('b1'))?.status).toBe('scheduled');
    },
  );

  it.each([403, 404, 410])(
    "%i without Google's envelope on a change or deletion leaves one event, then none",
    async (status) => {
      await sync(world.payment('b1'));
      const booking = await world.booking('b1');
      fails('events.patch', { status, html: true }, 2);
      await patchBooking(world.deps, target, body(booking, 2));
      await sync(again());
      expect(await world.booking('b1')).toMatchObject({
        status: 'pending',
        problems: [{ code: 'google_transient' }],
      });
      world.time.now += 60;
      await sync(again());
      expect(world.events()).toHaveLength(1);
      fails('events.delete', { status, html: true }, 2);
      await sync(world.reported('b1', { refundedTotal: 9000 }));
      expect((await world.booking('b1'))?.status).toBe('pending');
      world.time.now += 60;
      await sync(again());
      expect(world.events()).toEqual([]);
      expect((await world.booking('b1'))?.status).toBe('cancelled');
    },
  );

  it('200 with a page on a deletion does not count as deleted', async () => {
    await sync(world.payment('b1'));
    fails('events.delete', { status: 200, html: true }, 2);
    await sync(world.reported('b1', { refundedTotal: 9000 }));
    expect((await world.booking('b1'))?.status).toBe('pending');
    expect(world.events()).toHaveLength(1);
  });

  it.each([400, 401, 403, 404])(
    "%i without Google's envelope at the token endpoint breaks no connection",
    async (status) => {
      world.google.control.expireAccessTokens('ada@example.com');
      fails('token', { status, html: true });
      await sync(world.payment('b1'));
      expect(await world.booking('b1')).toMatchObject({
        status: 'pending',
        problems: [{ code: 'google_unexpected_status' }],
      });
      expect((await world.connection('user-1'))?.status).toBe('active');
    },
  );

  it('5xx with invalid_grant at the token endpoint breaks no connection', async () => {
    world.google.control.expireAccessTokens('ada@example.com');
    fails('token', { status: 503, oauthError: 'invalid_grant' });
    await sync(world.payment('b1'));
    expect((await world.booking('b1'))?.status).toBe('pending');
    expect((await world.connection('user-1'))?.status).toBe('active');
  });

  it.each<[string, FaultEffect, boolean]>([
    ['a page', { status: 400, html: true }, false],
    ['an OAuth error', { status: 400, oauthError: 'invalid_token' }, true],
  ])('a 400 with %s ends a revocation only if it is an OAuth error', async (_, how, done) => {
    fails('revoke', how);
    const revoked = world.deps.google.revoke('any');
    if (done) await expect(revoked).resolves.toBeUndefined();
    else await expect(revoked).rejects.toMatchObject({ code: 'google_unexpected_status', retryable: true });
  });
});

describe("a refusal of the user's account or calendar", () => {
  const refusals: [string, FaultEffect, string][] = [
    [
      'notACalendarUser',
      { status: 403, reason: 'notACalendarUser', domain: 'calendar' },
      'google_account_refused',
    ],
    ['forbidden', { status: 403, reason: 'forbidden', message: 'Forbidden' }, 'google_account_refused'],
    ['an unknown reason', { status: 403, reason: 'neverHeardOfIt' }, 'google_account_refused'],
    ['413', { status: 413, reason: 'uploadTooLarge' }, 'google_account_refused'],
    ['a failed precondition', { status: 400, reason: 'failedPrecondition' }, 'google_account_refused'],
    ['a calendar that is not found', { status: 404, reason: 'notFound' }, 'google_not_found'],
  ];

  it.each(refusals)(
    'after %s the booking waits, and the schedule retries it until it succeeds',
    async (_, how, code) => {
      fails('events.insert', how, 8);
      await sync(world.payment('b1', { appointment: tenDaysAhead() }));
      for (let attempt = 1; attempt < 8; attempt++) {
        const booking = await world.booking('b1');
        expect(booking).toMatchObject({
          status: 'pending',
          nextRun: { count: attempt },
          problems: [{ code }],
        });
        world.time.now = booking?.nextRun?.at as number;
        await sync(again());
      }
      world.time.now = (await world.booking('b1'))?.nextRun?.at as number;
      await sync(again());
      expect(await world.booking('b1')).toMatchObject({ status: 'scheduled', problems: [] });
      expect(await world.booking('b1')).not.toMatchObject({ nextRun: { why: 'refused' } });
      expect(world.bus.types()).toEqual(['booking.scheduled']);
    },
  );

  it.each(refusals)('after %s choosing a calendar or connecting retries at once', async (_, how) => {
    fails('events.insert', how);
    await sync(world.payment('b1'));
    await sync(again());
    expect(world.calls()).toEqual(['events.insert']);
    const read = { tokenVersion: 1 };
    await world.deps.connections.updateSettings('user-1', read, {
      calendarId: 'primary',
      updatedAt: world.time.now,
    });
    await requeueWaiting(world.deps, {
      type: 'connection.activated',
      userId: 'user-1',
      tokenVersion: 1,
      page: 0,
    });
    expect(world.queue.messages).toHaveLength(1);
    await sync(world.queue.messages[0] as SyncRequested);
    expect((await world.booking('b1'))?.status).toBe('scheduled');
  });

  it.each<[string, (booking: Booking | undefined) => Promise<{ outcome: string }>]>([
    ['PUT', (booking) => declareBooking(world.deps, target, body(booking))],
    ['PATCH', () => patchBooking(world.deps, target, {})],
  ])('after a refusal an unchanged %s retries at once, at the same revision', async (_, repeat) => {
    fails('events.insert', { status: 403, reason: 'forbidden' });
    await declareBooking(world.deps, target, body(world.payment('b1').booking as Booking));
    await sync(world.payment('b1'));
    const { outcome } = await repeat(await world.booking('b1'));
    expect(outcome).toBe('accepted');
    await sync(again());
    expect(await world.booking('b1')).toMatchObject({ status: 'scheduled', revision: 1 });
    expect((await repeat(await world.booking('b1'))).outcome).toBe('unchanged');
  });

  it('after a refused deletion a refunded booking stays pending until its event is deleted', async () => {
    await sync(world.payment('b1'));
    fails('events.delete', { status: 403, reason: 'CONSUMER_SUSPENDED' });
    await sync(world.reported('b1', { refundedTotal: 9000 }));
    const booking = await world.booking('b1');
    expect(booking?.status).toBe('pending');
    world.time.now = booking?.nextRun?.at as number;
    await sync(again());
    expect((await world.booking('b1'))?.status).toBe('cancelled');
    expect(world.events()).toEqual([]);
  });

  it('logs each reason of a refusal once per booking, an unknown one as operator error', async () => {
    const reported = async (reason: string) => {
      fails('events.insert', { status: 403, reason }, 2);
      const lines = await logged(async () => {
        await sync(world.payment('b1', { appointment: tenDaysAhead() }));
        world.time.now = (await world.booking('b1'))?.nextRun?.at as number;
        await sync(again());
      });
      const count = (name: string) => lines.filter((line) => name in line).length;
      return { refused: count('CalendarRefused'), operator: count('OperatorError') };
    };
    expect(await reported('forbidden')).toEqual({ refused: 1, operator: 0 });
    world.time.now = (await world.booking('b1'))?.nextRun?.at as number;
    expect(await reported('neverHeardOfIt')).toEqual({ refused: 1, operator: 1 });
  });

  it('a refused booking ends as missed when its appointment is over', async () => {
    fails('events.insert', { status: 403, reason: 'forbidden' }, 50);
    await sync(world.payment('b1'));
    for (let run = 0; run < 30 && (await world.booking('b1'))?.status === 'pending'; run++) {
      world.time.now = (await world.booking('b1'))?.nextRun?.at as number;
      await sync(again());
    }
    const { appointment } = world.payment('b1').booking;
    expect((await world.booking('b1'))?.status).toBe('missed');
    expect(world.time.now - (appointment?.endsAt ?? 0)).toBeLessThan(7 * 3600);
  });
});

describe('data that Google rejects', () => {
  it('rejected data fail the booking, and an unchanged PUT tries it again', async () => {
    fails('events.insert', { status: 400, reason: 'timeRangeEmpty' });
    await declareBooking(world.deps, target, body(world.payment('b1').booking as Booking));
    await sync(world.payment('b1'));
    expect((await world.booking('b1'))?.status).toBe('failed');
    const { outcome } = await declareBooking(world.deps, target, body(await world.booking('b1')));
    expect(outcome).toBe('accepted');
    await sync(again());
    expect((await world.booking('b1'))?.status).toBe('scheduled');
  });
});

function tenDaysAhead(): NonNullable<Booking['appointment']> {
  const startsAt = world.time.now + 10 * 86_400;
  const iso = (seconds: number) => new Date(seconds * 1000).toISOString();
  return {
    summary: 'Meeting b1',
    start: { dateTime: iso(startsAt) },
    end: { dateTime: iso(startsAt + 3600) },
    startsAt,
    endsAt: startsAt + 3600,
  };
}
