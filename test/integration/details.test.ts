import * as v from 'valibot';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { type Appointment, recordedEvent } from '../../shared/booking/booking.ts';
import { type EventDetails, eventDetails } from '../../shared/booking/event-details.ts';
import { bookingSteps } from './booking-steps.ts';
import { ownersCalendar } from './owners-calendar.ts';
import { startWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
  await world.connect('user-1');
});
afterEach(() => world.close());
const { payment: paid, stored, sync: again } = bookingSteps(() => world);

const everything: EventDetails = {
  attendees: [{ email: 'guest@example.com', displayName: 'A guest', optional: true }],
  sendUpdates: 'all',
  meet: true,
  reminders: [{ method: 'popup', minutes: 30 }],
  colorId: '7',
  visibility: 'private',
  transparency: 'transparent',
  source: { title: 'LeadsCalendar', url: 'https://leads.example.com/b1' },
};
async function change(appointment: Partial<Appointment>): Promise<void> {
  const booking = await stored();
  const changed = { ...(booking.appointment as Appointment), ...appointment };
  await world.deps.bookings.save({
    ...booking,
    appointment: changed,
    revision: booking.revision + 1,
    status: 'pending',
  });
}
/** The event as Google's own client reads it. */
async function event() {
  const eventId = recordedEvent(await stored())?.eventId ?? '';
  return (await ownersCalendar(world).events.get({ calendarId: 'primary', eventId })).data;
}
const queries = () => world.google.control.requests().map(({ route, query }) => `${route} ${query}`.trim());

describe('event details', () => {
  it("Google's own client reads all details of the event", async () => {
    await syncBooking(world.deps, paid({ details: everything }));
    expect(await event()).toMatchObject({
      attendees: [{ email: 'guest@example.com', displayName: 'A guest', optional: true }],
      reminders: { useDefault: false, overrides: [{ method: 'popup', minutes: 30 }] },
      colorId: '7',
      visibility: 'private',
      transparency: 'transparent',
      source: { title: 'LeadsCalendar', url: 'https://leads.example.com/b1' },
      hangoutLink: expect.stringContaining('meet'),
      extendedProperties: {
        private: { leadscalendarBooking: 'b1', leadscalendarRevision: expect.stringMatching(/^1\./) },
      },
    });
    expect(queries()[0]).toBe('events.insert ?sendUpdates=all&conferenceDataVersion=1');
  });

  it('removes details from the event when the booking drops them', async () => {
    await syncBooking(world.deps, paid({ details: everything }));
    await change({ details: {} });
    await again();
    const now = await event();
    expect(now.attendees ?? []).toEqual([]);
    for (const field of ['colorId', 'source', 'hangoutLink']) expect(now).not.toHaveProperty(field);
    expect(now.reminders).toMatchObject({ useDefault: true });
    expect(recordedEvent(await stored())).not.toHaveProperty('meet');
  });

  it('creates events of whole days with an exclusive end date', async () => {
    await syncBooking(world.deps, paid({ start: { date: '2027-03-01' }, end: { date: '2027-03-03' } }));
    expect(await event()).toMatchObject({ start: { date: '2027-03-01' }, end: { date: '2027-03-03' } });
    await change({ start: { dateTime: '2027-03-01T10:00:00Z' }, end: { dateTime: '2027-03-01T11:00:00Z' } });
    await again();
    const { start } = await event();
    expect(start).not.toHaveProperty('date');
    expect(Date.parse(start?.dateTime ?? '')).toBe(Date.UTC(2027, 2, 1, 10));
  });

  it.each([
    ['an invalid address', { attendees: [{ email: 'nobody' }] }],
    [
      'more guests than Google keeps track of',
      { attendees: Array.from({ length: 201 }, (_, index) => ({ email: `g${index}@example.com` })) },
    ],
    ['a reminder of more than four weeks', { reminders: [{ method: 'popup', minutes: 40_321 }] }],
    ['a twelfth colour', { colorId: '12' }],
    ['a script as source', { source: { title: 'x', url: 'javascript:alert(1)' } }],
    ['unknown fields', { anyoneCanAddSelf: true }],
  ])('refuses details with %s', (_, details) => {
    expect(v.is(eventDetails, details)).toBe(false);
  });
});

describe('a Meet link', () => {
  const wait = async (seconds: number) => {
    world.time.now += seconds;
    await again();
    return recordedEvent(await stored())?.meet;
  };

  it('requests a pending Meet link once, checks it again and publishes it', async () => {
    world.google.control.setSwitch('conference', 'pending');
    await syncBooking(world.deps, paid({ details: { meet: true } }));
    expect(await stored()).toMatchObject({
      status: 'scheduled',
      calendar: { event: { meet: { state: 'pending' } } },
      nextRun: { at: world.time.now + 60 },
    });
    expect(await wait(60)).toEqual({ state: 'pending' });
    expect((await stored()).nextRun?.at).toBe(world.time.now + 120);
    world.google.control.setSwitch('conference', 'success');
    const meet = await wait(120);
    expect(meet).toEqual({ state: 'ready', link: expect.stringContaining('meet') });
    expect(world.bus.events.at(-1)).toMatchObject({ type: 'booking.rescheduled', meetLink: meet?.link });
    await change({ location: 'Room 7' });
    expect(await wait(0)).toEqual(meet);
  });

  it('checks a pending Meet link after a minute, also where the event was created after failures', async () => {
    world.google.control.setSwitch('conference', 'pending');
    world.google.control.fail({ on: 'events.insert', times: 8, how: { status: 503 } });
    await syncBooking(world.deps, paid({ details: { meet: true } }));
    while ((await stored()).status === 'pending') {
      world.time.now = (await stored()).nextRun?.at ?? Number.NaN;
      await again();
    }
    expect(await stored()).toMatchObject({
      status: 'scheduled',
      nextRun: { why: 'check', at: world.time.now + 60, count: 1 },
    });
  });

  it('checks a pending Meet link less and less often, and not after the appointment', async () => {
    world.google.control.setSwitch('conference', 'pending');
    await syncBooking(world.deps, paid({ details: { meet: true } }));
    const { appointment } = await stored();
    let looks = 0;
    for (let due = (await stored()).nextRun?.at; due !== undefined; due = (await stored()).nextRun?.at) {
      expect(due).toBeLessThan(appointment?.endsAt ?? 0);
      await wait(due - world.time.now);
      looks++;
    }
    expect(looks).toBeLessThan(15);
    expect((await stored()).status).toBe('scheduled');
  });

  it('a failed Meet link does not fail the booking', async () => {
    world.google.control.setSwitch('conference', 'failure');
    await syncBooking(world.deps, paid({ details: { meet: true } }));
    expect(await wait(60)).toEqual({ state: 'failed' });
    expect((await stored()).status).toBe('scheduled');
  });

  it('each booking and each new event uses its own Meet request id', async () => {
    await syncBooking(world.deps, paid({ details: { meet: true } }));
    const first = await wait(60);
    await syncBooking(world.deps, {
      ...world.reported('b1', { refunds: { re_1: { amount: 9000, state: 'done' } } }),
    });
    await syncBooking(
      world.deps,
      world.reported('b1', { refunds: { re_1: { amount: 9000, state: 'failed' } } }),
    );
    const second = await wait(60);
    expect(second).toMatchObject({ state: 'ready' });
    expect(second?.link).not.toBe(first?.link);
  });
});
