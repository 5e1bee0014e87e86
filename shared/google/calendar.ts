import type { calendar_v3 } from '@googleapis/calendar';
import * as v from 'valibot';
import { omitUndefined } from '../lib/omit-undefined.ts';
import { parseJson } from '../lib/schemas.ts';
import { type CalendarFailure, httpFailure, networkFailure } from './calendar-failures.ts';
import type { Fetch } from './light-fetch.ts';

export type { CalendarFailure, CalendarFailureKind } from './calendar-failures.ts';

/**
 * Google Calendar API v3 over fetch. A failure is a value, not an exception, so that a pure function can decide about
 * it. Source: developers.google.com/workspace/calendar/api/guides/errors.
 */
export type CalendarApi = { fetch: Fetch; baseUrl: string };

/** The part of Google's event resource that is used here. */
export type CalendarEvent = v.InferOutput<typeof eventSchema>;

const optionalText = v.optional(v.string());
const time = v.optional(v.object({ dateTime: optionalText, timeZone: optionalText, date: optionalText }));

const eventSchema = v.object({
  id: v.string(),
  etag: v.string(),
  status: v.optional(v.string(), 'confirmed'),
  htmlLink: v.optional(v.string(), ''),
  hangoutLink: v.optional(v.string()),
  conferenceData: v.optional(
    v.object({
      createRequest: v.optional(
        v.object({ status: v.optional(v.object({ statusCode: v.optional(v.string()) })) }),
      ),
    }),
  ),
  start: time,
  end: time,
  attendees: v.optional(v.array(v.looseObject({ email: optionalText }))),
  extendedProperties: v.optional(v.object({ private: v.optional(v.record(v.string(), v.string())) })),
});

/** The fields that are written to an event. In a patch, absent fields keep their value and `null` removes one. */
export type EventBody = {
  [Name in Exclude<keyof calendar_v3.Schema$Event, keyof OwnFields>]?: calendar_v3.Schema$Event[Name] | null;
} & Partial<OwnFields> & { extendedProperties: { private: Record<string, string> } };

/** The fields that are narrower than Google's types. */
type OwnFields = {
  start: EventBodyTime;
  end: EventBodyTime;
  status: 'confirmed' | 'tentative';
  /** Replaces all guests of the event. One without a `responseStatus` has not answered. */
  attendees: { email?: string | undefined; [field: string]: unknown }[];
};
export type EventBodyTime = { dateTime: string | null; timeZone: string | null; date: string | null };

/** Options of a write: which guests Google notifies, and whether it may change the Meet link. */
export type WriteOptions = { sendUpdates?: 'all' | 'externalOnly' | 'none' | undefined; conference: boolean };

export type CalendarAnswer<T> = { ok: true; value: T } | { ok: false; failure: CalendarFailure };

/** A calendar that a user may choose. */
export type Calendar = { id: string; summary: string; primary: boolean; isOwned: boolean; timeZone?: string };

/** Milliseconds to wait for an answer. Two such waits and a token refresh fit into one run of booking-sync. */
const timeoutMs = 8_000;

/** Inserts an event under the id it carries. `409` means that an event of that id exists or existed. */
export function insertEvent(
  api: CalendarApi,
  accessToken: string,
  calendarId: string,
  eventId: string,
  body: EventBody,
  options: WriteOptions,
): Promise<CalendarAnswer<CalendarEvent>> {
  const withoutNulls = (_: string, value: unknown): unknown => value ?? undefined;
  return call(api, accessToken, `${eventsOf(calendarId)}${queryOf(options)}`, eventSchema, {
    method: 'POST',
    body: JSON.stringify({ id: eventId, ...body }, withoutNulls),
  });
}

/** Changes an event, if it still has this ETag. */
export function patchEvent(
  api: CalendarApi,
  accessToken: string,
  calendarId: string,
  event: { id: string; etag: string },
  body: EventBody,
  options: WriteOptions,
): Promise<CalendarAnswer<CalendarEvent>> {
  return call(api, accessToken, `${eventsOf(calendarId)}/${event.id}${queryOf(options)}`, eventSchema, {
    method: 'PATCH',
    body: JSON.stringify(body),
    headers: { 'if-match': event.etag },
  });
}

/** Reads an event. Deleted events are answered too, with status `cancelled`. */
export function getEvent(
  api: CalendarApi,
  accessToken: string,
  calendarId: string,
  eventId: string,
): Promise<CalendarAnswer<CalendarEvent>> {
  return call(api, accessToken, `${eventsOf(calendarId)}/${eventId}`, eventSchema);
}

/** Deletes an event. `not_found` and `gone` are failures too: one such answer is no proof. */
export async function deleteEvent(
  api: CalendarApi,
  accessToken: string,
  calendarId: string,
  eventId: string,
  options: Pick<WriteOptions, 'sendUpdates'>,
): Promise<CalendarAnswer<'deleted'>> {
  const path = `${eventsOf(calendarId)}/${eventId}${queryOf({ ...options, conference: false })}`;
  const answer = await call(api, accessToken, path, v.undefined(), { method: 'DELETE' });
  return answer.ok ? { ok: true, value: 'deleted' } : answer;
}

const calendarListSchema = pageOf(
  v.object({
    id: v.string(),
    summary: v.optional(v.string(), ''),
    summaryOverride: v.optional(v.string()),
    primary: v.optional(v.boolean(), false),
    timeZone: v.optional(v.string()),
    accessRole: v.string(),
  }),
);

/** Roles that may create events. */
const ownerRole = 'owner';
const writableRoles = [ownerRole, 'writer', 'writerWithoutPrivateAccess'];

/** The calendars that the user may write to, the primary one first. Needs a scope for the calendar list. */
export async function listWritableCalendars(
  api: CalendarApi,
  accessToken: string,
): Promise<CalendarAnswer<Calendar[]>> {
  const query = { maxResults: '250' };
  const answer = await callPages(api, accessToken, '/users/me/calendarList', query, calendarListSchema);
  if (!answer.ok) return answer;
  const calendars = answer.value
    .filter(({ accessRole }) => writableRoles.includes(accessRole))
    .map(({ id, summary, summaryOverride, primary, timeZone, accessRole }) =>
      omitUndefined({
        id,
        summary: summaryOverride ?? summary,
        primary,
        isOwned: accessRole === ownerRole,
        timeZone: timeZone || undefined,
      }),
    );
  return { ok: true, value: calendars.sort((one, other) => Number(other.primary) - Number(one.primary)) };
}

const freeBusySchema = v.object({
  calendars: v.record(
    v.string(),
    v.object({
      busy: v.optional(v.array(v.unknown()), []),
      errors: v.optional(v.array(v.unknown()), []),
    }),
  ),
});

/**
 * Whether a calendar has an event between two instants (RFC 3339). Google answers 200 even where it could not read the
 * calendar: that is `unknown`, which is not `free`.
 */
export async function queryFreeBusy(
  api: CalendarApi,
  accessToken: string,
  calendarId: string,
  from: string,
  to: string,
): Promise<CalendarAnswer<'free' | 'busy' | 'unknown'>> {
  const body = JSON.stringify({ timeMin: from, timeMax: to, items: [{ id: calendarId }] });
  const answer = await call(api, accessToken, '/freeBusy', freeBusySchema, { method: 'POST', body });
  if (!answer.ok) return answer;
  const calendars = Object.values(answer.value.calendars);
  if (calendars.length === 0 || calendars.some(({ errors }) => errors.length > 0))
    return { ok: true, value: 'unknown' };
  return { ok: true, value: calendars.some(({ busy }) => busy.length > 0) ? 'busy' : 'free' };
}

const accessSchema = v.object({ accessRole: v.string(), timeZone: v.optional(v.string()) });

/** Access to a calendar. `timeZone` is Google's IANA name, absent where Google did not send one. */
export type CalendarAccess = { isWritable: boolean; isOwned: boolean; timeZone?: string };

/** Reads role and time zone of a calendar from its list of events, which every connection may read. */
export async function readCalendar(
  api: CalendarApi,
  accessToken: string,
  calendarId: string,
): Promise<CalendarAnswer<CalendarAccess>> {
  const path = `${eventsOf(calendarId)}?maxResults=1&fields=accessRole,timeZone`;
  const answer = await call(api, accessToken, path, accessSchema);
  if (!answer.ok) return answer;
  const { accessRole, timeZone } = answer.value;
  return {
    ok: true,
    value: omitUndefined({
      isWritable: writableRoles.includes(accessRole),
      isOwned: accessRole === ownerRole,
      timeZone: timeZone || undefined,
    }),
  };
}

function queryOf({ sendUpdates, conference }: WriteOptions): string {
  const query = new URLSearchParams({
    ...(sendUpdates ? { sendUpdates } : {}),
    ...(conference ? { conferenceDataVersion: '1' } : {}),
  });
  return query.size > 0 ? `?${query}` : '';
}

/** Path of the events of a calendar. */
export function eventsOf(calendarId: string): string {
  return `/calendars/${encodeURIComponent(calendarId)}/events`;
}

type Page<Item> = { items: Item[]; nextPageToken?: string | undefined };

/** A page of a list of Google's. */
export function pageOf<Item extends v.GenericSchema>(item: Item) {
  return v.object({ items: v.optional(v.array(item), []), nextPageToken: v.optional(v.string()) });
}

/** Pages of 250 entries. Google may answer empty pages before the last one. */
const maxPages = 10;

/** The entries of all pages of a list. */
export async function callPages<Item>(
  api: CalendarApi,
  accessToken: string,
  path: string,
  query: Record<string, string>,
  schema: v.GenericSchema<unknown, Page<Item>>,
): Promise<CalendarAnswer<Item[]>> {
  const found: Item[] = [];
  let pageToken: string | undefined;
  for (let page = 0; page < maxPages; page++) {
    const ofPage = new URLSearchParams({ ...query, ...(pageToken ? { pageToken } : {}) });
    const answer = await call(api, accessToken, `${path}?${ofPage}`, schema);
    if (!answer.ok) return answer;
    found.push(...answer.value.items);
    pageToken = answer.value.nextPageToken;
    if (!pageToken) break;
  }
  return { ok: true, value: found };
}

/** Sends a request to the Calendar API. */
export async function call<T>(
  api: CalendarApi,
  accessToken: string,
  path: string,
  schema: v.GenericSchema<unknown, T>,
  init: { method: string; body?: string; headers?: Record<string, string> } = { method: 'GET' },
): Promise<CalendarAnswer<T>> {
  let status: number;
  let headers: Pick<Headers, 'get'>;
  let text: string;
  try {
    const response = await api.fetch(`${api.baseUrl}${path}`, {
      ...init,
      headers: {
        ...init.headers,
        authorization: `Bearer ${accessToken}`,
        ...(init.body ? { 'content-type': 'application/json' } : {}),
      },
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    ({ status, headers } = response);
    text = await response.text();
  } catch (error) {
    return { ok: false, failure: networkFailure(error, timeoutMs) };
  }
  if (status !== 200 && status !== 204) return { ok: false, failure: httpFailure(status, headers, text) };
  const value = v.safeParse(schema, text === '' ? undefined : parseJson(text));
  if (value.success) return { ok: true, value: value.output };
  return {
    ok: false,
    failure: {
      kind: 'transient',
      status,
      reason: 'unexpectedBody',
      message: 'Google answered 200 with something else.',
    },
  };
}
