import { syncBooking } from '../../functions/booking-sync/sync-booking.ts';
import { patchBooking } from '../../functions/bookings/change-booking.ts';
import { type Appointment, type Booking, recordedEvent } from '../../shared/booking/booking.ts';
import type { SyncRequested } from '../../shared/booking/queue.ts';
import { listWritableCalendars } from '../../shared/google/calendar.ts';
import { calendarScopes } from '../../shared/google/token-endpoint.ts';
import { optionalScopes } from '../../shared/lib/names.ts';
import { ada, type World } from './world.ts';

type Sync = typeof syncBooking;

/** Steps of tests with one booking. `world`: the world of the running test, since each test starts its own. */
export function bookingSteps(world: () => World) {
  const target = { userId: 'user-1', bookingId: 'b1' };
  const again = (bookingId = 'b1'): SyncRequested => ({ type: 'sync', ...target, bookingId, cause: 'test' });
  const sync = (message: Parameters<Sync>[1] = again(), options?: Parameters<Sync>[2]) =>
    syncBooking(world().deps, message, options);
  const stored = async (bookingId = 'b1'): Promise<Booking> => {
    const booking = await world().booking(bookingId);
    if (!booking) throw new Error(`There is no booking ${bookingId}.`);
    return booking;
  };
  /** Changes the booking as the API does, and syncs it. */
  const change = async (body: object) => {
    await patchBooking(world().deps, target, body);
    await sync();
  };
  /** A payment whose appointment differs from that of `world.payment`. */
  const payment = (other: Partial<Appointment>) => {
    const paid = world().payment('b1');
    const { appointment } = paid.booking;
    if (!appointment) throw new Error('The payment has no appointment.');
    return { ...paid, booking: { ...paid.booking, appointment: { ...appointment, ...other } } };
  };

  return {
    target,
    again,
    sync,
    stored,
    change,
    payment,
    /** A payment for an appointment of one hour that starts in this many seconds. */
    paymentStartingIn(seconds: number) {
      const startsAt = world().time.now + seconds;
      const at = (second: number) => ({ dateTime: new Date(second * 1000).toISOString() });
      const times = { startsAt, endsAt: startsAt + 3600, start: at(startsAt), end: at(startsAt + 3600) };
      return payment(times);
    },
    refund: () => sync(world().reported('b1', { refundedTotal: 9000 })),
    /** Moves the appointment later, as the API does, and syncs it. */
    async move(hours = 2) {
      const { startsAt = 0, endsAt = 0 } = (await stored()).appointment ?? {};
      const at = (seconds: number) => new Date((seconds + hours * 3600) * 1000).toISOString();
      await change({ start: at(startsAt), end: at(endsAt) });
    },
    /** The next run, when it is due. */
    async runWhenDue() {
      world().time.now = (await stored()).nextRun?.at ?? Number.NaN;
      await sync();
    },
    /** The owner moves the event to another calendar. Returns that calendar. */
    async moveByHand(): Promise<string> {
      const { google, deps } = world();
      const scopes = ['openid', calendarScopes.owned, optionalScopes.calendarList];
      const { accessToken } = google.control.grant({ clientId: 'test-client', email: ada, scopes });
      const listed = await listWritableCalendars(deps.calendar, accessToken);
      const other = listed.ok && listed.value.find(({ primary }) => !primary);
      if (!other) throw new Error('Ada has one calendar only.');
      google.control.moveEvent(ada, recordedEvent(await stored())?.eventId ?? '', other.id);
      return other.id;
    },
  };
}
