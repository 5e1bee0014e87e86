/** Whether each payment that references a booking can be seen: in the booking, as a problem, or on the bus. */
import type { Booking } from '../../shared/booking/booking.ts';
import { isOfAnotherUser, isPaid, type Paying, payingActions } from './expectations.ts';
import type { PlayedScenario } from './played-scenario.ts';

export function checkPayments(played: PlayedScenario, count: (what: string) => void): string[] {
  const { world, truth } = played;
  const bookings = world.bookings();
  const violations: string[] = [];
  for (const action of payingActions(truth)) {
    count('every payment that references a booking has a visible outcome');
    const outcome =
      outcomeOf(played, action, bookings) ??
      outcomeOfSeveral(played, action, bookings, count) ??
      outcomeOfAccount(played, action, bookings, count);
    if (outcome) violations.push(`payment ${action.payment} for ${action.booking}: ${outcome}`);
  }
  for (const { payment } of truth.delivered.filter((action) => action.do === 'pay elsewhere')) {
    count('a payment of another mode or account changes nothing');
    const seen = bookings.find(({ payments }) => payments[payment] !== undefined);
    if (seen)
      violations.push(`payment ${payment} is not for this deployment, and counts for ${seen.bookingId}`);
  }
  const several = new Set(
    payingActions(truth).flatMap((it) => (it.do === 'pay for several' ? it.payment : [])),
  );
  const counted = bookings
    .flatMap(({ payments, problems }) =>
      problems.some(({ code }) => code === 'payment_of_another_booking') ? [] : Object.keys(payments),
    )
    .filter((payment) => !several.has(payment));
  for (const payment of new Set(counted)) {
    count('a payment counts for one booking');
    if (counted.filter((it) => it === payment).length > 1)
      violations.push(`payment ${payment} counts for several bookings`);
  }
  return violations;
}

/** What is wrong with a payment for several bookings: it counts for those that exist, and says what it could not use. */
function outcomeOfSeveral(
  played: PlayedScenario,
  action: Paying,
  bookings: Booking[],
  count: (what: string) => void,
): string | undefined {
  if (action.do !== 'pay for several') return undefined;
  count('a payment for several bookings counts for each that was declared');
  const { payment } = action;
  const own = bookings.find(({ bookingId }) => bookingId === payment);
  if (action.unusable && !own?.problems.some(({ code }) => code === 'invalid_booking'))
    return 'it names a booking by an unusable id, and no record says so';
  const booking = bookings.find(({ bookingId }) => bookingId === action.booking);
  const { from } = played.truth.times.get(action) as { from: number };
  // Clocks differ by some seconds.
  const existed = booking !== undefined && Date.parse(booking.createdAt) < from - 10_000;
  if (!existed || isOfAnotherUser(played, action) || booking.payments[payment]) return undefined;
  // It counts for the bookings that its first report names; of the others, checkPayments finds that they say so.
  if (payment.endsWith('unsteady')) return undefined;
  return 'the booking existed, and it does not count';
}

/** What is wrong with a payment to a connected account: it counts where the account is bound to the user, and only there. */
function outcomeOfAccount(
  played: PlayedScenario,
  action: Paying,
  bookings: Booking[],
  count: (what: string) => void,
): string | undefined {
  if (action.do !== 'pay to account') return undefined;
  count('a payment to a connected account counts only where it is bound');
  const { payment, booking: id } = action;
  const { truth } = played;
  const account = payment.split(':')[0];
  const changes = truth.bindings.filter((change) => change.account === account);
  const booking = bookings.find(({ bookingId }) => bookingId === id);
  const record = bookings.find(({ bookingId }) => bookingId === payment);
  const counts = booking?.payments[payment] !== undefined;
  if (changes.every(({ do: what }) => what === 'unbind')) {
    if (counts) return 'its account was never bound, and it counts';
    if (record?.userId || record?.appointment)
      return 'its account was never bound, and a user has its record';
    return undefined;
  }
  if (isOfAnotherUser(played, action)) return undefined;
  if (counts)
    return record?.status === 'failed' ? 'it counts, and its record says that it does not' : undefined;
  const wasUnbound = changes.some(({ do: what }) => what === 'unbind');
  const bound = Math.min(...changes.flatMap(({ do: what, to }) => (what === 'bind' ? to : [])));
  const { from } = truth.times.get(action) as { from: number };
  return !wasUnbound && bound < from
    ? 'its account was bound before it came, and it does not count'
    : undefined;
}

/** What is wrong with the outcome of a payment; undefined where it can be seen. */
function outcomeOf(played: PlayedScenario, action: Paying, bookings: Booking[]): string | undefined {
  const { world, truth } = played;
  const { payment, booking: id } = action;
  const booking = bookings.find(({ bookingId }) => bookingId === id);
  const own = bookings.find(({ bookingId, problems }) => bookingId === payment && problems.length > 0);
  const isOrphan = world.published.some(
    (event) => (event.type as string) === 'payment.orphaned' && event.paymentId === payment,
  );
  const isMismatch = isOfAnotherUser(played, action);
  const counts = booking?.payments[payment] !== undefined;
  // Without money there is nothing to give back to who named further bookings later.
  const isWithoutMoney = payment.endsWith('unsteady') && !isPaid(truth.delivered, payment);
  if (isMismatch) {
    if (counts) return 'it names another user, and counts for the booking';
    return own || isOrphan || isWithoutMoney ? undefined : 'it names another user, and can be seen nowhere';
  }
  if (!counts && !own && !isOrphan && !isWithoutMoney) return 'it can be seen nowhere';
  // A payment that came when the booking was cancelled already is money to give back.
  const cancelledAt = (truth.applied.get(id) ?? [])
    .filter((other) => other.do === 'cancel')
    .flatMap((other) => truth.times.get(other)?.to ?? []);
  const paidAt = Math.min(
    ...payingActions(truth)
      .filter((other) => other.booking === id && other.payment === payment)
      .flatMap((other) => truth.times.get(other)?.from ?? []),
  );
  const isLate = cancelledAt.some((at) => at < paidAt) && isPaid(truth.delivered, payment);
  return isLate && !isOrphan
    ? 'it came after the booking was cancelled, and nothing was published'
    : undefined;
}
