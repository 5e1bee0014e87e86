import * as v from 'valibot';
import { instantOf } from './event-times.ts';
import { apiError, documented, reported } from './google-errors.ts';
import { type Account, eventsOf, findCalendar, type GoogleState } from './state.ts';

const requestBody = v.object({
  timeMin: v.optional(v.string()),
  timeMax: v.optional(v.string()),
  items: v.optional(v.array(v.object({ id: v.string() }))),
});

type Period = { start: number; end: number };

/** `freebusy.query`: 200 even if a calendar is unreadable; its entry then has errors and no times. */
export function queryFreeBusy(state: GoogleState, { sub }: Account, body: unknown) {
  const parsed = v.safeParse(requestBody, body);
  if (!parsed.success) throw apiError(reported.parseError);
  const { timeMin, timeMax, items } = parsed.output;
  const range = { start: Date.parse(timeMin ?? ''), end: Date.parse(timeMax ?? '') };
  if (Number.isNaN(range.start)) throw apiError(reported.required('Missing timeMin parameter.'));
  if (Number.isNaN(range.end)) throw apiError(reported.required('Missing timeMax parameter.'));
  if (range.end <= range.start) throw apiError(documented.timeRangeEmpty);

  const calendars = (items ?? []).map(({ id }) => {
    const calendar = findCalendar(state, sub, id);
    if (!calendar) return [id, { errors: [{ domain: 'global', reason: 'notFound' }], busy: [] }];
    const periods = eventsOf(state, calendar.id)
      .filter(({ purged, resource }) => !purged && resource.status !== 'cancelled')
      .filter(({ resource }) => resource.transparency !== 'transparent')
      .map(({ resource: { start, end } }) => ({
        start: instantOf(start ?? {}, calendar.timeZone),
        end: instantOf(end ?? {}, calendar.timeZone),
      }));
    return [id, { busy: merge(periods, range).map(present) }];
  });
  return {
    kind: 'calendar#freeBusy',
    timeMin: new Date(range.start).toISOString(),
    timeMax: new Date(range.end).toISOString(),
    calendars: Object.fromEntries(calendars),
  };
}

function merge(periods: Period[], range: Period): Period[] {
  const merged: Period[] = [];
  for (const period of periods
    .filter(({ start, end }) => end > range.start && start < range.end)
    .sort(byStart)) {
    const last = merged.at(-1);
    if (last && period.start <= last.end) last.end = Math.max(last.end, period.end);
    else merged.push({ ...period });
  }
  return merged.map(({ start, end }) => ({
    start: Math.max(start, range.start),
    end: Math.min(end, range.end),
  }));
}

const byStart = (a: Period, b: Period): number => a.start - b.start;
const present = ({ start, end }: Period) => ({
  start: new Date(start).toISOString(),
  end: new Date(end).toISOString(),
});
