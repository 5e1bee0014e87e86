import { afterAll, beforeAll, expect, it } from 'vitest';
import { type SyncDeps, syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { type BookingsDeps, cancelBooking, patchBooking } from '../../functions/bookings/change-booking.ts';
import type { FaultEffect } from '../../infra/local/google/faults.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import { desiredPresence } from '../../shared/booking/desired-presence.ts';
import type { BookingMessage, PaymentReported, SyncRequested } from '../../shared/booking/queue.ts';
import { startWorld, type World } from './world.ts';

// Random scenarios of bookings: payments, refunds, edits and cancellations by four concurrent workers, while
// Google fails and runs crash before and after their writes. In the end the calendar must show the desired state.
// RUNS and SEED choose how many and which: RUNS=1000 SEED=7 npx vitest run test/integration/random-lives.test.ts
const runs = Number(process.env.RUNS ?? 60);
const seed = Number(process.env.SEED ?? 1);

let world: World;
beforeAll(async () => {
  world = await startWorld();
  await world.connect('user-1', { accessTokenExpiresAt: world.time.now + 1e8 });
  world.google.control.setSwitch('accessTokenSeconds', 1e8);
});
afterAll(() => world?.close());

type Life = {
  bookingId: string;
  random: () => number;
  /** Whether runs still crash. */
  violent: boolean;
  /** The queue: messages of the API, and those that a run did not acknowledge. */
  queue: { message: BookingMessage; repeated: boolean }[];
  story: string[];
};

const user = { userId: 'user-1' };
const mishaps: FaultEffect[] = [
  { lose: 'response' },
  { lose: 'request' },
  { status: 503, html: true },
  { status: 429, reason: 'rateLimitExceeded' },
  { delayMs: 15 },
];
const routes = ['events.insert', 'events.patch', 'events.delete', 'events.get'] as const;

/** The same numbers for the same seed. */
function numbers(start: number): () => number {
  let state = (start * 2654435761 + 12345) % 4294967296;
  return () => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return state / 4294967296;
  };
}
const oneOf = <T>(items: readonly T[], random: () => number): T =>
  items[Math.floor(random() * items.length)] as T;

/** Writes that may crash, before or after they are applied. */
function cuttable<T>(life: Life, write: (item: T) => Promise<boolean>): (item: T) => Promise<boolean> {
  return async (item) => {
    const chance = life.violent ? life.random() : 1;
    if (chance < 0.08) throw new Error('cut off before the write');
    const written = await write(item);
    if (chance < 0.14) throw new Error('cut off after the write');
    return written;
  };
}

async function deliver(life: Life, message: BookingMessage, repeated = false): Promise<void> {
  const { save, savePointer } = world.deps.bookings;
  const bookings = { save: cuttable(life, save), savePointer: cuttable(life, savePointer) };
  const deps: SyncDeps = { ...world.deps, bookings, random: life.random };
  try {
    await syncBooking(deps, message as PaymentReported | SyncRequested, { repeated });
  } catch {
    life.queue.push({ message, repeated: true });
  }
}

function deeds(life: Life): Record<string, () => Promise<unknown>> {
  const { bookingId, random } = life;
  const payment = world.payment(bookingId);
  const second = `pi2_${bookingId}`;
  const api: BookingsDeps = {
    ...world.deps,
    queue: { send: async (message) => void life.queue.push({ message, repeated: false }) },
  };
  const target = { ...user, bookingId };
  const refund = (state: 'done' | 'failed') =>
    deliver(life, world.reported(bookingId, { refunds: { re_1: { amount: 9000, state } } }));
  return {
    pays: () => deliver(life, payment),
    'pays, says another message': () => deliver(life, { ...payment, eventId: 'evt_other' }),
    'is refunded': () => refund('done'),
    'learns that the refund failed': () => refund('failed'),
    'pays twice': () => deliver(life, { ...payment, paymentId: second }),
    'is refunded the second payment': () =>
      deliver(life, {
        ...world.reported(bookingId, { amount: 9000, refundedTotal: 9000 }),
        paymentId: second,
      }),
    moves: () => patchBooking(api, target, { location: `Room ${Math.floor(random() * 9)}` }).catch(() => {}),
    'is renamed': () =>
      patchBooking(api, target, { summary: `Title ${Math.floor(random() * 9)}` }).catch(() => {}),
    ...(random() < 0.2 ? { 'is cancelled': () => cancelBooking(api, target).catch(() => {}) } : {}),
    'comes up in the queue': async () => {
      const next = life.queue.shift();
      if (next) await deliver(life, next.message, next.repeated);
    },
  };
}

async function live(life: Life): Promise<void> {
  const { random, story } = life;
  const possible = Object.entries(deeds(life));
  const todo = Array.from({ length: 4 + Math.floor(random() * 14) }, () => oneOf(possible, random));
  for (let fault = 0; fault < 3; fault++) {
    if (random() < 0.3) continue;
    const [after, times] = [Math.floor(random() * 4), 1 + Math.floor(random() * 3)];
    world.google.control.fail({ on: oneOf(routes, random), after, times, how: oneOf(mishaps, random) });
  }
  const worker = async (): Promise<void> => {
    for (let next = todo.shift(); next; next = todo.shift()) {
      story.push(next[0]);
      await next[1]();
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
}

/** Faults stop, the queue runs empty, and due bookings are requeued. */
async function quieten(life: Life): Promise<Booking | undefined> {
  const { bookingId } = life;
  life.violent = false;
  world.google.control.clearFaults();
  for (let next = life.queue.shift(); next; next = life.queue.shift())
    await deliver(life, next.message, next.repeated);
  for (let round = 0; round < 4; round++) {
    const booking = await world.booking(bookingId);
    if (booking?.nextRun?.at === undefined || booking.status === 'scheduled') return booking;
    world.time.now = Math.max(world.time.now, booking.nextRun?.at);
    await deliver(life, { type: 'sync', bookingId, ...user, cause: 'due' });
  }
  return world.booking(bookingId);
}

it('the calendar ends in the desired state after any random scenario', {
  timeout: 600_000,
}, async () => {
  for (let run = 0; run < runs; run++) {
    const life: Life = {
      bookingId: `life-${seed}-${run}`,
      random: numbers(seed * 100_000 + run),
      violent: true,
      queue: [],
      story: [],
    };
    await live(life);
    const booking = await quieten(life);
    const wanted = booking ? desiredPresence(booking, world.deps.paymentPolicy) : 'absent';
    const events = world
      .events()
      .filter((event) => event.extendedProperties?.private?.leadscalendarBooking === life.bookingId)
      .map(({ summary, location, status }) => ({ summary, location, status }));
    const { summary, location } = booking?.appointment ?? {};
    const expected = wanted === 'absent' ? [] : [{ summary, location, status: wanted }];
    const status = wanted === 'absent' ? expect.not.stringMatching(/scheduled|pending|waiting/) : 'scheduled';
    // The message contains the scenario, the difference and the seed.
    expect({ run, seed, story: life.story, events, status: booking?.status ?? 'none' }).toEqual({
      run,
      seed,
      story: life.story,
      events: expected,
      status,
    });
  }
});
