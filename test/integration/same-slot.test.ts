import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ConflictPolicy } from '../../functions/booking-sync/conflicts.ts';
import { type SyncDeps, syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { recordedEvent, requestRun } from '../../shared/booking/booking.ts';
import type { PaymentReported, SyncRequested } from '../../shared/booking/queue.ts';
import { calendarScopes } from '../../shared/google/token-endpoint.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { optionalScopes } from '../../shared/lib/names.ts';
import { randomOf } from '../simulation/scheduler.ts';
import { ada, startWorld, type World } from './world.ts';

// Bookings that several workers create in one slot at the same moment.

let world: World;
/** Each test has a slot of its own. */
let slot = 0;
beforeAll(async () => {
  world = await startWorld();
  await world.connect('user-1', { scopes: ['openid', calendarScopes.owned, optionalScopes.freeBusy] });
});
afterAll(() => world?.close());
beforeEach(() => {
  slot += 1;
  world.queue.messages.length = 0;
  world.queue.unavailable = false;
  world.bus.events.length = 0;
  world.google.control.clearFaults();
  world.google.control.clearRequests();
});

/** The payment of a booking in the slot, confirmed this many seconds after another. */
function payment(name: string, confirmedAfter = 0): PaymentReported {
  const message = world.payment(`${name}-${slot}`);
  const { appointment } = message.booking;
  if (!appointment) throw new Error('no appointment');
  const startsAt = appointment.startsAt + slot * 7200;
  const times = {
    start: { dateTime: toIso(startsAt) },
    end: { dateTime: toIso(startsAt + 3600) },
    startsAt,
    endsAt: startsAt + 3600,
  };
  return {
    ...message,
    facts: { ...message.facts, confirmedAt: toIso(world.time.now + confirmedAfter) },
    booking: { ...message.booking, appointment: { ...appointment, ...times } },
  };
}
const depsOf = (conflictPolicy: ConflictPolicy, change: Partial<SyncDeps> = {}): SyncDeps => ({
  ...world.deps,
  conflictPolicy,
  ...change,
});
/** Processes the messages that runs have queued. */
async function drain(conflictPolicy: ConflictPolicy): Promise<void> {
  while (world.queue.messages.length > 0)
    for (const message of world.queue.messages.splice(0))
      await syncBooking(depsOf(conflictPolicy), message as SyncRequested);
}
const inSlot = () =>
  world
    .events()
    .map(({ summary }) => (summary ?? '').replace('Meeting ', ''))
    .filter((name) => name.endsWith(`-${slot}`))
    .sort();
const stateOf = async (name: string) => {
  const booking = await world.booking(`${name}-${slot}`);
  const codes = (booking?.problems ?? []).map(({ code }) => code);
  return {
    status: booking?.status,
    codes,
    hasEvent: booking !== undefined && recordedEvent(booking) !== undefined,
  };
};
const keeps = { status: 'scheduled', codes: [], hasEvent: true };
const isInConflict = { status: 'conflict', codes: ['calendar_conflict'], hasEvent: false };
const isFlagged = { status: 'scheduled', codes: ['calendar_conflict'], hasEvent: true };
const loses = (conflictPolicy: ConflictPolicy) => (conflictPolicy === 'hold' ? isInConflict : isFlagged);

describe.each<ConflictPolicy>(['hold', 'flag'])('under the policy %s', (conflictPolicy) => {
  it('the booking that was paid earlier keeps the slot, in ten of ten rounds', async () => {
    for (let round = 0; round < 10; round++, slot++) {
      world.google.control.fail({ on: 'freebusy.query', times: 2, how: { delayMs: 20 } });
      world.google.control.fail({ on: 'events.insert', times: 2, how: { delayMs: 30 } });
      const [first, second] = round % 2 ? ['b', 'a'] : ['a', 'b'];
      const messages = [payment(first, 1), payment(second, 2)];
      await Promise.all(messages.map((message) => syncBooking(depsOf(conflictPolicy), message)));
      await drain(conflictPolicy);
      expect(await stateOf(first)).toEqual(keeps);
      expect(await stateOf(second)).toEqual(loses(conflictPolicy));
      expect(inSlot()).toHaveLength(conflictPolicy === 'hold' ? 1 : 2);
    }
  });

  it('one of three bookings keeps the slot', async () => {
    world.google.control.fail({ on: 'freebusy.query', times: 3, how: { delayMs: 20 } });
    world.google.control.fail({ on: 'events.insert', times: 3, how: { delayMs: 30 } });
    const messages = [payment('a', 3), payment('b', 1), payment('c', 2)];
    await Promise.all(messages.map((message) => syncBooking(depsOf(conflictPolicy), message)));
    await drain(conflictPolicy);
    expect(await stateOf('b')).toEqual(keeps);
    expect([await stateOf('a'), await stateOf('c')]).toEqual(Array(2).fill(loses(conflictPolicy)));
  });

  it('a booking alone in its slot costs one list of our own events', async () => {
    await syncBooking(depsOf(conflictPolicy), payment('a'));
    expect(world.calls()).toEqual(['freebusy.query', 'events.insert', 'events.list']);
    const [list] = world.google.control.requests().filter(({ route }) => route === 'events.list');
    expect(decodeURIComponent(list?.query ?? '')).toMatch(/privateExtendedProperty=leadscalendar=1/);
    expect(await stateOf('a')).toEqual(keeps);
  });

  it('a slot that cannot be read afterwards is unknown', async () => {
    world.google.control.fail({ on: 'events.list', times: 1, how: { status: 503 } });
    await syncBooking(depsOf(conflictPolicy), payment('a'));
    expect(await stateOf('a')).toEqual({ ...keeps, codes: ['calendar_conflict_unknown'] });
    expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.conflict']);
  });
});

/** Runs that take turns with their calls to Google, in the order of `turns`. */
function takingTurns(turns: string[]) {
  const waiting: (() => void)[] = [];
  const ended = new Set<string>();
  const next = (): void => {
    while (ended.has(turns[0] ?? '')) turns.shift();
    for (const check of waiting.splice(0)) check();
  };
  const turnOf = (name: string): Promise<void> =>
    new Promise((resolve) => {
      const check = (): void => {
        if (turns.length === 0 || turns[0] === name) resolve();
        else waiting.push(check);
      };
      check();
    });
  return {
    async run(
      name: string,
      conflictPolicy: ConflictPolicy,
      message: PaymentReported | SyncRequested,
      change: Partial<SyncDeps> = {},
    ): Promise<void> {
      const { calendar } = world.deps;
      const fetch: typeof calendar.fetch = async (url, init) => {
        await turnOf(name);
        const answer = await calendar.fetch(url, init);
        turns.shift();
        next();
        return answer;
      };
      try {
        await syncBooking(depsOf(conflictPolicy, { calendar: { ...calendar, fetch }, ...change }), message);
      } finally {
        ended.add(name);
        next();
      }
    },
  };
}

/** All orders of the calls of each run. */
function orders(left: Record<string, number>): string[][] {
  const names = Object.keys(left).filter((name) => (left[name] ?? 0) > 0);
  if (names.length === 0) return [[]];
  return names.flatMap((name) =>
    orders({ ...left, [name]: (left[name] ?? 0) - 1 }).map((rest) => [name, ...rest]),
  );
}

async function play(conflictPolicy: ConflictPolicy, names: string[], turns: string[]) {
  const taking = takingTurns([...turns]);
  await Promise.all(names.map((name, index) => taking.run(name, conflictPolicy, payment(name, index))));
  await drain(conflictPolicy);
  const states = await Promise.all(names.map(stateOf));
  const kept = states.filter(({ status, codes }) => status === 'scheduled' && codes.length === 0);
  const lost = states.filter((state) => JSON.stringify(state) === JSON.stringify(loses(conflictPolicy)));
  return { kept: kept.length, lost: lost.length, events: inSlot().length };
}

describe('in every order of the calls to Google', () => {
  // The first check, the insert, the second check and a deletion.
  it.each<ConflictPolicy>(['hold', 'flag'])(
    'exactly one of two bookings keeps the slot in every order of calls: %s',
    { timeout: 120_000 },
    async (conflictPolicy) => {
      const calls = conflictPolicy === 'hold' ? 4 : 3;
      for (const turns of orders({ a: calls, b: calls })) {
        slot += 1;
        const result = await play(conflictPolicy, ['a', 'b'], turns);
        const expected = { kept: 1, lost: 1, events: conflictPolicy === 'hold' ? 1 : 2 };
        expect({ turns: turns.join(''), ...result }).toEqual({ turns: turns.join(''), ...expected });
      }
    },
  );

  it('exactly one of three bookings keeps the slot, in a sample of orders', {
    timeout: 120_000,
  }, async () => {
    const all = orders({ a: 3, b: 3, c: 3 });
    const random = randomOf('three in one slot');
    for (let sample = 0; sample < 40; sample++) {
      slot += 1;
      const turns = all[Math.floor(random() * all.length)] ?? [];
      const result = await play('hold', ['a', 'b', 'c'], turns);
      expect({ turns: turns.join(''), ...result }).toEqual({
        turns: turns.join(''),
        kept: 1,
        lost: 2,
        events: 1,
      });
    }
  });
});

describe('a run that crashes', () => {
  /** Both create their event and find the other's; the run of the later one crashes at its nth save. */
  async function crashAt(save: number, when: 'before' | 'after'): Promise<void> {
    let saves = 0;
    const bookings: SyncDeps['bookings'] = {
      ...world.deps.bookings,
      async save(booking) {
        saves += 1;
        if (saves === save && when === 'before') throw new Error('crashed');
        const saved = await world.deps.bookings.save(booking);
        if (saves === save) throw new Error('crashed');
        return saved;
      },
    };
    const { run } = takingTurns(['a', 'b', 'a', 'b', 'a', 'b']);
    const second = run('b', 'hold', payment('b', 1), { bookings });
    await Promise.all([run('a', 'hold', payment('a', 0)), expect(second).rejects.toThrow('crashed')]);
  }

  it.each([
    ['before it has recorded that it yields', 1, 'before'],
    ['before it has deleted its event', 1, 'after'],
    ['before it has recorded the deletion', 2, 'before'],
    ['after all', 2, 'after'],
  ] as const)(
    'a run that crashes %s leaves one event once its message is redelivered',
    async (_, save, when) => {
      await crashAt(save, when);
      await syncBooking(depsOf('hold'), payment('b', 1), { repeated: true });
      await drain('hold');
      expect(inSlot()).toEqual([`a-${slot}`]);
      expect(await stateOf('b')).toEqual(isInConflict);
    },
  );

  it('a run that crashed between save and deletion is completed when the booking is due', async () => {
    await crashAt(1, 'after');
    const syncDueAt = (await world.booking(`b-${slot}`))?.nextRun?.at;
    expect(syncDueAt).toBe(world.time.now + 60);
    expect(inSlot()).toHaveLength(2);
    const due = { type: 'sync', bookingId: `b-${slot}`, userId: 'user-1', cause: 'due' } as const;
    await syncBooking(depsOf('hold'), due);
    expect(inSlot()).toEqual([`a-${slot}`]);
    expect(await stateOf('b')).toEqual(isInConflict);
  });
});

describe('a booking that must yield', () => {
  /** One that was created before the other read the calendar, and asked to check its slot. */
  async function outrankedLater(): Promise<void> {
    await play('flag', ['a'], []);
    const taking = takingTurns(['b', 'a', 'a', 'a', 'b', 'b', 'b']);
    slot += 1;
    world.bus.events.length = 0;
    await Promise.all([taking.run('a', 'hold', payment('a', 1)), taking.run('b', 'hold', payment('b', 0))]);
  }

  it('an outranked booking that was scheduled loses its event and is published as a conflict', async () => {
    await outrankedLater();
    expect(await stateOf('a')).toEqual(keeps);
    expect(world.queue.messages).toMatchObject([{ bookingId: `a-${slot}`, checkSlot: true }]);
    await drain('hold');
    expect(await stateOf('a')).toEqual(isInConflict);
    expect(inSlot()).toEqual([`b-${slot}`]);
    expect(world.bus.types()).toEqual(['booking.scheduled', 'booking.scheduled', 'booking.conflict']);
  });

  it('an outranked booking that was moved before its event was deleted is tried again', async () => {
    await outrankedLater();
    world.google.control.fail({ on: 'events.delete', times: 2, how: { status: 503 } });
    await drain('hold');
    const booking = await world.booking(`a-${slot}`);
    if (!booking?.appointment) throw new Error('no booking');
    expect(booking).toMatchObject({ status: 'pending', givenUp: { reason: 'conflict' } });
    slot += 1;
    const { appointment } = payment('a').booking ?? {};
    if (!appointment) throw new Error('no appointment');
    const moved = { ...booking.appointment, ...appointment, summary: `Meeting a-${slot}` };
    await world.deps.bookings.save(
      requestRun({ ...booking, appointment: moved, revision: 2 }, world.time.now, { mayCreate: true }),
    );
    const { bookingId } = booking;
    await syncBooking(depsOf('hold'), { type: 'sync', bookingId, userId: 'user-1', cause: 'moved' });
    expect(await world.booking(bookingId)).toMatchObject({ status: 'scheduled', problems: [] });
    expect(inSlot()).toEqual([`a-${slot}`]);
  });

  it('an outranked booking that was cancelled in the meantime is cancelled, not in conflict', async () => {
    await outrankedLater();
    world.google.control.fail({ on: 'events.delete', times: 2, how: { status: 503 } });
    await drain('hold');
    const booking = await world.booking(`a-${slot}`);
    if (!booking) throw new Error('no booking');
    const cancelledAt = toIso(world.time.now);
    await world.deps.bookings.save(
      requestRun({ ...booking, cancelledAt, revision: 2 }, world.time.now, { mayCreate: false }),
    );
    const { bookingId } = booking;
    await syncBooking(depsOf('hold'), { type: 'sync', bookingId, userId: 'user-1', cause: 'cancelled' });
    expect((await world.booking(bookingId))?.status).toBe('cancelled');
    expect(inSlot()).toEqual([`b-${slot}`]);
  });

  it('a booking whose rival cannot be notified through the queue has an unknown slot', async () => {
    const taking = takingTurns(['b', 'a', 'a', 'a', 'b', 'b', 'b']);
    world.queue.unavailable = true;
    await Promise.all([taking.run('a', 'hold', payment('a', 1)), taking.run('b', 'hold', payment('b', 0))]);
    expect(await stateOf('b')).toEqual({ ...keeps, codes: ['calendar_conflict_unknown'] });
  });

  it('no booking is asked to check its slot for an event that leaves the time free', async () => {
    const message = payment('a', 1);
    if (!message.booking?.appointment) throw new Error('no appointment');
    message.booking.appointment.details = { transparency: 'transparent' };
    await syncBooking(depsOf('hold'), message);
    await syncBooking(depsOf('hold'), payment('b', 0));
    expect([await stateOf('a'), await stateOf('b')]).toEqual([keeps, keeps]);
    expect(world.queue.messages).toEqual([]);
  });
});

it('an event that a crashed run created beside another one is in conflict', async () => {
  await syncBooking(depsOf('flag'), payment('a'));
  const save = () => Promise.reject(new Error('crashed'));
  const crashing = depsOf('flag', { bookings: { ...world.deps.bookings, save } });
  await expect(syncBooking(crashing, payment('b'))).rejects.toThrow('crashed');
  await syncBooking(depsOf('flag'), payment('b'), { repeated: true });
  expect(await stateOf('b')).toEqual({ ...keeps, codes: ['calendar_conflict_unknown'] });
});

it('a held booking yields to a paid one', async () => {
  const hold = `h-${slot}`;
  const { appointment } = payment('h').booking ?? {};
  if (!appointment) throw new Error('no appointment');
  await world.declare(hold, { hold: true, status: 'pending', appointment });
  const taking = takingTurns(['h', 'p', 'h', 'p', 'h', 'p']);
  const message = { type: 'sync', bookingId: hold, userId: 'user-1', cause: 'test' } as const;
  await Promise.all([taking.run('h', 'hold', message), taking.run('p', 'hold', payment('p'))]);
  await drain('hold');
  expect([await stateOf('h'), await stateOf('p')]).toEqual([isInConflict, keeps]);
  expect(world.google.control.events(ada).length).toBeGreaterThan(0);
});
