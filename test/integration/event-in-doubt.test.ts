import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cancelBooking } from '../../functions/bookings/change-booking.ts';
import type { RouteName } from '../../infra/local/google/faults.ts';
import { recordedEvent } from '../../shared/booking/booking.ts';
import { calendarScopes } from '../../shared/google/token-endpoint.ts';
import { optionalScopes } from '../../shared/lib/names.ts';
import { bookingSteps } from './booking-steps.ts';
import { ada, ben, startWorld, type World } from './world.ts';

/** A known event that Google does not find: gone only when two reads a minute apart say so while its calendar answers. */

let world: World;
beforeEach(async () => {
  world = await startWorld();
});
afterEach(() => world.close());
const { target, again, sync, stored, runWhenDue, move, refund, moveByHand } = bookingSteps(() => world);

const misses = (on: RouteName, status: 404 | 410, times = 1) =>
  world.google.control.fail({
    on,
    times,
    how: { status, reason: status === 404 ? 'notFound' : 'deleted' },
  });
const times = () => world.events().map(({ start }) => Date.parse(start?.dateTime ?? '') / 1000);
const inDoubt = { problems: [{ code: 'event_in_doubt' }] };

describe.each([404, 410] as const)('a known event that Google answers once with %i', (status) => {
  beforeEach(async () => {
    await world.connect('user-1');
    await sync(world.payment('b1'));
    world.google.control.clearRequests();
  });

  it('reads an event again at once when its change is answered once so, and changes it', async () => {
    misses('events.patch', status);
    await move();
    expect(world.calls()).toEqual(['events.patch', 'events.get', 'events.patch']);
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 0, problems: [] });
    expect(times()).toEqual([(await stored()).appointment?.startsAt]);
  });

  it('an event missing for a change and a read is in doubt, then changed, and stays the only one', async () => {
    misses('events.patch', status);
    misses('events.get', status);
    await move();
    expect(await stored()).toMatchObject({ status: 'pending', ...inDoubt });
    expect((await stored()).nextRun?.at).toBeGreaterThanOrEqual(world.time.now + 60);
    await sync();
    expect(world.calls()).toEqual(['events.patch', 'events.get']);
    await runWhenDue();
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 0, problems: [] });
    expect(await stored()).not.toHaveProperty('doubt');
    expect(times()).toEqual([(await stored()).appointment?.startsAt]);
    expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.rescheduled']);
  });

  it('an event that was found between two misses is not gone, though its change was refused', async () => {
    misses('events.patch', status);
    misses('events.get', status);
    await move();
    world.google.control.fail({ on: 'events.patch', how: { status: 403, reason: 'quotaExceeded' } });
    await runWhenDue();
    expect(await stored()).toMatchObject({
      status: 'pending',
      problems: [{ code: 'google_quota_exceeded' }],
    });
    misses('events.get', status, 2);
    await runWhenDue();
    expect(await stored()).toMatchObject({ status: 'pending', eventNumber: 0, ...inDoubt });
    world.google.control.clearFaults();
    await runWhenDue();
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 0, problems: [] });
    expect(world.events()).toHaveLength(1);
  });

  it('an event missing for a deletion is deleted a minute later, and cancelled only then', async () => {
    misses('events.delete', status);
    misses('events.get', status);
    await refund();
    expect(await stored()).toMatchObject({ status: 'pending', ...inDoubt });
    expect(world.bus.types()).toEqual(['booking.scheduled']);
    await runWhenDue();
    expect((await stored()).status).toBe('cancelled');
    expect(world.events()).toEqual([]);
  });

  it('an event missing for the check a day before stays scheduled, without a bus event', async () => {
    await world.deps.bookings.save({
      ...(await stored()),
      nextRun: { why: 'check', at: world.time.now, count: 1 },
    });
    misses('events.get', status);
    await sync();
    expect(await stored()).toMatchObject({ status: 'scheduled', ...inDoubt });
    await runWhenDue();
    expect(await stored()).toMatchObject({ status: 'scheduled', problems: [] });
    expect(world.bus.types()).toEqual(['booking.scheduled']);
  });

  it('an event that is missing after a 412 is in doubt, then changed', async () => {
    world.google.control.fail({ on: 'events.patch', how: { status: 412, reason: 'conditionNotMet' } });
    misses('events.get', status);
    await move();
    expect(await stored()).toMatchObject({ status: 'pending', ...inDoubt });
    await runWhenDue();
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 0 });
    expect(world.events()).toHaveLength(1);
  });

  it('an early re-check that finds the event leaves it in doubt', async () => {
    misses('events.delete', status);
    misses('events.get', status, 3);
    await refund();
    world.time.now += 10;
    await sync({ ...again(), sentAt: world.time.now - 1000 });
    expect(await stored()).toMatchObject({ status: 'pending', ...inDoubt });
    expect(world.events()).toHaveLength(1);
  });
});

describe.each([404, 410] as const)('an insert that answers 409 although %i is read', (status) => {
  it('reads again after a 409 for an event that is missing, and creates no second one', async () => {
    await world.connect('user-1');
    world.google.control.fail({ on: 'events.insert', times: 2, how: { lose: 'response' } });
    await sync(world.payment('b1'));
    misses('events.get', status);
    await runWhenDue();
    expect(await stored()).toMatchObject({ status: 'pending', eventNumber: 0, ...inDoubt });
    await runWhenDue();
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 0 });
    expect(world.events()).toHaveLength(1);
  });

  it('uses the next event number when both a 409 and a missing event persist', async () => {
    await world.connect('user-1');
    await sync(world.payment('b1'));
    world.google.control.deleteEvent(ada, recordedEvent(await stored())?.eventId ?? '');
    world.google.control.purgeDeleted(ada);
    await world.deps.bookings.save({ ...(await stored()), calendar: { kind: 'in_doubt', until: 0 } });
    misses('events.get', status, 2);
    await sync();
    await runWhenDue();
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 1 });
    expect(world.events()).toHaveLength(1);
  });
});

describe('an event that two reads do not find', () => {
  beforeEach(async () => {
    await world.connect('user-1');
    await sync(world.payment('b1'));
  });

  it('replaces an event that two reads miss, and deletes it when it is found again', async () => {
    misses('events.patch', 404);
    misses('events.get', 404, 2);
    await move();
    await runWhenDue();
    expect(await stored()).toMatchObject({
      status: 'scheduled',
      eventNumber: 1,
      problems: [{ code: 'older_event_may_remain' }],
    });
    expect(world.events()).toHaveLength(2);
    await runWhenDue();
    expect(times()).toEqual([(await stored()).appointment?.startsAt]);
    expect((await stored()).status).toBe('scheduled');
  });

  it('deletes an event of a refunded booking when it is found again', async () => {
    misses('events.delete', 404);
    misses('events.get', 404, 2);
    await refund();
    await runWhenDue();
    expect((await stored()).status).toBe('cancelled');
    expect(world.events()).toHaveLength(1);
    await runWhenDue();
    expect(world.events()).toEqual([]);
    await runWhenDue();
    expect(await stored()).not.toHaveProperty('nextRun');
  });

  it('does not give up an event while its calendar is unavailable too', async () => {
    misses('events.patch', 404);
    misses('events.get', 404, 4);
    misses('events.list', 404, 3);
    await move();
    for (let run = 0; run < 3; run++) {
      await runWhenDue();
      expect(await stored()).toMatchObject({
        status: 'pending',
        eventNumber: 0,
        problems: [{ code: 'google_not_found' }],
      });
    }
    await runWhenDue();
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 0 });
    expect(times()).toEqual([(await stored()).appointment?.startsAt]);
  });
});

it('keeps reading for an event of a cancelled booking while its calendar is unavailable', async () => {
  await world.connect('user-1');
  world.google.control.fail({ on: 'events.insert', times: 2, how: { lose: 'request' } });
  await sync(world.payment('b1'));
  await cancelBooking(world.deps, target);
  await sync();
  await runWhenDue();
  expect(await stored()).toMatchObject({ status: 'cancelled', calendar: { kind: 'in_doubt' } });
  world.google.control.fail({ on: 'events.list', how: { status: 403, reason: 'forbidden' } });
  await runWhenDue();
  expect(await stored()).toMatchObject({ status: 'cancelled', calendar: { kind: 'in_doubt' } });
  await runWhenDue();
  expect(await stored()).not.toMatchObject({ calendar: { kind: 'in_doubt' } });
  expect(await stored()).not.toHaveProperty('nextRun');
  expect(world.bus.types()).toEqual(['booking.cancelled']);
});

describe('an event that Google shows as deleted', () => {
  it('an event shown as deleted is absent at once, on a change and on a check', async () => {
    await world.connect('user-1');
    await sync(world.payment('b1'));
    world.google.control.deleteEvent(ada, recordedEvent(await stored())?.eventId ?? '');
    await world.deps.bookings.save({
      ...(await stored()),
      nextRun: { why: 'check', at: world.time.now, count: 1 },
    });
    await sync();
    expect((await stored()).status).toBe('deleted_by_user');
    await move();
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 1 });
    expect(world.events()).toHaveLength(1);
  });
});

describe('a calendar that is not shared for a while', () => {
  const choose = async (calendarId: string) => {
    const { tokenVersion, choices } = (await world.connection('user-1')) ?? { tokenVersion: 0 };
    await world.deps.connections.updateSettings(
      'user-1',
      { tokenVersion, ...(choices === undefined ? {} : { choices }) },
      { calendarId, updatedAt: world.time.now },
    );
  };

  it('after a pause of sharing a moved booking has one event, a refunded one none', async () => {
    world.google.control.share(ben, 'primary', ada, 'writer');
    await world.connect('user-1', { calendarId: ben, scopes: ['openid', calendarScopes.shared] });
    await sync(world.payment('b1'));
    expect((await stored()).status).toBe('scheduled');
    world.google.control.share(ben, 'primary', ada, 'none');
    await move();
    await runWhenDue();
    expect(await stored()).toMatchObject({
      status: 'pending',
      eventNumber: 0,
      nextRun: { refusal: { by: 'calendar' } },
    });
    world.google.control.share(ben, 'primary', ada, 'writer');
    await runWhenDue();
    const standing = () => world.google.control.events(ben).filter(({ status }) => status !== 'cancelled');
    expect(standing()).toHaveLength(1);
    world.google.control.share(ben, 'primary', ada, 'none');
    await refund();
    await runWhenDue();
    expect((await stored()).status).toBe('pending');
    world.google.control.share(ben, 'primary', ada, 'writer');
    await runWhenDue();
    expect(standing()).toEqual([]);
    expect((await stored()).status).toBe('cancelled');
  });

  it('an event moves to the newly chosen calendar once the old one is given up', async () => {
    world.google.control.share(ben, 'primary', ada, 'writer');
    await world.connect('user-1', { calendarId: ben, scopes: ['openid', calendarScopes.shared] });
    await sync(world.payment('b1'));
    world.google.control.share(ben, 'primary', ada, 'none');
    await move();
    await runWhenDue();
    await choose('primary');
    await sync();
    expect(await stored()).toMatchObject({
      status: 'scheduled',
      calendar: { event: { calendarId: 'primary' } },
    });
    expect(times()).toEqual([(await stored()).appointment?.startsAt]);
  });

  it('an event in a calendar chosen before is not given up while the project is refused', async () => {
    world.google.control.share(ben, 'primary', ada, 'writer');
    await world.connect('user-1', { scopes: ['openid', calendarScopes.shared] });
    await sync(world.payment('b1'));
    await choose(ben);
    misses('events.patch', 404);
    misses('events.get', 404, 3);
    world.google.control.fail({ on: 'events.list', how: { status: 403, reason: 'accessNotConfigured' } });
    await move();
    await runWhenDue();
    expect(await stored()).toMatchObject({ status: 'pending', problems: [{ code: 'google_operator' }] });
    await runWhenDue();
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 0 });
    expect(times()).toEqual([(await stored()).appointment?.startsAt]);
  });
});

describe('an event that its owner moved to another calendar', () => {
  const scopes = ['openid', calendarScopes.owned, optionalScopes.calendarList];

  it.each([
    ['accessNotConfigured', { status: 'pending', eventNumber: 0 }],
    ['forbidden', { eventNumber: 1, problems: [{ code: 'older_event_may_remain' }] }],
  ])('does not give up a moved event silently when its calendar answers 403 %s', async (reason, expected) => {
    await world.connect('user-1', { scopes });
    await sync(world.payment('b1'));
    await moveByHand();
    world.google.control.fail({ on: 'events.get', after: 1, how: { status: 403, reason } });
    await move();
    expect(await stored()).toMatchObject(expected);
  });

  it.each(['accessNotConfigured', 'notACalendarUser', 'forbidden'])(
    'does not count a moved event as deleted when the list of calendars answers 403 %s',
    async (reason) => {
      await world.connect('user-1', { scopes });
      await sync(world.payment('b1'));
      const calendarId = await moveByHand();
      await world.deps.bookings.save({
        ...(await stored()),
        nextRun: { why: 'check', at: world.time.now, count: 1 },
      });
      world.google.control.fail({ on: 'calendarList.list', how: { status: 403, reason } });
      await sync();
      expect(await stored()).toMatchObject({ status: 'scheduled' });
      await runWhenDue();
      expect(await stored()).toMatchObject({
        status: 'scheduled',
        problems: [],
        calendar: { event: { calendarId } },
      });
    },
  );

  describe.each(['cancelled', 'not_found'] as const)('and whose source then answers %s', (movedEvent) => {
    beforeEach(async () => {
      world.google.control.setSwitch('movedEvent', movedEvent);
    });

    it('a change follows a moved event if the calendars can be listed', async () => {
      await world.connect('user-1', { scopes });
      await sync(world.payment('b1'));
      const calendarId = await moveByHand();
      await move();
      if ((await stored()).status === 'pending') await runWhenDue();
      expect(await stored()).toMatchObject({
        status: 'scheduled',
        eventNumber: 0,
        calendar: { event: { calendarId } },
      });
      expect(times()).toEqual([(await stored()).appointment?.startsAt]);
      await cancelBooking(world.deps, target);
      await sync();
      expect(world.events()).toEqual([]);
      expect((await stored()).status).toBe('cancelled');
    });

    it('a deletion and the check a day before follow a moved event', async () => {
      await world.connect('user-1', { scopes });
      await sync(world.payment('b1'));
      const calendarId = await moveByHand();
      await world.deps.bookings.save({
        ...(await stored()),
        nextRun: { why: 'check', at: world.time.now, count: 1 },
      });
      await sync();
      if ((await stored()).problems.length > 0) await runWhenDue();
      expect(await stored()).toMatchObject({
        status: 'scheduled',
        problems: [],
        calendar: { event: { calendarId } },
      });
      await refund();
      expect((await stored()).status).toBe('cancelled');
      expect(world.events()).toEqual([]);
    });

    it('reports that a moved event may remain if the calendars cannot be listed', async () => {
      await world.connect('user-1');
      await sync(world.payment('b1'));
      await moveByHand();
      await move();
      if ((await stored()).status === 'pending') await runWhenDue();
      expect(await stored()).toMatchObject({
        status: 'scheduled',
        eventNumber: 1,
        problems: [{ code: 'older_event_may_remain' }],
      });
    });
  });
});
