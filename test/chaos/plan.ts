/** The plan of a chaos run: bookings, who pays for them, and their later changes. */

import { type BookingMetadata, hour, rfc3339 } from '../../infra/cli/payment.ts';
import type { Account } from '../../infra/local/google/state.ts';

export type ChaosUser = { userId: string; account: Account; connectsLate: boolean };

/** Changes after a booking's payment, or before it: messages overtake each other. */
export type Fate = 'stands' | 'moved' | 'refunded' | 'cancelled';

export type PlannedBooking = {
  metadata: BookingMetadata;
  /** Unique part of the ids of Stripe's objects. */
  stripeId: string;
  fate: Fate;
  /** New start and end of a moved booking, RFC 3339. */
  movedTo: { start: string; end: string };
};

/** Percentages. */
const refunded = 10;
const cancelled = 5;
const moved = 5;
const bookingsOfUser = 50;

export function planUsers(payments: number): ChaosUser[] {
  return Array.from({ length: Math.max(2, Math.ceil(payments / bookingsOfUser)) }, (_, index) => ({
    userId: `user-${index}`,
    account: {
      sub: String(200_000_000_000 + index),
      email: `user-${index}@example.com`,
      name: `User ${index}`,
      timeZone: 'Europe/Vienna',
    },
    // One in ten users connects after others have paid.
    connectsLate: index % 10 === 1,
  }));
}

/**
 * Bookings for these users, each more than a day ahead, since later ones would be checked again.
 * @param random 0..1, seeded, so that the same seed gives the same plan
 * @param now epoch milliseconds
 */
export function planBookings(
  payments: number,
  users: ChaosUser[],
  random: () => number,
  now: number,
): PlannedBooking[] {
  const firstStart = Math.ceil(now / hour) * hour + 48 * hour;
  return Array.from({ length: payments }, (_, index) => {
    const { userId } = users[index % users.length] as ChaosUser;
    const startsAt = firstStart + (index * hour) / 4;
    const movedTo = startsAt + 30 * 24 * hour;
    return {
      metadata: {
        booking_id: `booking-${index}`,
        user_id: userId,
        summary: `Appointment ${index}`,
        start: rfc3339(startsAt),
        end: rfc3339(startsAt + hour),
      },
      stripeId: `chaos${index}`,
      fate: drawFate(random() * 100),
      movedTo: { start: rfc3339(movedTo), end: rfc3339(movedTo + hour) },
    };
  });
}

function drawFate(percent: number): Fate {
  if (percent < refunded) return 'refunded';
  if (percent < refunded + cancelled) return 'cancelled';
  return percent < refunded + cancelled + moved ? 'moved' : 'stands';
}

/** Final place of a booking's event; undefined if it must have none. */
export function expectedTime({ fate, metadata, movedTo }: PlannedBooking) {
  if (fate === 'stands') return { start: metadata.start, end: metadata.end };
  return fate === 'moved' ? movedTo : undefined;
}
