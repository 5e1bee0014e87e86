import type { calendar_v3 } from '@googleapis/calendar';
import { Temporal } from 'temporal-polyfill';
import { instantOf } from './event-times.ts';
import type { Calendar, StoredEvent } from './state.ts';

export type ShownEvent = { event: StoredEvent; calendar: Calendar };

/** A timed event's share of one day. Minutes are those of the wall clock; overlapping events get lanes. */
export type Slot = ShownEvent & { fromMinute: number; toMinute: number; lane: number; alone: boolean };

export type Day = { date: Temporal.PlainDate; allDay: ShownEvent[]; slots: Slot[]; lanes: number };

/** Seven days from Monday on, with the events of each in the viewer's time zone. */
export function layOutWeek(shown: ShownEvent[], anyDate: Temporal.PlainDate, timeZone: string): Day[] {
  const monday = anyDate.subtract({ days: anyDate.dayOfWeek - 1 });
  return Array.from({ length: 7 }, (_, index) => layOutDay(shown, monday.add({ days: index }), timeZone));
}

/** The hours to draw: office hours, and more if an event is earlier or later. */
export function shownHours(days: Day[]): { from: number; to: number } {
  const slots = days.flatMap((day) => day.slots);
  return {
    from: Math.min(8, ...slots.map(({ fromMinute }) => Math.floor(fromMinute / 60))),
    to: Math.max(19, ...slots.map(({ toMinute }) => Math.ceil(toMinute / 60))),
  };
}

function layOutDay(shown: ShownEvent[], date: Temporal.PlainDate, timeZone: string): Day {
  const allDay = shown.filter(({ event }) => coversDate(event.resource, date));
  const timed = shown
    .filter(({ event }) => event.resource.start?.dateTime)
    .flatMap((it) => minutesOn(it, date, timeZone))
    .sort((a, b) => a.fromMinute - b.fromMinute || b.toMinute - a.toMinute);
  const laneEnds: number[] = [];
  const placed = timed.map((slot) => {
    const free = laneEnds.findIndex((end) => end <= slot.fromMinute);
    const lane = free === -1 ? laneEnds.length : free;
    laneEnds[lane] = slot.toMinute;
    return { ...slot, lane };
  });
  const overlap = (a: { fromMinute: number; toMinute: number }, b: typeof a) =>
    a.fromMinute < b.toMinute && b.fromMinute < a.toMinute;
  const slots = placed.map((slot) => ({
    ...slot,
    alone: placed.every((other) => other === slot || !overlap(slot, other)),
  }));
  return { date, allDay, slots, lanes: Math.max(1, laneEnds.length) };
}

function coversDate({ start, end }: calendar_v3.Schema$Event, date: Temporal.PlainDate): boolean {
  if (!start?.date || !end?.date) return false;
  return start.date <= date.toString() && date.toString() < end.date;
}

function minutesOn(shown: ShownEvent, date: Temporal.PlainDate, timeZone: string) {
  const { event, calendar } = shown;
  const midnight = date.toZonedDateTime(timeZone).epochMilliseconds;
  const nextMidnight = date.add({ days: 1 }).toZonedDateTime(timeZone).epochMilliseconds;
  const start = instantOf(event.resource.start ?? {}, calendar.timeZone);
  const end = instantOf(event.resource.end ?? {}, calendar.timeZone);
  if (end <= midnight || start >= nextMidnight) return [];
  const fromMinute = start <= midnight ? 0 : minuteOfDay(start, timeZone);
  const toMinute = end >= nextMidnight ? 24 * 60 : minuteOfDay(end, timeZone);
  // Too short to read, or inverted by the end of summer time: draw at least a quarter of an hour.
  return [{ ...shown, fromMinute, toMinute: Math.max(toMinute, fromMinute + 15) }];
}

function minuteOfDay(instant: number, timeZone: string): number {
  const local = Temporal.Instant.fromEpochMilliseconds(instant).toZonedDateTimeISO(timeZone);
  return local.hour * 60 + local.minute;
}
