/** Scenarios for requests that are applied late: the booking changes around the in-doubt window of its last write. */

import { between, oneOf, type Random, whole } from './scheduler.ts';
import { type Drawn, drawPlan, type Plan, price } from './user-actions.ts';

const second = 1000;
const minute = 60 * second;

/** Every second plan changes one or two bookings soon after they were asked for; the others are like any plan. */
export function drawLatePlan(random: Random): Plan {
  const plan = drawPlan(random);
  if (random() < 0.5) return plan;
  const users = plan.users.slice(0, 1);
  const [user = 'ada'] = users;
  const bookings = plan.bookings.slice(0, 2).map(({ id }) => ({
    id,
    user,
    // Begins while a request may still be applied, soon after, or much later.
    startsIn: Math.round(oneOf(random, [3, 5, 8, 300, 60 * 24 * 12]) * minute * between(random, 0.9, 1.2)),
  }));
  const actions: Drawn[] = [{ at: Math.round(random() * 500), do: 'connect', user }];
  for (const { id } of bookings) actions.push(...drawCourse(random, { id, user }));
  const inOrder = actions.sort((one, other) => one.at - other.at);
  return { ...plan, users, bookings, actions: inOrder.map((action, id) => ({ id, ...action })) };
}

/** A booking is asked for, and changes one to four times: while its write is under way, in its window, or after it. */
function drawCourse(random: Random, { id, user }: { id: string; user: string }): Drawn[] {
  const payment = `pi_1_${id}`;
  let at = Math.round(45 * second + random() * 20 * second);
  const pays: Drawn = { at, do: 'pay', booking: id, payment };
  const holds: Drawn = { at, do: 'declare', booking: id, room: 1, hold: true, meet: random() < 0.2 };
  const actions: Drawn[] = [random() < 0.7 ? pays : holds];
  const changes = whole(random, 1, 4);
  for (let number = 0; number < changes; number++) {
    const [least, most] = oneOf(random, [
      [0, 10],
      [8, 40],
      [95, 140],
      [170, 320],
    ] as const);
    at += Math.round(between(random, least, most) * second);
    actions.push(...drawChange(random, at, { id, user, payment }));
  }
  return actions;
}

function drawChange(
  random: Random,
  at: number,
  { id: booking, user, payment }: { id: string; user: string; payment: string },
): Drawn[] {
  const room = whole(random, 1, 5);
  const soon = (): number => at + Math.round(random() * 90 * second);
  const draw = random() * 100;
  if (draw < 10) return [{ at, do: 'pay', booking, payment }];
  if (draw < 26)
    return [{ at, do: 'refund charge', payment, amount: price }, ...paidAgain(random, soon(), booking)];
  if (draw < 34)
    return [{ at, do: 'fail', booking, payment: `cs_${booking}` }, ...paidAgain(random, soon(), booking)];
  if (draw < 48) return [{ at, do: 'cancel', booking }];
  if (draw < 60) return [{ at, do: oneOf(random, ['move', 'rename']), booking, room }];
  if (draw < 68) return [{ at, do: 'declare', booking, room, hold: random() < 0.6, meet: false }];
  if (draw < 78) {
    const calendar = oneOf(random, ['primary', 'second'] as const);
    const back: Drawn = { at: soon(), do: 'choose calendar', user, calendar: 'primary' };
    return [{ at, do: 'choose calendar', user, calendar }, ...(random() < 0.3 ? [back] : [])];
  }
  if (draw < 86) return [{ at, do: 'disconnect', user }, ...connectAgain(random, soon(), user)];
  if (draw < 90) return [{ at, do: 'revoke at Google', user }, ...connectAgain(random, soon(), user)];
  if (draw < 97) return [{ at, do: 'delete by hand', booking }];
  return [{ at, do: 'redrive' }];
}

/** Another payment while a deletion may still be applied. */
function paidAgain(random: Random, at: number, booking: string): Drawn[] {
  return random() < 0.6 ? [{ at, do: 'pay', booking, payment: `pi_2_${booking}` }] : [];
}

function connectAgain(random: Random, at: number, user: string): Drawn[] {
  return random() < 0.8 ? [{ at, do: 'connect', user }] : [];
}
