/** Ordinary actions that free a stuck booking: connect, choose a calendar, repeat the PUT. */
import { declareBooking } from '../../functions/bookings/change-booking.ts';
import { changeConnection } from '../../functions/connections/manage-connection.ts';
import { mayWrite } from './by-hand.ts';
import { deadlineOf } from './contents.ts';
import { bodyOf, ownerOf, presences } from './expectations.ts';
import { isConnected, type Life } from './played-scenario.ts';
import { isBlocked } from './stored-booking.ts';
import type { Deps } from './world.ts';

const minute = 60_000;
/** An appointment that begins sooner may be over before it was tried again. */
const longEnough = 120 * minute;

export type Tools = {
  /** Lets time pass until nothing is due before an instant: epoch milliseconds. */
  rest: (until: number) => Promise<void>;
  connect: (life: Life, user: string, key: string) => Promise<void>;
  /** Asks until it is done, or rejected. */
  untilDone: (
    life: Life,
    key: string,
    functionName: string,
    timeout: number,
    ask: (deps: Deps) => Promise<unknown>,
  ) => Promise<boolean>;
};

/** Does the first thing a user would do for each booking that is stuck, and notes what did not help. */
export async function freeStuckBookings(life: Life, tools: Tools): Promise<void> {
  const { world, truth } = life;
  const stuck = truth.plan.bookings.map(({ id }) => id).filter((id) => isStuck(life, id));
  const users = new Set(stuck.map((id) => ownerOf(life, id)));
  const freedByUser = new Set<string>();
  for (const user of truth.plan.users.filter((one) => users.has(one))) {
    if (await repairConnection(life, tools, user)) freedByUser.add(user);
  }
  await tools.rest(world.now() + 10 * minute);
  for (const id of stuck) {
    const booking = world.bookings().find(({ bookingId }) => bookingId === id);
    const waits = booking && (booking.status === 'waiting_for_connection' || isBlocked(booking));
    if (waits && freedByUser.has(ownerOf(life, id)) && isStuck(life, id))
      truth.stuck.push(`${id} still waits although its user has connected or chosen a calendar`);
    if (isStuck(life, id)) await repeatPut(life, tools, id);
  }
  await tools.rest(world.now() + 30 * minute);
  // That a grant is dead may be found out only now.
  for (const user of users) if (!isConnected(life, user)) await repairConnection(life, tools, user);
  await tools.rest(world.now() + 10 * minute);
  for (const id of stuck) {
    truth.freed += 1;
    if (isStuck(life, id)) truth.stuck.push(describe(life, id));
  }
}

/** Connects where the user is not connected, or chooses another calendar where the chosen one is gone. */
async function repairConnection(life: Life, tools: Tools, user: string): Promise<boolean> {
  const { world, truth } = life;
  const account = truth.plan.accounts[user] as string;
  const connection = world.connections().find(({ userId }) => userId === user);
  const chosen = connection?.status === 'active' ? connection.calendarId : undefined;
  const running = isConnected(life, user)
    ? chosen !== undefined && !mayWrite(world, account, chosen)
      ? tools.untilDone(life, `repair ${user}`, 'connections', 29_000, (deps) =>
          changeConnection(deps, user, { calendarId: 'primary' }),
        )
      : undefined
    : tools.connect(life, user, 'repair');
  if (!running) return false;
  await Promise.all([running, world.scheduler.run(Number.POSITIVE_INFINITY)]);
  return true;
}

async function repeatPut(life: Life, tools: Tools, id: string): Promise<void> {
  const { world, truth } = life;
  const userId = ownerOf(life, id);
  const body = bodyOf(truth, id);
  const done = tools.untilDone(life, `repair ${id}`, 'bookings', 15_000, (deps) =>
    declareBooking(deps, { userId, bookingId: id }, body),
  );
  const [took] = await Promise.all([done, world.scheduler.run(Number.POSITIVE_INFINITY)]);
  if (!took) return;
  truth.applied.set(id, [...(truth.applied.get(id) ?? []), { id: -1, at: 0, do: 'repeat', booking: id }]);
  truth.renewed.add(id);
}

/** A booking that is to be in the calendar of a user of ours, is not, and has the time for it. */
function isStuck(life: Life, id: string): boolean {
  const { world, truth } = life;
  const wanted = presences(life, id);
  const status = statusOf(life, id);
  if (status === undefined || wanted.every((presence) => presence === 'absent')) return false;
  if (truth.deletedByHand.has(id) || !truth.plan.users.includes(ownerOf(life, id))) return false;
  // Something else stands at that time: that is no obstacle of the service.
  if (status === 'conflict') return false;
  if (deadlineOf(bodyOf(truth, id), 'Etc/GMT-14') < world.now() + longEnough) return false;
  return status !== (wanted.includes('confirmed') ? 'scheduled' : 'held');
}

function statusOf({ world }: Life, id: string): string | undefined {
  return world.bookings().find(({ bookingId }) => bookingId === id)?.status;
}

function describe(life: Life, id: string): string {
  const booking = life.world.bookings().find(({ bookingId }) => bookingId === id);
  return `${id} is ${booking?.status} after its user has done what could be done: ${JSON.stringify(booking?.problems)}`;
}
