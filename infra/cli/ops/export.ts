/** `ops export`: everything stored about a user, as JSON. */
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Connection } from '../../../shared/connection/connection.ts';
import { toIso } from '../../../shared/lib/clock.ts';
import type { Records } from './records.ts';

/**
 * Writes the export to a new file that only its owner reads, or to standard output: a booking at a time, so that any
 * number fits in memory. Answers how many bookings it has.
 */
export async function exportUser(
  records: Records,
  { userId, file, now }: { userId: string; file: string | undefined; now: number },
): Promise<number> {
  const counter = { bookings: 0 };
  const texts = Readable.from(exportOf(records, userId, now, counter));
  if (file === undefined) await pipeline(texts, process.stdout, { end: false });
  else await pipeline(texts, createWriteStream(file, { flags: 'wx', mode: 0o600 }));
  return counter.bookings;
}

async function* exportOf(
  records: Records,
  userId: string,
  now: number,
  counter: { bookings: number },
): AsyncGenerator<string> {
  const connection = await records.connections.get(userId);
  const { accounts: paymentAccounts } = await records.accounts.get(userId);
  const head = {
    userId,
    exportedAt: toIso(now),
    connection: connection ? withoutTokens(connection) : null,
    paymentAccounts,
  };
  yield `${JSON.stringify(head, null, 2).slice(0, -2)},\n  "bookings": [`;
  for await (const booking of records.bookingsOf(userId)) {
    const pointers = await Promise.all(Object.keys(booking.payments).map((id) => records.pointer(id)));
    const paymentPointers = pointers.filter((pointer) => pointer !== undefined);
    yield `${counter.bookings++ === 0 ? '' : ','}\n    ${JSON.stringify({ ...booking, paymentPointers })}`;
  }
  yield '\n  ]\n}\n';
}

/** A connection with all that is known of the user, and nothing that opens their calendar. */
function withoutTokens(connection: Connection): object {
  const { revocation, keyId: _, ...rest } = connection;
  const { tokens: __, ...shown } = { tokens: undefined, ...rest };
  return revocation ? { ...shown, revocation: { googleSub: revocation.googleSub } } : shown;
}
