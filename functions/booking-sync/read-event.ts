import {
  type Booking,
  type CalendarState,
  type EventPlace,
  recordedEvent,
} from '../../shared/booking/booking.ts';
import { accountFingerprint } from '../../shared/connection/connection.ts';
import {
  type CalendarAnswer,
  type CalendarEvent,
  type CalendarFailure,
  getEvent,
  listWritableCalendars,
  readCalendar,
} from '../../shared/google/calendar.ts';
import { optionalScopes } from '../../shared/lib/names.ts';
import { eventNotFound, isConfirmed, isWindowOpen, withoutFirstRead } from './doubt.ts';
import { withMayHaveMoved, withNotFound, withoutNotFound } from './other-events.ts';
import type { Outcome } from './outcomes.ts';
import { ask, mayHaveDeleted, recordFailure, type Session, withOpenWrite } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/** Reads of events that should exist, and what it takes to believe that one does not exist any more. */

/** `gone` has the booking without its event, `open` the outcome of a run that could not find out. */
type EventRead =
  | { is: 'found'; calendarId: string; event: CalendarEvent }
  | { is: 'gone'; booking: Booking }
  | { is: 'open'; outcome: Outcome; failure?: CalendarFailure };

/** Calendars that are searched for an event that its owner may have moved, and how many at once. */
const searchedCalendars = 20;
const searchedAtOnce = 5;

export function isMissing({ kind }: CalendarFailure): boolean {
  return kind === 'not_found' || kind === 'gone';
}

/** `place` in the connected account. */
export function placeIn({ access }: Session, calendarId: string, eventId: string): EventPlace {
  return { calendarId, eventId, account: accountFingerprint(access.connection) };
}

/**
 * Reads an event. It is gone where Google shows it as deleted, or where two reads at least a minute apart do not find it
 * while its calendar answers; and only if its owner has not moved it to another calendar.
 */
export async function readEvent(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  place: EventPlace,
): Promise<EventRead> {
  const { calendarId, eventId } = place;
  const found = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, eventId));
  if (found.ok && found.value.status !== 'cancelled') {
    session.seenEvents.add(eventId);
    return { is: 'found', calendarId, event: found.value };
  }
  const open = found.ok ? undefined : await openUnlessGone(deps, session, booking, place, found.failure);
  if (open) return open;
  // An id that Google has never shown as an event can have been moved nowhere.
  const hasExisted = found.ok || recordedEvent(booking) !== undefined;
  const moved = await findMoved(deps, session, hasExisted ? place : undefined);
  if (moved && 'kind' in moved) return openAfter(deps, session, booking, moved);
  if (moved && 'event' in moved) return { is: 'found', ...moved };
  const mayHaveMoved = !moved && !mayHaveDeleted(session, booking, eventId);
  const proof = { isProven: found.ok, mayHaveMoved };
  return { is: 'gone', booking: withoutEvent(booking, place, proof, deps.clock()) };
}

/** What a failed read leaves open. Undefined for an event that does not exist in its calendar any more. */
async function openUnlessGone(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  place: EventPlace,
  failure: CalendarFailure,
): Promise<EventRead | undefined> {
  if (!isMissing(failure)) return openAfter(deps, session, booking, failure);
  // A round that was lost may have read it since the miss on record.
  const known = session.seenEvents.has(place.eventId) ? withoutFirstRead(booking) : booking;
  if (!isConfirmed(known, place.eventId, deps.clock()))
    return { is: 'open', outcome: notFound(deps, session, known, place) };
  const hindered = await calendarFailure(deps, session, place.calendarId);
  return hindered && openAfter(deps, session, booking, hindered);
}

/** Why the calendar of an event does not answer. It may come back, unless its user has chosen another one. */
async function calendarFailure(
  deps: SyncDeps,
  session: Session,
  calendarId: string,
): Promise<CalendarFailure | undefined> {
  const calendar = await ask(deps, session, (token) => readCalendar(deps.calendar, token, calendarId));
  if (calendar.ok) return undefined;
  const isChosen = session.access.connection.calendarId === calendarId;
  return isChosen || saysNothing(calendar.failure) ? calendar.failure : undefined;
}

async function openAfter(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  failure: CalendarFailure,
): Promise<EventRead> {
  return { is: 'open', outcome: await recordFailure(deps, session, booking, failure), failure };
}

/**
 * The booking whose event is gone. `isProven`: Google itself said that it was deleted; otherwise it is deleted where it
 * is found again. `mayHaveMoved`: the user's other calendars could not be searched.
 */
function withoutEvent(
  booking: Booking,
  place: EventPlace,
  { isProven, mayHaveMoved }: { isProven: boolean; mayHaveMoved: boolean },
  now: number,
): Booking {
  const noted = isProven ? withoutNotFound(booking, place) : withNotFound(booking, place, now);
  return mayHaveMoved ? withMayHaveMoved(noted, place) : noted;
}

/** The outcome of a run in which Google did not find an event. */
export function notFound(
  { clock, random }: Pick<SyncDeps, 'clock' | 'random'>,
  session: Session,
  booking: Booking,
  place: EventPlace,
): Outcome {
  const now = clock();
  return eventNotFound(withOpenWrite(session, booking, now), place, { wanted: session.wanted, now, random });
}

/** The calendar of a booking for which no event was found in time: in doubt as long as a late request may create it. */
export function calendarWithoutEvent(booking: Booking, now: number): CalendarState {
  const { calendar } = booking;
  if (calendar.kind === 'in_doubt' && isWindowOpen(booking, now))
    return { kind: 'in_doubt', until: calendar.until };
  return { kind: 'absent' };
}

type Moved = { calendarId: string; event: CalendarEvent } | { is: 'nowhere' } | CalendarFailure | undefined;

/**
 * The event in another calendar of its user; `nowhere`, or undefined where the calendars cannot be listed. Whether the
 * source of a move answers 404 or a deleted event is not documented: both lead here.
 */
async function findMoved(deps: SyncDeps, session: Session, place: EventPlace | undefined): Promise<Moved> {
  if (!place) return { is: 'nowhere' };
  const { calendarId: source, eventId } = place;
  const { scopes } = session.access.connection;
  if (!scopes.includes(optionalScopes.calendarList)) return undefined;
  const listed = await ask(deps, session, (token) => listWritableCalendars(deps.calendar, token));
  if (!listed.ok) return isRefusalOfAll(listed.failure) ? listed.failure : undefined;
  const others = listed.value.filter(
    ({ id, primary }) => id !== source && !(primary && source === 'primary'),
  );
  const searched = others.slice(0, searchedCalendars).map(({ id }) => id);
  let isComplete = others.length <= searchedCalendars;
  for (let first = 0; first < searched.length; first += searchedAtOnce) {
    const answers = await Promise.all(
      searched.slice(first, first + searchedAtOnce).map(async (calendarId) => ({
        calendarId,
        found: await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, eventId)),
      })),
    );
    const results = answers.map(resultOf);
    const decisive = results.find((result) => result && !('is' in result));
    if (decisive) return decisive;
    isComplete &&= results.every((result) => result !== undefined);
  }
  return isComplete ? { is: 'nowhere' } : undefined;
}

/** Whether a failure may pass, or is of the account or the project: any other call could have failed the same way. */
function isRefusalOfAll(failure: CalendarFailure): boolean {
  return mayPass(failure) || failure.kind === 'operator' || failure.kind === 'account_refused';
}

/** Reasons for which Google refuses one calendar, and not the account. */
const ofOneCalendar = new Set(['forbidden', 'forbiddenForNonOrganizer']);

/** Whether the failed call to a calendar says nothing about that calendar. */
function saysNothing(failure: CalendarFailure): boolean {
  return (
    isRefusalOfAll(failure) && !(failure.kind === 'account_refused' && ofOneCalendar.has(failure.reason))
  );
}

/** What the answer of one calendar says; undefined where that calendar could not be searched. */
function resultOf({
  calendarId,
  found,
}: {
  calendarId: string;
  found: CalendarAnswer<CalendarEvent>;
}): Moved {
  if (found.ok && found.value.status !== 'cancelled') return { calendarId, event: found.value };
  if (found.ok || isMissing(found.failure)) return { is: 'nowhere' };
  return saysNothing(found.failure) ? found.failure : undefined;
}

export function mayPass({ kind }: CalendarFailure): boolean {
  return (
    kind === 'transient' || kind === 'rate_limited' || kind === 'quota_exceeded' || kind === 'unauthorized'
  );
}
