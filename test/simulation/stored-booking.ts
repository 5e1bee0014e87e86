/** All that the simulation reads of how sync stores a booking, beside its status: adapt this file where fields change. */
import type { Booking, EventPlace } from '../../shared/booking/booking.ts';

/** The event on record: the one that exists as far as the service knows, or did exist. */
export function recordedEvent({
  observed,
}: Booking): { calendarId: string; eventId: string; revision: number; tentative: boolean } | undefined {
  if (!observed) return undefined;
  const { calendarId, eventId, revision, tentative = false } = observed;
  return { calendarId, eventId, revision, tentative };
}

/** Epoch second of the next run; undefined where nothing is due. */
export const nextRunAt = ({ syncDueAt }: Booking): number | undefined => syncDueAt;

/** The outcome of a write is unknown, or an event was not found: a later run is to read Google. */
export function isInDoubt({ unsettled, unheard, doubt, status, attempts }: Booking): boolean {
  return (
    unsettled === true || unheard === true || doubt !== undefined || (status === 'pending' && attempts > 0)
  );
}

/** Events that count as gone and are deleted where they are found again until `until`, an epoch second. */
export const givenUpEvents = ({ givenUpEvents = [] }: Booking): (EventPlace & { until: number })[] =>
  givenUpEvents;

/** An earlier event may be in a calendar that cannot be searched. */
export const mayHaveOlderEvent = ({ olderEvents }: Booking): boolean => olderEvents !== undefined;

/** Google refuses the user's account or calendar. */
export const isBlocked = ({ blocked }: Booking): boolean => blocked !== undefined;

/** Its backend cancelled it. Where it had no event, the answer to the request says so and no bus event does. */
export const wasCancelledByBackend = ({ status, cancelledAt }: Booking): boolean =>
  status === 'cancelled' && cancelledAt !== undefined;
