import { createHash } from 'node:crypto';
import type { Booking } from './booking.ts';

/** Private extended properties by which an event is known as ours, and what it shows; Google keeps them per calendar. */
export const bookingProperty = 'leadscalendarBooking';
export const revisionProperty = 'leadscalendarRevision';

/**
 * Names what an event shows: the revision, and a digest of its appointment. A payment and LeadsCalendar may both have
 * begun the same booking, each with a first revision of its own, before one of them was on record. Instants are left
 * out: they follow from the times, and from time zone data that may differ.
 */
export function revisionMark({ appointment, revision }: Booking): string {
  const { startsAt: _, endsAt: __, ...content } = appointment ?? {};
  const name = digest(16, content);
  return `${revision}.${name}`;
}

/** The first `length` characters of a digest of `values`; the order of an object's fields does not matter. */
export function digest(length: number, ...values: unknown[]): string {
  return createHash('sha256').update(sortedJson(values)).digest('base64url').slice(0, length);
}

/** JSON with sorted names: DynamoDB returns the fields of an object in any order. */
function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([one], [other]) => (one < other ? -1 : 1)))
      : part,
  );
}
