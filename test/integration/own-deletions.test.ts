import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import type { FaultEffect } from '../../infra/local/google/faults.ts';
import { bookingSteps } from './booking-steps.ts';
import { startWorld, type World } from './world.ts';

/** A missing event: deleted by this service, by its owner, or moved to a calendar that cannot be searched. */

let world: World;
beforeEach(async () => {
  world = await startWorld();
  await world.connect('user-1');
  await sync(world.payment('b1'));
});
afterEach(() => world.close());
const { sync, stored, refund, moveByHand, change: changeBooking } = bookingSteps(() => world);
const change = () => changeBooking({ summary: 'Another summary' });

/** Runs until the booking is at rest. */
const settle = async () => {
  for (let runs = 0; runs < 5; runs++) {
    const { nextRun } = await stored();
    if (nextRun === undefined || nextRun.why === 'check') return;
    world.time.now = nextRun.at;
    await sync();
  }
};
const checkDayBefore = async () => {
  await world.deps.bookings.save({
    ...(await stored()),
    nextRun: { why: 'check', at: world.time.now, count: 1 },
  });
  await sync();
  for (let runs = 0; runs < 3 && (await stored()).calendar.kind === 'in_doubt'; runs++) {
    world.time.now = (await stored()).nextRun?.at ?? Number.NaN;
    await sync();
  }
};
const payAgain = () => {
  const message = world.payment('b1');
  return sync({ ...message, paymentId: 'pi_again', eventId: 'evt_again' });
};
const deletionFails = (times: number, how: FaultEffect = { lose: 'response' }) =>
  world.google.control.fail({ on: 'events.delete', times, how });
const codes = async () => (await stored()).problems.map(({ code }) => code);

describe('an event that this service has deleted', () => {
  it.each([1, 2, 3, 4])(
    'after %i lost responses of a deletion, a refunded booking reports no older event',
    async (times) => {
      deletionFails(times);
      await refund();
      await settle();
      expect(await stored()).toMatchObject({ status: 'cancelled', problems: [] });
      expect(await stored()).not.toHaveProperty('olderEvents');
      expect(await stored()).not.toHaveProperty('requestedDeletions');
      expect(world.events()).toEqual([]);
    },
  );

  it('after lost responses of a deletion, a booking paid again reports no older event', async () => {
    deletionFails(2);
    await refund();
    expect((await stored()).status).toBe('pending');
    await payAgain();
    await settle();
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 1, problems: [] });
    expect(await stored()).not.toHaveProperty('requestedDeletions');
    expect(world.events()).toHaveLength(1);
  });

  it('without a record of its event, a booking paid again reports no older event', async () => {
    await world.deps.bookings.save({
      ...(await stored()),
      calendar: { kind: 'in_doubt', until: world.time.now - 1 },
    });
    deletionFails(2);
    await refund();
    await payAgain();
    await settle();
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 1, problems: [] });
    expect(world.events()).toHaveLength(1);
  });

  it('after a concurrent second payment, a booking reports no older event', async () => {
    const { save } = world.deps.bookings;
    let first = true;
    const overtaken = {
      ...world.deps,
      bookings: {
        ...world.deps.bookings,
        save: async (booking: Parameters<typeof save>[0]) => {
          if (!first) return save(booking);
          first = false;
          await payAgain();
          return save(booking);
        },
      },
    };
    await syncBooking(overtaken, world.reported('b1', { refundedTotal: 9000 }));
    await settle();
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 1, problems: [] });
    expect(world.events()).toHaveLength(1);
  });

  it('warns of an older event after a crash right after the deletion', async () => {
    const refunded = world.reported('b1', { refundedTotal: 9000 });
    const save = () => Promise.reject(new Error('crashed'));
    const crashing = { ...world.deps, bookings: { ...world.deps.bookings, save } };
    await expect(syncBooking(crashing, refunded)).rejects.toThrow('crashed');
    expect(world.events()).toEqual([]);
    // Its owner may as well have moved it: a warning that is not needed is better than an event that remains unseen.
    await syncBooking(world.deps, { ...refunded, recovered: true });
    expect(await codes()).toEqual(['older_event_may_remain']);
    await syncBooking(world.deps, refunded, { repeated: true });
    await settle();
    expect((await stored()).status).toBe('cancelled');
    expect(await codes()).toEqual(['older_event_may_remain']);
  });

  it('after a failed publish, a booking reports no older event', async () => {
    const broken = {
      ...world.deps,
      bus: { ...world.bus, publish: () => Promise.reject(new Error('down')) },
    };
    await syncBooking(broken, world.reported('b1', { refundedTotal: 9000 }));
    expect(await stored()).toMatchObject({ status: 'pending', problems: [{ code: 'not_published' }] });
    await settle();
    expect(await stored()).toMatchObject({ status: 'cancelled', problems: [] });
  });
});

describe.each(['cancelled', 'not_found'] as const)(
  'an event that its owner moved (%s at its source)',
  (movedEvent) => {
    beforeEach(async () => {
      world.google.control.setSwitch('movedEvent', movedEvent);
    });

    it('the check a day before reports that a moved event may remain', async () => {
      await moveByHand();
      await checkDayBefore();
      expect((await stored()).status).toBe('deleted_by_user');
      expect(await codes()).toEqual(['older_event_may_remain']);
      expect(world.bus.events.at(-1)).toMatchObject({
        type: 'booking.deleted_by_user',
        problems: [{ code: 'older_event_may_remain' }],
      });
      await change();
      await settle();
      expect((await stored()).status).toBe('scheduled');
      expect(await codes()).toEqual(['older_event_may_remain']);
      await refund();
      await settle();
      expect((await stored()).status).toBe('cancelled');
      expect(await codes()).toEqual(['older_event_may_remain']);
    });

    it('reports that a moved event may remain after a refused deletion', async () => {
      await moveByHand();
      deletionFails(2, { status: 403, reason: 'rateLimitExceeded' });
      await refund();
      await settle();
      expect((await stored()).status).toBe('cancelled');
      expect(await codes()).toEqual(['older_event_may_remain']);
    });

    it('reports that a moved event may remain after a lost deletion and a later change', async () => {
      deletionFails(2, { lose: 'request' });
      await refund();
      await payAgain();
      await settle();
      expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 0, problems: [] });
      await moveByHand();
      await change();
      await settle();
      expect((await stored()).status).toBe('scheduled');
      expect(await codes()).toEqual(['older_event_may_remain']);
    });
  },
);

describe('an older event that may remain', () => {
  it('reports no older event once it was found again and deleted', async () => {
    world.google.control.fail({ on: 'events.patch', how: { status: 404, reason: 'notFound' } });
    world.google.control.fail({ on: 'events.get', times: 2, how: { status: 404, reason: 'notFound' } });
    await change();
    await settle();
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 1, problems: [] });
    expect(await stored()).not.toHaveProperty('olderEvents');
    expect(world.events()).toHaveLength(1);
  });

  it('reports no older event once it is the event of the booking again', async () => {
    world.google.control.fail({ on: 'events.get', times: 2, how: { status: 404, reason: 'notFound' } });
    await checkDayBefore();
    expect((await stored()).status).toBe('deleted_by_user');
    expect(await codes()).toEqual(['older_event_may_remain']);
    await change();
    await settle();
    expect(await stored()).toMatchObject({ status: 'scheduled', eventNumber: 0, problems: [] });
    expect(await stored()).not.toHaveProperty('olderEvents');
    expect(world.events()).toHaveLength(1);
  });
});
