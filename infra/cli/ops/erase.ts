/** `ops erase`: removes a user, and what is stored about them, but the payments. */
import { erased, type Operator } from '../../../functions/bookings/operator-changes.ts';
import type { Booking, PaymentPointer } from '../../../shared/booking/booking.ts';
import { type PaymentFacts, standingOf } from '../../../shared/booking/payment.ts';
import { erasedConnection } from '../../../shared/connection/connection.ts';
import type { RevocationOutcome } from '../../../shared/connection/revocation.ts';
import { systemSleep } from '../../../shared/lib/clock.ts';
import { routes } from '../../../shared/lib/names.ts';
import type { Records } from './records.ts';
import type { Target } from './target.ts';
import { tokenFor } from './token.ts';

export type KeptPayment = { paymentId: string; bookingId: string; standing: string; amount?: number };

/** What is stored about a user. */
type Survey = { connection: string; bookings: number; kept: KeptPayment[] };

/** Seconds in which a run of sync that has read the user before may still write: its snapshot lasts for 20. */
const lastWriteSeconds = 25;

export async function surveyOf(records: Records, userId: string): Promise<Survey> {
  const connection = await records.connections.get(userId);
  const survey: Survey = { connection: connection?.status ?? 'none', bookings: 0, kept: [] };
  for await (const booking of records.bookingsOf(userId)) {
    survey.bookings++;
    survey.kept.push(...keptPayments(booking));
  }
  return survey;
}

/**
 * Erases a user. After a crash anywhere, another run finishes it: what is erased is not found again.
 * @param says reports what is done
 */
export async function eraseUser(
  target: Target,
  records: Records,
  userId: string,
  operator: Operator,
  says: (line: string) => void,
  sleep = systemSleep,
): Promise<{ revocation: RevocationOutcome | 'none'; deleted: number; kept: KeptPayment[] }> {
  const revocation = await endConnection(target, records, userId);
  await records.deletePaymentAccounts(userId);
  await markErased(records, userId, operator);
  says(`Waiting ${lastWriteSeconds} seconds: a payment that is being processed may still be written.`);
  await sleep(lastWriteSeconds * 1000);
  const kept: KeptPayment[] = [];
  let deleted = 0;
  for await (const { bookingId } of records.bookingsOf(userId)) {
    const left = await eraseBooking(records, bookingId, userId, operator);
    if (left) kept.push(...keptPayments(left));
    else deleted++;
  }
  return { revocation, deleted, kept };
}

/** Has the service end the connection, as the user's own request would: it holds the keys to revoke the grant. */
async function endConnection(
  target: Target,
  { connections }: Records,
  userId: string,
): Promise<RevocationOutcome | 'none'> {
  const connection = await connections.get(userId);
  if (!connection) return 'none';
  if (connection.status === 'disconnected') return connection.revocation ? 'pending' : 'none';
  const token = await tokenFor(target, userId, { link: false });
  const answer = await fetch(`${target.output('ApiUrl')}${routes.connection}`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(30_000),
  });
  if (!answer.ok) {
    throw new Error(
      `The API could not end the connection: it answers ${answer.status}. No booking was erased yet: run it again, it continues.`,
    );
  }
  const { revocation } = (await answer.json()) as { revocation: RevocationOutcome };
  return revocation;
}

/** From here on a payment of before brings nothing back. */
async function markErased({ connections }: Records, userId: string, operator: Operator): Promise<void> {
  for (let tries = 0; tries < 5; tries++) {
    const existing = await connections.get(userId);
    if (existing && existing.status !== 'disconnected')
      throw new Error(
        'The user has connected again at the same moment. No booking was erased: run it again.',
      );
    if (await connections.put(erasedConnection(userId, existing, operator), existing)) return;
  }
  throw contended();
}

/** What is left of a booking. Undefined where it has no payment: then it is deleted. */
async function eraseBooking(
  records: Records,
  bookingId: string,
  userId: string,
  operator: Operator,
): Promise<Booking | undefined> {
  for (let tries = 0; tries < 5; tries++) {
    const booking = await records.bookings.get(bookingId);
    if (booking?.userId !== userId) return undefined;
    // The pointers first: without its user, the booking would not be found again after a crash.
    for (const paymentId of Object.keys(booking.payments)) await erasePointer(records, paymentId);
    const left = isPaymentRecord(booking) ? erased(booking, operator) : undefined;
    if (left ? await records.bookings.save(left) : await records.deleteBooking(booking)) return left;
  }
  throw contended();
}

const isPaymentRecord = ({ payments, orphaned = [] }: Booking): boolean =>
  Object.keys(payments).length > 0 || orphaned.length > 0;

async function erasePointer({ pointer: read, bookings }: Records, paymentId: string): Promise<void> {
  const pointer = await read(paymentId);
  if (!pointer || (pointer.userId ?? pointer.bookings?.userId) === undefined) return;
  if (!(await bookings.savePointer(withoutUser(pointer)))) throw contended();
}

function withoutUser({ userId: _, ...pointer }: PaymentPointer): PaymentPointer {
  if (!pointer.bookings) return pointer;
  const { userId: __, ...bookings } = pointer.bookings;
  return { ...pointer, bookings };
}

function keptPayments({ bookingId, payments }: Booking): KeptPayment[] {
  return Object.entries(payments).map(([paymentId, facts]) => ({
    paymentId,
    bookingId,
    standing: standingOf(facts),
    ...amountOf(facts),
  }));
}

const amountOf = ({ amount }: PaymentFacts): { amount?: number } => (amount === undefined ? {} : { amount });

function contended(): Error {
  return new Error('A record was changed at the same moment, again and again. Run it again: it continues.');
}
