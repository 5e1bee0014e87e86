import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { declareBooking, patchBooking } from '../../functions/bookings/change-booking.ts';
import { listBookings } from '../../functions/bookings/view-booking.ts';
import { parseAppointment } from '../../shared/booking/appointment.ts';
import { calendarScopes } from '../../shared/google/token-endpoint.ts';
import { optionalScopes } from '../../shared/lib/names.ts';
import { ada, startWorld, type World } from './world.ts';

let world: World;
const second = (time: string): number => Date.parse(time) / 1000;
/** Before every appointment here, and after every run of these tests. */
const start = second('2030-01-01T12:00:00Z');
const withFreeBusy = { scopes: ['openid', calendarScopes.owned, optionalScopes.freeBusy] };

async function payment(bookingId: string, start: string, end: string) {
  const { appointment } = await parseAppointment({ summary: `Stay ${bookingId}`, start, end });
  if (!appointment) throw new Error('The appointment of this test is not usable.');
  return world.payment(bookingId, { appointment });
}
const pay = async (bookingId: string, start: string, end: string, change: Partial<World['deps']> = {}) =>
  syncBooking({ ...world.deps, ...change }, await payment(bookingId, start, end));
const again = (bookingId: string) =>
  syncBooking(world.deps, { type: 'sync', bookingId, userId: 'user-1', cause: 'test' });
const stored = async (bookingId: string) => {
  const booking = await world.booking(bookingId);
  if (!booking) throw new Error(`There is no booking ${bookingId}.`);
  return booking;
};
/** Instants of a stored booking. */
const instants = async (bookingId: string) => {
  const { startsAt = 0, endsAt = 0 } = (await stored(bookingId)).appointment ?? {};
  return [startsAt, endsAt].map((at) => new Date(at * 1000).toISOString().replace('.000', ''));
};

describe('whole days of a calendar whose zone Google answers', () => {
  beforeEach(async () => {
    world = await startWorld();
    world.time.now = start;
    world.google.control.changeCalendar(ada, 'primary', { timeZone: 'America/New_York' });
    await world.connect('user-1');
  });
  afterEach(() => world.close());

  it('whole days cost one call for the zone, once for all bookings', async () => {
    await pay('b1', '2030-03-01', '2030-03-03');
    await pay('b2', '2030-03-03', '2030-03-05');
    expect(world.calls()).toEqual(['events.list', 'events.insert', 'events.insert']);
    expect(await world.connection('user-1')).toMatchObject({ timeZone: 'America/New_York' });
    expect(await instants('b1')).toEqual(['2030-03-01T05:00:00Z', '2030-03-03T05:00:00Z']);
    expect(await instants('b2')).toEqual(['2030-03-03T05:00:00Z', '2030-03-05T05:00:00Z']);
  });

  it('whole days with a known zone and appointments with times cost no call for the zone', async () => {
    await pay('b1', '2030-03-01T10:00:00Z', '2030-03-01T11:00:00Z');
    expect(await world.connection('user-1')).not.toHaveProperty('timeZone');
    await world.connect('user-2', { timeZone: 'Asia/Kathmandu' });
    const { booking, ...rest } = await payment('b2', '2030-03-01', '2030-03-02');
    await syncBooking(world.deps, { ...rest, booking: { ...booking, userId: 'user-2' } });
    expect(world.calls()).toEqual(['events.insert', 'events.insert']);
    expect(await instants('b2')).toEqual(['2030-02-28T18:15:00Z', '2030-03-01T18:15:00Z']);
  });

  it('whole days are listed and checked a day before by the zone', async () => {
    await pay('b1', '2030-03-01', '2030-03-02');
    const list = async (from: string, to: string) =>
      (await listBookings(world.deps, 'user-1', { from, to })).bookings.map(({ bookingId }) => bookingId);
    expect(await list('2030-03-01T00:00:00-05:00', '2030-03-02T00:00:00-05:00')).toEqual(['b1']);
    expect(await list('2030-02-28T00:00:00-05:00', '2030-03-01T00:00:00-05:00')).toEqual([]);
    expect((await stored('b1')).nextRun?.at).toBe(second('2030-02-28T00:00:00-05:00'));
  });

  it('whole days keep their instants, and a repeated PUT changes nothing', async () => {
    const body = { summary: 'Stay', start: '2030-03-01', end: '2030-03-02' };
    const target = { userId: 'user-1', bookingId: 'b1' };
    await declareBooking(world.deps, target, body);
    await pay('b1', '2030-03-01', '2030-03-02');
    expect(await declareBooking(world.deps, target, body)).toMatchObject({ outcome: 'unchanged' });
    await patchBooking(world.deps, target, { summary: 'Long stay' });
    expect(await instants('b1')).toEqual(['2030-03-01T05:00:00Z', '2030-03-02T05:00:00Z']);
    await again('b1');
    expect(world.events()).toMatchObject([{ summary: 'Long stay', start: { date: '2030-03-01' } }]);
  });

  it('whole days are not written again when only the zone of the calendar changes', async () => {
    await pay('b1', '2030-03-01', '2030-03-02');
    const { userId, tokenVersion } = (await world.connection('user-1')) as {
      userId: string;
      tokenVersion: number;
    };
    const [calendarId, timeZone] = ['primary', 'Europe/Vienna'];
    expect(await world.deps.connections.saveTimeZone(userId, tokenVersion, { calendarId, timeZone })).toBe(
      true,
    );
    await syncBooking(world.deps, await payment('b1', '2030-03-01', '2030-03-02'), { repeated: true });
    expect(world.calls()).not.toContain('events.patch');
    expect(await instants('b1')).toEqual(['2030-02-28T23:00:00Z', '2030-03-01T23:00:00Z']);
  });

  it('whole days keep the instants of their calendar when the user chooses another one', async () => {
    await pay('b1', '2030-03-01', '2030-03-02');
    const read = await world.connection('user-1');
    await world.connect('user-2');
    await world.deps.connections.updateSettings('user-1', read as never, {
      calendarId: 'other@example.com',
      timeZone: 'Asia/Tokyo',
      updatedAt: world.time.now,
    });
    await patchBooking(world.deps, { userId: 'user-1', bookingId: 'b1' }, { summary: 'Long stay' });
    await again('b1');
    expect(await instants('b1')).toEqual(['2030-03-01T05:00:00Z', '2030-03-02T05:00:00Z']);
  });

  it('whole days wait while the calendar is unreadable, and are created afterwards', async () => {
    world.google.control.fail({ on: 'events.list', times: 2, how: { status: 503 } });
    await pay('b1', '2030-03-01', '2030-03-02');
    expect(await stored('b1')).toMatchObject({ status: 'pending' });
    world.time.now = (await stored('b1')).nextRun?.at ?? 0;
    await again('b1');
    expect(await stored('b1')).toMatchObject({ status: 'scheduled' });
    expect(world.events()).toHaveLength(1);
  });

  it("whole days that are over in the calendar's zone are missed", async () => {
    world.google.control.changeCalendar(ada, 'primary', { timeZone: 'Pacific/Kiritimati' });
    world.time.now = second('2030-03-02T00:00:01+14:00');
    await pay('b1', '2030-03-01', '2030-03-02');
    expect(await stored('b1')).toMatchObject({ status: 'missed' });
    expect(world.events()).toEqual([]);
  });

  it.each([undefined, 'Mars/Olympus'])(
    'creates whole days when Google answers the zone %s',
    async (timeZone) => {
      const { calendar } = world.deps;
      const without: typeof calendar = {
        ...calendar,
        async fetch(url, init) {
          if (!String(url).includes('fields=accessRole')) return calendar.fetch(url, init);
          return new Response(JSON.stringify({ accessRole: 'owner', timeZone }));
        },
      };
      await pay('b1', '2030-03-01', '2030-03-02', { calendar: without });
      expect(await stored('b1')).toMatchObject({ status: 'scheduled' });
      expect(await instants('b1')).toEqual(['2030-03-01T00:00:00Z', '2030-03-02T12:00:00Z']);
    },
  );
});

describe('retries of failed attempts', () => {
  beforeEach(async () => {
    world = await startWorld();
    world.google.control.changeCalendar(ada, 'primary', { timeZone: 'America/Los_Angeles' });
  });
  afterEach(() => world.close());
  const connectAt = async (time: string) => {
    world.time.now = second(time);
    await world.connect('user-1', { timeZone: 'America/Los_Angeles' });
  };

  it.each([
    [
      'to the end of a day',
      '2030-01-15',
      '2030-01-16',
      '2030-01-14T15:50:00-08:00',
      '2030-01-16T00:00:00-08:00',
    ],
    [
      'to the end of a stay',
      '2030-01-15',
      '2030-01-18',
      '2030-01-15T01:00:00-08:00',
      '2030-01-18T00:00:00-08:00',
    ],
    [
      'to the end of more than four hours',
      '2030-01-15T09:00:00Z',
      '2030-01-15T13:00:01Z',
      '2030-01-15T09:30:00Z',
      '2030-01-15T13:00:01Z',
    ],
    [
      'to the start of four hours',
      '2030-01-15T09:00:00Z',
      '2030-01-15T13:00:00Z',
      '2030-01-15T08:55:00Z',
      '2030-01-15T09:00:00Z',
    ],
  ])('retries failed attempts %s', async (_, start, end, paidAt, deadline) => {
    await connectAt(paidAt);
    world.google.control.fail({ on: 'events.insert', times: 1e6, how: { status: 503 } });
    await pay('b1', start, end);
    while ((await stored('b1')).status === 'pending') {
      const syncDueAt = (await stored('b1')).nextRun?.at ?? 0;
      expect(syncDueAt).toBeGreaterThan(world.time.now);
      world.time.now = syncDueAt;
      await again('b1');
    }
    expect(await stored('b1')).toMatchObject({ status: 'missed' });
    // After the deadline the calendar is read twice, in case an attempt was applied late.
    expect(world.time.now - second(deadline)).toBeGreaterThanOrEqual(0);
    expect(world.time.now - second(deadline)).toBeLessThan(120);
  });

  it('retries a failed attempt for a day that has begun', async () => {
    await connectAt('2030-01-15T01:00:00-08:00');
    world.google.control.fail({ on: 'events.insert', times: 2, how: { status: 503 } });
    await pay('b1', '2030-01-15', '2030-01-16');
    world.time.now = (await stored('b1')).nextRun?.at ?? 0;
    await again('b1');
    expect(await stored('b1')).toMatchObject({ status: 'scheduled' });
    expect(world.events()).toHaveLength(1);
  });
});

describe('conflicts of whole days', () => {
  const zones = [
    'America/New_York',
    'Europe/Vienna',
    'Pacific/Kiritimati',
    'Pacific/Pago_Pago',
    'Asia/Kathmandu',
    'Pacific/Apia',
    'America/Asuncion',
    'Africa/Cairo',
    'Asia/Beirut',
  ];
  let number = 0;
  beforeAll(async () => {
    world = await startWorld();
    world.time.now = start;
    await world.connect('user-1', withFreeBusy);
    world.google.control.setSwitch('accessTokenSeconds', 1e8);
  });
  afterAll(() => world.close());

  /** Two bookings in sequence in a calendar of this zone; returns the status of the second. */
  async function statusOfSecond(
    zone: string,
    first: [string, string],
    then: [string, string],
  ): Promise<string> {
    for (const { id } of world.events()) world.google.control.deleteEvent(ada, id ?? '');
    world.google.control.changeCalendar(ada, 'primary', { timeZone: zone });
    const { tokenVersion } = (await world.connection('user-1')) as { tokenVersion: number };
    const [calendarId, timeZone] = ['primary', zone];
    await world.deps.connections.saveTimeZone('user-1', tokenVersion, { calendarId, timeZone });
    number += 2;
    await pay(`b${number}`, ...first, { conflictPolicy: 'hold' });
    await pay(`b${number + 1}`, ...then, { conflictPolicy: 'hold' });
    return (await stored(`b${number + 1}`)).status;
  }

  it.each([
    ...zones.map((zone) => [zone, '2030-06-15'] as const),
    // Midnight does not exist.
    ['Africa/Cairo', '2030-04-26'] as const,
    ['Asia/Beirut', '2030-03-31'] as const,
  ])('whole days in %s on %s conflict on the same day, but not on adjacent ones', async (zone, day) => {
    const at = (days: number) =>
      new Date((second(`${day}T00:00:00Z`) + days * 86_400) * 1000).toISOString().slice(0, 10);
    const whole = (from: number, to: number): [string, string] => [at(from), at(to)];
    expect(await statusOfSecond(zone, whole(0, 2), whole(2, 4))).toBe('scheduled');
    expect(await statusOfSecond(zone, whole(2, 4), whole(0, 2))).toBe('scheduled');
    expect(await statusOfSecond(zone, whole(0, 2), whole(1, 3))).toBe('conflict');
    expect(await statusOfSecond(zone, whole(0, 1), whole(0, 1))).toBe('conflict');
  });

  it("asks free/busy of whole days from midnight to midnight with the zone's offset", async () => {
    const { calendar } = world.deps;
    const asked: unknown[] = [];
    const listening: typeof calendar = {
      ...calendar,
      fetch(url, init) {
        if (String(url).endsWith('/freeBusy')) asked.push(JSON.parse(String(init.body)));
        return calendar.fetch(url, init);
      },
    };
    await statusOfSecond('America/New_York', ['2030-05-01', '2030-05-02'], ['2030-05-02', '2030-05-03']);
    await pay('b-asked', '2030-03-01', '2030-03-03', { calendar: listening, conflictPolicy: 'hold' });
    expect(asked).toMatchObject([
      { timeMin: '2030-03-01T00:00:00-05:00', timeMax: '2030-03-03T00:00:00-05:00' },
    ]);
  });
});

describe('conflicts of whole days in a calendar whose zone is unknown', () => {
  beforeEach(async () => {
    world = await startWorld();
    world.time.now = start;
    await world.connect('user-1', { ...withFreeBusy, timeZone: 'Mars/Olympus' });
  });
  afterEach(() => world.close());
  const hold = { conflictPolicy: 'hold' as const };

  it('conflicts in an unknown zone are unknown unless the day is free in every zone', async () => {
    await pay('b1', '2030-03-01', '2030-03-02', hold);
    expect((await stored('b1')).problems).toEqual([]);
    await pay('b2', '2030-03-02', '2030-03-03', hold);
    expect(await stored('b2')).toMatchObject({
      status: 'scheduled',
      problems: [{ code: 'calendar_conflict_unknown' }],
    });
  });
});
