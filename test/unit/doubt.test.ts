import { describe, expect, it } from 'vitest';
import {
  afterNothingFound,
  doubtProblems,
  eventNotFound,
  isConfirmed,
  isWindowOpen,
  maybeStale,
  postponeRecheck,
  withDoubt,
  withDoubtfulDeletion,
} from '../../functions/booking-sync/doubt.ts';
import type { Booking, CalendarState, NextRun } from '../../shared/booking/booking.ts';
import { appointment, endsAt, now, paidBooking, present, snapshot } from '../fakes/booking.ts';

const place = { calendarId: 'primary', eventId: 'e', account: 'a1' };
const moment = { now, random: () => 0.5 };
const inDoubt = (change: Partial<Extract<CalendarState, { kind: 'in_doubt' }>> = {}): CalendarState => ({
  kind: 'in_doubt',
  until: 0,
  ...change,
});
const run = (why: NextRun['why'], change: Partial<NextRun> = {}): NextRun => ({
  why,
  at: now,
  count: 1,
  ...change,
});
const deletedByOwner: CalendarState = { kind: 'deleted_by_owner', event: snapshot };
const notFound = { ...place, since: now - 10 };

describe('a write without known outcome', () => {
  it.each<[string, CalendarState, CalendarState]>([
    ['no event', { kind: 'absent' }, { kind: 'in_doubt', until: now + 9 }],
    ['a known event', present(), { kind: 'in_doubt', event: snapshot, until: now + 9 }],
    ['a shorter doubt', inDoubt({ until: now + 5 }), { kind: 'in_doubt', until: now + 9 }],
    ['a longer doubt', inDoubt({ until: now + 20 }), { kind: 'in_doubt', until: now + 20 }],
    [
      'a known event that was not found',
      inDoubt({ event: snapshot, notFound }),
      { kind: 'in_doubt', event: snapshot, until: now + 9, notFound },
    ],
    ['a read that found no event', inDoubt({ notFound }), { kind: 'in_doubt', until: now + 9 }],
    ['a deletion by its owner', deletedByOwner, deletedByOwner],
  ])('%s is in doubt until the later end', (_, calendar, expected) => {
    expect(withDoubt(paidBooking({ calendar }), now + 9).calendar).toEqual(expected);
  });

  it.each<[CalendarState, boolean]>([
    [inDoubt({ until: now + 1 }), true],
    [inDoubt({ until: now }), false],
    [inDoubt(), false],
    [present(), false],
    [{ kind: 'absent' }, false],
  ])('of %j the window is open: %s', (calendar, expected) => {
    expect(isWindowOpen(paidBooking({ calendar }), now)).toBe(expected);
  });
});

describe('a booking whose record may be stale', () => {
  const stale = (change: Partial<Booking>) => {
    const { calendar, nextRun } = maybeStale(paidBooking(change), now);
    return { until: calendar.kind === 'in_doubt' ? calendar.until : undefined, nextRun };
  };
  const requested = run('requested', { count: 0 });

  it.each<[string, Partial<Booking>, NextRun | undefined]>([
    ['at rest', {}, requested],
    ['with a check', { calendar: present(), nextRun: run('check', { at: now + 50 }) }, requested],
    ['with a re-check', { calendar: inDoubt(), nextRun: run('in_doubt', { at: now + 50 }) }, requested],
    [
      'waiting for a second read',
      { calendar: inDoubt({ event: snapshot, notFound }), nextRun: run('in_doubt', { at: now + 50 }) },
      run('in_doubt', { at: now + 50 }),
    ],
    ['backing off', { nextRun: run('retry', { at: now + 50 }) }, run('retry', { at: now + 50 })],
    ['waiting', { nextRun: run('no_connection', { at: now + 50 }) }, run('no_connection', { at: now + 50 })],
  ])('is in doubt for the window and read now, unless it backs off: %s', (_, change, nextRun) => {
    expect(stale(change)).toEqual({ until: now + 120, nextRun });
  });

  it('stays as it is when its owner has deleted the event', () => {
    expect(stale({ calendar: deletedByOwner })).toEqual({ until: undefined, nextRun: undefined });
  });
});

describe('a second read', () => {
  it.each<[string, CalendarState, boolean]>([
    ['a minute later', inDoubt({ notFound: { ...place, since: now - 60 } }), true],
    ['a second too soon', inDoubt({ notFound: { ...place, since: now - 59 } }), false],
    ['of another event', inDoubt({ notFound: { ...place, eventId: 'f', since: now - 60 } }), false],
    ['without a first one', inDoubt(), false],
    ['of an event that was found', present(), false],
  ])('confirms that an event is gone: %s', (_, calendar, expected) => {
    expect(isConfirmed(paidBooking({ calendar }), 'e', now)).toBe(expected);
  });
});

describe('an event that is not found', () => {
  const outcome = (change: Partial<Booking>, wanted: 'confirmed' | 'tentative' | 'absent' = 'confirmed') =>
    eventNotFound(paidBooking(change), place, { ...moment, wanted }).booking;
  const first = { ...place, since: now };
  const other = { code: 'meet_refused', message: 'No link.' };
  const noted = [{ at: expect.any(String), what: 'event not found', code: 'event_in_doubt' }];

  it.each<[string, NextRun | undefined]>([
    ['without a next run', undefined],
    ['by a check', run('check', { count: 4 })],
    ['by a re-check', run('in_doubt', { count: 4 })],
  ])('stays scheduled and is re-checked after a minute: %s', (_, nextRun) => {
    const change = { calendar: present(), problems: [other], ...(nextRun ? { nextRun } : {}) };
    expect(outcome(change)).toEqual({
      ...paidBooking(change),
      calendar: { kind: 'in_doubt', event: snapshot, until: 0, notFound: first },
      nextRun: { why: 'in_doubt', at: now + 60 + 6 + 12, count: 1 },
      problems: [other, doubtProblems.inDoubt],
      timeline: noted,
    });
  });

  it.each<[string, Partial<Booking>, NextRun]>([
    ['of a change', { calendar: present(), revision: 2 }, run('retry', { at: now + 78, count: 0 })],
    [
      'of a retry',
      { calendar: present(), nextRun: run('retry', { count: 3, since: now - 99 }) },
      run('retry', { at: now + 78, count: 3, since: now - 99 }),
    ],
    [
      'of a request',
      { calendar: present(), nextRun: run('requested', { count: 3, since: 5 }) },
      run('retry', { at: now + 78, count: 0 }),
    ],
  ])('an attempt that goes on reads again after a minute: %s', (_, change, nextRun) => {
    expect(outcome({ ...change, problems: [other] })).toMatchObject({
      nextRun,
      problems: [doubtProblems.inDoubt],
    });
    expect(outcome(change).nextRun).toEqual(nextRun);
  });

  it.each(['tentative', 'absent'] as const)('one that should be %s is no event at rest', (wanted) => {
    expect(outcome({ calendar: present() }, wanted).nextRun?.why).toBe('retry');
  });

  it('keeps the time of the first read, the window, and one entry of the timeline', () => {
    const calendar = inDoubt({ event: snapshot, until: now + 40, notFound });
    expect(outcome({ calendar })).toMatchObject({
      calendar: { until: now + 40, notFound },
      nextRun: { at: now + 50 + 18 },
      timeline: [],
    });
  });

  it('reads again at once when the first read was long ago', () => {
    const calendar = inDoubt({ event: snapshot, notFound: { ...place, since: now - 500 } });
    expect(outcome({ calendar }).nextRun?.at).toBe(now + 18);
  });

  it('an event that no record shows may exist', () => {
    const { calendar, problems, timeline } = outcome({ calendar: inDoubt() });
    expect(calendar).toEqual({ kind: 'in_doubt', until: 0, notFound: first });
    expect(problems).toEqual([doubtProblems.mayExist]);
    expect(timeline).toEqual(noted);
    const { account: _, ...ofOldRecord } = place;
    const { booking } = eventNotFound(paidBooking(), ofOldRecord, { ...moment, wanted: 'confirmed' });
    expect(booking.calendar).toEqual({
      kind: 'in_doubt',
      until: 0,
      notFound: { ...ofOldRecord, since: now },
    });
  });

  it('is counted anew for another event', () => {
    const calendar = inDoubt({ event: snapshot, notFound: { ...place, eventId: 'f', since: now - 500 } });
    expect(outcome({ calendar })).toMatchObject({ calendar: { notFound: first }, timeline: noted });
  });
});

describe('nothing at the id of a new event', () => {
  const reading = (calendar: CalendarState, isAnswering = true, change: Partial<Booking> = {}) =>
    afterNothingFound(paidBooking({ calendar, ...change }), place, moment, async () => isAnswering);
  const absent = { calendar: { kind: 'absent' } };
  const long = { ...place, since: now - 60 };

  it.each<[string, CalendarState]>([
    ['no run has created one', { kind: 'absent' }],
    ['no request is known', inDoubt()],
    ['two reads agree', inDoubt({ until: now - 1, notFound: long })],
  ])('there is no event when %s', async (_, calendar) => {
    expect(await reading(calendar)).toEqual(absent);
  });

  it('a late request may still create it until the window ends', async () => {
    const calendar = { kind: 'in_doubt', until: now + 1 };
    expect(await reading(inDoubt({ until: now + 1, notFound }))).toEqual({
      calendar,
      nextRun: { why: 'in_doubt', at: now + 1, count: 1 },
    });
  });

  it('it is read once more after the window', async () => {
    const expected = (since: number, at: number) => ({
      calendar: { kind: 'in_doubt', until: now, notFound: { ...place, since } },
      nextRun: { why: 'in_doubt', at, count: 1 },
    });
    expect(await reading(inDoubt({ until: now }))).toEqual(expected(now, now + 78));
    expect(await reading(inDoubt({ until: now, notFound }))).toEqual(expected(now - 10, now + 68));
  });

  it('a calendar that does not answer is read again after as long as before, at most six hours', async () => {
    const again = async (waited: number, change: Partial<Booking> = {}) => {
      const calendar = inDoubt({ until: now - 1, notFound: { ...place, since: now - waited } });
      const { nextRun } = await reading(calendar, false, change);
      return (nextRun?.at ?? now) - now;
    };
    expect(await again(60)).toBe(66);
    expect(await again(500)).toBe(500);
    expect(await again(30_000)).toBe(6 * 3600);
    const ending = (left: number) => ({ appointment: { ...appointment, endsAt: now + left } });
    expect(await again(60, ending(67))).toBe(66);
    expect(await again(60, ending(66))).toBe(0);
  });
});

describe('a deletion that may be by a crashed run', () => {
  it('is in doubt, also where it counted as a deletion by the owner', () => {
    const deleted = paidBooking({ calendar: { kind: 'deleted_by_owner', event: snapshot } });
    expect(withDoubtfulDeletion(deleted).calendar).toEqual({ kind: 'in_doubt', event: snapshot, until: 0 });
    const notFound = { calendarId: 'primary', eventId: 'e', since: now - 30 };
    const doubted = paidBooking({ calendar: { kind: 'in_doubt', event: snapshot, until: 9, notFound } });
    expect(withDoubtfulDeletion(doubted).calendar).toEqual({ kind: 'in_doubt', event: snapshot, until: 9 });
    const known = paidBooking({ calendar: present() });
    expect(withDoubtfulDeletion(known)).toBe(known);
  });
});

describe('a re-check that cannot reach the calendar', () => {
  const postponed = (change: Partial<Booking>, at = now) => postponeRecheck(paidBooking(change), at).nextRun;
  const nextRun = run('in_doubt', { count: 2 });

  it('is repeated in six hours, at the latest when the appointment is over', () => {
    expect(postponed({ nextRun })).toEqual({ why: 'in_doubt', at: now + 6 * 3600, count: 3 });
    expect(postponed({ nextRun }, endsAt - 60)).toEqual({ why: 'in_doubt', at: endsAt, count: 3 });
  });

  it('ends with the appointment', () => {
    expect(postponed({ nextRun }, endsAt)).toBeUndefined();
    expect(postponed({})).toBeUndefined();
  });
});
