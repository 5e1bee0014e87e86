import { addSharedCalendar, clearObstacles } from './by-hand.ts';
import type { Plan } from './deeds.ts';
import { perform } from './perform-action.ts';
import { isConnected, type Life, type Truth } from './played-scenario.ts';
import { freeStuckBookings } from './repairs.ts';
import { connect, untilDone } from './requests.ts';
import { nextRunAt } from './stored-booking.ts';
import { minute, second, seconds } from './timeouts.ts';
import { pollQueue, reconcile, startSchedules, sweep } from './workers.ts';
import { createWorld, startsAt, type World, type WorldOptions } from './world.ts';

/** Plays a scenario: everybody does what they do, the service does its work, and in the end all is quiet. */

export async function live(
  plan: Plan,
  options: Pick<WorldOptions, 'seed' | 'profile' | 'without'>,
  watch: (world: World) => void,
): Promise<Life> {
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
    calmAt: Number.POSITIVE_INFINITY,
  };
  const life: Life = { world, truth };
  watch(world);

  const poller = pollQueue(life);
  const clock = startSchedules(life);
  const done = plan.deeds.map((deed) => perform(life, deed));
  const last = plan.deeds.at(-1)?.at ?? 0;
  await world.scheduler.run(startsAt + last + 3 * minute);

  world.calmDown();
  clock.stop();
  truth.calmAt = seconds(world.now());
  world.tell('faults stop');
  let everybodyIsDone = false;
  void Promise.all(done).then(() => {
    everybodyIsDone = true;
  });
  await world.scheduler.run(Number.POSITIVE_INFINITY);
  if (!everybodyIsDone) throw new Error('Somebody still waits for an answer although nothing is under way.');
  clearObstacles(world, Object.values(plan.accounts));
  if (plan.mends) await mendConnections(life);
  if (plan.repairs) await freeStuckBookings(life, { rest: (until) => rest(life, until), connect, untilDone });
  await comeToRest(life);
  poller.stop();
  return life;
}

/** Time passes until nothing is due any more, or nothing before `until` (epoch milliseconds). */
async function rest({ world }: Life, until = Number.POSITIVE_INFINITY): Promise<void> {
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

async function comeToRest(life: Life): Promise<void> {
  const { world } = life;
  await rest(life);
  world.scheduler.skipTo(world.now() + 2 * 3600 * second);
  await Promise.all([sweep(world), world.scheduler.run(Number.POSITIVE_INFINITY)]);
}

/** Users whose calendar does not work connect again. */
async function mendConnections(life: Life): Promise<void> {
  const { world, truth } = life;
  for (const user of truth.plan.users) {
    if (isConnected(life, user)) continue;
    await Promise.all([connect(life, user, 'mends'), world.scheduler.run(Number.POSITIVE_INFINITY)]);
  }
}
