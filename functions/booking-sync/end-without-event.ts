import type { BusEventType } from '../../shared/aws/bus.ts';
import type { Booking } from '../../shared/booking/booking.ts';
import { paymentProblems, statusWithoutEvent } from '../../shared/booking/booking-payments.ts';
import type { Problem } from '../../shared/lib/app-error.ts';

/** How a booking ends whose event is deleted, or was never created. */
export function endWithoutEvent(booking: Booking): {
  status: 'declared' | 'cancelled' | 'failed';
  what: string;
  problems: Problem[];
  event?: BusEventType;
} {
  const { observed } = booking;
  switch (statusWithoutEvent(booking)) {
    case 'cancelled':
      return { status: 'cancelled', what: 'cancelled', problems: [], event: 'booking.cancelled' };
    case 'failed':
      return {
        status: 'failed',
        what: 'failed',
        problems: paymentProblems(booking),
        event: 'booking.failed',
      };
    case 'declared': {
      if (!observed) return { status: 'declared', what: 'slot released', problems: [] };
      // A confirmed event goes where its payment was found to pay for another booking.
      const event = observed.tentative ? 'booking.hold_released' : 'booking.cancelled';
      return { status: 'declared', what: 'slot released', problems: [], event };
    }
  }
}
