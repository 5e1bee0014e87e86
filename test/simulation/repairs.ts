/** Ordinary actions that free a stuck booking: connect, choose a calendar, repeat the PUT. */
import { declareBooking } from '../../functions/bookings/change-booking.ts';
import { changeConnection } from '../../functions/connections/manage-connection.ts';
import { deadlineOf } from './contents.ts';
import { bodyOf, ownerOf, presences } from './expectations.ts';
import { mayWrite } from './owner-actions.ts';
import { isConnected, type PlayedScenario } from './played-scenario.ts';
import { isBlocked } from './stored-booking.ts';
import type { Deps } from './world.ts';

const minute = 60_000;
/** An appointment that begins sooner may be over before it was tried again. */
const longEnough = 120 * minute;

export type Tools = {
  /** Lets time pass until nothing is due before an instant: epoch milliseconds. */
  rest: (until: number) => Promise<void>;
  connect: (played: PlayedScenario, user: string, key: string) => Promise<void>;
  /** Asks until it is done, or rejected. */
  untilDone: (
    played: PlayedScenario,
    key: string,
    functionName: string,
    timeout: number,
    ask: (deps: Deps) => Promise<unknown>,
  ) => Promise<boolean>;
};

/** Does the first thing a user would do for each booking that is stuck, and notes what did not help. */
export async function freeStuckBookings(played: PlayedScenario, tools: Tools): Promise<void> {
  const { world, truth } = played;
  const stuck = truth.plan.bookings.map(({ id }) => id).filter((id) => isStuck(played, id));
  const users = new Set(stuck.map((id) => ownerOf(played, id)));
  const freedByUser = new Set<string>();
  for (const user of truth.plan.users.filter((one) => users.has(one))) {
    if (await repairConnection(played, tools, user)) freedByUser.add(user);
  }
  await tools.rest(world.now() + 10 * minute);
  for (const id of stuck) {
    if (freedByUser.has(ownerOf(played, id)) && isStillWaiting(played, id))
      truth.stuck.push(`${id} still waits although its user has connected or chosen a calendar`);
    if (isStuck(played, id)) await repeatPut(played, tools, id);
  }
  await tools.rest(world.now() + 30 * minute);
  // That a grant is dead may be found out only now.
  for (const user of users) if (!isConnected(played, user)) await repairConnection(played, tools, user);
  await tools.rest(world.now() + 10 * minute);
  for (const id of stuck) {
    truth.freed += 1;
    if (isStuck(played, id)) truth.stuck.push(describe(played, id));
  }
}

function isStillWaiting(played: PlayedScenario, id: string): boolean {
  const booking = played.world.bookings().find(({ bookingId }) => bookingId === id);
  const connection = played.world.connections().find(({ userId }) => userId === ownerOf(played, id));
  // A grant that ended may be found out only now.
  const isActive = connection?.status === 'active';
  const waits = booking && ((isActive && booking.status === 'waiting_for_connection') || isBlocked(booking));
  return waits === true && isStuck(played, id);
}

/** Connects where the user is not connected, or chooses another calendar where the chosen one is gone. */
async function repairConnection(played: PlayedScenario, tools: Tools, user: string): Promise<boolean> {
  const { world, truth } = played;
  const account = truth.plan.accounts[user] as string;
  const connection = world.connections().find(({ userId }) => userId === user);
  const chosen = connection?.status === 'active' ? connection.calendarId : undefined;
  const running = isConnected(played, user)
    ? chosen !== undefined && !mayWrite(world, account, chosen)
      ? tools.untilDone(played, `repair ${user}`, 'connections', 29_000, (deps) =>
          changeConnection(deps, user, { calendarId: 'primary' }),
        )
      : undefined
    : tools.connect(played, user, 'repair');
  if (!running) return false;
  await Promise.all([running, world.scheduler.run(Number.POSITIVE_INFINITY)]);
  return true;
}

async function repeatPut(played: PlayedScenario, tools: Tools, id: string): Promise<void> {
  const { world, truth } = played;
  const userId = ownerOf(played, id);
  const body = bodyOf(truth, id);
  const done = tools.untilDone(played, `repair ${id}`, 'bookings', 15_000, (deps) =>
    declareBooking(deps, { userId, bookingId: id }, body),
  );
  const [took] = await Promise.all([done, world.scheduler.run(Number.POSITIVE_INFINITY)]);
  if (!took) return;
  truth.applied.set(id, [...(truth.applied.get(id) ?? []), { id: -1, at: 0, do: 'repeat', booking: id }]);
  truth.renewed.add(id);
}

/** A booking that is to be in the calendar of a user of ours, is not, and has the time for it. */
function isStuck(played: PlayedScenario, id: string): boolean {
  const { world, truth } = played;
  const wanted = presences(played, id);
  const status = statusOf(played, id);
  if (status === undefined || wanted.every((presence) => presence === 'absent')) return false;
  if (truth.deletedByHand.has(id) || !truth.plan.users.includes(ownerOf(played, id))) return false;
  // Another event exists at that time: that is no obstacle of the service.
  if (status === 'conflict') return false;
  if (deadlineOf(bodyOf(truth, id), 'Etc/GMT-14') < world.now() + longEnough) return false;
  return status !== (wanted.includes('confirmed') ? 'scheduled' : 'held');
}

function statusOf({ world }: PlayedScenario, id: string): string | undefined {
  return world.bookings().find(({ bookingId }) => bookingId === id)?.status;
}

function describe(played: PlayedScenario, id: string): string {
  const booking = played.world.bookings().find(({ bookingId }) => bookingId === id);
  return `${id} is ${booking?.status} after its user has done what could be done: ${JSON.stringify(booking?.problems)}`;
}
