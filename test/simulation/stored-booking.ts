/** All that the simulation reads of how sync stores a booking, beside its status: adapt this file where fields change. */
import type { Booking, EventPlace } from '../../shared/booking/booking.ts';
import { isOpen } from '../../shared/booking/status.ts';

/** The event on record: the one that exists as far as the service knows, or did exist. */
export function recordedEvent({
  calendar,
}: Booking): { calendarId: string; eventId: string; revision: number; tentative: boolean } | undefined {
  if (calendar.kind === 'absent' || !calendar.event) return undefined;
  const { calendarId, eventId, revision, tentative = false } = calendar.event;
  return { calendarId, eventId, revision, tentative };
}

/** Epoch second of the next run; undefined where nothing is due. */
export const nextRunAt = ({ nextRun }: Booking): number | undefined => nextRun?.at;

/** The outcome of a write is unknown, or an event was not found: a later run is to read Google. */
export function isInDoubt({ calendar, nextRun }: Booking): boolean {
  return calendar.kind === 'in_doubt' && (nextRun?.why === 'in_doubt' || isOpen(nextRun));
}

/** Events that count as gone and are deleted where they are found again until `until`, an epoch second. */
export const givenUpEvents = ({ otherEvents = [] }: Booking): (EventPlace & { until: number })[] =>
  otherEvents.flatMap(({ why, until, ...place }) =>
    why === 'not_found' && until !== undefined ? { ...place, until } : [],
  );

/** An earlier event may be in a calendar that cannot be searched. */
export const mayHaveOlderEvent = ({ otherEvents = [] }: Booking): boolean =>
  otherEvents.some(({ why }) => why === 'may_have_moved');

/** Google refuses the user's account or calendar. */
export const isBlocked = ({ nextRun }: Booking): boolean => nextRun?.why === 'refused';

/** Its backend cancelled it. Where it had no event, the answer to the request says so and no bus event does. */
export const wasCancelledByBackend = ({ status, cancelledAt }: Booking): boolean =>
  status === 'cancelled' && cancelledAt !== undefined;
