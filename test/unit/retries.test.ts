import { describe, expect, it } from 'vitest';
import {
  afterFailure,
  pause,
  problemOf,
  retryAfter,
  waitForConnection,
} from '../../functions/booking-sync/retries.ts';
import type { Booking, NextRun } from '../../shared/booking/booking.ts';
import type { CalendarFailure } from '../../shared/google/calendar-failures.ts';
import { endsAt, now, paidBooking, startsAt } from '../fakes/booking.ts';

const moment = { now, random: () => 0.5 };
const run = (why: NextRun['why'], change: Partial<NextRun> = {}): NextRun => ({
  why,
  at: now,
  count: 1,
  ...change,
});
const other = { code: 'meet_refused', message: 'No link.' };
const failure = (change: Partial<CalendarFailure>): CalendarFailure => ({
  kind: 'transient',
  reason: 'aReason',
  message: 'Google says no.',
  ...change,
});

describe('a booking without a working connection', () => {
  const waits = (change: Partial<Booking> = {}) =>
    waitForConnection({ booking: paidBooking(change), ...moment });

  it('waits less and less often, and says so', () => {
    expect(waits()).toEqual({
      ...paidBooking(),
      nextRun: { why: 'no_connection', at: now + 45, count: 1 },
      problems: [{ code: 'no_connection', message: expect.stringContaining('no working Google connection') }],
    });
    const wait = (count: number) => waits({ nextRun: run('no_connection', { count }) }).nextRun;
    expect(wait(1)).toEqual({ why: 'no_connection', at: now + 90, count: 2 });
    expect(wait(30)).toEqual({ why: 'no_connection', at: now + 16_200, count: 31 });
    expect(waits({ nextRun: run('retry', { count: 7 }) }).nextRun?.count).toBe(1);
  });
});

describe('a run that something else than Calendar has ended', () => {
  it('is repeated soon', () => {
    const problem = { code: 'not_published', message: 'Later.' };
    expect(retryAfter(paidBooking({ problems: [other] }), problem, moment)).toEqual({
      booking: {
        ...paidBooking(),
        nextRun: { why: 'retry', at: now + 23, count: 1, since: now },
        problems: [problem],
        timeline: [{ at: expect.any(String), what: 'attempt failed', code: 'not_published' }],
      },
    });
  });
});

describe('a refusal that Google may take back', () => {
  it.each<[CalendarFailure['kind'], number, number]>([
    ['permission_missing', 1, 2700],
    ['account_refused', 1, 2700],
    ['not_found', 1, 23],
    ['not_found', 6, 720],
    ['not_found', 7, 16_200],
  ])('%s is tried again, run %i after %i seconds', (kind, count, wait) => {
    const nextRun = count > 1 ? { nextRun: run('refused', { count: count - 1 }) } : {};
    const { booking } = afterFailure(paidBooking(nextRun), failure({ kind }), {
      ...moment,
      wanted: 'confirmed',
    });
    expect(booking.nextRun).toEqual({
      why: 'refused',
      at: now + wait,
      count,
      refusal: { by: kind === 'account_refused' ? 'account' : 'calendar', reason: 'aReason' },
    });
  });

  it('notes the connection that was refused', () => {
    const refusal = (connection: { connectedAt?: number; choices?: number }) =>
      afterFailure(
        paidBooking(),
        failure({ kind: 'not_found' }),
        { ...moment, wanted: 'confirmed' },
        connection as { connectedAt: number },
      ).booking.nextRun?.refusal;
    expect(refusal({ connectedAt: 7 })).toEqual({ by: 'calendar', reason: 'aReason', connectedAt: 7 });
    expect(refusal({ choices: 2 })).toEqual({ by: 'calendar', reason: 'aReason', choices: 2 });
  });

  it.each<[CalendarFailure['kind'], number]>([
    ['rate_limited', 45],
    ['quota_exceeded', 2700],
    ['transient', 23],
  ])('%s is tried again after %i seconds', (kind, wait) => {
    const { booking } = afterFailure(paidBooking(), failure({ kind }), { ...moment, wanted: 'confirmed' });
    expect(booking.nextRun).toEqual({ why: 'retry', at: now + wait, count: 1, since: now });
  });
});

describe('a calendar that is paused', () => {
  const paused = (change: Partial<Booking> = {}, until = now + 100) =>
    pause(paidBooking(change), until, moment);

  it('has its bookings come back over a minute after the pause', () => {
    expect(paused({ problems: [other] })).toEqual({
      ...paidBooking(),
      nextRun: { why: 'paused', at: now + 131, count: 1 },
      problems: [{ code: 'google_rate_limited', message: expect.stringContaining('too many') }],
      timeline: [{ at: expect.any(String), what: 'calendar paused', code: 'google_rate_limited' }],
    });
    const at = (random: number) => pause(paidBooking(), now + 100, { now, random: () => random }).nextRun?.at;
    expect(at(0)).toBe(now + 101);
    expect(at(1)).toBe(now + 161);
  });

  it('is noted once, counted, and keeps the first failure', () => {
    const again = paused({ ...paused(), nextRun: run('paused', { count: 2, since: now - 9 }) });
    expect(again.timeline).toHaveLength(1);
    expect(again.nextRun).toEqual({ why: 'paused', at: now + 131, count: 3, since: now - 9 });
  });

  it.each(['check', 'in_doubt'] as const)('postpones a %s, and changes nothing else', (why) => {
    const booking = paidBooking({ nextRun: run(why, { count: 4 }), problems: [other] });
    expect(paused(booking)).toEqual({ ...booking, nextRun: { why, at: now + 131, count: 4 } });
  });

  it('never waits beyond the deadline or the end', () => {
    expect(pause(paidBooking(), startsAt, moment).nextRun?.at).toBe(startsAt);
    expect(pause(paidBooking(), endsAt, { ...moment, now: startsAt }).nextRun?.at).toBe(endsAt);
    const { appointment: _, ...without } = paidBooking();
    expect(pause(without, endsAt, moment).nextRun?.at).toBe(endsAt + 31);
  });
});

describe("a failure of Google's Calendar in words", () => {
  it.each<[Partial<CalendarFailure>, string]>([
    [
      { kind: 'not_found', status: 404 },
      'Choose another calendar, or share it again. Google: Google says no. (404',
    ],
    [{ kind: 'permission_missing', status: 403 }, 'permission does not cover the calendar of this event'],
    [{ kind: 'account_refused', status: 403 }, 'should check access to the chosen calendar'],
    [{ kind: 'account_refused', reason: 'notACalendarUser' }, 'tried again from time to time.'],
    [{ kind: 'unauthorized', status: 401 }, 'Google refuses a token that it has just issued.'],
    [{ kind: 'operator', reason: 'accessNotConfigured' }, 'Calendar API'],
    [{}, 'Google: Google says no. (no answer, aReason)'],
  ])('%j says what to do', (change, text) => {
    const problem = problemOf(failure(change));
    expect(problem.code).toBe(`google_${change.kind ?? 'transient'}`);
    expect(problem.message).toContain(text);
  });
});
