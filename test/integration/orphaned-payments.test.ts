import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { cancelBooking, declareBooking } from '../../functions/bookings/change-booking.ts';
import { viewBooking } from '../../functions/bookings/view-booking.ts';
import type { PaymentFacts } from '../../shared/booking/payment.ts';
import type { PaymentReported, SyncRequested } from '../../shared/booking/queue.ts';
import { startWorld, type World } from './world.ts';

// Every payment that references a booking has a visible outcome: a booking, a problem of one, or a bus event.

let world: World;
beforeEach(async () => {
  world = await startWorld();
  await world.connect('user-1');
  await world.connect('user-2');
});
afterEach(() => world.close());

const sync = (message: Parameters<typeof syncBooking>[1], repeated = false) =>
  syncBooking(world.deps, message, { repeated });
const status = async (bookingId: string) => (await world.booking(bookingId))?.status;
const payments = async (bookingId: string) => Object.keys((await world.booking(bookingId))?.payments ?? {});
const published = (type: string) => world.bus.events.filter((event) => event.type === type);
const orphaned = () => published('payment.orphaned');
const problemCodes = async (userId: string, bookingId: string) =>
  (await viewBooking(world.deps, userId, bookingId)).problems.map(({ code }) => code);
const eventsOf = (bookingId: string) =>
  world
    .events()
    .filter(({ extendedProperties }) => extendedProperties?.private?.leadscalendarBooking === bookingId);
const fullRefund: PaymentFacts = { refunds: { re_1: { amount: 9000, state: 'done' } } };
const refunded = (paymentId: string): PaymentReported => ({
  type: 'payment',
  paymentId,
  eventId: 'evt_refund',
  facts: fullRefund,
});
/** The payment `paymentId` of a user for a booking id. */
const paid = (bookingId: string, paymentId: string, userId = 'user-1') => ({
  ...world.payment(bookingId, { userId }),
  paymentId,
});
async function drain(): Promise<void> {
  for (const message of world.queue.messages.splice(0)) await sync(message as SyncRequested);
}
async function declare(bookingId: string, change: object = {}, userId = 'user-1'): Promise<void> {
  const start = new Date((world.time.now + 86_400) * 1000).toISOString().slice(0, 19);
  const end = new Date((world.time.now + 90_000) * 1000).toISOString().slice(0, 19);
  await declareBooking(
    world.deps,
    { userId, bookingId },
    { summary: 'Declared', start: `${start}Z`, end: `${end}Z`, ...change },
  );
  await drain();
}
/** Runs the next attempt when it is due. */
async function retryDue(bookingId: string): Promise<void> {
  const syncDueAt = (await world.booking(bookingId))?.nextRun?.at;
  if (syncDueAt === undefined) return;
  world.time.now = Math.max(world.time.now, syncDueAt);
  await sync({ type: 'sync', bookingId, cause: 'due' });
}
/** Delivers messages concurrently, and again those whose run lost too many writes. */
async function atOnce(messages: PaymentReported[]): Promise<void> {
  await Promise.all(
    messages.map(async (message) => {
      for (let tries = 0; tries < 20; tries++) {
        try {
          return await sync(message, tries > 0);
        } catch (error) {
          if ((error as { code?: string }).code !== 'concurrent_update') throw error;
        }
      }
    }),
  );
}
/** Crashes a run at each write and each publication in turn, and redelivers the message until it succeeds. */
async function withCrashes(message: PaymentReported, deliver = sync): Promise<void> {
  const { save, savePointer } = world.deps.bookings;
  for (let at = 0; ; at++) {
    let left = at;
    const crash = <Args extends unknown[]>(step: (...args: Args) => Promise<unknown>) =>
      (async (...args: Args) => {
        if (left-- === 0) throw new Error('crashed before');
        const done = await step(...args);
        if (left-- === 0) throw new Error('crashed after');
        return done;
      }) as never;
    const deps = {
      ...world.deps,
      bookings: { ...world.deps.bookings, save: crash(save), savePointer: crash(savePointer) },
      bus: { publish: crash((...events) => world.bus.publish(...(events as never[]))) },
    };
    const crashed = await syncBooking(deps, message, { repeated: at > 0 }).then(
      () => false,
      (error: Error) => error.message.startsWith('crashed'),
    );
    if (!crashed) break;
  }
  await deliver(message, true);
}

describe('a payment that names another user than the booking has', () => {
  const first = () => paid('1042', 'pi_a');
  const second = () => paid('1042', 'pi_b', 'user-2');

  it('a payment of another user is orphaned, and a failed booking of its own', async () => {
    await sync(first());
    await sync(second());
    expect(await payments('1042')).toEqual(['pi_a']);
    expect(await viewBooking(world.deps, 'user-2', 'pi_b')).toMatchObject({
      status: 'failed',
      problems: [{ code: 'user_mismatch' }],
      payments: [{ paymentId: 'pi_b', standing: 'paid' }],
    });
    expect(published('booking.failed')).toMatchObject([
      { userId: 'user-2', bookingId: 'pi_b', paymentId: 'pi_b', problems: [{ code: 'user_mismatch' }] },
    ]);
    expect(orphaned()).toMatchObject([
      {
        id: 'payment.orphaned:pi_b:user_mismatch:1042',
        userId: 'user-2',
        bookingId: '1042',
        paymentId: 'pi_b',
        reason: 'user_mismatch',
        amount: 9000,
        refundedAmount: 0,
      },
    ]);
    expect(world.events()).toHaveLength(1);
  });

  it('a payment of another user neither keeps the event after a refund nor is refunded with it', async () => {
    await sync(first());
    await sync(second());
    await sync(refunded('pi_a'));
    expect(world.events()).toEqual([]);
    expect(await status('1042')).toBe('cancelled');
    await sync(refunded('pi_b'));
    expect(await viewBooking(world.deps, 'user-2', 'pi_b')).toMatchObject({
      payments: [{ standing: 'refunded' }],
    });
  });

  it('a payment of another user stays apart when redelivered and after crashes', async () => {
    await sync(first());
    await withCrashes(second());
    await sync({ ...second(), eventId: 'evt_other' });
    await sync(second(), true);
    expect(await payments('1042')).toEqual(['pi_a']);
    expect(await payments('pi_b')).toEqual(['pi_b']);
    expect(new Set(orphaned().map(({ id }) => id)).size).toBe(1);
    expect(world.events()).toHaveLength(1);
  });

  it('of two concurrent payments of different users one owns the booking', async () => {
    for (let run = 0; run < 8; run++) {
      const id = `race-${run}`;
      await atOnce([paid(id, `pi_a${run}`), paid(id, `pi_b${run}`, 'user-2')]);
      const owner = (await world.booking(id))?.userId === 'user-1' ? 'a' : 'b';
      const other = owner === 'a' ? 'b' : 'a';
      expect(await payments(id)).toEqual([`pi_${owner}${run}`]);
      expect(await world.booking(`pi_${other}${run}`)).toMatchObject({
        status: 'failed',
        problems: [{ code: 'user_mismatch' }],
      });
      expect(eventsOf(id)).toHaveLength(1);
      expect(
        orphaned()
          .filter(({ bookingId }) => bookingId === id)
          .map(({ paymentId }) => paymentId),
      ).toContain(`pi_${other}${run}`);
    }
  });

  it('a payment of another user does not count for a declared booking', async () => {
    await declare('s3', { summary: 'Text of user-1' });
    await sync(paid('s3', 'pi_s3', 'user-2'));
    expect(await status('s3')).toBe('declared');
    expect(world.events()).toEqual([]);
    expect(await problemCodes('user-2', 'pi_s3')).toEqual(['user_mismatch']);
  });

  it('a failed payment of another user does not end a hold', async () => {
    await declare('held', { hold: true });
    const expired = { failedAt: new Date((world.time.now + 60) * 1000).toISOString() };
    await sync({ ...paid('held', 'cs_b', 'user-2'), facts: expired });
    expect(await status('held')).toBe('held');
    expect(await payments('held')).toEqual([]);
  });

  it('a payment of another user is synced once its user declares it under its own id', async () => {
    await sync(first());
    await sync(second());
    await expect(declare('pi_b')).rejects.toMatchObject({ code: 'booking_not_found' });
    await declare('pi_b', {}, 'user-2');
    expect(await viewBooking(world.deps, 'user-2', 'pi_b')).toMatchObject({
      status: 'scheduled',
      problems: [],
    });
  });

  it('publishes a payment of another user whose own id is the id of a booking', async () => {
    await sync(first());
    await declare('pi_b');
    await withCrashes(second());
    expect(await payments('pi_b')).toEqual([]);
    expect(orphaned()[0]).toMatchObject({ reason: 'user_mismatch', userId: 'user-2', paymentId: 'pi_b' });
    const { pointer } = await world.deps.readForSync({ paymentId: 'pi_b' });
    expect(pointer).toMatchObject({ facts: { amount: 9000 } });
    expect(pointer).not.toHaveProperty('bookingId');
  });

  it('a payment of another user is not published if it was refunded before', async () => {
    await sync(first());
    await sync(refunded('pi_b'));
    await sync(second());
    expect(await status('pi_b')).toBe('failed');
    expect(orphaned()).toEqual([]);
  });

  it('a payment is detached from its booking when it names another user later', async () => {
    await declare('late');
    const { userId: _, ...named } = world.payment('late').booking;
    await sync({ ...paid('late', 'pi_late'), booking: named });
    expect(await status('late')).toBe('scheduled');
    await withCrashes(paid('late', 'pi_late', 'user-2'));
    await retryDue('late');
    expect(await payments('late')).toEqual([]);
    expect(await status('late')).toBe('declared');
    expect(world.events()).toEqual([]);
    expect(await payments('pi_late')).toEqual(['pi_late']);
    expect(published('booking.cancelled')).not.toEqual([]);
  });

  it('an adopted booking has no problem after its payment is refunded', async () => {
    await sync(first());
    await sync(second());
    await declare('pi_b', {}, 'user-2');
    world.bus.events.length = 0;
    await sync(refunded('pi_b'));
    expect(await viewBooking(world.deps, 'user-2', 'pi_b')).toMatchObject({
      status: 'cancelled',
      problems: [],
    });
    expect(published('booking.cancelled')).toHaveLength(1);
    expect(published('booking.cancelled')[0]).not.toHaveProperty('problems');
  });

  it('a payment without a user counts for the booking', async () => {
    await declare('anyone');
    const { userId: _, appointment: __, ...named } = world.payment('anyone').booking;
    const problems = [{ code: 'invalid_booking', field: 'start', message: '"start" is missing.' }];
    await sync({ ...world.payment('anyone'), booking: { ...named, problems } });
    expect(await viewBooking(world.deps, 'user-1', 'anyone')).toMatchObject({
      status: 'scheduled',
      problems: [],
    });
  });
});

describe('a payment that pays for another booking already', () => {
  it('a payment that was used already leaves the second booking failed, and is published', async () => {
    await sync(paid('b1', 'pi_1'));
    await sync(paid('b2', 'pi_1'));
    expect(await status('b1')).toBe('scheduled');
    expect(await viewBooking(world.deps, 'user-1', 'b2')).toMatchObject({
      status: 'failed',
      payments: [],
      problems: [{ code: 'payment_of_another_booking' }],
    });
    expect(published('booking.failed')).toMatchObject([{ bookingId: 'b2' }]);
    expect(orphaned()).toMatchObject([
      {
        id: 'payment.orphaned:pi_1:already_used:b2',
        bookingId: 'b2',
        paymentId: 'pi_1',
        reason: 'already_used',
        paidBookingId: 'b1',
        amount: 9000,
      },
    ]);
  });

  it('a payment that was used already leaves a declared booking unchanged, with a problem', async () => {
    await declare('b2', { hold: true });
    await sync(paid('b1', 'pi_1'));
    await sync(paid('b2', 'pi_1'));
    expect(await status('b2')).toBe('held');
    expect(await problemCodes('user-1', 'b2')).toEqual(['payment_of_another_booking']);
    expect(published('booking.failed')).toEqual([]);
    expect(orphaned()).toMatchObject([{ reason: 'already_used', bookingId: 'b2' }]);
    await sync(paid('b2', 'pi_2'));
    expect(await viewBooking(world.deps, 'user-1', 'b2')).toMatchObject({
      status: 'scheduled',
      problems: [],
    });
  });

  it('deletes the event of the second booking that a crashed run had created', async () => {
    const crash = async () => {
      throw new Error('crashed');
    };
    const crashing = { ...world.deps, bookings: { ...world.deps.bookings, save: crash } };
    await expect(syncBooking(crashing, paid('b2', 'pi_1'))).rejects.toThrow('crashed');
    expect(eventsOf('b2')).toHaveLength(1);
    await sync(paid('b1', 'pi_1'));
    await sync(paid('b2', 'pi_1'), true);
    await drain();
    expect([eventsOf('b1').length, eventsOf('b2').length]).toEqual([1, 0]);
    expect(await problemCodes('user-1', 'b2')).toEqual(['payment_of_another_booking']);
    expect(await world.booking('b2')).not.toHaveProperty('nextRun');
  });

  it('a payment that was used already never changes the booking of another user', async () => {
    await sync(paid('b2', 'pi_2', 'user-2'));
    await sync(paid('b1', 'pi_1'));
    await withCrashes(paid('b2', 'pi_1'));
    expect(await viewBooking(world.deps, 'user-2', 'b2')).toMatchObject({
      status: 'scheduled',
      problems: [],
    });
    expect(await status('b1')).toBe('scheduled');
    expect(orphaned()[0]).toMatchObject({ bookingId: 'b2', paymentId: 'pi_1', userId: 'user-1' });
  });

  it('a payment that was used already is recorded once, after repetitions and crashes', async () => {
    await sync(paid('b1', 'pi_1'));
    await withCrashes(paid('b2', 'pi_1'));
    const ids = () => new Set(world.bus.events.map(({ id }) => id));
    const before = ids();
    await sync(paid('b2', 'pi_1'));
    await sync({ ...paid('b2', 'pi_1'), eventId: 'evt_other' }, true);
    expect(ids()).toEqual(before);
    expect((await world.booking('b2'))?.timeline).toHaveLength(1);
    expect(await status('b1')).toBe('scheduled');
  });

  it.each(['neither is declared', 'both are declared'])(
    'of two bookings with one concurrent payment one gets it, the other is reported: %s',
    async (given) => {
      for (let run = 0; run < 6; run++) {
        const [one, other] = [`r${run}-1`, `r${run}-2`];
        if (given.startsWith('both')) for (const id of [one, other]) await declare(id);
        await atOnce([paid(one, `pi_${run}`), paid(other, `pi_${run}`)]);
        const isOne = (await status(one)) === 'scheduled';
        const [winner, loser] = isOne ? [one, other] : [other, one];
        expect([await status(winner), await payments(winner)]).toEqual(['scheduled', [`pi_${run}`]]);
        expect([await status(loser), await payments(loser)]).toEqual([
          given.startsWith('both') ? 'declared' : 'failed',
          [],
        ]);
        expect(await problemCodes('user-1', loser)).toEqual(['payment_of_another_booking']);
        expect(orphaned().map(({ bookingId }) => bookingId)).toContain(loser);
        expect([eventsOf(winner).length, eventsOf(loser).length]).toEqual([1, 0]);
        // No booking stays due forever.
        expect(await world.booking(loser)).not.toHaveProperty('nextRun');
      }
    },
  );

  it('the second booking is scheduled once it has a payment of its own', async () => {
    await sync(paid('b1', 'pi_1'));
    await sync(paid('b2', 'pi_1'));
    await sync(paid('b2', 'pi_2'));
    expect(await viewBooking(world.deps, 'user-1', 'b2')).toMatchObject({
      status: 'scheduled',
      problems: [],
    });
    expect(world.events()).toHaveLength(2);
  });

  it.each(['declared', 'created by its payment'])(
    "no problem remains after the second booking's own payment is refunded: %s",
    async (given) => {
      if (given === 'declared') await declare('b2');
      await sync(paid('b1', 'pi_1'));
      await sync(paid('b2', 'pi_1'));
      await sync(paid('b2', 'pi_2'));
      world.bus.events.length = 0;
      await sync(refunded('pi_2'));
      expect(await viewBooking(world.deps, 'user-1', 'b2')).toMatchObject({
        status: 'cancelled',
        problems: [],
      });
      expect(published('booking.cancelled')).toHaveLength(1);
      expect(published('booking.cancelled')[0]).not.toHaveProperty('problems');
    },
  );

  it('the failed second booking is declared when its user declares it', async () => {
    await sync(paid('b1', 'pi_1'));
    await sync(paid('b2', 'pi_1'));
    await declare('b2');
    expect(await status('b2')).toBe('declared');
    expect(eventsOf('b2')).toEqual([]);
  });

  it('a payment that failed for one booking can pay for another', async () => {
    await declare('b1');
    await sync({ ...paid('b1', 'pi_1'), facts: { failedAt: '2026-11-23T10:00:00Z' } });
    await sync(paid('b2', 'pi_1'));
    expect([await status('b1'), await status('b2')]).toEqual(['declared', 'scheduled']);
    expect(orphaned()).toEqual([]);
  });
});

describe('a payment for a cancelled booking', () => {
  it.each([{}, { hold: true }])(
    'a payment leaves a cancelled booking cancelled, with a problem, and is published: %j',
    async (change) => {
      await declare('p6', change);
      await cancelBooking(world.deps, { userId: 'user-1', bookingId: 'p6' });
      await drain();
      await withCrashes(paid('p6', 'pi_6'));
      expect(await viewBooking(world.deps, 'user-1', 'p6')).toMatchObject({
        status: 'cancelled',
        payments: [{ standing: 'paid' }],
        problems: [{ code: 'paid_after_cancellation' }],
      });
      expect(orphaned()[0]).toMatchObject({
        id: 'payment.orphaned:pi_6:booking_cancelled:p6',
        reason: 'booking_cancelled',
        userId: 'user-1',
        amount: 9000,
        refundedAmount: 0,
      });
      expect(new Set(orphaned().map(({ id }) => id)).size).toBe(1);
      expect(world.events()).toEqual([]);
    },
  );

  it('a refunded payment of a cancelled booking is no problem and needs no event', async () => {
    await declare('p6');
    await cancelBooking(world.deps, { userId: 'user-1', bookingId: 'p6' });
    await sync(paid('p6', 'pi_6'));
    await sync(refunded('pi_6'));
    expect(await problemCodes('user-1', 'p6')).toEqual([]);
    await sync(refunded('pi_7'));
    await sync(paid('p6', 'pi_7'));
    expect(orphaned().map(({ paymentId }) => paymentId)).toEqual(['pi_6']);
  });

  it('a payment from before the cancellation is not published again', async () => {
    await sync(paid('p6', 'pi_6'));
    await cancelBooking(world.deps, { userId: 'user-1', bookingId: 'p6' });
    await drain();
    await sync(paid('p6', 'pi_6'), true);
    expect(await viewBooking(world.deps, 'user-1', 'p6')).toMatchObject({
      status: 'cancelled',
      problems: [],
    });
    expect(orphaned()).toEqual([]);
  });

  it('publishes a payment of a cancelled booking once the bus is available again', async () => {
    await declare('p6');
    await cancelBooking(world.deps, { userId: 'user-1', bookingId: 'p6' });
    world.bus.unavailable = true;
    await expect(sync(paid('p6', 'pi_6'))).rejects.toThrow();
    expect(await payments('p6')).toEqual([]);
    world.bus.unavailable = false;
    await sync(paid('p6', 'pi_6'), true);
    expect(orphaned()).toHaveLength(1);
  });
});

it('cancels and publishes a declared booking whose payment was refunded before it arrived', async () => {
  await declare('b1');
  await sync(refunded('pi_1'));
  await sync(paid('b1', 'pi_1'));
  expect(await status('b1')).toBe('cancelled');
  expect(world.bus.types()).toEqual(['booking.cancelled']);
});

it('publishes a second payment of a paid booking: its customer may have paid twice', async () => {
  await sync(paid('b1', 'pi_1'));
  await sync(paid('b1', 'pi_2'));
  await sync(paid('b1', 'pi_2'), true);
  expect(orphaned()).toMatchObject([{ reason: 'already_paid', paymentId: 'pi_2', bookingId: 'b1' }]);
  expect(await problemCodes('user-1', 'b1')).toEqual(['paid_twice']);
  await sync(refunded('pi_2'));
  expect(await viewBooking(world.deps, 'user-1', 'b1')).toMatchObject({ status: 'scheduled', problems: [] });
});

it('publishes a payment that arrived after the appointment was over', async () => {
  await declare('late');
  world.time.now += 2 * 86_400;
  const { booking, ...message } = world.payment('late');
  const { appointment: _, ...named } = booking;
  await sync({ ...message, booking: named });
  expect(await status('late')).toBe('missed');
  expect(world.bus.types()).toEqual(expect.arrayContaining(['booking.missed', 'payment.orphaned']));
  expect(orphaned()).toMatchObject([{ reason: 'too_late', bookingId: 'late' }]);
  expect(await problemCodes('user-1', 'late')).toEqual(['paid_too_late']);
});

it('a late payment is no problem once the moved appointment has its event', async () => {
  await declare('late');
  world.time.now += 2 * 86_400;
  const { booking, ...message } = world.payment('late');
  const { appointment: _, ...named } = booking;
  await sync({ ...message, booking: named });
  expect(await problemCodes('user-1', 'late')).toEqual(['paid_too_late']);
  world.bus.events.length = 0;
  await declare('late');
  expect(await viewBooking(world.deps, 'user-1', 'late')).toMatchObject({
    status: 'scheduled',
    problems: [],
  });
  expect(published('booking.scheduled')[0]).not.toHaveProperty('problems');
  await sync(refunded('pi_late'));
  expect(await problemCodes('user-1', 'late')).toEqual([]);
});

it('a late payment stays a problem when the booking is cancelled', async () => {
  await declare('late');
  world.time.now += 2 * 86_400;
  await sync(world.payment('late'));
  await cancelBooking(world.deps, { userId: 'user-1', bookingId: 'late' });
  await drain();
  expect(await status('late')).toBe('cancelled');
  expect(await problemCodes('user-1', 'late')).toEqual(['paid_too_late']);
  await sync(refunded('pi_late'));
  expect(await problemCodes('user-1', 'late')).toEqual([]);
});

it('a second payment is no problem again after it became the first', async () => {
  for (const id of ['pi_1', 'pi_2']) await sync(paid('b1', id));
  await sync(refunded('pi_1'));
  expect(await problemCodes('user-1', 'b1')).toEqual([]);
  await sync(paid('b1', 'pi_3'));
  const { problems } = await viewBooking(world.deps, 'user-1', 'b1');
  expect(problems).toMatchObject([{ code: 'paid_twice', message: expect.stringContaining('pi_3') }]);
});

describe('a payment for a booking that failed', () => {
  const unusable = (paymentId: string, named: object = {}): PaymentReported => {
    const problems = [{ code: 'invalid_booking', field: 'start', message: '"start" is missing.' }];
    return { ...paid('c1', paymentId), booking: { bookingId: 'c1', userId: 'user-1', problems, ...named } };
  };
  const failures = () => published('booking.failed');

  it.each([{}, { mustExist: true, userId: undefined, problems: [] }])(
    'publishes a failed booking again when it is paid after a refund: %j',
    async (named) => {
      await sync(unusable('pi_1'));
      await sync(refunded('pi_1'));
      expect(failures()).toHaveLength(1);
      await withCrashes(unusable('pi_2', named));
      expect(new Set(failures().map(({ id }) => id)).size).toBe(2);
      expect(failures().at(-1)).toMatchObject({ bookingId: 'c1', paymentId: 'pi_2', userId: 'user-1' });
      const before = world.bus.events.length;
      await sync(unusable('pi_2', named), true);
      expect(world.bus.events).toHaveLength(before);
    },
  );

  it('gives an ownerless failed booking to the user of its next payment', async () => {
    await sync(unusable('pi_1', { userId: undefined }));
    await withCrashes(unusable('pi_2', { userId: 'user-2' }));
    expect(await viewBooking(world.deps, 'user-2', 'c1')).toMatchObject({
      status: 'failed',
      problems: [{ code: 'invalid_booking', field: 'start' }, { code: 'paid_twice' }],
    });
    expect(failures().at(-1)).toMatchObject({ bookingId: 'c1', userId: 'user-2' });
    expect(orphaned().at(-1)).toMatchObject({ reason: 'already_paid', paymentId: 'pi_2', userId: 'user-2' });
  });

  it('gives an ownerless booking to no user of a failed or referencing payment', async () => {
    await sync(unusable('pi_1', { userId: undefined }));
    await sync({ ...unusable('pi_2', { userId: 'user-2' }), facts: { failedAt: '2026-11-23T10:00:00Z' } });
    await sync(unusable('pi_3', { userId: 'user-2', mustExist: true, problems: [] }));
    expect(await world.booking('c1')).not.toHaveProperty('userId', 'user-2');
  });
});

it.each(['failed', 'missed'] as const)(
  'retries a booking that is paid after it %s as a hold',
  async (was) => {
    await world.declare('b1', { hold: true, status: was });
    await sync(world.payment('b1'));
    expect(await status('b1')).toBe('scheduled');
  },
);

describe('a payment that may only pay for a declared booking', () => {
  const referenced = (paymentId = 'pi_1'): PaymentReported => ({
    ...world.payment('b1'),
    paymentId,
    booking: { bookingId: 'b1', mustExist: true, problems: [] },
  });

  it('publishes a reference to an undeclared booking, and creates no booking', async () => {
    await withCrashes(referenced());
    expect(await world.booking('b1')).toBeUndefined();
    expect(orphaned()[0]).toMatchObject({ reason: 'booking_unknown', bookingId: 'b1', amount: 9000 });
    await declare('b1');
    await sync(referenced(), true);
    expect(await status('b1')).toBe('scheduled');
  });

  it('a referencing payment pays for a declared booking', async () => {
    await declare('b1');
    await sync(referenced());
    expect(await status('b1')).toBe('scheduled');
    expect(orphaned()).toEqual([]);
  });

  it('does not publish a referencing payment that failed or was refunded before', async () => {
    await sync({ ...referenced(), facts: { failedAt: '2026-11-23T10:00:00Z' } });
    await sync(refunded('pi_2'));
    await sync(referenced('pi_2'));
    expect(orphaned()).toEqual([]);
  });
});

it('records a payment whose id is also a property of every object', async () => {
  await sync(paid('b1', 'constructor'));
  expect(await payments('b1')).toEqual(['constructor']);
  await sync(paid('b1', 'constructor'), true);
  expect(await status('b1')).toBe('scheduled');
});
