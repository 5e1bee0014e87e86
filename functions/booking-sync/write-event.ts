import type { Booking, EventPlace, OptionalPart } from '../../shared/booking/booking.ts';
import { type CalendarEvent, type EventBody, insertEvent, patchEvent } from '../../shared/google/calendar.ts';
import { composeEvent, type WriteBasis, writeOptions } from './calendar-event.ts';
import { askToWrite, type Session } from './session.ts';
import type { SyncDeps } from './sync-booking.ts';
import { lacksZone, withZone, writeWithoutRejected, zoneOf } from './written-event.ts';

/** Inserts and patches of the event of a booking, without the optional parts that Google rejects. */

/** @param claim the claim to a slot that was found free */
export function insert(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  { calendarId, eventId }: EventPlace,
  claim: string | undefined,
) {
  const { wanted } = session;
  const basis = {
    requestId: requestIdOf(booking, eventId),
    claim,
    written: { fields: {}, guests: {}, refused: {} },
  };
  return writeWithoutRejected(
    (omit) => composeEvent(booking, wanted, { ...basis, omit }),
    (body) =>
      askToWrite(deps, session, (token) =>
        insertEvent(deps.calendar, token, calendarId, eventId, body, writeOptions(booking, wanted)),
      ),
  );
}

/** Changes an event, with a time zone where Google needs one. */
export async function patch(
  deps: SyncDeps,
  session: Session,
  booking: Booking,
  {
    calendarId,
    event,
    basis,
  }: {
    calendarId: string;
    event: Pick<CalendarEvent, 'id' | 'etag' | 'start'>;
    basis: Omit<WriteBasis, 'requestId'>;
  },
) {
  const { wanted } = session;
  const requestId = requestIdOf(booking, event.id);
  const compose = (omit: ReadonlySet<OptionalPart>) =>
    composeEvent(booking, wanted, { ...basis, requestId, omit });
  const send = (body: EventBody) =>
    askToWrite(deps, session, (token) =>
      patchEvent(deps.calendar, token, calendarId, event, body, writeOptions(booking, wanted)),
    );
  const first = await writeWithoutRejected(compose, send);
  if (first.answer.ok || !lacksZone(first.answer.failure, first.write.body)) return first;
  const zone = await zoneOf(deps, session, { calendarId, event });
  if (!zone.ok) return { ...first, answer: zone };
  const { value } = zone;
  if (value === undefined) return first;
  return writeWithoutRejected(compose, async (body) => send(await withZone(body, value)));
}

function requestIdOf({ revision }: Booking, eventId: string): string {
  return `${eventId}-${revision}`;
}
