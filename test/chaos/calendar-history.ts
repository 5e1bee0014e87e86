/** Follows the journal of the simulated Google, which has every change of every event. */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import type { StoredEvent } from '../../infra/local/google/state.ts';

export type CalendarHistory = {
  /** Reads changes since the last call. */
  look(): void;
  /** Current events of all bookings. */
  standing(): number;
  /** Bookings that have had several events at the same moment, with the highest number. */
  doubles(): Map<string, number>;
  close(): void;
};

/**
 * A restart of Google replaces the file by a shorter one: the old one is read to its end first. Repeated or older
 * entries change nothing.
 */
export function followCalendars(path: string): CalendarHistory {
  let file: number | undefined;
  let rest = Buffer.alloc(0);
  const events = new Map<string, { revision: number; bookingId: string; stands: boolean }>();
  const standing = new Map<string, number>();
  const doubles = new Map<string, number>();
  let total = 0;

  const apply = (key: string, { revision, resource }: StoredEvent): void => {
    const before = events.get(key);
    if (before && before.revision >= revision) return;
    const bookingId = resource.extendedProperties?.private?.leadscalendarBooking ?? before?.bookingId ?? key;
    const stands = resource.status !== 'cancelled';
    events.set(key, { revision, bookingId, stands });
    const change = Number(stands) - Number(before?.stands ?? false);
    const count = (standing.get(bookingId) ?? 0) + change;
    total += change;
    standing.set(bookingId, count);
    if (count > 1) doubles.set(bookingId, Math.max(count, doubles.get(bookingId) ?? 0));
  };

  const readOn = (descriptor: number): void => {
    const chunk = Buffer.alloc(1 << 20);
    for (;;) {
      const length = readSync(descriptor, chunk, 0, chunk.length, null);
      if (length === 0) return;
      const text = Buffer.concat([rest, chunk.subarray(0, length)]);
      const end = text.lastIndexOf('\n') + 1;
      rest = text.subarray(end);
      for (const line of text.subarray(0, end).toString().split('\n')) {
        if (!line.startsWith('["events",')) continue;
        const [, key, event] = JSON.parse(line) as [string, string, StoredEvent];
        apply(key, event);
      }
    }
  };

  return {
    look() {
      file ??= openSync(path, 'r');
      readOn(file);
      if (statSync(path).ino === fstatSync(file).ino) return;
      closeSync(file);
      rest = Buffer.alloc(0);
      file = openSync(path, 'r');
      readOn(file);
    },
    standing: () => total,
    doubles: () => doubles,
    close() {
      if (file !== undefined) closeSync(file);
    },
  };
}
