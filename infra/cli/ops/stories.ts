/** The full story of a booking, a payment and a user, as an operator reads it. */
import { type Booking, recordedEvent } from '../../../shared/booking/booking.ts';
import { problemsOf } from '../../../shared/booking/booking-payments.ts';
import { type PaymentFacts, refundedAmount, standingOf } from '../../../shared/booking/payment.ts';
import type { Connection } from '../../../shared/connection/connection.ts';
import { toIso } from '../../../shared/lib/clock.ts';
import { omitUndefined } from '../../../shared/lib/omit-undefined.ts';
import { fields, list, type Section } from './print.ts';
import type { Records } from './records.ts';

/** Why a booking is tried next, in words. */
const reasons: Record<NonNullable<Booking['nextRun']>['why'], string> = {
  requested: 'something else is desired than before',
  retry: 'an attempt failed for a reason that may pass',
  refused: 'Google refuses the account or calendar; at once when the user connects or chooses a calendar',
  no_connection: 'the user has no working connection; at once when there is one',
  paused: "Google has limited the rate of calls to this user's calendar",
  in_doubt: 'the calendar is read again, to end a doubt',
  check: 'the event is read for its Meet link, or a day before the appointment',
};

/** `command`: what a person does or runs; `does`: what comes of it. `change`: what the console can do itself. */
export type PossibleAction = { command: string; does: string; change?: 'retry' | 'restore' };

/** What can be done about a booking. */
export function actionsOf(booking: Booking): PossibleAction[] {
  const { bookingId, userId, status, appointment, paymentTexts } = booking;
  const retry = (does: string): PossibleAction => ({
    command: `ops retry ${bookingId}`,
    does,
    change: 'retry',
  });
  if (!appointment) {
    const declare = { command: `PUT /bookings/${bookingId}`, does: 'LeadsCalendar declares what is missing' };
    if (!paymentTexts) return [declare];
    const does = 'reads again what its payment says';
    return [
      userId === undefined ? { command: `ops retry ${bookingId} --user <id>`, does } : retry(does),
      declare,
    ];
  }
  switch (status) {
    case 'failed':
    case 'conflict':
      return [retry('tries it again at once')];
    case 'missed':
    case 'deleted_by_user':
      return [{ command: `ops restore ${bookingId}`, does: 'creates its event again', change: 'restore' }];
    case 'waiting_for_connection':
      return [
        { command: `ops user ${userId}`, does: 'says why; the user connects Google again, which tries it' },
      ];
    case 'pending':
      return [retry('tries it now instead of at its next attempt')];
    default:
      return [];
  }
}

/** The full story of a booking. */
export function bookingStory(booking: Booking, connection: Connection | undefined): Section[] {
  const {
    bookingId,
    userId,
    status,
    appointment,
    paymentTexts,
    revision,
    nextRun,
    calendar,
    payments,
    timeline,
  } = booking;
  const event = recordedEvent(booking);
  const said = connection?.status === 'reauthorization_required' ? connection.reason : undefined;
  return [
    fields(`Booking ${bookingId}`, {
      status,
      user: userId
        ? `${userId}, connection ${connection?.status ?? 'none'}${said ? ` (${said})` : ''}`
        : 'unknown',
      'next attempt': nextRun && `${toIso(nextRun.at)}: ${reasons[nextRun.why]}`,
    }),
    appointment
      ? fields('Desired', {
          summary: appointment.summary,
          start: timeOf(appointment.start),
          end: timeOf(appointment.end),
          location: appointment.location,
          revision: String(revision),
          hold: booking.hold ? 'yes' : undefined,
          cancelled: booking.cancelledAt,
        })
      : { heading: 'Desired', lines: ['No usable appointment.'] },
    ...(paymentTexts ? [fields('What its payment says', paymentTexts)] : []),
    fields('In the calendar, as last read', {
      known: calendar.kind.replaceAll('_', ' '),
      calendar: event?.calendarId,
      event: event?.eventId,
      link: event?.htmlLink,
      revision: event && String(event.revision),
    }),
    ...list(
      'Problems',
      problemsOf(booking).map(({ code, message }) => `${code}: ${message}`),
    ),
    ...list(
      'Payments',
      Object.entries(payments).map(([id, facts]) => `${id}: ${paymentLine(facts)}`),
    ),
    ...list(
      'Orphaned payments: they pay for nothing here',
      (booking.orphaned ?? []).map(({ paymentId, reason }) => `${paymentId}: ${reason}`),
    ),
    ...list(
      'Timeline',
      timeline.map(
        ({ at, what, code, by }) => `${at}  ${what}${code ? ` (${code})` : ''}${by ? `, by ${by}` : ''}`,
      ),
    ),
    ...list(
      'What you can do',
      actionsOf(booking).map(({ command, does }) => `${command}: ${does}`),
    ),
  ];
}

function timeOf(time: NonNullable<Booking['appointment']>['start']): string {
  if ('date' in time) return time.date;
  return time.timeZone ? `${time.dateTime} ${time.timeZone}` : time.dateTime;
}

function paymentLine(facts: PaymentFacts): string {
  const refunded = refundedAmount(facts);
  const amount = facts.amount === undefined ? '' : `, ${facts.amount} of the smallest unit`;
  const back = refunded > 0 ? `, ${refunded} refunded` : '';
  return `${standingOf(facts).replace('_', ' ')}${facts.confirmedAt ? ` since ${facts.confirmedAt}` : ''}${amount}${back}`;
}

export function paymentStory(
  paymentId: string,
  pointer: Awaited<ReturnType<Records['pointer']>>,
  booking: Booking | undefined,
): Section[] {
  if (!pointer && !booking) {
    return [
      {
        heading: `Payment ${paymentId}`,
        lines: ['No record of it. Was its webhook accepted? See it at the provider, and: ops webhooks'],
      },
    ];
  }
  const facts = booking?.payments[paymentId] ?? pointer?.facts ?? {};
  return [
    fields(`Payment ${paymentId}`, {
      standing: paymentLine(facts),
      ...(pointer?.bookings
        ? { bookings: pointer.bookings.bookingIds.join(', ') }
        : { booking: booking?.bookingId ?? pointer?.bookingId ?? 'none references it yet' }),
      user: booking?.userId ?? pointer?.userId ?? pointer?.bookings?.userId,
      'kept until': pointer?.expiresAt === undefined ? undefined : toIso(pointer.expiresAt),
    }),
  ];
}

export function userStory(
  userId: string,
  connection: Connection | undefined,
  accountIds: string[],
  bookings: Booking[],
): Section[] {
  return [
    connection
      ? fields(`User ${userId}`, connectionFields(connection))
      : { heading: `User ${userId}`, lines: ['Has never connected a Google calendar.'] },
    ...list('Payment accounts: connected accounts that may pay for the bookings', accountIds),
    ...list(
      'Bookings, from yesterday on',
      bookings.map(
        ({ bookingId, status, appointment }) =>
          `${appointment ? toIso(appointment.startsAt) : '?'}  ${bookingId}  ${status}`,
      ),
    ),
    ...(connection?.status === 'active'
      ? []
      : list('What you can do', ['Ask the user to connect: docs/integrate.md'])),
  ];
}

/** A connection without its tokens. */
export function connectionFields(connection: Connection): Record<string, string> {
  const { status, refreshAt, refreshFailures } = connection;
  const granted = connection.status === 'disconnected' ? undefined : connection;
  return omitUndefined({
    connection: status,
    reason: granted?.reason,
    account: granted?.email,
    calendar: granted?.calendarId,
    scopes: granted?.scopes.join(' '),
    connected: granted && toIso(granted.connectedAt),
    'last used': granted && toIso(granted.lastUsedAt),
    'next refresh': refreshAt === undefined ? undefined : toIso(refreshAt),
    'failed refreshes': refreshFailures > 0 ? String(refreshFailures) : undefined,
  });
}
