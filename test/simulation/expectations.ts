/** How bookings are to end by what was said of them, judged without the code of the service. */

import { type Change, type Content, changeOf, contentOf } from './contents.ts';
import type { PlayedScenario, Truth } from './played-scenario.ts';
import { capturedOf, type Plan, type UserAction } from './user-actions.ts';

export type Presence = 'confirmed' | 'tentative' | 'absent';

/** The user of a booking: who declared it, or the user of its first payment. */
export function ownerOf({ world, truth }: PlayedScenario, booking: string): string {
  const stored = world.bookings().find(({ bookingId }) => bookingId === booking);
  return stored?.userId ?? (truth.plan.bookings.find(({ id }) => id === booking)?.user as string);
}

export type Paying = Extract<UserAction, { booking: string; payment: string }>;

/** Payments that reference a booking and are meant for this deployment. */
export function payingActions({ delivered }: Truth): Paying[] {
  return delivered.filter(
    (action): action is Paying =>
      action.do === 'pay' ||
      action.do === 'pay by session' ||
      action.do === 'pay as another user' ||
      action.do === 'pay to account' ||
      action.do === 'pay for several',
  );
}

/** The user that a payment names. Undefined where it names none: then it counts for whoever has the booking. */
export function payerOf({ bookings }: Plan, action: Paying): string | undefined {
  return action.do === 'pay as another user' || action.do === 'pay for several'
    ? action.user
    : bookings.find(({ id }) => id === action.booking)?.user;
}

export function isOfAnotherUser(played: PlayedScenario, action: Paying): boolean {
  const payer = payerOf(played.truth.plan, action);
  return payer !== undefined && payer !== ownerOf(played, action.booking);
}

/** The payments that count for a booking: of its user, and for no other booking. */
export function countedActions(played: PlayedScenario, booking: string): Paying[] {
  const { truth, world } = played;
  const stored = world.bookings().find(({ bookingId }) => bookingId === booking);
  return (
    payingActions(truth)
      .filter((action) => action.booking === booking && !isOfAnotherUser(played, action))
      // Which booking the payment named first, and which were declared by then, the scenario does not know.
      .filter(
        ({ payment, do: what }) =>
          (payment !== 'pi_both' && what !== 'pay for several' && what !== 'pay to account') ||
          stored?.payments[payment] !== undefined,
      )
  );
}

/** The desired presence of a booking. More than one where the order of what happened is not known. */
export function presences(played: PlayedScenario, booking: string): Presence[] {
  const { truth } = played;
  const { delivered, applied } = truth;
  const actions = applied.get(booking) ?? [];
  if (actions.some((action) => action.do === 'cancel')) return ['absent'];
  const payments = new Set(countedActions(played, booking).map(({ payment }) => payment));
  if ([...payments].some((payment) => isPaid(delivered, payment))) return ['confirmed'];
  if (payments.size > 0) return ['absent'];
  const declared = actions.findLast((action) => action.do === 'declare');
  if (declared?.do !== 'declare' || !declared.hold) return ['absent'];
  // A failure before the hold was declared is forgotten; one that came after ends the hold.
  const isFailure = (action: UserAction): boolean =>
    (action.do === 'fail' || action.do === 'expire session' || action.do === 'cancel authorization') &&
    action.booking === booking;
  if (!delivered.some(isFailure)) return ['tentative'];
  return actions.at(-1)?.do === 'repeat' && truth.renewed.has(booking)
    ? ['tentative']
    : ['tentative', 'absent'];
}

/** Whether the money of a payment is here, all or part of it. */
export function isPaid(delivered: UserAction[], payment: string): boolean {
  const about = delivered.filter((action) => 'payment' in action && action.payment === payment);
  const captured = capturedOf(payment);
  const lost = about.flatMap((action) =>
    action.do === 'dispute' && action.state === 'lost' ? (action.amount ?? captured) : [],
  );
  const refunds = about.filter((action) => action.do === 'refund');
  const failed = refunds.some(({ state }) => state === 'failed');
  const atMost = (amounts: number[]): number => Math.max(0, ...amounts.map((it) => Math.min(it, captured)));
  const largest = atMost(refunds.map(({ amount }) => amount));
  const total = atMost(about.flatMap((action) => (action.do === 'refund charge' ? action.amount : [])));
  const refunded = failed ? Math.max(0, total - largest) : Math.max(largest, total);
  return refunded + Math.max(0, ...lost) < captured;
}

/** The body of the PUT that asks for what has been asked for so far. */
export function bodyOf({ plan, applied }: Truth, booking: string): Content & Change {
  const changes = (applied.get(booking) ?? []).filter((action) => 'room' in action || action.do === 'invite');
  const last = changes.findLastIndex((action) => action.do === 'declare');
  const bodies = changes.slice(Math.max(last, 0)).map((action) => changeOf(plan, action));
  return Object.assign({}, contentOf(plan, booking), ...bodies);
}
