import type { calendar_v3 } from '@googleapis/calendar';
import * as v from 'valibot';
import { redactedMessages } from '../../../shared/lib/schemas.ts';
import { checkTimes } from './event-times.ts';
import { apiError, reported } from './google-errors.ts';
import type { Switches } from './state.ts';

type Event = calendar_v3.Schema$Event;

const text = v.nullish(v.string());
const flag = v.nullish(v.boolean());
const time = v.nullish(v.object({ date: text, dateTime: text, timeZone: text }));
const properties = v.nullish(v.record(v.string(), text));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const reminder = v.object({
  method: v.picklist(['email', 'popup']),
  minutes: v.pipe(count, v.maxValue(40_320)),
});
const webUrl = v.pipe(v.string(), v.url(), v.regex(/^https?:\/\//i));

/** Fields that clients can write. Others are dropped here, as Google ignores them. */
const writable = v.object({
  summary: text,
  description: text,
  location: text,
  start: time,
  end: time,
  recurrence: v.nullish(v.array(v.string())),
  status: v.nullish(v.picklist(['confirmed', 'tentative', 'cancelled'])),
  transparency: v.nullish(v.picklist(['opaque', 'transparent'])),
  visibility: v.nullish(v.picklist(['default', 'public', 'private', 'confidential'])),
  colorId: text,
  eventLabelId: text,
  attendees: v.nullish(v.array(v.looseObject({ email: v.pipe(v.string(), v.includes('@')) }))),
  reminders: v.nullish(v.object({ useDefault: flag, overrides: v.nullish(v.array(reminder)) })),
  source: v.nullish(v.object({ title: text, url: v.nullish(webUrl) })),
  extendedProperties: v.nullish(v.object({ private: properties, shared: properties })),
  conferenceData: v.nullish(v.looseObject({})),
  attachments: v.nullish(v.pipe(v.array(v.looseObject({ fileUrl: v.string() })), v.maxLength(25))),
  sequence: v.nullish(count),
  anyoneCanAddSelf: flag,
  guestsCanInviteOthers: flag,
  guestsCanModify: flag,
  guestsCanSeeOtherGuests: flag,
});

/** The writable part of a body. Reads a conference only if the request declares support for it. */
export function readEventBody(body: unknown, options: { conferences: boolean }): Event {
  const parsed = v.safeParse(writable, body, redactedMessages);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw apiError(reported.invalid(`Invalid value for: ${v.getDotPath(issue)}: ${issue.message}`));
  }
  const { conferenceData, ...fields } = parsed.output;
  return (options.conferences && conferenceData !== undefined ? parsed.output : fields) as Event;
}

/** Merges a patch: null removes, objects are merged, arrays replaced (RFC 7396). */
export function applyPatch<Value>(target: Value, patch: unknown): Value {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch as Value;
  const merged: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete merged[name];
    else merged[name] = applyPatch(merged[name], value);
  }
  return merged as Value;
}

/** Returns an event as Google stores it. Throws Google's error for an invalid one. */
export function checkedEvent(event: Event, calendarTimeZone: string, switches: Switches): Event {
  checkTimes(event, calendarTimeZone, switches.unknownTimeZones);
  checkGuests(event, switches);
  checkConference(event, switches);
  if (switches.strictFields) checkStrictly(event);
  return {
    ...event,
    reminders: event.reminders ?? { useDefault: true },
    ...(event.attendees
      ? { attendees: event.attendees.map((guest) => ({ responseStatus: 'needsAction', ...guest })) }
      : {}),
    ...(event.extendedProperties ? { extendedProperties: fitProperties(event.extendedProperties) } : {}),
  };
}

function checkGuests({ attendees }: Event, { rejectedGuests, duplicateGuests }: Switches): void {
  const addresses = (attendees ?? []).map(({ email }) => `${email}`.toLowerCase());
  const repeated = new Set(addresses).size < addresses.length;
  if (
    addresses.some((email) => rejectedGuests.includes(email)) ||
    (repeated && duplicateGuests === 'rejected')
  )
    throw apiError(reported.invalid('Invalid attendee email.'));
}

function checkConference({ conferenceData }: Event, { conferenceTypes, strictFields }: Switches): void {
  const request = conferenceData?.createRequest;
  // A conference that was requested before is sent back with its status.
  if (!request || request.status) return;
  const type = request.conferenceSolutionKey?.type ?? 'hangoutsMeet';
  if (!conferenceTypes.includes(type)) throw apiError(reported.invalid('Invalid conference type value.'));
  if (strictFields && !request.requestId) throw apiError(reported.required('Missing conference request id.'));
}

/** Forbidden by the reference, which does not specify the errors. */
function checkStrictly({ reminders, colorId }: Event): void {
  const overrides = reminders?.overrides ?? [];
  if (reminders?.useDefault && overrides.length > 0) throw apiError(reported.defaultAndOwnReminders);
  if (overrides.length > 5) throw apiError(reported.invalid('Too many reminder overrides.'));
  if (colorId && !/^([1-9]|1[01])$/.test(colorId)) throw apiError(reported.invalid('Invalid color id.'));
}

/** `a`..`v` and digits (base32hex in lower case), 5 to 1024 of them. */
export function checkEventId(id: string): void {
  if (!/^[a-v0-9]{5,1024}$/.test(id)) throw apiError(reported.invalid('Invalid resource id value.'));
}

/** Google silently drops a property with a long name and truncates a long value, as documented. */
function fitProperties(
  given: NonNullable<Event['extendedProperties']>,
): NonNullable<Event['extendedProperties']> {
  const shorten = (properties: Record<string, string>) =>
    Object.fromEntries(
      Object.entries(properties)
        .filter(([name]) => name.length <= 44)
        .map(([name, value]) => [name, `${value}`.slice(0, 1024)]),
    );
  const fitted = {
    ...(given.private ? { private: shorten(given.private) } : {}),
    ...(given.shared ? { shared: shorten(given.shared) } : {}),
  };
  const count = Object.values(fitted).flatMap((properties) => Object.keys(properties)).length;
  if (count > 300 || JSON.stringify(fitted).length > 32 * 1024) {
    throw apiError(reported.invalid('The extended properties of an event are limited to 300 and 32 kB.'));
  }
  return fitted;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
