import type { calendar_v3 } from '@googleapis/calendar';
import { checkTimes } from './event-times.ts';
import { apiError, reported } from './google-errors.ts';

type Event = calendar_v3.Schema$Event;

/** What clients may write; anything else in a body is ignored, as Google ignores it. */
const writable = [
  'summary',
  'description',
  'location',
  'start',
  'end',
  'status',
  'colorId',
  'eventLabelId',
  'transparency',
  'visibility',
  'attendees',
  'reminders',
  'source',
  'recurrence',
  'extendedProperties',
  'attachments',
  'sequence',
  'anyoneCanAddSelf',
  'guestsCanInviteOthers',
  'guestsCanModify',
  'guestsCanSeeOtherGuests',
] as const satisfies (keyof Event)[];

const choices = {
  status: ['confirmed', 'tentative', 'cancelled'],
  transparency: ['opaque', 'transparent'],
  visibility: ['default', 'public', 'private', 'confidential'],
} as const;

/** The writable part of a body. A conference is only read when the request says that it knows of them. */
export function readEventBody(body: unknown, options: { conferences: boolean }): Event {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw apiError(reported.parseError);
  const fields = Object.fromEntries(
    Object.entries(body).filter(([name]) => (writable as readonly string[]).includes(name)),
  ) as Event;
  const { conferenceData } = body as Event;
  return options.conferences && conferenceData !== undefined ? { ...fields, conferenceData } : fields;
}

/** Changes only what the patch names; null removes; objects are merged and arrays replaced (RFC 7396). */
export function applyPatch<Value>(target: Value, patch: unknown): Value {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch as Value;
  const merged: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete merged[name];
    else merged[name] = applyPatch(merged[name], value);
  }
  return merged as Value;
}

/** Throws Google's error for an event that it would not keep, and returns it as Google keeps it. */
export function checkedEvent(event: Event, calendarTimeZone: string): Event {
  checkTimes(event, calendarTimeZone);
  for (const [name, values] of Object.entries(choices)) {
    const value = event[name as keyof typeof choices];
    if (value && !(values as readonly string[]).includes(value)) {
      throw apiError(reported.invalid(`Invalid value for: ${value} is not a valid value`));
    }
  }
  for (const { email } of event.attendees ?? []) {
    if (!email) throw apiError(reported.required('Missing attendee email.'));
    if (!email.includes('@')) throw apiError(reported.invalid('Invalid attendee email.'));
  }
  for (const { method, minutes } of event.reminders?.overrides ?? []) {
    const known = method === 'email' || method === 'popup';
    if (!known || typeof minutes !== 'number' || minutes < 0 || minutes > 40_320) {
      throw apiError(reported.invalid('Invalid reminder override.'));
    }
  }
  if (event.source?.url && !/^https?:\/\//.test(event.source.url)) {
    throw apiError(reported.invalid('Invalid source URL.'));
  }
  return {
    ...event,
    reminders: event.reminders ?? { useDefault: true },
    ...(event.attendees
      ? { attendees: event.attendees.map((guest) => ({ responseStatus: 'needsAction', ...guest })) }
      : {}),
    ...(event.extendedProperties ? { extendedProperties: fitProperties(event.extendedProperties) } : {}),
  };
}

/** `a`..`v` and digits (base32hex in lower case), 5 to 1024 of them. */
export function checkEventId(id: string): void {
  if (!/^[a-v0-9]{5,1024}$/.test(id)) throw apiError(reported.invalid('Invalid resource id value.'));
}

/** Too long a name loses the property, too long a value its end: silently, as documented. */
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
