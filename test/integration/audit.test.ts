import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { repaired } from '../../infra/cli/ops/repair.ts';
import { type AuditDeps, audit, type Progress, resolveFindings } from '../../shared/audit/audit.ts';
import { pointerReader } from '../../shared/audit/payments.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import { type CalendarFinding, findingIdOf, findingStore } from '../../shared/booking/findings.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { ada, indexShards, startWorld, type World } from './world.ts';

let world: World;
let found: CalendarFinding[];
let saved: Progress[];
beforeEach(async () => {
  world = await startWorld();
  await world.connect('user-1');
  found = [];
  saved = [];
});
afterEach(() => world.close());

async function run(change: Partial<AuditDeps> = {}, from?: Progress): Promise<Progress> {
  found = [];
  const { now } = world.time;
  const empty = { startedAt: now, from: now, to: now + 60 * 86_400 };
  const counts = { users: 0, unread: 0, bookings: 0, waiting: 0, findings: 0 };
  return audit(
    {
      ...world.deps,
      concurrency: 1,
      pointers: pointers(),
      callBudget: 1000,
      timeLeft: () => true,
      found: async (finding) => void found.push(finding as CalendarFinding),
      saveProgress: async (progress) => void saved.push(progress),
      ...change,
    },
    from ?? { ...empty, ...counts },
  );
}
const pointers = () => pointerReader(world.dynamo, world.tableNames.bookings, indexShards);
const kinds = () => found.map(({ kind, bookingId }) => `${kind} ${bookingId}`);
async function pay(bookingId: string): Promise<Booking> {
  await syncBooking(world.deps, world.payment(bookingId));
  return (await world.booking(bookingId)) as Booking;
}
/** Time passes: what has just changed is left for the next run. */
const later = () => {
  world.time.now += 600;
};
/** Changes the record behind the service's back. */
async function tamper(booking: Booking, change: Partial<Booking>): Promise<void> {
  expect(await world.deps.bookings.save({ ...booking, ...change })).toBe(true);
}
const eventIdOf = (booking: Booking) => {
  if (booking.calendar.kind !== 'present') throw new Error('There is no event.');
  return booking.calendar.event.eventId;
};
/** Repairs all findings through sync, twice each, until nothing is due; then the audit finds nothing. */
async function repairAll(): Promise<void> {
  for (const finding of [...found, ...found]) {
    const booking = await world.booking(finding.bookingId);
    const changed = repaired(finding, booking, { by: 'operator', now: world.time.now });
    if ('refused' in changed) throw new Error(changed.refused);
    expect(await world.deps.bookings.save(changed)).toBe(true);
  }
  const [bookingId = ''] = found.map((finding) => finding.bookingId);
  for (let runs = 0; runs < 5; runs++) {
    await syncBooking(world.deps, { type: 'sync', bookingId, cause: `repair-${runs}` });
    world.time.now += 130;
  }
  later();
  await run();
  expect(kinds()).toEqual([]);
}
/** Writes to a calendar as another program with the user's access would. */
async function asUser(method: string, path: string, body: object): Promise<void> {
  const { accessToken } = world.google.control.grant({
    clientId: 'test-client',
    email: ada,
    scopes: ['https://www.googleapis.com/auth/calendar.events.owned'],
  });
  const answer = await fetch(`${world.deps.calendar.baseUrl}/calendars/primary/events${path}`, {
    method,
    headers: { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(answer.status).toBe(200);
}
const copy = (bookingId: string) => ({
  summary: 'Copy',
  start: { dateTime: toIso(world.time.now + 86_400) },
  end: { dateTime: toIso(world.time.now + 90_000) },
  extendedProperties: { private: { leadscalendar: '1', leadscalendarBooking: bookingId } },
});

describe('the audit', () => {
  it('finds nothing where calendars and bookings agree', async () => {
    await pay('1042');
    await world.declare('unpaid');
    later();
    expect(await run()).toMatchObject({ users: 1, unread: 0, bookings: 2, findings: 0, waiting: 0 });
    expect(kinds()).toEqual([]);
  });

  it('finds a paid booking whose event is gone', async () => {
    world.google.control.deleteEvent(ada, eventIdOf(await pay('1042')));
    later();
    await run();
    expect(kinds()).toEqual(['paid_without_event 1042']);
    await repairAll();
    // Its owner has deleted it most likely: that is said, and nothing is created again.
    expect(await world.booking('1042')).toMatchObject({ status: 'deleted_by_user' });
    expect(world.events()).toEqual([]);
  });

  it('finds a paid booking that no run remembers', async () => {
    const booking = await pay('1042');
    world.google.control.deleteEvent(ada, eventIdOf(booking));
    await tamper(booking, { calendar: { kind: 'absent' }, status: 'pending' });
    later();
    await run();
    expect(kinds()).toEqual(['paid_without_event 1042']);
    await repairAll();
  });

  it('finds an event whose booking is unknown', async () => {
    await asUser('POST', '', copy('never-was'));
    later();
    await run();
    expect(kinds()).toEqual(['event_without_booking never-was']);
  });

  it('finds an event whose booking is cancelled', async () => {
    const booking = await pay('1042');
    await tamper(booking, {
      cancelledAt: toIso(world.time.now),
      status: 'cancelled',
      calendar: { kind: 'absent' },
    });
    later();
    await run();
    expect(kinds()).toEqual(['event_without_booking 1042']);
    await repairAll();
  });

  it('finds an event whose booking is of another user', async () => {
    await tamper(await pay('1042'), { userId: 'user-2' });
    later();
    await run();
    expect(kinds()).toEqual(['event_without_booking 1042']);
    const [finding] = found;
    const operator = { by: 'operator', now: world.time.now };
    expect(repaired(finding as CalendarFinding, await world.booking('1042'), operator)).toMatchObject({
      refused: expect.stringContaining('another user'),
    });
  });

  it('finds an event that shows an older time', async () => {
    const booking = await pay('1042');
    const { appointment, revision, calendar } = booking;
    if (!appointment || calendar.kind !== 'present') throw new Error('It is not scheduled.');
    const startsAt = appointment.startsAt + 3600;
    const endsAt = startsAt + 3600;
    const moved = {
      ...appointment,
      ...{ startsAt, endsAt, start: { dateTime: toIso(startsAt) }, end: { dateTime: toIso(endsAt) } },
    };
    const event = { ...calendar.event, revision: revision + 1 };
    await tamper(booking, { appointment: moved, revision: revision + 1, calendar: { ...calendar, event } });
    later();
    await run();
    expect(kinds()).toEqual(['wrong_time 1042']);
    await repairAll();
  });

  it('leaves an event where its owner has moved it', async () => {
    const booking = await pay('1042');
    const start = { dateTime: toIso(world.time.now + 5 * 86_400) };
    const end = { dateTime: toIso(world.time.now + 5 * 86_400 + 3600) };
    await asUser('PATCH', `/${eventIdOf(booking)}`, { start, end });
    later();
    await run();
    expect(kinds()).toEqual([]);
  });

  it('leaves an event that its owner has moved beyond the range', async () => {
    const booking = await pay('1042');
    const start = { dateTime: toIso(world.time.now + 90 * 86_400) };
    const end = { dateTime: toIso(world.time.now + 90 * 86_400 + 3600) };
    await asUser('PATCH', `/${eventIdOf(booking)}`, { start, end });
    later();
    await run();
    expect(kinds()).toEqual([]);
  });

  it('finds a refunded booking that is still in the calendar', async () => {
    const booking = await pay('1042');
    const facts = { ...booking.payments.pi_1042, refundedTotal: 9000 };
    await tamper(booking, {
      payments: { pi_1042: facts },
      status: 'cancelled',
      calendar: { kind: 'absent' },
    });
    later();
    await run();
    expect(kinds()).toEqual(['refunded_still_scheduled 1042']);
    await repairAll();
    expect(world.events()).toEqual([]);
  });

  it('finds a second event of a booking', async () => {
    await pay('1042');
    await asUser('POST', '', copy('1042'));
    later();
    await run();
    expect(kinds()).toEqual(['duplicate_events 1042']);
    await repairAll();
  });

  it('leaves a booking that has just changed for the next run', async () => {
    world.google.control.deleteEvent(ada, eventIdOf(await pay('1042')));
    await run();
    expect(kinds()).toEqual([]);
  });

  it('counts bookings that wait, and finds nothing about them', async () => {
    world.google.control.fail({ on: 'events.insert', how: { status: 503 }, times: 100 });
    await pay('retried');
    world.google.control.clearFaults();
    const deleted = await pay('deleted');
    if (deleted.calendar.kind !== 'present') throw new Error('It is not scheduled.');
    world.google.control.deleteEvent(ada, eventIdOf(deleted));
    await tamper(deleted, {
      calendar: { kind: 'deleted_by_owner', event: deleted.calendar.event },
      status: 'deleted_by_user',
    });
    for (const reason of ['failed', 'missed', 'conflict'] as const) {
      const booking = await pay(reason);
      world.google.control.deleteEvent(ada, eventIdOf(booking));
      const { revision } = booking;
      const givenUp = { reason, revision, presence: 'confirmed' as const };
      await tamper(booking, { givenUp, status: reason, calendar: { kind: 'absent' } });
    }
    later();
    expect(await run()).toMatchObject({ bookings: 5, waiting: 5, findings: 0 });
    expect(kinds()).toEqual([]);
  });

  it('asks Google for events of ours only', async () => {
    await asUser('POST', '', { ...copy('x'), summary: 'Doctor', extendedProperties: {} });
    world.google.control.deleteEvent(ada, eventIdOf(await pay('1042')));
    later();
    world.google.control.clearRequests();
    await run();
    const requests = world.google.control.requests();
    expect(requests.map(({ route }) => route)).toEqual(['events.list', 'events.get']);
    expect(requests.map(({ method }) => method)).toEqual(['GET', 'GET']);
    expect(requests[0]?.query).toContain('privateExtendedProperty=leadscalendar%3D1');
    expect(requests[1]?.path).toMatch(/\/lc[0-9a-v]+$/);
    for (const { query } of requests) expect(query).toMatch(/fields=/);
  });

  it('continues after a kill with the user that follows', async () => {
    for (const userId of ['user-2', 'user-3']) await world.connect(userId);
    const killed = async (progress: Progress): Promise<void> => {
      saved.push(progress);
      if (progress.users === 2) throw new Error('killed');
    };
    await expect(run({ saveProgress: killed })).rejects.toThrow('killed');
    world.google.control.clearRequests();
    expect(await run({}, saved.at(-1))).toMatchObject({ users: 3, finishedAt: world.time.now });
    expect(world.calls()).toEqual(['events.list']);
  });

  it('ends a run when its calls to Google are used up, and continues there', async () => {
    for (const userId of ['user-2', 'user-3']) await world.connect(userId);
    const first = await run({ callBudget: 2 });
    expect(first).toMatchObject({ users: 2 });
    expect(first.finishedAt).toBeUndefined();
    expect(world.calls()).toHaveLength(2);
    expect(await run({}, first)).toMatchObject({ users: 3, finishedAt: world.time.now });
  });

  it('ends a run before its time is over', async () => {
    expect(await run({ timeLeft: () => false })).toMatchObject({ users: 0 });
    expect(world.calls()).toEqual([]);
  });

  it('counts a user whose calendar cannot be read, and does not judge the bookings', async () => {
    await pay('1042');
    later();
    world.google.control.fail({ on: 'events.list', how: { status: 503 }, times: 10 });
    expect(await run()).toMatchObject({ users: 1, unread: 1, findings: 0 });
  });

  it('does not count as use of an idle connection', async () => {
    world.time.now += 2 * 86_400;
    const before = (await world.connection('user-1')) as { lastUsedAt: number };
    await run();
    expect(await world.connection('user-1')).toMatchObject({ lastUsedAt: before.lastUsedAt });
  });
});

describe('the findings', () => {
  const finding: CalendarFinding = {
    kind: 'paid_without_event',
    bookingId: '1042',
    userId: 'user-1',
    place: { calendarId: 'primary', eventId: 'lc1' },
  };
  const openIds = async (store: ReturnType<typeof findingStore>) => {
    const ids: string[] = [];
    for await (const { findingId } of store.open()) ids.push(findingId);
    return ids;
  };

  it('is the same item when it is found again, and can be resolved and opened again', async () => {
    const store = findingStore(world.dynamo, 'BookingsTable', 4);
    const id = findingIdOf(finding);
    await store.record(finding, 100);
    await store.record({ ...finding, place: { calendarId: 'primary', eventId: 'lc2' } }, 200);
    expect(await store.get(id)).toMatchObject({ firstSeenAt: 100, seenAt: 200 });
    expect(await openIds(store)).toEqual([id]);
    expect(await store.resolve(id, 200, 300)).toBe(false);
    expect(await store.resolve(id, 201, 300)).toBe(true);
    expect(await openIds(store)).toEqual([]);
    expect(await store.get(id)).toMatchObject({ resolvedAt: 300 });
    await store.record(finding, 400);
    expect((await store.get(id))?.resolvedAt).toBeUndefined();
    expect(await openIds(store)).toEqual([id]);
  });

  it('is resolved only after a read that does not find it again', async () => {
    const store = findingStore(world.dynamo, 'BookingsTable', 4);
    world.google.control.deleteEvent(ada, eventIdOf(await pay('1042')));
    later();
    await run({ found: async (one) => void found.push(one as CalendarFinding) });
    for (const one of found) await store.record(one, world.time.now);
    const resolve = () => {
      world.time.now += 600;
      return resolveFindings(
        {
          ...world.deps,
          pointers: pointers(),
          callBudget: 10,
          timeLeft: () => true,
        },
        store,
        world.time.now,
      );
    };
    expect(await resolve()).toEqual({ resolved: 0, open: 1 });
    world.google.control.fail({ on: 'events.get', how: { status: 503 }, times: 2 });
    expect(await resolve()).toEqual({ resolved: 0, open: 1 });
    world.google.control.clearFaults();
    await repairAll();
    expect(await resolve()).toEqual({ resolved: 1, open: 0 });
    expect(await openIds(store)).toEqual([]);
  });
});
