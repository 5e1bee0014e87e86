import type { Booking, EventPlace } from '../../shared/booking/booking.ts';
import { deleteEvent, type WriteOptions } from '../../shared/google/calendar.ts';
import { withoutOlderEvents } from './doubt.ts';
import { ask, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/**
 * Deletions that this service has requested: an event that is gone because of one was not moved by its owner.
 * By the id of the event; `unknown` where no answer said that it was carried out.
 */
export type OwnDeletions = Map<string, 'done' | 'unknown'>;

const keptDeletions = 5;

/** Deletes an event of ours, and remembers that the deletion was, or may have been, carried out. */
export function requestDeletion(
  deps: SyncDeps,
  session: Session,
  { calendarId, eventId }: EventPlace,
  options: Pick<WriteOptions, 'sendUpdates'>,
): ReturnType<typeof deleteEvent> {
  const { ownDeletions } = session;
  return ask(deps, session, async (token) => {
    const answer = await deleteEvent(deps.calendar, token, calendarId, eventId, options);
    if (answer.ok) ownDeletions.set(eventId, 'done');
    else if (answer.failure.kind === 'transient' && !ownDeletions.has(eventId))
      ownDeletions.set(eventId, 'unknown');
    return answer;
  });
}

/** Whether this run or an earlier one may have deleted an event. */
export function mayHaveDeleted(
  { ownDeletions }: Session,
  { requestedDeletions = [] }: Booking,
  eventId: string,
): boolean {
  return ownDeletions.has(eventId) || requestedDeletions.includes(eventId);
}

/**
 * `booking` with the deletions that may be why a later run does not find an event, and without the older events that
 * were deleted or exist as its event. `before`: as this run has read it.
 */
export function withOwnDeletions(booking: Booking, before: Booking, ownDeletions: OwnDeletions): Booking {
  const { observed, status, generation, unsettled } = booking;
  const standing = status === 'scheduled' || status === 'held' ? observed?.eventId : undefined;
  const known = [...(before.requestedDeletions ?? []), ...ownDeletions.keys()];
  // An id of an earlier generation is never looked for again; a late effect on the event may still come.
  const kept = generation === before.generation ? known.filter((id) => unsettled || id !== standing) : [];
  const { requestedDeletions: _, ...rest } = booking;
  const requestedDeletions = [...new Set(kept)].slice(-keptDeletions);
  const noLonger = (id: string): boolean => id === standing || ownDeletions.get(id) === 'done';
  return withoutOlderEvents(requestedDeletions.length > 0 ? { ...rest, requestedDeletions } : rest, noLonger);
}
