import type { calendar_v3 } from '@googleapis/calendar';
import { type Place, presentEvent } from './event-store.ts';
import { instantOf } from './event-times.ts';
import { type ApiError, apiError, reported } from './google-errors.ts';
import { accessRole, eventsOf, type StoredEvent } from './state.ts';

const fullSyncRequired: ApiError = {
  status: 410,
  domain: 'calendar',
  reason: 'fullSyncRequired',
  message: 'Sync token is no longer valid, a full sync is required.',
};

/** `events.list`: filters, order, pages, and a sync token at the end. Recurring events are not expanded. */
export function listEvents(place: Place, query: URLSearchParams, baseUrl: string): calendar_v3.Schema$Events {
  const { state, calendar, account } = place;
  const syncedTo = readSyncToken(query.get('syncToken'));
  const showDeleted = query.get('showDeleted') === 'true' || syncedTo > 0;
  const matching = eventsOf(state, calendar.id)
    .filter((event) => !event.purged && event.revision > syncedTo)
    .filter((event) => showDeleted || event.resource.status !== 'cancelled')
    .filter((event) => isInRange(event, calendar.timeZone, query))
    .filter((event) => hasProperties(event, query))
    .filter(({ resource }) => !query.has('iCalUID') || resource.iCalUID === query.get('iCalUID'))
    .filter(({ resource }) => mentions(resource, query.get('q')));
  sort(matching, calendar.timeZone, query);

  const size = readWhole(query.get('maxResults') ?? '250', 'maxResults', 1, 2500);
  const from = readWhole(query.get('pageToken') ?? '0', 'pageToken', 0, Number.MAX_SAFE_INTEGER);
  const next = from + size < matching.length ? { nextPageToken: `${from + size}` } : {};
  const latest = state.revision;
  return {
    kind: 'calendar#events',
    etag: `"${latest}"`,
    summary: calendar.summary,
    updated: new Date(state.now()).toISOString(),
    timeZone: calendar.timeZone,
    accessRole: accessRole(calendar, account.sub) ?? null,
    defaultReminders: calendar.primary ? [{ method: 'popup', minutes: 30 }] : [],
    items: matching.slice(from, from + size).map((event) => presentEvent(calendar, event, baseUrl)),
    ...('nextPageToken' in next ? next : { nextSyncToken: `s${latest}` }),
  };
}

function readSyncToken(token: string | null): number {
  if (token === null) return 0;
  const revision = /^s(\d+)$/.exec(token)?.[1];
  if (!revision) throw apiError(fullSyncRequired);
  return Number(revision);
}

function isInRange({ resource }: StoredEvent, timeZone: string, query: URLSearchParams): boolean {
  const [timeMin, timeMax] = [readInstant(query, 'timeMin'), readInstant(query, 'timeMax')];
  if (!resource.start || !resource.end) return true;
  return (
    (timeMin === undefined || instantOf(resource.end, timeZone) > timeMin) &&
    (timeMax === undefined || instantOf(resource.start, timeZone) < timeMax)
  );
}

/**
 * Google's guide calls several constraints on private properties alternatives, its reference says that all must
 * match. Here all must match; clients should send only one.
 */
function hasProperties({ resource }: StoredEvent, query: URLSearchParams): boolean {
  const matches = (parameter: string, properties: Record<string, string> | undefined) =>
    query.getAll(parameter).every((constraint) => {
      const at = constraint.indexOf('=');
      if (at < 1) throw apiError(reported.invalid(`Invalid value for: ${parameter}`));
      return properties?.[constraint.slice(0, at)] === constraint.slice(at + 1);
    });
  return (
    matches('privateExtendedProperty', resource.extendedProperties?.private) &&
    matches('sharedExtendedProperty', resource.extendedProperties?.shared)
  );
}

function mentions(
  { summary, description, location }: calendar_v3.Schema$Event,
  words: string | null,
): boolean {
  const text = [summary, description, location].join(' ').toLowerCase();
  return (words ?? '')
    .toLowerCase()
    .split(' ')
    .every((word) => text.includes(word));
}

function sort(events: StoredEvent[], timeZone: string, query: URLSearchParams): void {
  const orderBy = query.get('orderBy');
  if (orderBy === null) return;
  if (orderBy === 'updated') {
    events.sort((a, b) => a.revision - b.revision);
  } else if (orderBy === 'startTime' && query.get('singleEvents') === 'true') {
    const startOf = ({ resource }: StoredEvent) => (resource.start ? instantOf(resource.start, timeZone) : 0);
    events.sort((a, b) => startOf(a) - startOf(b));
  } else {
    throw apiError(reported.invalid('The requested ordering is not available for the particular query.'));
  }
}

function readInstant(query: URLSearchParams, name: string): number | undefined {
  const value = query.get(name);
  if (value === null) return undefined;
  if (!/T.*(Z|[+-]\d\d:\d\d)$/i.test(value) || Number.isNaN(Date.parse(value))) {
    throw apiError(reported.invalid(`Invalid value for: ${name}`));
  }
  return Date.parse(value);
}

function readWhole(value: string, name: string, min: number, max: number): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < min || number > max) {
    throw apiError(reported.invalid(`Invalid value for: ${name}`));
  }
  return number;
}
