import type { Booking, EventPlace } from '../../shared/booking/booking.ts';
import {
  type CalendarEvent,
  type CalendarFailure,
  getEvent,
  listWritableCalendars,
  readCalendar,
} from '../../shared/google/calendar.ts';
import { optionalScopes } from '../../shared/lib/names.ts';
import type { Presence } from './apply-payment.ts';
import { deleteOptions, isOurs } from './calendar-event.ts';
import { concede } from './concede.ts';
import { type Outcome, showsWhatIsDesired } from './decide.ts';
import { givenUpToRead, giveUpEvent, inDoubt, isConfirmed, toBeConfirmed } from './doubt.ts';
import { mayHaveDeleted, requestDeletion } from './own-deletions.ts';
import { ask, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/** Reads of events that are known to exist, and what it takes to believe that one does not exist any more. */

/** `gone` has the booking without its event, `open` the outcome of a run that could not find out. */
export type KnownEvent =
  | { is: 'found'; calendarId: string; event: CalendarEvent }
  | { is: 'gone'; booking: Booking }
  | { is: 'open'; outcome: Outcome };

/** Calendars that are searched for an event that its owner may have moved, and how many at once. */
const searchedCalendars = 20;
const searchedAtOnce = 5;

export function isMissing({ kind }: CalendarFailure): boolean {
  return kind === 'not_found' || kind === 'gone';
}

/** The event of a booking that Google has answered or said to exist, if any. */
export function placeOf({ observed, doubt }: Booking): EventPlace | undefined {
  const { calendarId, eventId } = observed ?? doubt ?? {};
  return calendarId === undefined || eventId === undefined ? undefined : { calendarId, eventId };
}

/**
 * Reads a known event. It is gone where Google shows it as deleted, or where two reads at least a minute apart do not
 * find it while its calendar answers; and only if its owner has not moved it to another calendar.
 */
export async function readKnownEvent(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  { place, presence }: { place: EventPlace; presence: Presence },
): Promise<KnownEvent> {
  const { calendarId, eventId } = place;
  const found = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, eventId));
  if (found.ok && found.value.status !== 'cancelled') return { is: 'found', calendarId, event: found.value };
  const open = async (failure: CalendarFailure): Promise<KnownEvent> => ({
    is: 'open',
    outcome: await concede(deps, session, booking, failure),
  });
  if (!found.ok) {
    if (!isMissing(found.failure)) return open(found.failure);
    if (!isConfirmed(booking, eventId, deps.clock()))
      return { is: 'open', outcome: notFound(deps, booking, { place, presence }) };
    const calendar = await ask(deps, session, (token) => readCalendar(deps.calendar, token, calendarId));
    // A calendar that does not answer may come back, unless its user has chosen another one.
    const isAbandoned =
      !calendar.ok && !mayPass(calendar.failure) && session.access.connection.calendarId !== calendarId;
    if (!calendar.ok && !isAbandoned) return open(calendar.failure);
  }
  // An id that Google has never shown as an event can have been moved nowhere.
  const hasExisted = booking.observed !== undefined || found.ok;
  const moved = hasExisted ? await findMoved(deps, session, place) : ({ is: 'nowhere' } as const);
  if (moved && 'kind' in moved) return open(moved);
  if (moved && 'event' in moved) return { is: 'found', ...moved };
  const mayHaveMoved = moved === undefined && !mayHaveDeleted(session, booking, eventId);
  const proof = { isProven: found.ok, mayHaveMoved };
  return { is: 'gone', booking: giveUpEvent(booking, place, proof, deps.clock()) };
}

/** The outcome of a run in which Google did not find a known event. */
export function notFound(
  { clock, random }: Pick<SyncDeps, 'clock' | 'random'>,
  booking: Booking,
  { place, presence }: { place: EventPlace; presence: Presence },
): Outcome {
  const isAtRest =
    booking.status === 'scheduled' && presence !== 'absent' && showsWhatIsDesired(booking, presence);
  return inDoubt(booking, place, { now: clock(), random, isAtRest });
}

/**
 * The outcome of a re-check that did not find what an attempt may have left, to be confirmed a minute later; undefined
 * where this run has confirmed it, or is no re-check.
 */
export function confirmedLater(
  { clock, random }: Pick<SyncDeps, 'clock' | 'random'>,
  { isSettling }: Session,
  booking: Booking,
  { outcome, place }: { outcome: Outcome; place: EventPlace },
): Outcome | undefined {
  if (!isSettling || isConfirmed(booking, place.eventId, clock())) return undefined;
  return { ...outcome, booking: toBeConfirmed(outcome.booking, booking, place, { now: clock(), random }) };
}

/**
 * The event in another calendar of its user; `nowhere`, or undefined where the calendars cannot be listed. Whether the
 * source of a move answers 404 or a deleted event is not documented: both lead here.
 */
async function findMoved(
  deps: SyncDeps,
  session: Session,
  { calendarId: source, eventId }: EventPlace,
): Promise<{ calendarId: string; event: CalendarEvent } | { is: 'nowhere' } | CalendarFailure | undefined> {
  const { scopes } = session.access.connection;
  if (!scopes.includes(optionalScopes.calendarList)) return undefined;
  const listed = await ask(deps, session, (token) => listWritableCalendars(deps.calendar, token));
  if (!listed.ok) return mayPass(listed.failure) ? listed.failure : undefined;
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
    for (const { calendarId, found } of answers) {
      if (found.ok && found.value.status !== 'cancelled') return { calendarId, event: found.value };
      if (found.ok || isMissing(found.failure)) continue;
      const { kind } = found.failure;
      if (mayPass(found.failure) || kind === 'operator') return found.failure;
      isComplete = false;
    }
  }
  return isComplete ? { is: 'nowhere' } : undefined;
}

export function mayPass({ kind }: CalendarFailure): boolean {
  return (
    kind === 'transient' || kind === 'rate_limited' || kind === 'quota_exceeded' || kind === 'unauthorized'
  );
}

/** Deletes events that were given up and exist after all. The outcome of the run where Google does not let us. */
export async function removeGivenUp(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
): Promise<Outcome | undefined> {
  const outcomes = await Promise.all(
    givenUpToRead(booking, session.access.connection, deps.clock()).map(async ({ calendarId, eventId }) => {
      const found = await ask(deps, session, (token) => getEvent(deps.calendar, token, calendarId, eventId));
      if (!found.ok)
        return mayPass(found.failure) ? concede(deps, session, booking, found.failure) : undefined;
      if (!isOurs(found.value, booking)) return undefined;
      const place = { calendarId, eventId };
      const answer = await requestDeletion(deps, session, place, deleteOptions(booking, found.value));
      return answer.ok ? undefined : concede(deps, session, booking, answer.failure);
    }),
  );
  return outcomes.find((outcome) => outcome !== undefined);
}
