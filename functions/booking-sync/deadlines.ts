import type { Appointment } from '../../shared/booking/booking.ts';
import { isWholeDays } from '../../shared/booking/day-span.ts';

/** Seconds. A longer appointment is still worth creating after it has begun. */
const longAfterSeconds = 4 * 3600;

/**
 * Epoch second until which a failed attempt to create the event is repeated: the end of an appointment of whole days
 * or of more than four hours, the start of a shorter one.
 */
export function deadlineOf(appointment: Pick<Appointment, 'start' | 'end' | 'startsAt' | 'endsAt'>): number {
  const { startsAt, endsAt } = appointment;
  return isWholeDays(appointment) || endsAt - startsAt > longAfterSeconds ? endsAt : startsAt;
}
