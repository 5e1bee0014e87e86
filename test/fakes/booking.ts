import {
  type Appointment,
  type Booking,
  type CalendarState,
  type EventSnapshot,
  newBooking,
} from '../../shared/booking/booking.ts';

/** Epoch second of the tests of pure functions. */
export const now = 1_790_000_000;
export const startsAt = now + 86_400;
export const endsAt = now + 90_000;
/** Tomorrow, for an hour. */
export const appointment: Appointment = {
  summary: 'First meeting',
  start: { dateTime: '2026-12-01T10:00:00+01:00' },
  end: { dateTime: '2026-12-01T11:00:00+01:00' },
  startsAt,
  endsAt,
};
export const facts = { confirmedAt: '2026-09-21T14:13:20Z', amount: 9000 };

export const snapshot: EventSnapshot = {
  calendarId: 'primary',
  eventId: 'e',
  etag: '"1"',
  htmlLink: '',
  revision: 1,
};
export const present = (event = snapshot): CalendarState => ({ kind: 'present', event });

/** Declared by the backend and paid, for tomorrow. */
export const paidBooking = (change: Partial<Booking> = {}): Booking =>
  newBooking(
    {
      bookingId: 'booking-1',
      userId: 'ada',
      appointment,
      payments: { pi_1: facts },
      version: 1,
      ...change,
    },
    '2026-09-21T14:13:20Z',
  );
