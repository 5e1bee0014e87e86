import type { Guest } from '../../shared/booking/booking.ts';
import type { EventBody } from '../../shared/google/calendar.ts';
import { addressDigest, guestDigests } from './written-event.ts';

type Attendees = NonNullable<EventBody['attendees']>;

/**
 * The guests of an event after a change of the booking's: new ones are added, those that the booking has dropped are
 * removed, and all others keep their complete entry, with their answer.
 * @param before digests of the booking's guests that the event was last written with
 */
export function mergeGuests(
  bookingId: string,
  attendees: Attendees,
  guests: Guest[],
  before: Record<string, string>,
): Attendees {
  const now = guestDigests(bookingId, guests);
  const wanted = new Map<string, Guest>(
    guests.map((guest) => [addressDigest(bookingId, guest.email), guest]),
  );
  const kept = attendees.flatMap((attendee) => {
    const address = addressDigest(bookingId, attendee.email ?? '');
    const guest = wanted.get(address);
    wanted.delete(address);
    if (!guest) return before[address] === undefined ? [attendee] : [];
    if (before[address] === now[address]) return [attendee];
    const { displayName: _, optional: __, ...answer } = attendee;
    const { email: ___, ...entry } = guest;
    return [{ ...answer, ...entry }];
  });
  // One that is missing although we have written it was removed by the owner.
  const added = [...wanted].filter(([address]) => before[address] === undefined).map(([, guest]) => guest);
  return [...kept, ...added];
}
