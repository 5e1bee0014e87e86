import { randomBytes } from 'node:crypto';
import { auth, calendar } from '@googleapis/calendar';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requeueDueBookings } from '../../functions/booking-reconcile/requeue-due.ts';
import { requeueWaiting } from '../../functions/booking-sync/requeue-waiting.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import type { FaultEffect } from '../../infra/local/google/faults.ts';
import { type Booking, calendarEventId, recordedEvent } from '../../shared/booking/booking.ts';
import type { SyncRequested } from '../../shared/booking/queue.ts';
import { logged } from '../support/setup.ts';
import { ada, startWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  logged.length = 0;
  world = await startWorld();
});
afterEach(() => world.close());

const sync = (message: Parameters<typeof syncBooking>[1]) => syncBooking(world.deps, message);
const again = (bookingId = 'b1'): SyncRequested => ({
  type: 'sync',
  bookingId,
  userId: 'user-1',
  cause: 'test',
});
/** The values of a logged metric, with its unit and other dimensions where it has any. */
const metricsNamed = (name: string): unknown[] =>
  logged.map((line) => JSON.parse(line)).flatMap((line) => (line._aws && name in line ? [line[name]] : []));
const insertFails = (how: FaultEffect, times = 1) =>
  world.google.control.fail({ on: 'events.insert', times, how });
const eventIdOf = (bookingId: string, generation = 0): string =>
  calendarEventId(bookingId, 'primary', generation);

describe('the metrics of a booking', () => {
  it('records once how long a paid booking waited for its event', async () => {
    await world.connect('user-1');
    insertFails({ status: 500, reason: 'backendError' }, 2);
    await sync(world.payment('b1'));
    expect(metricsNamed('PaymentToEvent')).toEqual([]);
    world.time.now += 30;
    await sync(again());
    await sync(again());
    const [milliseconds, ...more] = metricsNamed('PaymentToEvent');
    expect(more).toEqual([]);
    expect(milliseconds).toBeGreaterThanOrEqual(30_000);
    expect(milliseconds).toBeLessThan(60_000);
    expect(logged.find((line) => line.includes('"PaymentToEvent"'))).toContain('"Unit":"Milliseconds"');
  });

  it('counts a paid booking that fails, and no other', async () => {
    await world.connect('user-1');
    insertFails({ status: 400, reason: 'invalid' });
    await sync(world.payment('b1'));
    await sync(again());
    await sync(world.payment('b2'));
    expect(metricsNamed('PaidBookingFailed')).toEqual([1]);
  });
});

describe('a confirmed payment', () => {
  it("creates an event that Google's own client reads with all its fields", async () => {
    await world.connect('user-1');
    const message = world.payment('b1');
    const appointment = {
      ...message.booking.appointment,
      location: 'Example Street 1',
      description: 'Room <2> & more',
    };
    await sync({ ...message, booking: { ...message.booking, appointment } } as typeof message);

    const { accessToken } = world.google.control.grant({
      clientId: 'test-client',
      email: ada,
      scopes: ['https://www.googleapis.com/auth/calendar.events'],
    });
    const oauth = new auth.OAuth2();
    oauth.setCredentials({ access_token: accessToken });
    const google = calendar({ version: 'v3', auth: oauth, rootUrl: `${world.google.url}/` });
    const { data } = await google.events.get({ calendarId: 'primary', eventId: eventIdOf('b1') });
    expect(data).toMatchObject({
      status: 'confirmed',
      summary: 'Meeting b1',
      location: 'Example Street 1',
      description: 'Room &lt;2> &amp; more',
      extendedProperties: { private: { leadscalendarBooking: 'b1' } },
    });
    expect(Date.parse(data.start?.dateTime ?? '')).toBe((message.booking.appointment?.startsAt ?? 0) * 1000);

    expect(await world.booking('b1')).toMatchObject({
      status: 'scheduled',
      calendar: {
        event: {
          calendarId: 'primary',
          eventId: data.id,
          etag: data.etag,
          htmlLink: data.htmlLink,
        },
      },
      timeline: [{ what: 'paid' }, { what: 'scheduled' }],
    });
    expect(world.bus.events).toEqual([
      expect.objectContaining({
        type: 'booking.scheduled',
        bookingId: 'b1',
        userId: 'user-1',
        eventId: data.id,
        htmlLink: data.htmlLink,
      }),
    ]);
  });

  it('fifty concurrent deliveries of a payment create one event', async () => {
    await world.connect('user-1');
    const results = await Promise.allSettled(Array.from({ length: 50 }, () => sync(world.payment('b1'))));
    // A worker that lost too many writes leaves its message in the queue.
    for (const result of results) {
      if (result.status === 'rejected')
        expect(result.reason).toMatchObject({ code: 'concurrent_update', retryable: true });
    }
    await sync(world.payment('b1'));
    expect(world.events()).toHaveLength(1);
    expect((await world.booking('b1'))?.status).toBe('scheduled');
  });

  it('a payment with an expired token costs one refresh', async () => {
    await world.connect('user-1', { accessTokenExpiresAt: world.time.now });
    await sync(world.payment('b1'));
    expect(world.calls()).toEqual(['token', 'events.insert']);
    expect((await world.booking('b1'))?.status).toBe('scheduled');
  });

  it('a payment of an unconnected user waits, and is synced when the user connects', async () => {
    await sync(world.payment('b1'));
    expect(world.bus.types()).toEqual(['booking.waiting']);
    expect(await world.booking('b1')).toMatchObject({
      status: 'waiting_for_connection',
      problems: [{ code: 'no_connection' }],
    });

    await world.connect('user-1');
    await requeueWaiting(world.deps, {
      type: 'connection.activated',
      userId: 'user-1',
      tokenVersion: 1,
      page: 0,
    });
    expect(world.queue.messages).toEqual([
      { type: 'sync', bookingId: 'b1', userId: 'user-1', cause: 'activated-1-0' },
    ]);
    await sync(world.queue.messages[0] as SyncRequested);
    expect(world.events()).toHaveLength(1);
    expect(world.bus.types()).toEqual(['booking.waiting', 'booking.scheduled']);
  });

  it('a waiting payment is synced when it comes due, also without a release', async () => {
    await sync(world.payment('b1'));
    await world.connect('user-1');
    world.time.now += 61;
    await requeueDueBookings({ ...world.deps, timeLeft: () => true });
    expect(world.queue.messages).toHaveLength(1);
    await sync(world.queue.messages[0] as SyncRequested);
    expect((await world.booking('b1'))?.status).toBe('scheduled');
  });

  it('an appointment that is over when its user connects is reported as missed', async () => {
    await sync(world.payment('b1'));
    await world.connect('user-1');
    world.time.now += 3 * 86_400;
    await sync(again());
    // Two reads that find no event must agree.
    world.time.now += 90;
    await sync(again());
    expect(world.events()).toEqual([]);
    expect((await world.booking('b1'))?.status).toBe('missed');
    expect(world.bus.types()).toEqual(['booking.waiting', 'booking.missed']);
  });

  it("never creates an event in the calendar of a user other than the booking's", async () => {
    await sync(world.payment('b1', { userId: 'user-without-connection' }));
    await world.connect('user-1');
    await sync(again());
    await sync({ ...world.payment('b1'), paymentId: 'pi_of_user_1' });
    expect(world.events()).toEqual([]);
    expect(await world.booking('b1')).toMatchObject({
      userId: 'user-without-connection',
      status: 'waiting_for_connection',
    });
  });

  it('an unusable payment leaves a failed booking, and a usable one repairs it', async () => {
    await world.connect('user-1');
    const message = world.payment('b1');
    const { appointment: _, ...rest } = message.booking;
    const problems = [{ code: 'invalid_booking', field: 'start', message: '"start" is missing.' }];
    await sync({ ...message, booking: { ...rest, problems } });
    expect(await world.booking('b1')).toMatchObject({ status: 'failed', problems });
    expect(world.calls()).toEqual([]);
    await sync(world.payment('b1'));
    expect(await world.booking('b1')).toMatchObject({ status: 'scheduled', problems: [] });
    expect(world.bus.types()).toEqual(['booking.failed', 'booking.scheduled']);
  });
});

describe('answers of Google', () => {
  beforeEach(() => world.connect('user-1'));

  it('refreshes a token that Google answers with 401 once, and repeats the insert', async () => {
    world.google.control.expireAccessTokens(ada);
    await sync(world.payment('b1'));
    expect(world.calls()).toEqual(['events.insert', 'token', 'events.insert']);
    expect((await world.booking('b1'))?.status).toBe('scheduled');
  });

  it('retries the booking later when Google answers the new token with 401 too', async () => {
    insertFails({ status: 401, reason: 'authError' }, 2);
    await sync(world.payment('b1'));
    expect(world.calls()).toEqual(['events.insert', 'token', 'events.insert']);
    expect(await world.booking('b1')).toMatchObject({
      status: 'pending',
      problems: [{ code: 'google_unauthorized' }],
    });
  });

  it('the booking waits for its user when the grant was revoked', async () => {
    world.google.control.revokeGrant(ada);
    await sync(world.payment('b1'));
    expect((await world.booking('b1'))?.status).toBe('waiting_for_connection');
    expect((await world.connection('user-1'))?.status).toBe('reauthorization_required');
    expect(world.bus.types()).toEqual(['connection.reauthorization_required', 'booking.waiting']);
  });

  it('asks the user to reconnect when the calendar permission is missing', async () => {
    const how = { status: 403, reason: 'insufficientPermissions' };
    world.google.control.fail({ on: 'events', times: 2, how });
    await sync(world.payment('b1'));
    expect(world.calls()).toEqual(['events.insert', 'events.list']);
    expect(await world.connection('user-1')).toMatchObject({
      status: 'reauthorization_required',
      reason: 'insufficientPermissions',
    });
    expect((await world.booking('b1'))?.status).toBe('waiting_for_connection');
  });

  it("fails the booking with Google's reason at 400, and does not retry it", async () => {
    insertFails({ status: 400, reason: 'timeRangeEmpty' });
    await sync(world.payment('b1'));
    await sync(again());
    expect(world.calls()).toEqual(['events.insert']);
    expect(await world.booking('b1')).toMatchObject({
      status: 'failed',
      problems: [
        { code: 'google_refused', message: expect.stringContaining('The specified time range is empty.') },
      ],
    });
    expect(world.bus.types()).toEqual(['booking.failed']);
  });

  it.each<[string, FaultEffect]>([
    ['500', { status: 500, reason: 'backendError' }],
    ['503 with a page', { status: 503, html: true }],
    ['nothing, since the connection is lost', { lose: 'request' }],
    ['200 with nonsense', { status: 200, body: '{"kind":' }],
  ])('retries at once and succeeds when Google answers %s once', async (_, how) => {
    insertFails(how);
    await sync(world.payment('b1'));
    expect(world.calls()).toEqual(['events.insert', 'events.insert']);
    expect((await world.booking('b1'))?.status).toBe('scheduled');
    expect(world.events()).toHaveLength(1);
  });

  it.each<[string, FaultEffect, string]>([
    ['500', { status: 500, reason: 'backendError' }, 'google_transient'],
    ['503 with a page', { status: 503, html: true }, 'google_transient'],
  ])('schedules the next attempt when Google answers %s again', async (_, how, code) => {
    insertFails(how, 2);
    await sync(world.payment('b1'));
    const booking = await world.booking('b1');
    expect(booking).toMatchObject({
      status: 'pending',
      nextRun: { why: 'retry', count: 1, at: world.time.now + 23 },
      problems: [{ code }],
    });

    world.time.now += 23 + 40;
    expect(await requeueDueBookings({ ...world.deps, timeLeft: () => true })).toEqual({ requeued: 1 });
    expect(metricsNamed('OldestDue')).toEqual([40]);
    await sync(world.queue.messages[0] as SyncRequested);
    expect(await world.booking('b1')).toMatchObject({ status: 'scheduled', problems: [] });
    expect(await world.booking('b1')).not.toHaveProperty('nextRun');
    expect(await requeueDueBookings({ ...world.deps, timeLeft: () => true })).toEqual({ requeued: 0 });
  });

  it.each<[string, FaultEffect, number]>([
    ['429 with Retry-After', { status: 429, reason: 'rateLimitExceeded', retryAfter: 600 }, 600],
    ['503 with an endless Retry-After', { status: 503, reason: 'backendError', retryAfter: 1e9 }, 3600],
    ['429', { status: 429, reason: 'rateLimitExceeded' }, 45],
    ['429 with a page', { status: 429, html: true }, 23],
    ['403 for too many requests', { status: 403, reason: 'userRateLimitExceeded' }, 45],
    ['that a quota is used up', { status: 403, reason: 'quotaExceeded' }, 2700],
    ['404 for the calendar', { status: 404, reason: 'notFound' }, 23],
    ['that its API is not enabled', { status: 403, reason: 'accessNotConfigured' }, 23],
  ])('makes no call before the end of the pause when Google answers %s', async (_, how, wait) => {
    insertFails(how);
    await sync(world.payment('b1'));
    expect(world.calls()).toEqual(['events.insert']);
    expect(await world.booking('b1')).toMatchObject({
      status: 'pending',
      nextRun: { at: world.time.now + wait },
    });
    expect((await world.connection('user-1'))?.status).toBe('active');
  });

  it('finds the event of an insert whose response was lost, and creates no second one', async () => {
    insertFails({ lose: 'response' });
    await sync(world.payment('b1'));
    expect(world.calls()).toEqual(['events.insert', 'events.insert', 'events.get']);
    expect(world.events()).toHaveLength(1);
    expect(await world.booking('b1')).toMatchObject({
      status: 'scheduled',
      calendar: { event: { eventId: eventIdOf('b1') } },
    });
  });

  it('uses another event id when Google answers 409 for an event of another booking', async () => {
    const insertAs = async (id: string) => {
      const { accessToken } = world.google.control.grant({
        clientId: 'test-client',
        email: ada,
        scopes: ['https://www.googleapis.com/auth/calendar.events'],
      });
      const response = await fetch(`${world.google.url}/calendar/v3/calendars/primary/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' },
        body: JSON.stringify({
          id,
          summary: 'Not ours',
          start: { date: '2026-12-01' },
          end: { date: '2026-12-02' },
        }),
      });
      expect(response.status).toBe(200);
    };
    await insertAs(eventIdOf('b1'));
    await sync(world.payment('b1'));
    expect(await world.booking('b1')).toMatchObject({
      status: 'scheduled',
      eventNumber: 1,
      calendar: { event: { eventId: eventIdOf('b1', 1) } },
    });
    expect(world.events()).toHaveLength(2);
  });

  it('uses another event id when Google answers 409 for a deleted event', async () => {
    await sync(world.payment('b1'));
    world.google.control.deleteEvent(ada, eventIdOf('b1'));
    // As if the run had crashed before saving, and the event had been deleted in the meantime.
    const booking = (await world.booking('b1')) as Booking;
    await world.deps.bookings.save({ ...booking, calendar: { kind: 'in_doubt', until: 0 } });
    await sync(again());
    expect(world.events()).toHaveLength(1);
    expect(recordedEvent((await world.booking('b1')) as Booking)?.eventId).toBe(eventIdOf('b1', 1));
  });
});

describe('outages of our own services', () => {
  beforeEach(() => world.connect('user-1'));

  it('retries without the message when the bus fails after Google created the event', async () => {
    world.bus.unavailable = true;
    await sync(world.payment('b1'));
    expect(world.events()).toHaveLength(1);
    const untold = await world.booking('b1');
    expect(untold).toMatchObject({
      status: 'pending',
      nextRun: { count: 1 },
      problems: [{ code: 'not_published' }],
    });
    expect(untold).not.toHaveProperty('calendar.event');
    world.bus.unavailable = false;
    world.time.now = untold?.nextRun?.at as number;
    await sync(again());
    expect(world.bus.types()).toEqual(['booking.scheduled']);
    expect((await world.booking('b1'))?.status).toBe('scheduled');
    expect(world.events()).toHaveLength(1);
  });

  it('keeps the message when the bus fails before any call to Google', async () => {
    world.bus.unavailable = true;
    const { appointment: _, ...booking } = world.payment('b2').booking;
    const problems = [{ code: 'invalid_booking', message: '"start" is missing.' }];
    const unusable = { ...world.payment('b2'), booking: { ...booking, problems } };
    await expect(sync(unusable)).rejects.toThrow('The bus is away.');
    expect(await world.booking('b2')).toBeUndefined();
    world.bus.unavailable = false;
    await sync(unusable);
    expect(world.bus.types()).toEqual(['booking.failed']);
  });

  it('keeps the message when the table fails after the insert, and the next run records it', async () => {
    const broken = {
      ...world.deps,
      bookings: { ...world.deps.bookings, save: () => Promise.reject(new Error('The table is away.')) },
    };
    await expect(syncBooking(broken, world.payment('b1'))).rejects.toThrow('The table is away.');
    expect(world.events()).toHaveLength(1);
    await sync(world.payment('b1'));
    expect(world.events()).toHaveLength(1);
    expect((await world.booking('b1'))?.status).toBe('scheduled');
    // Published twice, with one id by which consumers recognize the repetition.
    expect(new Set(world.bus.events.map(({ id }) => id)).size).toBe(1);
  });

  it('a repeated message whose news could not be recorded leaves the booking due', async () => {
    await sync(world.payment('b1'));
    const connection = await world.connection('user-1');
    await world.deps.connections.put(
      { ...connection, status: 'reauthorization_required', tokenVersion: 2 } as never,
      { tokenVersion: 1 } as never,
    );
    const save: typeof world.deps.bookings.save = (booking) =>
      world.bus.types().includes('booking.waiting')
        ? Promise.reject(new Error('The table is away.'))
        : world.deps.bookings.save(booking);
    const broken = { ...world.deps, bookings: { ...world.deps.bookings, save } };
    await expect(syncBooking(broken, world.payment('b1'), { repeated: true })).rejects.toThrow('away');
    expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.waiting']);
    expect(await world.booking('b1')).toMatchObject({ status: 'pending', nextRun: { why: 'requested' } });
  });

  it('a wrong client secret holds paid bookings and breaks no connection', async () => {
    const connection = await world.connection('user-1');
    await world.deps.connections.put({ ...connection, accessTokenExpiresAt: 0, tokenVersion: 2 } as never, {
      tokenVersion: 1,
    });
    world.googleClient.value = { ...world.googleClient.value, clientSecret: randomBytes(8).toString('hex') };
    await sync(world.payment('b1'));
    expect(await world.booking('b1')).toMatchObject({
      status: 'pending',
      problems: [{ code: 'google_client_misconfigured' }],
    });
    expect((await world.connection('user-1'))?.status).toBe('active');
  });
});

it('requeues a long list of waiting bookings page by page', async () => {
  for (let index = 0; index < 25; index++) await sync(world.payment(`b${index}`));
  await world.connect('user-1');
  const { messages } = world.queue;
  messages.push({ type: 'connection.activated', userId: 'user-1', tokenVersion: 1, page: 0 });
  for (let next = 0; next < messages.length; next++) {
    const message = messages[next];
    if (message?.type === 'connection.activated') await requeueWaiting(world.deps, message);
    else if (message) await sync(message);
  }
  expect(world.events()).toHaveLength(25);
});
