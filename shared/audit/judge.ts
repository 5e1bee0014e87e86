import { type Booking, knownEvent } from '../booking/booking.ts';
import { isPaid } from '../booking/booking-payments.ts';
import { desiredPresence, type PaymentPolicy } from '../booking/desired-presence.ts';
import { bookingProperty, revisionMark, revisionProperty } from '../booking/event-marks.ts';
import type { CalendarKind } from '../booking/findings.ts';
import { isGivenUp, isOpen } from '../booking/status.ts';
import { accountFingerprint, type GrantedConnection } from '../connection/connection.ts';
import type { OwnEvent } from '../google/own-events.ts';

/** What a booking and its event say of each other, as pure functions. */

/** Whose calendar is compared, and by which rules. */
export type Context = { connection: GrantedConnection; policy: PaymentPolicy; now: number };

/** Seconds for which what has changed is left for the next run: sync may be at work. */
const settlingSeconds = 300;

/** Whether a booking has changed so lately that sync may be at work. */
export function isSettling({ updatedAt }: Pick<Booking, 'updatedAt'>, now: number): boolean {
  return Date.parse(updatedAt) / 1000 > now - settlingSeconds;
}

/** Whether a booking says itself that its event is missing, or is not as it should be. */
export function isWaiting(booking: Booking, policy: PaymentPolicy): boolean {
  const { nextRun, calendar } = booking;
  const isReadAgain = nextRun?.why === 'in_doubt';
  return (
    isOpen(nextRun) ||
    isReadAgain ||
    isGivenUp(booking, desiredPresence(booking, policy)) ||
    calendar.kind === 'deleted_by_owner'
  );
}

/** What is wrong with a booking whose event is `event`; undefined where its calendar has none. */
export function judgeBooking(
  booking: Booking,
  event: OwnEvent | undefined,
  { policy, now }: Pick<Context, 'policy' | 'now'>,
): CalendarKind | undefined {
  if (isSettling(booking, now) || isWaiting(booking, policy)) return undefined;
  const stands = event !== undefined && event.status !== 'cancelled';
  if (desiredPresence(booking, policy) === 'absent') return stands ? unwanted(booking) : undefined;
  if (!stands) return isPaid(booking) ? 'paid_without_event' : undefined;
  return showsOtherTime(booking, event) ? 'wrong_time' : undefined;
}

/** What is wrong with an event of ours. `booking`: the one that it names. */
export function judgeEvent(
  event: OwnEvent,
  booking: Booking | undefined,
  context: Context,
): CalendarKind | undefined {
  const { connection, policy, now } = context;
  if (event.status === 'cancelled') return undefined;
  if (!booking) return isNew(event, now) ? undefined : 'event_without_booking';
  if (isSettling(booking, now)) return undefined;
  const known = knownEvent(booking);
  const isCurrent = known?.eventId === event.id;
  if (booking.userId !== connection.userId) {
    // Users may share a Google account: then the event is in the calendar of both.
    const isShared = isCurrent && known.account === accountOf(booking, connection);
    return isShared || isWaiting(booking, policy) ? undefined : 'event_without_booking';
  }
  if (isCurrent) return judgeBooking(booking, event, context);
  if (isWaiting(booking, policy)) return undefined;
  if (desiredPresence(booking, policy) === 'absent') return unwanted(booking);
  return known ? 'duplicate_events' : judgeBooking(booking, event, context);
}

export function bookingIdOf({ extendedProperties }: OwnEvent): string | undefined {
  return extendedProperties.private[bookingProperty];
}

function accountOf({ userId }: Booking, { googleSub }: GrantedConnection): string | undefined {
  return userId === undefined ? undefined : accountFingerprint({ userId, googleSub });
}

function isNew({ created }: OwnEvent, now: number): boolean {
  return created !== undefined && Date.parse(created) / 1000 > now - settlingSeconds;
}

function unwanted({ cancelledAt, payments }: Booking): CalendarKind {
  const wasPaid = Object.values(payments).some(({ confirmedAt }) => confirmedAt !== undefined);
  return wasPaid && cancelledAt === undefined ? 'refunded_still_scheduled' : 'event_without_booking';
}

/** Whether an event is at another time because sync has not written it. What its owner has moved since is left so. */
function showsOtherTime(booking: Booking, event: OwnEvent): boolean {
  const { appointment } = booking;
  if (!appointment || event.extendedProperties.private[revisionProperty] === revisionMark(booking))
    return false;
  const { start, end, startsAt, endsAt } = appointment;
  if ('date' in start && 'date' in end) return event.start.date !== start.date || event.end.date !== end.date;
  const [from, to] = [event.start.dateTime, event.end.dateTime].map((at) => Date.parse(at ?? '') / 1000);
  return from !== startsAt || to !== endsAt;
}
