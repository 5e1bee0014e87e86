import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requeueWaiting } from '../../functions/booking-sync/requeue-waiting.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { patchBooking } from '../../functions/bookings/change-booking.ts';
import { viewBooking } from '../../functions/bookings/view-booking.ts';
import { startConnection } from '../../functions/connect/start-connection.ts';
import { disconnect } from '../../functions/connections/manage-connection.ts';
import { completeConnection } from '../../functions/oauth-callback/complete-connection.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';
import { recordedEvent } from '../../shared/booking/booking.ts';
import { randomSecret } from '../../shared/crypto/oauth-state.ts';
import { signUserToken } from '../../shared/crypto/user-token.ts';
import { audiences } from '../../shared/lib/names.ts';
import { bookingSteps } from './booking-steps.ts';
import { ada, ben, startWorld, type World } from './world.ts';

/** A user connects another Google account: events in the former one are neither searched nor taken for deleted. */

const publicUrl = 'http://localhost:3000';
/** "Appointments" of Ada in the simulated Google. */
const secondCalendar = `c_${createHash('sha256').update('100000000000000000001').digest('hex')}@group.calendar.google.com`;

let world: World;
beforeEach(async () => {
  world = await startWorld();
  await connect(ada);
});
afterEach(() => world.close());
const { target, again, sync, stored, runWhenDue, refund, paymentStartingIn } = bookingSteps(() => world);
/** A payment for an appointment in three days. */
const payment = () => paymentStartingIn(3 * 86_400);

/** Connects an account on Google's pages, and syncs the requeued bookings. */
async function connect(account: string): Promise<void> {
  world.time.now += 60;
  const token = await signUserToken(world.deps.linkKeys.value, {
    userId: 'user-1',
    audience: audiences.connect,
    now: world.time.now,
  });
  const { location, browser } = await startConnection(
    {
      ...world.deps,
      randomSecret,
      authorizationUrl: `${world.google.url}/o/oauth2/v2/auth`,
      publicUrl,
      returnOrigins: [],
      calendarScope: 'owned',
      optionalScopes: [],
    },
    { token, retry: undefined, returnTo: undefined, browser: undefined },
  );
  const callback = await walkConsent(location, { account });
  world.google.control.clearRequests();
  await completeConnection({ ...world.deps, publicUrl }, { query: new URL(callback).searchParams, browser });
  world.google.control.clearRequests();
  for (let message = world.queue.messages.shift(); message; message = world.queue.messages.shift()) {
    if (message.type === 'connection.activated') await requeueWaiting(world.deps, message);
    else await syncBooking(world.deps, message);
  }
}
const problems = async () => (await viewBooking(world.deps, 'user-1', 'b1')).problems.map(({ code }) => code);
const eventsOf = (account: string) =>
  world.google.control
    .events(account)
    .filter(({ status }) => status !== 'cancelled')
    .map(({ status, start }) => ({ status, at: Date.parse(start?.dateTime ?? '') / 1000 }));
const move = async () => {
  const { startsAt = 0, endsAt = 0 } = (await stored()).appointment ?? {};
  const at = (seconds: number) => new Date((seconds + 7200) * 1000).toISOString();
  await patchBooking(world.deps, target, { start: at(startsAt), end: at(endsAt) });
  world.queue.messages.length = 0;
  await sync();
};
const inFormerAccount = 'event_in_former_account';

describe('an event in a former account', () => {
  let start: number;
  beforeEach(async () => {
    await sync(payment());
    start = (await stored()).appointment?.startsAt ?? 0;
    await connect(ben);
    world.bus.events.length = 0;
  });

  it('the check a day before neither reads nor reports an event in a former account', async () => {
    await runWhenDue();
    expect(await stored()).toMatchObject({ status: 'scheduled', problems: [] });
    expect(await stored()).not.toHaveProperty('nextRun');
    expect(world.calls()).toEqual([]);
    expect(world.bus.events).toEqual([]);
    expect(eventsOf(ada)).toEqual([{ status: 'confirmed', at: start }]);
  });

  it('a redelivered message creates no second event for one in a former account', async () => {
    await syncBooking(world.deps, again(), { repeated: true });
    expect(world.calls()).toEqual([]);
    expect(eventsOf(ben)).toEqual([]);
    expect((await stored()).status).toBe('scheduled');
  });

  it('a refund leaves the event in a former account, and publishes the problem', async () => {
    await refund();
    expect((await stored()).status).toBe('cancelled');
    expect(await problems()).toEqual([inFormerAccount]);
    expect(world.bus.events).toMatchObject([
      { type: 'booking.cancelled', problems: [{ code: inFormerAccount }] },
    ]);
    expect(world.calls()).toEqual([]);
    expect(eventsOf(ada)).toHaveLength(1);
  });

  it('reconnecting the former account deletes the event of a refunded booking', async () => {
    await refund();
    await connect(ada);
    expect(eventsOf(ada)).toEqual([]);
    expect(world.calls()).toEqual(['events.get', 'events.delete']);
    expect((await stored()).status).toBe('cancelled');
    expect(await problems()).toEqual([]);
  });

  it('a change leaves the event in the former account and creates one in the connected account', async () => {
    await move();
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 1 });
    expect(await problems()).toEqual([inFormerAccount]);
    expect(world.bus.events).toMatchObject([
      { type: 'booking.scheduled', problems: [{ code: inFormerAccount }] },
    ]);
    expect(world.calls()).toEqual(['events.insert']);
    expect(eventsOf(ada)).toEqual([{ status: 'confirmed', at: start }]);
    expect(eventsOf(ben)).toEqual([{ status: 'confirmed', at: start + 7200 }]);
  });

  it('after a change checks, changes and deletes the event in the connected account', async () => {
    await move();
    await runWhenDue();
    expect((await stored()).status).toBe('scheduled');
    await move();
    expect(eventsOf(ben)).toEqual([{ status: 'confirmed', at: start + 14_400 }]);
    await refund();
    expect(eventsOf(ben)).toEqual([]);
    expect(await problems()).toEqual([inFormerAccount]);
  });

  it('reconnecting the former account deletes the older event and keeps the newer one', async () => {
    await move();
    await connect(ada);
    expect(eventsOf(ada)).toEqual([]);
    expect(eventsOf(ben)).toHaveLength(1);
    expect((await stored()).status).toBe('scheduled');
    expect(await problems()).toEqual([]);
    await move();
    expect(eventsOf(ada)).toEqual([{ status: 'confirmed', at: start + 14_400 }]);
    expect(await problems()).toEqual([inFormerAccount]);
    await connect(ben);
    expect(eventsOf(ben)).toEqual([]);
    expect(await problems()).toEqual([]);
  });

  it('changes an event in place once its account is connected again', async () => {
    await connect(ada);
    await move();
    expect(world.calls()).toEqual(['events.patch']);
    expect(eventsOf(ada)).toEqual([{ status: 'confirmed', at: start + 7200 }]);
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 0 });
    expect(await problems()).toEqual([]);
  });

  it('keeps an older event on record until Google deletes it', async () => {
    await refund();
    world.google.control.fail({ on: 'events.delete', times: 2, how: { status: 503 } });
    await connect(ada);
    expect((await stored()).status).toBe('cancelled');
    expect(await problems()).toEqual([inFormerAccount]);
    await runWhenDue();
    expect(eventsOf(ada)).toEqual([]);
    expect(await problems()).toEqual([]);
  });

  it('an event in a former account is no problem once its owner has deleted it', async () => {
    await refund();
    world.google.control.fail({ on: 'events.get', how: { status: 404, reason: 'notFound' } });
    await connect(ada);
    expect(await problems()).toEqual([]);
    expect((await stored()).otherEvents).toMatchObject([{ why: 'not_found' }]);
  });
});

it('an event in a former account is known as such also after a disconnect', async () => {
  await sync(payment());
  await disconnect(world.deps, 'user-1');
  await connect(ben);
  await runWhenDue();
  expect((await stored()).status).toBe('scheduled');
  await refund();
  expect(await problems()).toEqual([inFormerAccount]);
  expect(world.calls()).toEqual([]);
});

it('a payment of a hold in a former account creates an event in the connected one', async () => {
  const { appointment } = payment().booking;
  await world.declare('b1', {
    ...(appointment ? { appointment } : {}),
    hold: true,
    status: 'pending',
    nextRun: { why: 'requested', at: world.time.now, count: 0 },
  });
  await sync();
  expect(eventsOf(ada)).toMatchObject([{ status: 'tentative' }]);
  await connect(ben);
  expect(eventsOf(ben)).toEqual([]);
  await sync(payment());
  expect(eventsOf(ben)).toMatchObject([{ status: 'confirmed' }]);
  expect(eventsOf(ada)).toMatchObject([{ status: 'tentative' }]);
  expect(await problems()).toEqual([inFormerAccount]);
});

it('an event that its owner deleted before is not reported as left in the former account', async () => {
  await sync(payment());
  const observed = recordedEvent(await stored());
  world.google.control.deleteEvent(ada, observed?.eventId ?? '');
  await world.deps.bookings.save({
    ...(await stored()),
    nextRun: { why: 'check', at: world.time.now, count: 1 },
  });
  await sync();
  expect((await stored()).status).toBe('deleted_by_user');
  await connect(ben);
  await move();
  expect(eventsOf(ben)).toHaveLength(1);
  expect(await problems()).not.toContain(inFormerAccount);
});

it("a stale run does not look for the former account's event in the connected account", async () => {
  await sync(payment());
  const before = await world.connection('user-1');
  await connect(ben);
  if (!before) throw new Error('There is no connection.');
  world.time.now = (await stored()).nextRun?.at ?? Number.NaN;
  let isStale = true;
  const readForSync: typeof world.deps.readForSync = async (names) => {
    const seen = await world.deps.readForSync(names);
    const stale = isStale ? { ...seen, connection: before } : seen;
    isStale = false;
    return stale;
  };
  await syncBooking({ ...world.deps, readForSync }, again());
  expect(world.calls().filter((route) => route.startsWith('events.'))).toEqual([]);
  expect((await stored()).status).toBe('scheduled');
});

it('does not search calendars of the former account in the connected one', async () => {
  const { tokenVersion = 0 } = (await world.connection('user-1')) ?? {};
  await world.deps.connections.updateSettings(
    'user-1',
    { tokenVersion },
    { calendarId: secondCalendar, formerCalendars: [], updatedAt: 0 },
  );
  world.google.control.fail({ on: 'events.insert', times: 2, how: { status: 503 } });
  await sync(payment());
  expect((await stored()).nextRun?.count).toBe(1);
  await connect(ben);
  expect((await world.connection('user-1'))?.formerCalendars).toMatchObject([{ calendarId: secondCalendar }]);
  await runWhenDue();
  expect(world.calls()).toEqual(['events.insert']);
  expect(eventsOf(ben)).toHaveLength(1);
});
