import type { Booking, EventPlace } from '../../shared/booking/booking.ts';
import { deleteEvent, type WriteOptions } from '../../shared/google/calendar.ts';
import { wasDeletionRequested } from './other-events.ts';
import { askToWrite, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';

/**
 * Deletions that this service has requested: an event that is gone because of one was not moved by its owner.
 * By the id of the event; `unknown` where no answer said that it was carried out.
 */
export type OwnDeletions = Map<string, { answer: 'done' | 'unknown'; place: EventPlace }>;

/** Deletes an event of ours, and notes that the deletion was, or may have been, carried out. */
export function requestDeletion(
  deps: SyncDeps,
  session: Session,
  place: EventPlace,
  options: Pick<WriteOptions, 'sendUpdates'>,
): ReturnType<typeof deleteEvent> {
  const { ownDeletions } = session;
  const { calendarId, eventId } = place;
  return askToWrite(deps, session, async (token) => {
    const answer = await deleteEvent(deps.calendar, token, calendarId, eventId, options);
    if (answer.ok) ownDeletions.set(eventId, { answer: 'done', place });
    else if (answer.failure.kind === 'transient' && !ownDeletions.has(eventId))
      ownDeletions.set(eventId, { answer: 'unknown', place });
    return answer;
  });
}

/** Whether this run or an earlier one may have deleted an event. */
export function mayHaveDeleted({ ownDeletions }: Session, booking: Booking, eventId: string): boolean {
  return ownDeletions.has(eventId) || wasDeletionRequested(booking, eventId);
}
