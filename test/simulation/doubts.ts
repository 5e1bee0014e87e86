/** How often the outcome of a write was unknown, and what became of it: counted from calls, messages and stored items. */
import type { Booking } from '../../shared/booking/booking.ts';
import type { Process } from './scheduler.ts';
import { isInDoubt, recordedEvent } from './stored-booking.ts';

/**
 * - `crash`: a run crashed after it had sent a write to an event
 * - `no answer`: such a write timed out, lost its answer, or was answered with 5xx
 * - `not found`: an event on record was answered with 404 or 410
 * - `redelivery`: a message was received again, so an earlier run may have crashed
 */
type Cause = 'crash' | 'no answer' | 'not found' | 'redelivery';
/**
 * - `found`: the event that was on record exists
 * - `adopted`: an event that no record showed is on record now
 * - `created`: there was none, and one was created
 * - `deleted`: an event existed and was deleted, as desired
 * - `absent`: no event exists
 */
type Resolution = 'found' | 'adopted' | 'created' | 'deleted' | 'deleted by its owner' | 'absent';

/** A call about one event. */
export type EventCall = { method: string; eventId: string; bookingId: string | undefined };

/** What was known when a doubt arose, and what happened since. */
type Doubt = { cause: Cause; recorded: string | undefined; created?: true; deleted?: true };

export type Doubts = ReturnType<typeof watchDoubts>;

export function watchDoubts(storedBooking: (bookingId: string) => Booking | undefined) {
  const counts: Record<string, number> = {};
  const open = new Map<string, Doubt[]>();
  const bookingOf = new Map<string, string>();
  /** Bookings whose events a process has written to and not recorded since. */
  const written = new Map<Process, Set<string>>();

  function arise(bookingId: string, cause: Cause): void {
    const doubts = open.get(bookingId) ?? [];
    if (doubts.some((doubt) => doubt.cause === cause)) return;
    open.set(bookingId, [...doubts, { cause, recorded: recordedId(bookingId) }]);
  }

  function recordedId(bookingId: string): string | undefined {
    const stored = storedBooking(bookingId);
    return stored && recordedEvent(stored)?.eventId;
  }

  function resolve(bookingId: string): void {
    const stored = storedBooking(bookingId);
    if (stored && isInDoubt(stored)) return;
    for (const doubt of open.get(bookingId) ?? []) {
      const resolved = `${doubt.cause}: ${resolutionOf(stored, doubt)}`;
      counts[resolved] = (counts[resolved] ?? 0) + 1;
    }
    open.delete(bookingId);
  }

  function note(bookingId: string, what: 'created' | 'deleted'): void {
    for (const doubt of open.get(bookingId) ?? []) doubt[what] = true;
  }

  return {
    counts,

    sent(process: Process, { method, eventId, bookingId }: EventCall): void {
      if (bookingId !== undefined) bookingOf.set(eventId, bookingId);
      const booking = bookingOf.get(eventId);
      if (booking === undefined || method === 'events.get') return;
      written.set(process, (written.get(process) ?? new Set()).add(booking));
    },

    /** `status`: undefined where no answer came. */
    answered({ method, eventId }: EventCall, status: number | undefined): void {
      const bookingId = bookingOf.get(eventId);
      if (bookingId === undefined) return;
      const answer = meaningOf(status);
      if (answer === 'none' && method !== 'events.get') arise(bookingId, 'no answer');
      if (answer === 'not found' && recordedId(bookingId) === eventId) arise(bookingId, 'not found');
      if (answer === 'success' && method === 'events.insert') note(bookingId, 'created');
      if (answer === 'success' && method === 'events.delete') note(bookingId, 'deleted');
    },

    crashed(process: Process): void {
      for (const bookingId of written.get(process) ?? []) arise(bookingId, 'crash');
      written.delete(process);
    },

    /** A message was received again; `bookingId`: undefined where it references none. */
    received(bookingId: string | undefined): void {
      if (bookingId !== undefined) arise(bookingId, 'redelivery');
    },

    /** A run has ended, or a booking was stored. */
    concluded(bookingId: string): void {
      for (const bookings of written.values()) bookings.delete(bookingId);
      resolve(bookingId);
    },

    /** Counts what is in doubt to the end, such as events of users who never connect again. */
    end(): void {
      for (const doubts of open.values())
        for (const { cause } of doubts)
          counts[`${cause}: open at the end`] = (counts[`${cause}: open at the end`] ?? 0) + 1;
      open.clear();
    },
  };
}

function meaningOf(status: number | undefined): 'none' | 'not found' | 'success' | 'rejected' {
  if (status === undefined || status >= 500) return 'none';
  if (status === 404 || status === 410) return 'not found';
  return status < 300 ? 'success' : 'rejected';
}

function resolutionOf(stored: Booking | undefined, { recorded, created, deleted }: Doubt): Resolution {
  if (stored?.status === 'deleted_by_user') return 'deleted by its owner';
  const exists = stored?.status === 'scheduled' || stored?.status === 'held';
  if (!exists) return deleted ? 'deleted' : 'absent';
  if (recordedEvent(stored)?.eventId === recorded) return 'found';
  return created ? 'created' : 'adopted';
}
