/**
 * The audit among many bookings: finds each planted discrepancy, nothing else, and all are repaired. More of them:
 * `AUDIT_BOOKINGS=10000 npx vitest run test/integration/audit-at-scale.test.ts`.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { repaired } from '../../infra/cli/ops/repair.ts';
import { audit } from '../../shared/audit/audit.ts';
import { pointerReader } from '../../shared/audit/payments.ts';
import type { Booking, EventSnapshot } from '../../shared/booking/booking.ts';
import type { CalendarFinding, CalendarKind, Finding } from '../../shared/booking/findings.ts';
import { encryptTokens } from '../../shared/crypto/token-encryption.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { indexShards, startWorld, type World } from './world.ts';

const count = Number(process.env.AUDIT_BOOKINGS ?? 200);
const ofUser = 50;
const planted = 50;
const timeout = 120_000 + count * 100;

let world: World;
const emailOf = (userId: string) => `${userId}@example.com`;

beforeAll(async () => {
  world = await startWorld();
  for (let user = 0; user < count / ofUser; user++) await connect(`user-${user}`);
  for (let number = 0; number < count; number++) {
    const userId = `user-${number % (count / ofUser)}`;
    await syncBooking(world.deps, world.payment(`b${number}`, { userId }));
  }
}, timeout);
afterAll(() => world?.close());

/** A user with a Google account of their own. */
async function connect(userId: string): Promise<void> {
  const email = emailOf(userId);
  const googleSub = `sub-${userId}`;
  world.google.control.addAccount({ sub: googleSub, email, name: userId, timeZone: 'Europe/Vienna' });
  const { accessToken, refreshToken = '' } = grant(email);
  const tokens = { accessToken, refreshToken };
  const encrypted = await encryptTokens(world.tokenKeys.value, world.time.now, userId, tokens);
  await world.connect(userId, { email, googleSub, ...encrypted });
}
function grant(email: string) {
  const scopes = ['openid', 'https://www.googleapis.com/auth/calendar.events.owned'];
  return world.google.control.grant({ clientId: 'test-client', email, scopes });
}
function eventOf({ calendar }: Booking): EventSnapshot {
  if (calendar.kind !== 'present') throw new Error('There is no event.');
  return calendar.event;
}
async function tamper(booking: Booking, change: Partial<Booking>): Promise<void> {
  expect(await world.deps.bookings.save({ ...booking, ...change })).toBe(true);
}

/** Makes a discrepancy of each kind behind the service's back. */
const plant: Record<CalendarKind, (booking: Booking) => Promise<void>> = {
  async paid_without_event(booking) {
    world.google.control.deleteEvent(emailOf(booking.userId as string), eventOf(booking).eventId);
  },
  async event_without_booking(booking) {
    const calendar = { kind: 'absent' } as const;
    await tamper(booking, { cancelledAt: toIso(world.time.now), status: 'cancelled', calendar });
  },
  async wrong_time(booking) {
    const { appointment, revision, calendar } = booking;
    if (!appointment || calendar.kind !== 'present') throw new Error('It is not scheduled.');
    const [startsAt, endsAt] = [appointment.startsAt + 3600, appointment.endsAt + 3600];
    const times = {
      startsAt,
      endsAt,
      start: { dateTime: toIso(startsAt) },
      end: { dateTime: toIso(endsAt) },
    };
    const event = { ...calendar.event, revision: revision + 1 };
    await tamper(booking, {
      appointment: { ...appointment, ...times },
      revision: revision + 1,
      calendar: { ...calendar, event },
    });
  },
  async refunded_still_scheduled(booking) {
    const [[id, facts] = ['', {}]] = Object.entries(booking.payments);
    const payments = { [id]: { ...facts, refundedTotal: 9000 } };
    await tamper(booking, { payments, status: 'cancelled', calendar: { kind: 'absent' } });
  },
  async duplicate_events({ bookingId, userId }) {
    const answer = await fetch(`${world.deps.calendar.baseUrl}/calendars/primary/events`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${grant(emailOf(userId as string)).accessToken}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({
        summary: 'Copy',
        start: { dateTime: toIso(world.time.now + 86_400) },
        end: { dateTime: toIso(world.time.now + 90_000) },
        extendedProperties: { private: { leadscalendar: '1', leadscalendarBooking: bookingId } },
      }),
    });
    expect(answer.status).toBe(200);
  },
};
const kinds = Object.keys(plant) as CalendarKind[];

async function run(): Promise<{ found: string[]; findings: CalendarFinding[]; calls: number }> {
  const findings: CalendarFinding[] = [];
  world.google.control.clearRequests();
  const now = world.time.now;
  const counts = { users: 0, unread: 0, bookings: 0, waiting: 0, findings: 0 };
  const done = await audit(
    {
      ...world.deps,
      pointers: pointerReader(world.dynamo, world.tableNames.bookings, indexShards),
      concurrency: 5,
      callBudget: 100_000,
      timeLeft: () => true,
      found: async (finding: Finding) => void findings.push(finding as CalendarFinding),
      saveProgress: async () => {},
    },
    { startedAt: now, from: now - 86_400, to: now + 7 * 86_400, ...counts },
  );
  expect(done).toMatchObject({ bookings: count, unread: 0 });
  return {
    found: findings.map(({ kind, bookingId }) => `${kind} ${bookingId}`).sort(),
    findings,
    calls: world.calls().filter((route) => route.startsWith('events')).length,
  };
}

it('finds each discrepancy and nothing else, and all of them are repaired', { timeout }, async () => {
  const users = count / ofUser;
  world.time.now += 600;
  expect(await run()).toMatchObject({ found: [], calls: users });

  const expected: string[] = [];
  for (let number = 0; number < planted; number++) {
    const bookingId = `b${Math.floor((number * count) / planted)}`;
    const kind = kinds[number % kinds.length] as CalendarKind;
    await plant[kind]((await world.booking(bookingId)) as Booking);
    expected.push(`${kind} ${bookingId}`);
  }
  world.time.now += 600;
  const { found, findings, calls } = await run();
  expect(found).toEqual(expected.sort());
  // A page of each calendar, and each difference is read once more.
  expect(calls).toBeLessThanOrEqual(users + planted);

  for (const finding of findings) {
    const booking = await world.booking(finding.bookingId);
    const changed = repaired(finding, booking, { by: 'operator', now: world.time.now });
    if ('refused' in changed) throw new Error(changed.refused);
    expect(await world.deps.bookings.save(changed)).toBe(true);
  }
  for (let round = 0; round < 5; round++) {
    for (const { bookingId } of findings)
      await syncBooking(world.deps, { type: 'sync', bookingId, cause: `repair-${round}` });
    world.time.now += 130;
  }
  world.time.now += 600;
  const after = await run();
  expect(after.found).toEqual([]);
  if (process.env.AUDIT_BOOKINGS)
    console.log(
      `${count} bookings of ${users} users: ${found.length} of ${planted} found in ${calls} calls to Google`,
    );
});
