/** Courses of bookings, one step after the other: between two steps another release may take over. */
import { recordedEvent } from '../../shared/booking/booking.ts';
import type { PaymentFacts } from '../../shared/booking/payment.ts';
import type { BookingFromPayment, PaymentReported } from '../../shared/booking/queue.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { ada, ben, type World } from '../integration/world.ts';
import type { Granted, Release } from './release.ts';

/** Who acts on what: `release` picks one of those that run. */
export type Acting = {
  world: World;
  release(): Release;
  bookingId: string;
  userId: string;
  connect(userId: string, email: string): Promise<void>;
};

/** How the booking must be once all messages are done. `event`: what its calendar shows. */
export type Expected = {
  status?: string;
  event?: 'confirmed' | 'tentative' | undefined;
  location?: string;
};

type Step = (acting: Acting) => Promise<Expected>;

const scheduled: Expected = { status: 'scheduled', event: 'confirmed' };

const days = (count: number): number => count * 86_400;

/** An hour that begins `after` seconds from now. */
function hourAfter({ world }: Acting, after: number) {
  const startsAt = world.time.now + after;
  const endsAt = startsAt + 3600;
  return { start: toIso(startsAt), end: toIso(endsAt), startsAt, endsAt };
}

function paymentOf(
  acting: Acting,
  after = days(3),
  change: Partial<BookingFromPayment> = {},
): PaymentReported {
  const { world, bookingId, userId } = acting;
  const { start, end, startsAt, endsAt } = hourAfter(acting, after);
  const times = { start: { dateTime: start }, end: { dateTime: end }, startsAt, endsAt };
  return world.payment(bookingId, { userId, appointment: { summary: 'Meeting', ...times }, ...change });
}

const pay: Step = async (acting) => {
  await acting.release().pay(paymentOf(acting));
  return scheduled;
};

const report =
  (facts: PaymentFacts, expected: Expected): Step =>
  async ({ world, release, bookingId }) => {
    await release().pay(world.reported(bookingId, facts));
    return expected;
  };

const declare =
  (hold: boolean, expected: Expected): Step =>
  async (acting) => {
    const { start, end } = hourAfter(acting, days(4));
    const body = { summary: 'Meeting', start, end, ...(hold ? { hold } : {}) };
    await acting.release().declare(acting.userId, acting.bookingId, body);
    return expected;
  };

const move: Step = async ({ release, userId, bookingId }) => {
  await release().patch(userId, bookingId, { location: 'Room 2' });
  return { ...scheduled, location: 'Room 2' };
};

const cancel: Step = async ({ release, userId, bookingId }) => {
  await release().cancel(userId, bookingId);
  return { status: 'cancelled' };
};

const payWithoutAppointment: Step = async (acting) => {
  const { appointment: _, ...named } = paymentOf(acting).booking as BookingFromPayment;
  const problems = [{ code: 'invalid_booking', message: '"start" is missing.' }];
  await acting.release().pay({ ...paymentOf(acting), booking: { ...named, problems } });
  return { status: 'failed' };
};

const payTooLate: Step = async (acting) => {
  await acting.release().pay(paymentOf(acting, -days(2)));
  return { status: 'missed' };
};

const payTwice: Step = async (acting) => {
  await acting.release().pay({ ...paymentOf(acting), paymentId: `pi_second_${acting.bookingId}` });
  return scheduled;
};

const payUnanswered: Step = async (acting) => {
  acting.world.google.control.fail({ on: 'events.insert', times: 1, how: { lose: 'response' } });
  return pay(acting);
};

const payUnconnected: Step = async (acting) => {
  await pay(acting);
  return { status: 'waiting_for_connection' };
};

const connect: Step = async ({ connect, userId }) => {
  await connect(userId, ben);
  return scheduled;
};

const deleteByHandAndMove: Step = async (acting) => {
  const { world, bookingId } = acting;
  const booking = await world.booking(bookingId);
  const event = booking && recordedEvent(booking);
  if (event) world.google.control.deleteEvent(ada, event.eventId);
  return move(acting);
};

const cancelledByRefund = { status: 'cancelled', event: undefined } as const;
const refund = { refunds: { re_1: { amount: 9000, state: 'done' } } } as const;
const partOfIt = { refunds: { re_1: { amount: 100, state: 'done' } } } as const;

/** Every course begins in every phase in which it can end. */
export const courses: Record<string, Step[]> = {
  moved: [pay, move, report(partOfIt, { ...scheduled, location: 'Room 2' })],
  held: [declare(true, { status: 'held', event: 'tentative' }), pay],
  declared: [declare(false, { status: 'declared' }), pay],
  cancelled: [pay, cancel],
  refunded: [pay, report(refund, { status: 'cancelled' })],
  'refunded-first': [
    report(refund, {}),
    async (acting) => ({ ...(await pay(acting)), ...cancelledByRefund }),
  ],
  waiting: [payUnconnected, connect],
  'deleted-by-hand': [pay, deleteByHandAndMove],
  unusable: [payWithoutAppointment, declare(false, scheduled)],
  missed: [payTooLate, report(partOfIt, { status: 'missed' })],
  'paid-twice': [pay, payTwice],
  unanswered: [payUnanswered, move],
};

/** A consent of the owner of `email` at the simulated Google. */
export function grantOf(world: World, email: string): Granted {
  const scopes = ['openid', 'https://www.googleapis.com/auth/calendar.events.owned'];
  const { clientId } = world.googleClient.value;
  const { accessToken, refreshToken } = world.google.control.grant({ clientId, email, scopes });
  const identity = { sub: email.split('@')[0] as string, email };
  return { accessToken, refreshToken: refreshToken as string, expiresIn: 3599, scopes, identity };
}
