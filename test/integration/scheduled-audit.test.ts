import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runAudit } from '../../functions/audit/run-audit.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { openFindings } from '../../infra/cli/ops/audit.ts';
import { repaired } from '../../infra/cli/ops/repair.ts';
import { pointerReader } from '../../shared/audit/payments.ts';
import { auditProgress } from '../../shared/audit/progress.ts';
import { type CalendarFinding, findingStore } from '../../shared/booking/findings.ts';
import type { PaymentReported } from '../../shared/booking/queue.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { logged } from '../support/setup.ts';
import { ada, indexShards, startWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
  logged.length = 0;
});
afterEach(() => world.close());

const hour = 3600;
const progress = () => auditProgress(world.dynamo, world.tableNames.bookings);
const findings = () => findingStore(world.dynamo, world.tableNames.bookings, indexShards);
type Deps = Parameters<typeof runAudit>[0];
const run = (change: Partial<Deps> = {}) =>
  runAudit({
    ...world.deps,
    findings: findings(),
    progress: progress(),
    pointers: pointerReader(world.dynamo, world.tableNames.bookings, indexShards),
    concurrency: 1,
    callBudget: 1000,
    timeLeft: () => true,
    ...change,
  });
const metrics = (name: string): number[] =>
  logged.map((line) => JSON.parse(line)).flatMap((line) => (name in line ? [line[name]] : []));
const completed = () => world.bus.events.filter(({ type }) => type === 'audit.completed');

/** Users with a scheduled booking each. */
async function users(count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, index) => `user-${index + 1}`);
  for (const userId of ids) {
    await world.connect(userId);
    await syncBooking(world.deps, world.payment(`b-${userId}`, { userId }));
  }
  world.time.now += 600;
  return ids;
}
/** Deletes the event of a booking as its owner would. */
async function deleteEvent(bookingId: string): Promise<void> {
  const calendar = (await world.booking(bookingId))?.calendar;
  if (calendar?.kind !== 'present') throw new Error('There is no event.');
  world.google.control.deleteEvent(ada, calendar.event.eventId);
}

describe('the scheduled audit', () => {
  it('compares all bookings once a day, and says so on the bus', async () => {
    await users(2);
    world.bus.events.length = 0;
    const started = world.time.now;
    expect(await run()).toMatchObject({ users: 2, bookings: 2, findings: 0, open: 0 });
    expect(completed()).toEqual([
      {
        type: 'audit.completed',
        id: `audit.completed:${started}`,
        time: toIso(started),
        from: toIso(started - 7 * 24 * hour),
        to: toIso(started + 60 * 24 * hour),
        users: 2,
        unreadUsers: 0,
        bookings: 2,
        waitingBookings: 0,
        openFindings: 0,
      },
    ]);
    expect([metrics('AuditFindings'), metrics('UsersAudited')]).toEqual([[0], [2]]);
    const calls = world.calls().length;
    world.time.now += 23 * hour;
    await run();
    expect(world.calls()).toHaveLength(calls);
    expect(completed()).toHaveLength(1);
    world.time.now += hour;
    await run();
    expect(completed()).toHaveLength(2);
  });

  it('goes on where the run before ended for want of time', async () => {
    await users(3);
    const started = world.time.now;
    let left = 1;
    expect(await run({ timeLeft: () => left-- > 0 })).toMatchObject({ users: 1 });
    expect(completed()).toEqual([]);
    world.time.now += hour;
    expect(await run()).toMatchObject({ startedAt: started, users: 3, bookings: 3, findings: 0 });
    expect(completed()).toHaveLength(1);
    expect(metrics('UsersAudited')).toEqual([1, 2]);
  });

  it('gets past users who need more than all its calls, and says that they were not read', async () => {
    await users(2);
    expect(await run({ callBudget: 0 })).toMatchObject({ users: 1, unread: 1 });
    expect(await run({ callBudget: 0 })).toMatchObject({ users: 2, unread: 2 });
    expect(await run({ callBudget: 0 })).toHaveProperty('finishedAt');
  });

  it('keeps what it finds, until it was repaired: that is seen within the hour', async () => {
    await users(2);
    await deleteEvent('b-user-1');
    expect(await run()).toMatchObject({ findings: 1, open: 1 });
    expect(completed()).toMatchObject([{ openFindings: 1 }]);
    world.time.now += hour;
    expect(await run()).toMatchObject({ open: 1 });

    for await (const one of findings().open()) {
      const finding = one as CalendarFinding;
      const booking = await world.booking(finding.bookingId);
      const changed = repaired(finding, booking, { by: 'operator', now: world.time.now });
      if ('refused' in changed) throw new Error(changed.refused);
      await world.deps.bookings.save(changed);
      for (let runs = 0; runs < 4; runs++) {
        await syncBooking(world.deps, {
          type: 'sync',
          bookingId: finding.bookingId,
          cause: `repair-${runs}`,
        });
        world.time.now += 130;
      }
    }
    expect(await world.booking('b-user-1')).toMatchObject({ status: 'deleted_by_user' });
    world.time.now += hour;
    expect(await run()).toMatchObject({ open: 0 });
    expect(metrics('AuditFindings')).toEqual([1, 1, 0]);
  });

  it('publishes again, with the same id, after a crash before its end was stored', async () => {
    await users(1);
    const crashing = {
      ...progress(),
      save: async (it: Parameters<Deps['progress']['save']>[0]) => {
        if (it.finishedAt !== undefined) throw new Error('The run has crashed.');
        return progress().save(it);
      },
    };
    await expect(run({ progress: crashing })).rejects.toThrow('crashed');
    world.time.now += hour;
    await run();
    const ids = completed().map(({ id }) => id);
    expect(ids).toHaveLength(2);
    expect(new Set(ids).size).toBe(1);
  });

  it('ends where another run goes on beside it, and counts no user twice', async () => {
    await users(3);
    let others = 1;
    const beside = {
      ...progress(),
      get: async () => {
        const read = await progress().get();
        // The other run saves first.
        if (others-- > 0) await run();
        return read;
      },
    };
    await expect(run({ progress: beside })).rejects.toMatchObject({ code: 'concurrent_update' });
    expect(await progress().get()).toMatchObject({ users: 3 });
  });

  it('passes over a user whose calendar cannot be read, and reads it the next day', async () => {
    await users(2);
    world.google.control.fail({ on: 'events.list', how: { status: 503 }, times: 1 });
    expect(await run()).toMatchObject({ users: 2, unread: 1 });
    world.time.now += 24 * hour;
    expect(await run()).toMatchObject({ users: 2, unread: 0 });
  });
});

describe('a payment whose booking was never declared', () => {
  const undeclared = (): PaymentReported => {
    const { booking, ...payment } = world.payment('never');
    return { ...payment, booking: { bookingId: 'never', userId: 'user-1', mustExist: true, problems: [] } };
  };
  const kinds = async () => {
    const open: string[] = [];
    for await (const { kind, bookingId } of findings().open()) open.push(`${kind} ${bookingId}`);
    return open;
  };

  it('is found after a day, and resolved once it counts for its booking', async () => {
    await world.connect('user-1');
    await syncBooking(world.deps, undeclared());
    await run();
    expect(await kinds()).toEqual([]);
    world.time.now += 25 * hour;
    expect(await run()).toMatchObject({ findings: 1, open: 1 });
    expect(await kinds()).toEqual(['paid_without_booking never']);
    await world.declare('never');
    world.time.now += hour;
    expect(await run()).toMatchObject({ open: 1 });
    await syncBooking(world.deps, undeclared());
    world.time.now += hour;
    expect(await run()).toMatchObject({ open: 0 });
    expect(await kinds()).toEqual([]);
  });

  it('is resolved by its refund', async () => {
    await world.connect('user-1');
    await syncBooking(world.deps, undeclared());
    world.time.now += 25 * hour;
    await run();
    await syncBooking(world.deps, world.reported('never', { refundedTotal: 9000, amount: 9000 }));
    world.time.now += hour;
    expect(await run()).toMatchObject({ open: 0 });
  });
});

describe('an open finding', () => {
  it('shows what an operator can do, also where no booking is known', async () => {
    await users(1);
    const place = { calendarId: 'primary', eventId: 'lc1' };
    const about = { userId: 'user-1', place };
    await findings().record({ kind: 'paid_without_event', bookingId: 'b-user-1', ...about }, 100);
    await findings().record({ kind: 'event_without_booking', bookingId: 'unknown', ...about }, 200);
    const target = {
      dynamo: world.dynamo,
      output: () => world.tableNames.bookings,
      indexShards,
    } as unknown as Parameters<typeof openFindings>[0];
    const records = { bookings: world.deps.bookings } as Parameters<typeof openFindings>[1];
    const found = await openFindings(target, records, 10);
    expect(found.map(({ bookingId, advice, canRepair }) => [bookingId, advice, canRepair]).sort()).toEqual([
      ['b-user-1', expect.stringMatching(/^ops repair \w{16}; .*ops restore b-user-1/), true],
      ['unknown', expect.stringContaining('delete it in the calendar by hand'), false],
    ]);
    expect(await openFindings(target, records, 1)).toHaveLength(1);
  });
});
