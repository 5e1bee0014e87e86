import type { calendar_v3 } from '@googleapis/calendar';
import { applyPatch, checkEventId, checkedEvent } from './event-body.ts';
import { presentTime } from './event-times.ts';
import { apiError, documented, reported } from './google-errors.ts';
import {
  type Account,
  type Calendar,
  eventKey,
  type GoogleState,
  randomText,
  type StoredEvent,
} from './state.ts';

type Event = calendar_v3.Schema$Event;

/** Calendar and account of an access to an event. */
export type Place = { state: GoogleState; calendar: Calendar; account: Account };

export function insertEvent(
  place: Place,
  id: string | undefined,
  iCalUID: string | undefined,
  body: Event,
): StoredEvent {
  const { state, calendar, account } = place;
  if (id !== undefined) checkEventId(id);
  const eventId =
    id ??
    randomText(state, 26)
      .toLowerCase()
      .replace(/[^a-v0-9]/g, '0');
  // The id of a deleted event stays reserved permanently.
  if (state.events.get(eventKey(calendar.id, eventId))) throw apiError(documented.duplicate);
  const event = checkedEvent(applyPatch<Event>({}, body), calendar.timeZone, state.switches);
  const resource = {
    ...event,
    id: eventId,
    status: event.status ?? 'confirmed',
    created: timestamp(state),
    creator: { email: account.email, self: true },
    organizer: organizerOf(calendar, account),
    iCalUID: iCalUID ?? `${eventId}@google.com`,
    sequence: event.sequence ?? 0,
    eventType: 'default',
    ...requestedConference(event, undefined),
  };
  return save(place, resource);
}

/** The event, even if cancelled. Throws 404 if it is missing or only its id remains. */
export function readEvent({ state, calendar }: Place, eventId: string): StoredEvent {
  const event = state.events.get(eventKey(calendar.id, eventId));
  if (!event || event.purged) throw apiError(documented.notFound);
  return finishConference(state, event);
}

export function patchEvent(
  place: Place,
  eventId: string,
  ifMatch: string | undefined,
  patch: Event,
): StoredEvent {
  const stored = readEvent(place, eventId);
  checkIfMatch(stored, ifMatch);
  return replace(place, stored, applyPatch(stored.resource, patch));
}

/** An update removes every field that the body omits. */
export function updateEvent(
  place: Place,
  eventId: string,
  ifMatch: string | undefined,
  body: Event,
): StoredEvent {
  const stored = readEvent(place, eventId);
  checkIfMatch(stored, ifMatch);
  const { id, created, creator, organizer, iCalUID, sequence, eventType } = stored.resource;
  const unchanged = { id, created, creator, organizer, iCalUID, sequence, eventType };
  return replace(
    place,
    stored,
    applyPatch({ status: 'confirmed' }, { ...body, ...unchanged }) as StoredEvent['resource'],
  );
}

export function deleteEvent(place: Place, eventId: string, ifMatch: string | undefined): void {
  const stored = readEvent(place, eventId);
  if (stored.resource.status === 'cancelled') throw apiError(documented.deleted);
  checkIfMatch(stored, ifMatch);
  save(place, { ...stored.resource, status: 'cancelled' });
}

/** Moves an event to another calendar, which becomes its organizer. It keeps its id and its guests. */
export function moveEvent(from: Place, eventId: string, to: Calendar): StoredEvent {
  const { state, account } = from;
  const stored = readEvent(from, eventId);
  if (stored.resource.status === 'cancelled') throw apiError(documented.deleted);
  const taken = state.events.get(eventKey(to.id, eventId));
  if (to.id === from.calendar.id || (taken && taken.resource.status !== 'cancelled'))
    throw apiError(documented.duplicate);
  const moved = save({ ...from, calendar: to }, { ...stored.resource, organizer: organizerOf(to, account) });
  save(from, { ...stored.resource, status: 'cancelled' });
  if (state.switches.movedEvent === 'not_found') purgeEvent(state, from.calendar, eventId);
  return moved;
}

/** Only the id of the event remains, and stays reserved. */
export function purgeEvent(state: GoogleState, { id: calendarId }: Calendar, eventId: string): void {
  const stored = state.events.get(eventKey(calendarId, eventId));
  if (!stored) return;
  const resource = { id: eventId, status: stored.resource.status };
  state.events.set(eventKey(calendarId, eventId), { ...stored, resource, purged: true });
}

function organizerOf(calendar: Calendar, { email }: Account): NonNullable<Event['organizer']> {
  return calendar.primary
    ? { email, self: true }
    : { email: calendar.id, displayName: calendar.summary, self: true };
}

export const etagOf = ({ revision }: StoredEvent): string => `"${revision}"`;

/** The page of the event under the simulator's base URL. */
export function eventPath({ calendarId, resource }: StoredEvent): string {
  return `/calendar/event?eid=${Buffer.from(`${resource.id} ${calendarId}`).toString('base64url')}`;
}

/** The resource as Google's typings describe it. */
export function presentEvent(calendar: Calendar, event: StoredEvent, baseUrl: string): Event {
  const { start, end, ...rest } = event.resource;
  return {
    kind: 'calendar#event',
    etag: etagOf(event),
    ...rest,
    htmlLink: `${baseUrl}${eventPath(event)}`,
    ...(start ? { start: presentTime(start, calendar.timeZone) } : {}),
    ...(end ? { end: presentTime(end, calendar.timeZone) } : {}),
  };
}

function checkIfMatch(event: StoredEvent, ifMatch: string | undefined): void {
  if (ifMatch && ifMatch !== '*' && ifMatch !== etagOf(event)) throw apiError(documented.conditionNotMet);
}

function replace(place: Place, stored: StoredEvent, wanted: StoredEvent['resource']): StoredEvent {
  const { state, calendar } = place;
  const before = stored.resource;
  const revived = before.status === 'cancelled' && wanted.status !== 'cancelled';
  if (revived && state.switches.reviveCancelled === 'forbidden') throw apiError(reported.forbidden);
  const checked = checkedEvent(wanted, calendar.timeZone, state.switches);
  const resource = { ...checked, id: before.id, status: wanted.status ?? 'confirmed' };
  const moved = JSON.stringify([before.start, before.end]) !== JSON.stringify([resource.start, resource.end]);
  const sequence = Math.max(resource.sequence ?? 0, (before.sequence ?? 0) + (moved ? 1 : 0));
  const changed = { ...resource, sequence, ...requestedConference(resource, before) };
  // The link goes with its conference.
  if (!changed.conferenceData) delete changed.hangoutLink;
  return save(place, changed);
}

function save({ state, calendar }: Place, resource: StoredEvent['resource']): StoredEvent {
  const event = {
    calendarId: calendar.id,
    revision: nextRevision(state),
    resource: { ...resource, updated: timestamp(state) },
  };
  state.events.set(eventKey(calendar.id, resource.id), event);
  return event;
}

/** A requested conference is pending at first; the same request id requests nothing new. */
function requestedConference(event: Event, before: Event | undefined): Pick<Event, 'conferenceData'> {
  const request = event.conferenceData?.createRequest;
  if (!request) return event.conferenceData ? { conferenceData: event.conferenceData } : {};
  const earlier = before?.conferenceData;
  if (earlier?.createRequest?.requestId === request.requestId && earlier) return { conferenceData: earlier };
  return { conferenceData: { createRequest: { ...request, status: { statusCode: 'pending' } } } };
}

/** Resolves a pending conference as the switch says, at the first read after the request. */
function finishConference(state: GoogleState, event: StoredEvent): StoredEvent {
  const { conferenceData, id } = event.resource;
  const request = conferenceData?.createRequest;
  const outcome = state.switches.conference;
  if (request?.status?.statusCode !== 'pending' || outcome === 'pending') return event;
  const createRequest = { ...request, status: { statusCode: outcome } };
  const code = randomText(state, 10)
    .toLowerCase()
    .replace(/[^a-z]/g, 'x');
  const conferenceId = `${code.slice(0, 3)}-${code.slice(3, 7)}-${code.slice(7)}`;
  const uri = `https://meet.google.com/${conferenceId}`;
  const finished =
    outcome === 'failure'
      ? { conferenceData: { createRequest } }
      : {
          hangoutLink: uri,
          conferenceData: {
            createRequest,
            conferenceId,
            conferenceSolution: { key: { type: 'hangoutsMeet' }, name: 'Google Meet' },
            entryPoints: [{ entryPointType: 'video', uri, label: uri.replace('https://', '') }],
          },
        };
  const resource = { ...event.resource, ...finished };
  // Not an edit, but a change: the ETag changes as for any other.
  const next = { ...event, revision: nextRevision(state), resource };
  state.events.set(eventKey(event.calendarId, id), next);
  return next;
}

/** Google's ETags look like twice the modification time in milliseconds; ours also never repeat. */
function nextRevision(state: GoogleState): number {
  state.revision = Math.max(state.revision + 1, state.now() * 2);
  return state.revision;
}

const timestamp = (state: GoogleState): string => new Date(state.now()).toISOString();
