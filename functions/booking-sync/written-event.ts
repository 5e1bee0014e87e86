import { createHash } from 'node:crypto';
import type { Guest, OptionalPart, WrittenEvent } from '../../shared/booking/booking.ts';
import type { CalendarEvent } from '../../shared/google/calendar.ts';

/**
 * What we last wrote to an event, as digests: on record, and in private extended properties of the event itself. A later
 * write compares with it and changes only what the booking has changed, also after a run whose outcome is unknown.
 */

const fieldsProperty = 'leadscalendarFields';
/** Google truncates values at 1,024 characters: more guests go into the second property. */
const guestProperties = ['leadscalendarGuests', 'leadscalendarGuests2'];
const guestsInProperty = 100;
const addressLength = 6;
const entryLength = 4;
const guestLength = addressLength + entryLength;

/** The first `length` characters of a digest of `values`; the order of an object's fields does not matter. */
export function digest(length: number, ...values: unknown[]): string {
  return createHash('sha256').update(sortedJson(values)).digest('base64url').slice(0, length);
}

/** JSON with sorted names: DynamoDB returns the fields of an object in any order. */
export function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([one], [other]) => (one < other ? -1 : 1)))
      : part,
  );
}

/** The digest by which a guest is found again; the booking id keeps digests of two bookings apart. */
export function addressDigest(bookingId: string, email: string): string {
  return digest(addressLength, bookingId, email.toLowerCase());
}

/** The guests of a booking, digest of the address by digest of the rest. */
export function guestDigests(bookingId: string, guests: Guest[]): Record<string, string> {
  return Object.fromEntries(
    guests.map(({ email, ...rest }) => [addressDigest(bookingId, email), digest(entryLength, rest)]),
  );
}

/** `written` as properties of the event; where `before` had more guests, an empty value replaces them. */
export function toProperties(
  { fields, guests, refused }: WrittenEvent,
  before: WrittenEvent | undefined,
): Record<string, string> {
  const texts = [
    ...Object.entries(fields).map(([name, value]) => `${name}.${value}`),
    ...Object.entries(refused).map(([part, value]) => `!${part}.${value}`),
  ];
  const entries = Object.entries(guests).map(([address, entry]) => address + entry);
  const mostGuests = Math.max(entries.length, Object.keys(before?.guests ?? {}).length);
  const chunks = guestProperties
    .map((property, index) => ({ property, from: index * guestsInProperty }))
    .filter(({ from }) => from < mostGuests)
    .map(({ property, from }) => [property, entries.slice(from, from + guestsInProperty).join('')]);
  return { [fieldsProperty]: texts.join(' '), ...Object.fromEntries(chunks) };
}

/** What an event of ours was last written with; undefined where its properties do not say so. */
export function writtenOf(event: CalendarEvent): WrittenEvent | undefined {
  const properties = event.extendedProperties?.private ?? {};
  const texts = properties[fieldsProperty]?.split(' ').filter(Boolean);
  if (!texts) return undefined;
  const pairs = texts.map((text) => text.split('.') as [string, string]);
  const entries = guestProperties.flatMap(
    (property) => properties[property]?.match(new RegExp(`.{${guestLength}}`, 'g')) ?? [],
  );
  return {
    fields: Object.fromEntries(pairs.filter(([name]) => !name.startsWith('!'))),
    guests: Object.fromEntries(
      entries.map((text) => [text.slice(0, addressLength), text.slice(addressLength)]),
    ),
    refused: Object.fromEntries(
      pairs.filter(([name]) => name.startsWith('!')).map(([name, value]) => [name.slice(1), value]),
    ) as Partial<Record<OptionalPart, string>>,
  };
}
