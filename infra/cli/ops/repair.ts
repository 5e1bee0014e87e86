/** How a finding of the audit is repaired: its booking is handed to sync, in doubt. None of it writes to a calendar. */
import { maybeStale } from '../../../functions/booking-sync/doubt.ts';
import type { Operator, Refusal } from '../../../functions/bookings/operator-changes.ts';
import { appendTimeline, type Booking, knownEvent, requestRun } from '../../../shared/booking/booking.ts';
import {
  type CalendarFinding,
  isOfPayment,
  type PaymentFinding,
  type StoredFinding,
} from '../../../shared/booking/findings.ts';
import { withStatus } from '../../../shared/booking/status.ts';
import { laterThan, toIso } from '../../../shared/lib/clock.ts';
import { undeclared } from './repair-payment.ts';

const day = 86_400;
/** Seconds for which sync looks for the event. Less than its own 15 days, so that it does so at once. */
const lookForSeconds = 14 * day;

/** What a person does where sync cannot help. */
export const byHand = {
  unknown: 'No booking has this event: ask its owner, and delete it in the calendar by hand.',
  otherUser:
    'Its booking belongs to another user, whose access does not reach this calendar: its owner deletes the event by hand.',
};

/** The booking of a finding, to be compared with the calendar by sync now. The same again changes nothing for the worse. */
export function repaired(
  finding: CalendarFinding,
  booking: Booking | undefined,
  operator: Operator,
): Booking | Refusal {
  if (!booking) return { refused: byHand.unknown };
  if (booking.userId !== finding.userId) return { refused: byHand.otherUser };
  const { by, now } = operator;
  const at = toIso(now);
  return withStatus({
    ...compared(finding, booking, now),
    timeline: [
      ...appendTimeline(booking.timeline, now, 'repair requested').slice(0, -1),
      { at, what: 'repair requested', by },
    ],
    updatedAt: laterThan(booking.updatedAt, now),
  });
}

/** `booking`, whose event is to be read now. An event that is gone was most likely deleted by its owner, and is left so. */
function compared(finding: CalendarFinding, booking: Booking, now: number): Booking {
  if (finding.kind === 'paid_without_event' && booking.calendar.kind === 'present')
    return { ...booking, nextRun: { why: 'check', at: now, count: booking.nextRun?.count ?? 1 } };
  const noted = isOwnEvent(finding, booking) ? booking : withUnwanted(booking, finding, now);
  return requestRun(maybeStale(noted, now), now, { mayCreate: true });
}

/** What an operator can do about a finding, in one line. `canRepair`: `ops repair` does something. */
export type Advice = { advice: string; canRepair: boolean };

export function adviceOn(finding: StoredFinding, booking: Booking | undefined): Advice {
  const { findingId, bookingId, userId } = finding;
  if (isOfPayment(finding)) return adviceOnPayment(finding, booking);
  const { kind } = finding;
  if (!booking) return { advice: byHand.unknown, canRepair: false };
  if (booking.userId !== userId) return { advice: byHand.otherUser, canRepair: false };
  const repair = `ops repair ${findingId}`;
  const deleted = `; where its owner has deleted it, it stays so, and ops restore ${bookingId} creates it again`;
  return { advice: kind === 'paid_without_event' ? `${repair}${deleted}` : repair, canRepair: true };
}

function adviceOnPayment(finding: StoredFinding & PaymentFinding, booking: Booking | undefined): Advice {
  const { kind, findingId, bookingId } = finding;
  if (kind === 'paid_without_booking' && !booking) return { advice: undeclared(bookingId), canRepair: false };
  return { advice: `ops repair ${findingId}`, canRepair: true };
}

/** Whether the event is the one that the booking should have. */
function isOwnEvent({ kind, place }: CalendarFinding, booking: Booking): boolean {
  return (
    kind === 'paid_without_event' || kind === 'wrong_time' || knownEvent(booking)?.eventId === place.eventId
  );
}

/** `booking` with the event among those that sync deletes where it finds them. */
function withUnwanted(booking: Booking, { place }: CalendarFinding, now: number): Booking {
  const others = (booking.otherEvents ?? []).filter(({ eventId }) => eventId !== place.eventId);
  return {
    ...booking,
    otherEvents: [...others, { ...place, why: 'not_found' as const, until: now + lookForSeconds }],
  };
}
