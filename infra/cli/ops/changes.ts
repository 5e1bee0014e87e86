/** What an operator has the service do. None of it writes to a calendar. */
import type { Operator, Refusal } from '../../../functions/bookings/operator-changes.ts';
import type { Booking } from '../../../shared/booking/booking.ts';
import { bookingQueue } from '../../../shared/booking/queue.ts';
import { omitUndefined } from '../../../shared/lib/omit-undefined.ts';
import type { Records } from './records.ts';
import type { Target } from './target.ts';

type Place = { target: Target; records: Records; now: number };

/** The booking `id`. Throws with a hint where it does not exist. */
export async function known({ bookings, pointer }: Records, id: string): Promise<Booking> {
  const booking = await bookings.get(id);
  if (booking) return booking;
  const payment = await pointer(id);
  const hint = payment?.bookingId
    ? ` It is a payment: its booking is ${payment.bookingId}.`
    : ' See: ops find.';
  throw new Error(`There is no booking "${id}".${hint}`);
}

/**
 * Saves what the operator asks for under the version that was read, and has it synced. Throws a refusal as its sentence.
 * @param userId whose a booking without a user is
 */
export async function changeBooking(
  { target, records, now }: Place,
  id: string,
  decide: (booking: Booking, operator: Operator) => Booking | Refusal | Promise<Booking | Refusal>,
  userId?: string,
): Promise<Booking> {
  const by = await target.operator();
  for (let tries = 0; tries < 3; tries++) {
    const booking = await known(records, id);
    const changed = await decide(booking, { by, now, userId });
    if ('refused' in changed) throw new Error(`${changed.refused} Nothing was changed.`);
    if (!(await records.bookings.save(changed))) continue;
    const sync = {
      type: 'sync' as const,
      bookingId: id,
      userId: changed.userId,
      cause: `operator-${changed.version}`,
    };
    await bookingQueue(target.output('QueueUrl'), () => now, target.sqs).send(omitUndefined(sync));
    return changed;
  }
  throw new Error('The booking was changed at the same moment, three times. Nothing was done: try again.');
}

/** Has all bookings tried that wait for this user's connection. */
export async function releaseUser({ target, records, now }: Place, userId: string): Promise<void> {
  const connection = await records.connections.get(userId);
  if (connection?.status !== 'active') {
    throw new Error(
      `The connection of ${userId} is ${connection?.status ?? 'missing'}: the user connects Google first, which tries all bookings at once.`,
    );
  }
  const { tokenVersion, choices } = connection;
  const queue = bookingQueue(target.output('QueueUrl'), () => now, target.sqs);
  await queue.send(
    omitUndefined({ type: 'connection.activated' as const, userId, tokenVersion, choices, page: 0 }),
  );
}
