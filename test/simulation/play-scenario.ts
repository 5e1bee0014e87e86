import { addSharedCalendar, clearObstacles } from './owner-actions.ts';
import { perform } from './perform-action.ts';
import { isConnected, type PlayedScenario, type Truth } from './played-scenario.ts';
import { freeStuckBookings } from './repairs.ts';
import { connect, untilDone } from './requests.ts';
import { nextRunAt } from './stored-booking.ts';
import { minute, second, seconds } from './timeouts.ts';
import type { Plan } from './user-actions.ts';
import { pollQueue, reconcile, startSchedules, sweep } from './workers.ts';
import { createWorld, startsAt, type World, type WorldOptions } from './world.ts';

/** Plays a scenario: users act, the service works, faults stop, and time passes until nothing is due. */

export async function playScenario(
  plan: Plan,
  options: Pick<WorldOptions, 'seed' | 'profile' | 'without'>,
  watch: (world: World) => void,
): Promise<PlayedScenario> {
  const { conflictPolicy } = plan;
  const accounts = [...new Set([...Object.values(plan.accounts), 'eve'])].map((sub) => ({
    sub,
    email: `${sub}@example.com`,
    name: sub,
    timeZone: plan.zones?.[sub] ?? 'Europe/Vienna',
  }));
  const world = createWorld({ ...options, conflictPolicy, accounts });
  Object.assign(world.google.state.switches, plan.switches);
  world.maxReceived = plan.switches.maxReceived;
  addSharedCalendar(world, Object.values(plan.accounts));
  const truth: Truth = {
    plan,
    applied: new Map(),
    delivered: [],
    deletedByHand: new Set(),
    movedByHand: new Set(),
    deletedCalendars: new Set(),
    times: new Map(),
    stuck: [],
    freed: 0,
    renewed: new Set(),
    bindings: [],
    calmAt: Number.POSITIVE_INFINITY,
  };
  const played: PlayedScenario = { world, truth };
  watch(world);

  const poller = pollQueue(played);
  const clock = startSchedules(played);
  const done = plan.actions.map((action) => perform(played, action));
  const last = plan.actions.at(-1)?.at ?? 0;
  await world.scheduler.run(startsAt + last + 3 * minute);

  world.calmDown();
  clock.stop();
  truth.calmAt = seconds(world.now());
  world.trace('faults stop');
  let actionsAreDone = false;
  void Promise.all(done).then(() => {
    actionsAreDone = true;
  });
  await world.scheduler.run(Number.POSITIVE_INFINITY);
  if (!actionsAreDone) throw new Error('A caller still waits for an answer although nothing is under way.');
  clearObstacles(world, Object.values(plan.accounts));
  if (plan.reconnects) await reconnectUsers(played);
  if (plan.repairs)
    await freeStuckBookings(played, { rest: (until) => rest(played, until), connect, untilDone });
  await comeToRest(played);
  poller.stop();
  return played;
}

/** Time passes until nothing is due any more, or nothing before `until` (epoch milliseconds). */
async function rest({ world }: PlayedScenario, until = Number.POSITIVE_INFINITY): Promise<void> {
  for (let round = 0; ; round++) {
    if (round === 400) throw new Error('Something is due again and again, and is never done.');
    await world.scheduler.run(Number.POSITIVE_INFINITY);
    if (world.queue.redrive() > 0) {
      world.queue.onSend();
      continue;
    }
    const due = world.bookings().flatMap((booking) => nextRunAt(booking) ?? []);
    if (due.length === 0 || Math.min(...due) * second > until) break;
    world.scheduler.skipTo((Math.min(...due) + 6) * second);
    await Promise.all([reconcile(world), world.scheduler.run(Number.POSITIVE_INFINITY)]);
  }
}

async function comeToRest(played: PlayedScenario): Promise<void> {
  const { world } = played;
  await rest(played);
  world.scheduler.skipTo(world.now() + 2 * 3600 * second);
  await Promise.all([sweep(world), world.scheduler.run(Number.POSITIVE_INFINITY)]);
}

/** Users whose calendar does not work connect again. */
async function reconnectUsers(played: PlayedScenario): Promise<void> {
  const { world, truth } = played;
  for (const user of truth.plan.users) {
    if (isConnected(played, user)) continue;
    await Promise.all([connect(played, user, 'reconnects'), world.scheduler.run(Number.POSITIVE_INFINITY)]);
  }
}
