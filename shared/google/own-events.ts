import * as v from 'valibot';
import { type CalendarAnswer, type CalendarApi, call, callPages, eventsOf, pageOf } from './calendar.ts';

/** A private extended property of every event of ours. A list filtered by it has no other events of the owner. */
export const ownMark = { name: 'leadscalendar', value: '1' };

const time = v.optional(v.object({ date: v.optional(v.string()), dateTime: v.optional(v.string()) }), {});
const ownEventSchema = v.object({
  id: v.string(),
  status: v.optional(v.string(), 'confirmed'),
  created: v.optional(v.string()),
  transparency: v.optional(v.string(), 'opaque'),
  start: time,
  end: time,
  extendedProperties: v.optional(v.object({ private: v.optional(v.record(v.string(), v.string()), {}) }), {}),
});
/** An event of ours in a list. */
export type OwnEvent = v.InferOutput<typeof ownEventSchema>;

const eventFields = 'id,status,created,transparency,start,end,extendedProperties/private';
const fields = `nextPageToken,items(${eventFields})`;

/** Events of ours in a calendar between two instants (RFC 3339), those of other bookings included. */
export function listOwnEvents(
  api: CalendarApi,
  accessToken: string,
  calendarId: string,
  range: { from: string; to: string },
): Promise<CalendarAnswer<OwnEvent[]>> {
  const query = {
    timeMin: range.from,
    timeMax: range.to,
    privateExtendedProperty: `${ownMark.name}=${ownMark.value}`,
    fields,
  };
  return callPages(api, accessToken, eventsOf(calendarId), query, pageOf(ownEventSchema));
}

/** A page of such a list, for a reader of ranges with many events. Google may answer empty pages before the last one. */
export function ownEventPage(
  api: CalendarApi,
  accessToken: string,
  calendarId: string,
  { from, to, pageToken }: { from: string; to: string; pageToken: string | undefined },
): Promise<CalendarAnswer<{ items: OwnEvent[]; nextPageToken?: string | undefined }>> {
  const query = new URLSearchParams({
    timeMin: from,
    timeMax: to,
    privateExtendedProperty: `${ownMark.name}=${ownMark.value}`,
    maxResults: '250',
    fields,
    ...(pageToken ? { pageToken } : {}),
  });
  return call(api, accessToken, `${eventsOf(calendarId)}?${query}`, pageOf(ownEventSchema));
}

/** Reads an event of ours by its id. Deleted events are answered too, with status `cancelled`. */
export function readOwnEvent(
  api: CalendarApi,
  accessToken: string,
  calendarId: string,
  eventId: string,
): Promise<CalendarAnswer<OwnEvent>> {
  const query = new URLSearchParams({ fields: eventFields });
  return call(api, accessToken, `${eventsOf(calendarId)}/${eventId}?${query}`, ownEventSchema);
}
