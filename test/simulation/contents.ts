/** What appointments say, as payments and the backend give it, and the instants that it means. */
import { Temporal } from 'temporal-polyfill';
import type { Plan, UserAction } from './user-actions.ts';
import { startsAt } from './world.ts';

/** An appointment as a payment or a request describes it: instants, local times with their zone, or whole days. */
export type Content = { summary: string; location: string; start: string; end: string; timeZone?: string };
export type Change = Partial<Content> & { hold?: boolean; meet?: boolean; attendees?: { email: string }[] };
type DeclaredBooking = Plan['bookings'][number];

/** What an appointment shows: as it was paid for, or moved to another room, which is also another time. */
export function contentOf(plan: Plan, booking: string, room = 0): Content {
  const planned = plan.bookings.find(({ id }) => id === booking);
  const from = Math.floor((startsAt + (planned?.startsIn ?? 0)) / 1000) + room * 600;
  return { summary: `Meeting ${booking}`, location: `Room ${room}`, ...timesOf(planned, from, room) };
}

const localZone = 'America/New_York';

function timesOf(
  planned: DeclaredBooking | undefined,
  from: number,
  room: number,
): Pick<Content, 'start' | 'end' | 'timeZone'> {
  const text = (at: number): string => `${new Date(at * 1000).toISOString().slice(0, 19)}Z`;
  switch (planned?.times) {
    case 'whole days': {
      // What begins soon is today, which has begun already.
      const soon = planned.startsIn < 3_600_000;
      const first = soon ? room % 2 : 2 + room;
      const day = (days: number): string => text(from - room * 600 + days * 86_400).slice(0, 10);
      return { start: day(first), end: day(first + 1 + (room % 2)) };
    }
    case 'local': {
      const local = (at: number): string =>
        Temporal.Instant.fromEpochMilliseconds(at * 1000)
          .toZonedDateTimeISO(localZone)
          .toPlainDateTime()
          .toString({ smallestUnit: 'second' });
      return { start: local(from), end: local(from + 3600), timeZone: localZone };
    }
    default:
      return { start: text(from), end: text(from + 3600) };
  }
}

/** Epoch milliseconds of a time of a content. A day begins at midnight in the calendar's zone. */
export function instantOfContent(time: string, timeZone: string | undefined, calendarZone: string): number {
  if (time.length === 10)
    return Temporal.PlainDate.from(time).toZonedDateTime(calendarZone).epochMilliseconds;
  if (time.endsWith('Z')) return Date.parse(time);
  return Temporal.PlainDateTime.from(time).toZonedDateTime(timeZone ?? calendarZone).epochMilliseconds;
}

/** Seconds of a length of an appointment from which on it is still worth entering when it has begun. */
const long = 4 * 3600;

/** Epoch milliseconds until when an appointment is worth entering: its end where it is long, else its start. */
export function deadlineOf({ start, end, timeZone }: Content, calendarZone: string): number {
  const [from, to] = [start, end].map((time) => instantOfContent(time, timeZone, calendarZone)) as [
    number,
    number,
  ];
  return to - from > long * 1000 ? to : from;
}

/** What a action of the backend asks to be changed. */
export function changeOf(
  plan: Plan,
  action: Extract<UserAction, { room: number } | { do: 'invite' }>,
): Change {
  if (action.do === 'invite') return { attendees: action.guests.map((email) => ({ email })) };
  const content = contentOf(plan, action.booking, action.room);
  if (action.do === 'rename') return { summary: `Title ${action.room}` };
  if (action.do === 'declare')
    return { ...content, summary: `Declared ${action.booking}`, hold: action.hold, meet: action.meet };
  const { summary: _, ...moved } = content;
  return moved;
}
