import type { Records } from './records.ts';

export type Found = { what: 'booking' | 'payment' | 'user'; id: string; says: string };

/** Bookings, payments and users with this id, and users whose Google account has this address. */
export async function findAll(records: Records, text: string): Promise<Found[]> {
  const [booking, pointer, connection, ...users] = await Promise.all([
    records.bookings.get(text),
    records.pointer(text),
    records.connections.get(text),
    ...(text.includes('@') ? [records.usersWithEmail(text), records.usersWithEmail(text.toLowerCase())] : []),
  ]);
  const found: Found[] = [];
  if (booking) found.push({ what: 'booking', id: text, says: booking.status });
  if (pointer) {
    const ids = pointer.bookings?.bookingIds ?? (pointer.bookingId ? [pointer.bookingId] : []);
    const says = ids.length > 0 ? `of booking ${ids.join(', ')}` : 'of no booking yet';
    found.push({ what: 'payment', id: text, says });
  }
  if (connection) found.push({ what: 'user', id: text, says: `connection ${connection.status}` });
  for (const id of new Set(users.flat())) found.push({ what: 'user', id, says: `has connected ${text}` });
  return found;
}
