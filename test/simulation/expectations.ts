/** How bookings are to end by what was said of them, judged without the code of the service. */
import { type Change, type Content, changeOf, contentOf } from './contents.ts';
import { capturedOf, type Deed, type Plan } from './deeds.ts';
import type { Life, Truth } from './played-scenario.ts';

export type Presence = 'confirmed' | 'tentative' | 'absent';

/** Whose booking it is: of the user who declared it, or whom its first payment names. */
export function ownerOf({ world, truth }: Life, booking: string): string {
  const stored = world.bookings().find(({ bookingId }) => bookingId === booking);
  return stored?.userId ?? (truth.plan.bookings.find(({ id }) => id === booking)?.user as string);
}

export type Paying = Extract<Deed, { do: 'pay' | 'pay by session' | 'pay as another user' }>;

/** Payments that reference a booking and are meant for this deployment. */
export function payingDeeds({ delivered }: Truth): Paying[] {
  return delivered.filter(
    (deed): deed is Paying =>
      deed.do === 'pay' || deed.do === 'pay by session' || deed.do === 'pay as another user',
  );
}

export function payerOf({ bookings }: Plan, deed: Paying): string | undefined {
  return deed.do === 'pay as another user' ? deed.user : bookings.find(({ id }) => id === deed.booking)?.user;
}

/** The payments that count for a booking: of its user, and for no other booking. */
export function countedDeeds(life: Life, booking: string): Paying[] {
  const { truth, world } = life;
  const owner = ownerOf(life, booking);
  const stored = world.bookings().find(({ bookingId }) => bookingId === booking);
  return payingDeeds(truth)
    .filter((deed) => deed.booking === booking && payerOf(truth.plan, deed) === owner)
    .filter(({ payment }) => payment !== 'pi_both' || stored?.payments[payment] !== undefined);
}

/** How a booking is to stand in the calendar. More than one where the order of what happened is not known. */
export function presences(life: Life, booking: string): Presence[] {
  const { truth } = life;
  const { delivered, applied } = truth;
  const deeds = applied.get(booking) ?? [];
  if (deeds.some((deed) => deed.do === 'cancel')) return ['absent'];
  const payments = new Set(countedDeeds(life, booking).map(({ payment }) => payment));
  if ([...payments].some((payment) => stands(delivered, payment))) return ['confirmed'];
  if (payments.size > 0) return ['absent'];
  const declared = deeds.findLast((deed) => deed.do === 'declare');
  if (declared?.do !== 'declare' || !declared.hold) return ['absent'];
  // A failure before the hold was declared is forgotten; one that came after ends the hold.
  const isFailure = (deed: Deed): boolean =>
    (deed.do === 'fail' || deed.do === 'expire session' || deed.do === 'cancel authorization') &&
    deed.booking === booking;
  if (!delivered.some(isFailure)) return ['tentative'];
  return deeds.at(-1)?.do === 'repeat' && truth.renewed.has(booking)
    ? ['tentative']
    : ['tentative', 'absent'];
}

/** Whether the money of a payment is here, all or part of it. */
export function stands(delivered: Deed[], payment: string): boolean {
  const about = delivered.filter((deed) => 'payment' in deed && deed.payment === payment);
  const captured = capturedOf(payment);
  const lost = about.flatMap((deed) =>
    deed.do === 'dispute' && deed.state === 'lost' ? (deed.amount ?? captured) : [],
  );
  const refunds = about.filter((deed) => deed.do === 'refund');
  const failed = refunds.some(({ state }) => state === 'failed');
  const atMost = (amounts: number[]): number => Math.max(0, ...amounts.map((it) => Math.min(it, captured)));
  const largest = atMost(refunds.map(({ amount }) => amount));
  const total = atMost(about.flatMap((deed) => (deed.do === 'refund charge' ? deed.amount : [])));
  const refunded = failed ? Math.max(0, total - largest) : Math.max(largest, total);
  return refunded + Math.max(0, ...lost) < captured;
}

/** The body of the PUT that asks for what has been asked for so far. */
export function bodyOf({ plan, applied }: Truth, booking: string): Content & Change {
  const changes = (applied.get(booking) ?? []).filter((deed) => 'room' in deed || deed.do === 'invite');
  const last = changes.findLastIndex((deed) => deed.do === 'declare');
  const bodies = changes.slice(Math.max(last, 0)).map((deed) => changeOf(plan, deed));
  return Object.assign({}, contentOf(plan, booking), ...bodies);
}
