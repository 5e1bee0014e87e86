import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FaultEffect } from '../../infra/local/google/faults.ts';
import { bookingSteps } from './booking-steps.ts';
import { startWorld, type World } from './world.ts';

/** A booking whose first attempt is after the start of its appointment is retried until its end. */

let world: World;
beforeEach(async () => {
  world = await startWorld();
});
afterEach(() => world.close());
const { sync, stored, runWhenDue, paymentStartingIn } = bookingSteps(() => world);

const failInserts = (times: number, how: FaultEffect = { status: 503, reason: 'backendError' }) =>
  world.google.control.fail({ on: 'events.insert', times, how });
/** Runs when due until the booking is at rest, and returns what it said of an event in doubt. */
const runToTheEnd = async () => {
  const doubts = new Set<string>();
  for (let runs = 0; runs < 30 && (await stored()).nextRun?.at !== undefined; runs++) {
    await runWhenDue();
    for (const { code, message } of (await stored()).problems)
      if (code === 'event_in_doubt') doubts.add(message);
  }
  return [...doubts];
};

describe('a short appointment', () => {
  it('creates the event of an appointment paid after its start, also after failed attempts', async () => {
    await world.connect('user-1');
    failInserts(6);
    await sync(paymentStartingIn(-60));
    expect(await stored()).toMatchObject({ status: 'pending', problems: [{ code: 'google_transient' }] });
    await runWhenDue();
    await runWhenDue();
    await runWhenDue();
    expect((await stored()).status).toBe('scheduled');
    expect(world.events()).toHaveLength(1);
  });

  it('an appointment paid after its start is missed at its end, not before', async () => {
    await world.connect('user-1');
    failInserts(100);
    await sync(paymentStartingIn(-60));
    await runToTheEnd();
    const { status, appointment } = await stored();
    expect(status).toBe('missed');
    expect(world.time.now).toBeGreaterThanOrEqual(appointment?.endsAt ?? Number.NaN);
  });

  it('retries until its end an appointment that waited for a connection past its start', async () => {
    await sync(paymentStartingIn(60));
    expect((await stored()).status).toBe('waiting_for_connection');
    world.time.now += 120;
    await world.connect('user-1');
    failInserts(4);
    await sync();
    expect((await stored()).status).toBe('pending');
    await runWhenDue();
    await runWhenDue();
    expect((await stored()).status).toBe('scheduled');
  });

  it('retries until its end an appointment that Google refused past its start', async () => {
    await world.connect('user-1');
    failInserts(1, { status: 403, reason: 'forbidden' });
    failInserts(4);
    await sync(paymentStartingIn(60));
    expect(await stored()).toMatchObject({ nextRun: { why: 'refused' } });
    world.time.now += 1800;
    await sync();
    expect(await stored()).toMatchObject({ status: 'pending', problems: [{ code: 'google_transient' }] });
    await runWhenDue();
    expect((await stored()).status).toBe('pending');
    await runWhenDue();
    expect((await stored()).status).toBe('scheduled');
  });

  it('an appointment that failed before its start is missed then, if no event is found', async () => {
    await world.connect('user-1');
    failInserts(100);
    await sync(paymentStartingIn(60));
    const doubts = await runToTheEnd();
    expect((await stored()).status).toBe('missed');
    expect(doubts).toEqual([expect.stringContaining('An earlier attempt may have created the event')]);
    expect(world.time.now).toBeLessThan((await stored()).appointment?.endsAt ?? 0);
  });
});
