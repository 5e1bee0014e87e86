import type { calendar_v3 } from '@googleapis/calendar';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recordedEvent } from '../../shared/booking/booking.ts';
import type { EventDetails } from '../../shared/booking/event-details.ts';
import { bookingSteps } from './booking-steps.ts';
import { ownersCalendar } from './owners-calendar.ts';
import { startWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
  await world.connect('user-1');
});
afterEach(() => world.close());
const { sync, stored, change, payment } = bookingSteps(() => world);
const pay = (details: EventDetails = {}) => sync(payment({ details }));
const owner = () => ownersCalendar(world);

const guests = [{ email: 'guest1@example.com' }, { email: 'guest2@example.com' }];
const hold = async (details: EventDetails = {}) => {
  const { appointment } = payment({ details }).booking;
  await world.declare('b1', {
    appointment,
    hold: true,
    status: 'pending',
    nextRun: { why: 'requested', at: world.time.now, count: 0 },
  });
  await sync();
};
const place = async () => ({ calendarId: 'primary', eventId: recordedEvent(await stored())?.eventId ?? '' });
const event = async () => (await owner().events.get(await place())).data;
const edit = async (requestBody: calendar_v3.Schema$Event) =>
  owner().events.patch({ ...(await place()), requestBody });
/** The service's own calls to Google, without the owner's. */
const callsOf = async (act: () => Promise<unknown>) => {
  const before = world.google.control.requests().length;
  await act();
  const calls = world.google.control.requests().slice(before);
  return calls.map(({ route, query }) => `${route} ${query}`.trim());
};
const answers = async () =>
  Object.fromEntries(
    ((await event()).attendees ?? []).map(({ email, responseStatus }) => [email, responseStatus]),
  );

describe('a write of the event', () => {
  it('confirming a hold keeps guest answers and guests added by the owner', async () => {
    await hold({ attendees: guests, sendUpdates: 'all' });
    await edit({
      attendees: [
        { email: 'guest1@example.com', responseStatus: 'accepted' },
        { email: 'guest2@example.com', responseStatus: 'declined' },
        { email: 'colleague@example.com', responseStatus: 'accepted' },
      ],
    });
    await pay({ attendees: guests, sendUpdates: 'all' });
    expect(await answers()).toEqual({
      'guest1@example.com': 'accepted',
      'guest2@example.com': 'declined',
      'colleague@example.com': 'accepted',
    });
    expect(await stored()).toMatchObject({ status: 'scheduled', problems: [] });
  });

  it('a change keeps guest answers and added guests, in one call', async () => {
    await pay({ attendees: guests, sendUpdates: 'all' });
    await edit({
      attendees: [
        { email: 'guest1@example.com', responseStatus: 'accepted', comment: 'Yes' },
        { email: 'colleague@example.com', responseStatus: 'tentative' },
      ],
    });
    await change({ location: 'Room 2' });
    expect(await answers()).toEqual({
      'guest1@example.com': 'accepted',
      'colleague@example.com': 'tentative',
    });
    expect(await event()).toMatchObject({ location: 'Room 2' });
    expect(await callsOf(() => change({ location: 'Room 3' }))).toEqual(['events.patch ?sendUpdates=all']);
  });

  it('adds and removes only guests of the booking, by address', async () => {
    await pay({ attendees: guests });
    await edit({
      attendees: [
        { email: 'Guest1@example.com', responseStatus: 'accepted', additionalGuests: 2 },
        { email: 'guest2@example.com', responseStatus: 'declined' },
        { email: 'colleague@example.com', responseStatus: 'accepted' },
      ],
    });
    await change({ attendees: [{ email: 'guest1@example.com' }, { email: 'guest3@example.com' }] });
    expect(await answers()).toEqual({
      'Guest1@example.com': 'accepted',
      'colleague@example.com': 'accepted',
      'guest3@example.com': 'needsAction',
    });
    expect((await event()).attendees?.[0]).toMatchObject({ additionalGuests: 2 });
    await change({ attendees: null });
    expect(await answers()).toEqual({ 'colleague@example.com': 'accepted' });
  });

  it('a change of a booking without guests keeps all changes by the owner', async () => {
    await pay();
    await edit({
      summary: 'Renamed by the owner',
      colorId: '3',
      attendees: [{ email: 'colleague@example.com', responseStatus: 'accepted' }],
    });
    await change({ location: 'Room 2' });
    expect(await event()).toMatchObject({
      summary: 'Renamed by the owner',
      colorId: '3',
      location: 'Room 2',
      attendees: [{ email: 'colleague@example.com', responseStatus: 'accepted' }],
    });
  });

  it('keeps a time that the owner chose until the booking changes its own', async () => {
    await pay();
    const times = { start: { dateTime: '2027-05-05T10:00:00Z' }, end: { dateTime: '2027-05-05T11:00:00Z' } };
    await edit(times);
    await change({ summary: 'Another title' });
    expect(Date.parse((await event()).start?.dateTime ?? '')).toBe(Date.UTC(2027, 4, 5, 10));
    await change({ start: '2027-05-06T10:00:00Z', end: '2027-05-06T11:00:00Z' });
    expect(Date.parse((await event()).start?.dateTime ?? '')).toBe(Date.UTC(2027, 4, 6, 10));
  });

  it('after a crash rewrites only fields in which the event differs from the booking', async () => {
    await pay({ attendees: guests });
    const before = await stored();
    await change({ location: 'Room 2', attendees: [...guests, { email: 'guest3@example.com' }] });
    // The record of that run was lost, and the booking was changed back.
    const { version } = await stored();
    await world.deps.bookings.save({ ...before, version, revision: 3, status: 'pending' });
    await edit({ summary: 'Renamed by the owner' });
    await sync();
    const now = await event();
    expect(now.summary).toBe('Renamed by the owner');
    expect(now.location).toBeUndefined();
    expect(Object.keys(await answers())).toEqual(['guest1@example.com', 'guest2@example.com']);
  });
});

describe('a hold', () => {
  it('a hold invites and mails no guest until it is paid, which costs one call', async () => {
    const details: EventDetails = { attendees: guests, sendUpdates: 'all' };
    const calls = await callsOf(() => hold(details));
    expect(calls).toEqual(['events.insert ?sendUpdates=none']);
    expect(await event()).not.toHaveProperty('attendees');
    expect(await callsOf(() => pay(details))).toEqual(['events.patch ?sendUpdates=all']);
    expect(await answers()).toEqual({
      'guest1@example.com': 'needsAction',
      'guest2@example.com': 'needsAction',
    });
  });

  it('ending a hold sends no mail', async () => {
    await hold({ attendees: guests, sendUpdates: 'all' });
    await world.deps.bookings.save({
      ...(await stored()),
      cancelledAt: '2026-12-01T00:00:00Z',
      status: 'pending',
    });
    expect(await callsOf(sync)).toEqual(['events.delete ?sendUpdates=none']);
  });

  it('confirming a hold keeps changes by the owner', async () => {
    await hold();
    await edit({ summary: 'Renamed by the owner', location: 'At the owner' });
    await pay();
    expect(await event()).toMatchObject({
      status: 'confirmed',
      summary: 'Renamed by the owner',
      location: 'At the owner',
    });
  });
});
