import { accountFingerprint, type GrantedConnection } from '../connection/connection.ts';
import type { Problem } from '../lib/app-error.ts';
import { type Booking, recordedEvent } from './booking.ts';

/** Events in calendars of a Google account that the user connected before, which the connected account cannot reach. */

/** A calendar and, where it is known, the account whose access it was used with. */
type Place = { calendarId: string; account?: string };

/**
 * Whether a calendar was used with another Google account than the connected one. The alias `primary` is another
 * calendar for each account; every other id names one calendar, so the chosen one is within reach.
 */
export function isInFormerAccount(
  place: Place | undefined,
  connection: Pick<GrantedConnection, 'userId' | 'googleSub' | 'calendarId'>,
): boolean {
  if (place?.account === undefined || place.account === accountFingerprint(connection)) return false;
  return place.calendarId === 'primary' || place.calendarId !== connection.calendarId;
}

/** Whether the event of a booking is in a former account: the calendar of the connected one says nothing about it. */
export function isAway(booking: Booking, connection: GrantedConnection | undefined): boolean {
  return connection !== undefined && isInFormerAccount(recordedEvent(booking), connection);
}

const inFormerAccount: Problem = {
  code: 'event_in_former_account',
  message:
    'An earlier event of this booking was left in the calendar of the Google account that the user connected before, which cannot be reached now. Delete it there by hand. If the user connects that account again, it is deleted automatically.',
};

/** The problem of a booking with events that only a former account can delete. */
export function formerAccountProblems({ otherEvents = [] }: Booking): Problem[] {
  return otherEvents.some(({ why }) => why === 'former_account') ? [inFormerAccount] : [];
}
