import { appendTimeline, type Booking, type EventPlace } from '../../shared/booking/booking.ts';
import { formerAccountProblems, isInFormerAccount } from '../../shared/booking/former-account.ts';
import { accountFingerprint, type GrantedConnection } from '../../shared/connection/connection.ts';
import type { Outcome } from './decide.ts';
import { withGivenUp, withoutDoubt } from './doubt.ts';

/** Bookings whose event is in a Google account that the user connected before. */

const keptEvents = 10;

/** `booking` once its event is left in the former account, without what concerns only that event. */
export function leaveInFormerAccount(booking: Booking, now: number): Booking {
  const { observed, formerAccountEvents = [] } = booking;
  const { blocked: _, ...rest } = withoutDoubt(booking);
  if (!observed || observed.deletedByUser) return rest;
  const { calendarId, eventId, account } = observed;
  const event: EventPlace = { calendarId, eventId, ...(account === undefined ? {} : { account }) };
  const left: Booking = { ...rest, formerAccountEvents: [...formerAccountEvents, event].slice(-keptEvents) };
  const [problem] = formerAccountProblems(left);
  return {
    ...left,
    timeline: appendTimeline(left.timeline, now, 'event left in former account', problem?.code),
  };
}

/** The events left in a former account that is connected again. */
export function leftWithinReach(
  { formerAccountEvents = [] }: Booking,
  connection: GrantedConnection | undefined,
): EventPlace[] {
  return connection ? formerAccountEvents.filter((event) => !isInFormerAccount(event, connection)) : [];
}

/** `booking` after an event that was left is deleted. */
export function withoutLeftEvent(booking: Booking, { calendarId, eventId, account }: EventPlace): Booking {
  const { formerAccountEvents = [], ...rest } = booking;
  const others = formerAccountEvents.filter(
    (event) => event.eventId !== eventId || event.calendarId !== calendarId || event.account !== account,
  );
  return others.length > 0 ? { ...rest, formerAccountEvents: others } : rest;
}

/** A doubt from another account says nothing about the connected one. Its event is deleted if that account comes back. */
export function withoutFormerDoubt(booking: Booking, connection: GrantedConnection, now: number): Booking {
  const { doubt } = booking;
  if (!doubt || !isInFormerAccount(doubt, connection)) return booking;
  return withGivenUp(withoutDoubt(booking), doubt, { isProven: false, now });
}

/** The outcome of a run, with the account for each event that the run has recorded. */
export function withAccount(outcome: Outcome, connection: GrantedConnection): Outcome {
  const { booking } = outcome;
  const { observed, doubt, givenUpEvents } = booking;
  const account = accountFingerprint(connection);
  const isReached = observed && !isInFormerAccount(observed, connection);
  return {
    ...outcome,
    booking: {
      ...booking,
      ...(isReached ? { observed: { ...observed, account } } : {}),
      ...(doubt ? { doubt: { account, ...doubt } } : {}),
      ...(givenUpEvents ? { givenUpEvents: givenUpEvents.map((event) => ({ account, ...event })) } : {}),
    },
  };
}
