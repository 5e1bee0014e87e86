import type { calendar_v3 } from '@googleapis/calendar';
import * as z from 'zod';
import { checkTimes } from './event-times.ts';
import { apiError, reported } from './google-errors.ts';

type Event = calendar_v3.Schema$Event;

const text = z.string().nullish();
const flag = z.boolean().nullish();
const time = z.object({ date: text, dateTime: text, timeZone: text }).nullish();
const properties = z.record(z.string(), text).nullish();
const reminder = z.object({ method: z.enum(['email', 'popup']), minutes: z.int().min(0).max(40_320) });

/** What clients may write. Anything else in a body is dropped here, as Google ignores it. */
const writable = z.object({
  summary: text,
  description: text,
  location: text,
  start: time,
  end: time,
  recurrence: z.array(z.string()).nullish(),
  status: z.enum(['confirmed', 'tentative', 'cancelled']).nullish(),
  transparency: z.enum(['opaque', 'transparent']).nullish(),
  visibility: z.enum(['default', 'public', 'private', 'confidential']).nullish(),
  colorId: text,
  eventLabelId: text,
  attendees: z.array(z.looseObject({ email: z.string().includes('@') })).nullish(),
  reminders: z.object({ useDefault: flag, overrides: z.array(reminder).nullish() }).nullish(),
  source: z.object({ title: text, url: z.url({ protocol: /^https?$/ }).nullish() }).nullish(),
  extendedProperties: z.object({ private: properties, shared: properties }).nullish(),
  conferenceData: z.looseObject({}).nullish(),
  attachments: z
    .array(z.looseObject({ fileUrl: z.string() }))
    .max(25)
    .nullish(),
  sequence: z.int().min(0).nullish(),
  anyoneCanAddSelf: flag,
  guestsCanInviteOthers: flag,
  guestsCanModify: flag,
  guestsCanSeeOtherGuests: flag,
});

/** The writable part of a body. A conference is only read when the request says that it knows of them. */
export function readEventBody(body: unknown, options: { conferences: boolean }): Event {
  const parsed = writable.safeParse(body);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw apiError(reported.invalid(`Invalid value for: ${issue?.path.join('.')}: ${issue?.message}`));
  }
  const { conferenceData, ...fields } = parsed.data;
  return (options.conferences && conferenceData !== undefined ? parsed.data : fields) as Event;
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
