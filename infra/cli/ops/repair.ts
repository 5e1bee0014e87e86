/** How a finding of the audit is repaired: its booking is handed to sync, in doubt. None of it writes to a calendar. */
import { maybeStale } from '../../../functions/booking-sync/doubt.ts';
import type { Operator, Refusal } from '../../../functions/bookings/operator-changes.ts';
import { appendTimeline, type Booking, knownEvent, requestRun } from '../../../shared/booking/booking.ts';
import type { Finding } from '../../../shared/booking/findings.ts';
import { withStatus } from '../../../shared/booking/status.ts';
import { laterThan, toIso } from '../../../shared/lib/clock.ts';

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
  finding: Finding,
  booking: Booking | undefined,
  operator: Operator,
): Booking | Refusal {
  if (!booking) return { refused: byHand.unknown };
  if (booking.userId !== finding.userId) return { refused: byHand.otherUser };
  const { by, now } = operator;
  const noted = isOwnEvent(finding, booking) ? booking : withUnwanted(booking, finding, now);
  const doubted = requestRun(maybeStale(noted, now), now, { mayCreate: true });
  const at = toIso(now);
  return withStatus({
    ...doubted,
    timeline: [
      ...appendTimeline(booking.timeline, now, 'repair requested').slice(0, -1),
      { at, what: 'repair requested', by },
    ],
    updatedAt: laterThan(booking.updatedAt, now),
  });
}

/** Whether the event is the one that the booking should have. */
function isOwnEvent({ kind, place }: Finding, booking: Booking): boolean {
  return (
    kind === 'paid_without_event' || kind === 'wrong_time' || knownEvent(booking)?.eventId === place.eventId
  );
}

/** `booking` with the event among those that sync deletes where it finds them. */
function withUnwanted(booking: Booking, { place }: Finding, now: number): Booking {
  const others = (booking.otherEvents ?? []).filter(({ eventId }) => eventId !== place.eventId);
  return {
    ...booking,
    otherEvents: [...others, { ...place, why: 'not_found' as const, until: now + lookForSeconds }],
  };
}
