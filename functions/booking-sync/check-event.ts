import { type Booking, knownEvent } from '../../shared/booking/booking.ts';
import { isInFormerAccount } from '../../shared/booking/former-account.ts';
import { isGivenUp } from '../../shared/booking/status.ts';
import { getEvent } from '../../shared/google/calendar.ts';
import { isEventOf, isOurs, isRight } from './calendar-event.ts';
import { keepOrYield } from './conflicts.ts';
import { hasUnknownWrite } from './decide.ts';
import { isWindowOpen } from './doubt.ts';
import { eventFound, snapshotOf } from './event-snapshot.ts';
import { leftWithinReach } from './other-events.ts';
import { checkLater, deletedByOwner, eventSeen, type Outcome, withoutCheck } from './outcomes.ts';
import { isMissing, placeIn, readEvent } from './read-event.ts';
import { findLateEvent, nothingFound, repair, unknownPlace } from './repair-event.ts';
import { ask, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/** The action `check`: the event is read without being changed. */

/** Reads the event without changing it. What its owner has changed in it stays. */
export async function check(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
  if (leftWithinReach(booking, session.access.connection).length > 0)
    return checkLater(booking, deps.clock());
  const event = knownEvent(booking);
  if (event && isInFormerAccount(event, session.access.connection)) return { booking };
  if (event) return checkEvent(deps, session, booking);
  if (!hasUnknownWrite(booking.calendar)) return { booking: withoutCheck(booking) };
  return isGivenUp(booking, session.wanted)
    ? recheckGivenUp(deps, session, booking)
    : findLateEvent(deps, session, booking);
}

async function checkEvent(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
  const known = knownEvent(booking);
  // A slot that is only held is read when it is paid for.
  if (!known || (known.tentative && booking.calendar.kind === 'present'))
    return { booking: withoutCheck(booking) };
  const now = deps.clock();
  const read = await readEvent(deps, session, booking, placeIn(session, known.calendarId, known.eventId));
  // A check that failed leaves the status as it is.
  if (read.is === 'open') return read.failure ? checkLater(booking, now) : read.outcome;
  if (read.is === 'gone') return deletedByOwner(read.booking);
  if (!isEventOf(read.event, booking)) return deletedByOwner(booking);
  if (isGivenUp(booking, session.wanted) && isRight(read.event, booking, session.wanted))
    return eventFound(session, booking, read, { now, mayBeUndone: isWindowOpen(booking, now) });
  return { booking: eventSeen(booking, snapshotOf(session, booking, read, known), now) };
}

/** A booking that was given up, whose event a request without known outcome may have created: adopted where it exists. */
async function recheckGivenUp(deps: SyncDeps, session: Session, booking: Booking): Promise<Outcome> {
  const place = unknownPlace(session, booking);
  const { calendarId, eventId } = place;
  const found = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, eventId));
  if (found.ok && isOurs(found.value, booking)) {
    const outcome = await repair(deps, session, booking, { calendarId, event: found.value });
    return keepOrYield(deps, session, outcome);
  }
  if (!found.ok && !isMissing(found.failure)) return checkLater(booking, deps.clock());
  const { nextRun: _, ...rest } = booking;
  if (found.ok) {
    const calendar = { kind: 'absent' } as const;
    return { booking: { ...rest, calendar, eventNumber: booking.eventNumber + 1 } };
  }
  return { booking: { ...rest, ...(await nothingFound(deps, session, booking, place)) } };
}
