import { requeueDueBookings } from '../../functions/booking-reconcile/requeue-due.ts';
import { processBatch } from '../../functions/booking-sync/process-batch.ts';
import { verifiedMessages } from '../../functions/booking-sync/read-message.ts';
import { requeueWaiting } from '../../functions/booking-sync/requeue-waiting.ts';
import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { reencryptTokens } from '../../functions/token-refresh/reencrypt-tokens.ts';
import { refreshDueConnections } from '../../functions/token-refresh/refresh-due.ts';
import type { Ended } from './invocations.ts';
import type { PlayedScenario } from './played-scenario.ts';
import { between, whole } from './scheduler.ts';
import { minute, second, seconds, timeouts } from './timeouts.ts';
import { startsAt, type World } from './world.ts';

/** What runs by itself: workers on the queue, and the schedules. */

/** How many workers take messages from the queue side by side. */
const maxWorkers = 4;

/** Workers take messages whenever there are some. */
export function pollQueue(played: PlayedScenario): { stop(): void } {
  const { world, truth } = played;
  const { queue, scheduler } = world;
  let workers = 0;
  let wakesAt = Number.POSITIVE_INFINITY;
  let stopped = false;

  const wake = (): void => {
    const next = queue.nextAt();
    if (stopped || next === undefined || workers >= maxWorkers) return;
    const at = Math.max(next, world.now() + 10);
    if (wakesAt > world.now() && wakesAt <= at) return;
    wakesAt = at;
    scheduler.at(at - world.now(), poll);
  };

  const poll = (): void => {
    if (stopped || workers >= maxWorkers) return;
    const random = world.chance(`poll ${Math.round(world.now())}`);
    const early = truth.plan.switches.earlyRedelivery && !world.isCalm() && random() < 0.2;
    const messages = queue.receive(whole(random, 1, 10), early ? between(random, 500, 20_000) : undefined);
    if (messages.length > 0) void work(messages);
    wake();
  };

  const work = async (messages: ReturnType<typeof queue.receive>): Promise<void> => {
    workers += 1;
    const name = `sync ${messages.map(({ messageId, received }) => `${messageId}#${received}`).join(' ')}`;
    const bookings = messages.flatMap(({ body }) => bookingOf(body) ?? []);
    const redelivered = messages.filter(({ received }) => received > 1);
    for (const { body } of redelivered) world.doubts.received(bookingOf(body));
    const records = messages.map(({ received, ...record }) => ({ ...record, repeated: received > 1 }));
    const ended = await world.invoke(name, 'booking-sync', timeouts.sync * second, (deps) =>
      processBatch(records, verifiedMessages(deps), (message, delivery) =>
        message.type === 'connection.activated'
          ? requeueWaiting(deps, message)
          : syncBooking(deps, message, delivery),
      ),
    );
    workers -= 1;
    if (ended.is === 'done') for (const booking of bookings) world.doubts.concluded(booking);
    world.trace(`${name}: ${ended.is}`);
    // A worker may crash before it acknowledges: then the messages are redelivered although all was done.
    const acknowledges = world.isCalm() || world.chance(`acknowledge ${name}`)() > 0.03;
    if (ended.is === 'done' && acknowledges) {
      queue.remove(messages.flatMap(({ messageId }) => (ended.value.includes(messageId) ? [] : messageId)));
    }
    wake();
  };

  queue.onSend = wake;
  return {
    stop() {
      stopped = true;
    },
  };
}

/** The booking that a message is about, as far as it says so. */
function bookingOf(body: string): string | undefined {
  const { bookingId, booking } = JSON.parse(body) as { bookingId?: string; booking?: { bookingId?: string } };
  return bookingId ?? booking?.bookingId;
}

/** The schedules: reconcile each minute, the refresh sweep every five. */
export function startSchedules({ world }: PlayedScenario): { stop(): void } {
  let stopped = false;
  const repeat = (every: number, run: () => Promise<unknown>): void => {
    world.scheduler.at(every, () => {
      if (stopped) return;
      void run();
      repeat(every, run);
    });
  };
  repeat(minute, () => reconcile(world));
  repeat(5 * minute, () => sweep(world));
  return {
    stop() {
      stopped = true;
    },
  };
}

export const reconcile = (world: World): Promise<Ended<unknown>> =>
  world.invoke(
    `reconcile at ${seconds(world.now() - startsAt)} s`,
    'reconcile',
    timeouts.reconcile * second,
    requeueDueBookings,
  );

export const sweep = (world: World): Promise<Ended<unknown>> =>
  world.invoke(
    `sweep at ${seconds(world.now() - startsAt)} s`,
    'sweep',
    timeouts.sweep * second,
    async (deps) => {
      await refreshDueConnections(deps);
      await reencryptTokens(deps);
    },
  );
