import { parseAppointment } from '../../shared/booking/appointment.ts';
import { appendTimeline, type Booking, requestRun } from '../../shared/booking/booking.ts';
import { answered, unpublished, withStatus } from '../../shared/booking/status.ts';
import { laterThan, toIso } from '../../shared/lib/clock.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';

/** What an operator may have sync do with a booking. Each hands it over: none writes to a calendar. */

/** `by`: the operator, as AWS or the machine names them. `userId`: whose a booking without a user is. */
export type Operator = { by: string; now: number; userId?: string | undefined };

/** Why nothing was changed: one sentence that says what to do instead. */
export type Refusal = { refused: string };

/** The booking, to be tried again at once at the same revision. */
export async function retried(booking: Booking, operator: Operator): Promise<Booking | Refusal> {
  const { givenUp, nextRun, appointment, cancelledAt } = booking;
  const { now } = operator;
  if (!appointment) return readAgain(booking, operator);
  if (appointment.endsAt <= now)
    return { refused: 'Its appointment is over: refund the customer, or move it.' };
  if (nextRun?.why === 'no_connection')
    return { refused: 'Its user has no working connection: connecting Google tries it at once.' };
  if (nextRun === undefined && givenUp === undefined)
    return {
      refused: `Nothing is to be tried: it is ${booking.status}${cancelledAt ? ' since it was cancelled' : ''}.`,
    };
  const { givenUp: _, ...rest } = booking;
  return changed(givenUp ? unpublished(rest) : booking, 'retry requested', operator);
}

/** The booking with the appointment that its payment names, where that can be used by now. */
async function readAgain(booking: Booking, operator: Operator): Promise<Booking | Refusal> {
  const { paymentTexts, userId = operator.userId, cancelledAt, ...rest } = booking;
  if (cancelledAt !== undefined) return { refused: 'It was cancelled, which is permanent.' };
  const { appointment, problems } = await parseAppointment({ ...paymentTexts }, 'timeZone');
  const says = problems.map(({ message }) => message).join(' ');
  if (!appointment)
    return {
      refused: `It has no usable appointment. ${says} LeadsCalendar declares it, by PUT /bookings/{id}.`,
    };
  if (userId === undefined)
    return { refused: 'Its payment names no usable user: retry with --user <id> says whose it is.' };
  if (appointment.endsAt <= operator.now)
    return { refused: 'Its appointment is over: refund the customer, or move it.' };
  return changed({ ...rest, userId, appointment, problems: [] }, 'retry requested', operator);
}

/** The booking, whose event its owner has deleted or that came too late, to be created again. */
export function restored(booking: Booking, { by, now }: Operator): Booking | Refusal {
  const { appointment, calendar, givenUp, cancelledAt } = booking;
  if (!appointment || appointment.endsAt <= now)
    return { refused: 'Its appointment is missing or over: there is nothing to create.' };
  if (cancelledAt !== undefined)
    return { refused: 'It was cancelled, which is permanent: LeadsCalendar declares a new one.' };
  if (calendar.kind !== 'deleted_by_owner' && givenUp === undefined)
    return { refused: `Its event was not deleted: it is ${booking.status}. To try it again: retry.` };
  const { givenUp: _, ...rest } = booking;
  return changed({ ...rest, revision: booking.revision + 1 }, 'restore requested', { by, now });
}

/** What accounting needs of a booking whose user is erased: its payments. Publishes nothing, and leaves the event. */
export function erased(booking: Booking, operator: Operator): Booking {
  const { bookingId, revision, eventNumber, createdAt, version, published } = booking;
  const { cancelledAt = toIso(operator.now), payments, orphaned } = booking;
  return answered({
    ...{ bookingId, revision, eventNumber, createdAt, version, payments, cancelledAt },
    ...omitUndefined({ published, orphaned: orphaned?.map(({ userId: _, ...entry }) => entry) }),
    calendar: { kind: 'absent' },
    problems: [],
    status: 'cancelled',
    erasedAt: toIso(operator.now),
    timeline: timelineOf(booking, 'personal data erased', operator),
    updatedAt: laterThan(booking.updatedAt, operator.now),
  });
}

function changed(booking: Booking, what: string, operator: Operator): Booking {
  const { now } = operator;
  return withStatus({
    ...requestRun(booking, now, { mayCreate: true }),
    timeline: timelineOf(booking, what, operator),
    updatedAt: laterThan(booking.updatedAt, now),
  });
}

function timelineOf({ timeline }: Booking, what: string, { by, now }: Operator): Booking['timeline'] {
  return [...appendTimeline(timeline, now, what).slice(0, -1), { at: toIso(now), what, by }];
}
