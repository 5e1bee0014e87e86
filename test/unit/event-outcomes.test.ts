import { describe, expect, it } from 'vitest';
import { doubtProblems } from '../../functions/booking-sync/doubt.ts';
import {
  checkLater,
  deletedByOwner,
  eventAbsent,
  eventDeleted,
  eventSeen,
  eventShown,
  giveUp,
  isOutranked,
  leaveInFormerAccount,
  nextEventNumber,
  outranked,
} from '../../functions/booking-sync/outcomes.ts';
import type { Booking, CalendarState, EventSnapshot, NextRun } from '../../shared/booking/booking.ts';
import { conflictProblems } from '../../shared/booking/booking-payments.ts';
import { appointment, endsAt, now, paidBooking, present, snapshot, startsAt } from '../fakes/booking.ts';

const run = (why: NextRun['why'], count = 1): NextRun => ({ why, at: now, count });
const window: CalendarState = { kind: 'in_doubt', event: snapshot, until: now + 50 };
const other = { code: 'meet_refused', message: 'No link.' };
const pendingMeet: EventSnapshot = { ...snapshot, meet: { state: 'pending' } };
const recheck = (at: number): NextRun => ({ why: 'in_doubt', at, count: 1 });
/** `booking` for an appointment that begins in a week. */
const inAWeek = (change: Partial<Booking> = {}): Booking =>
  paidBooking({
    ...change,
    appointment: { ...appointment, startsAt: now + 7 * 86_400, endsAt: now + 7.1 * 86_400 },
  });
/** Given up within the last minute. */
const justGivenUp: Partial<Booking> = {
  otherEvents: [{ ...snapshot, eventId: 'f', why: 'not_found', until: now - 59 + 15 * 86_400 }],
};

describe('an event that shows the desired state', () => {
  const shown = (booking: Booking, change: { mayBeUndone?: boolean; event?: EventSnapshot } = {}) => {
    const { mayBeUndone = false, event = snapshot } = change;
    return eventShown(booking, event, { now, mayBeUndone, partProblems: [other] });
  };

  it('ends the attempts and what was given up, and keeps the problems of its parts only', () => {
    const booking = paidBooking({
      nextRun: run('retry', 4),
      givenUp: { reason: 'failed', revision: 1, presence: 'confirmed' },
      problems: [{ code: 'google_transient', message: 'Busy.' }],
    });
    const { nextRun: _, givenUp: __, ...rest } = booking;
    expect(shown(booking)).toEqual({ booking: { ...rest, calendar: present(), problems: [other] } });
  });

  it('stays in conflict where it showed the desired state before', () => {
    const conflict = [conflictProblems.busy];
    const kept = (revision: number) =>
      shown(paidBooking({ revision, calendar: present(), problems: conflict })).booking.problems;
    expect(kept(1)).toEqual([...conflict, other]);
    expect(kept(2)).toEqual([other]);
  });

  it('is checked a day before it begins', () => {
    expect(shown(inAWeek()).booking.nextRun).toEqual({ why: 'check', at: now + 6 * 86_400, count: 1 });
    expect(shown(inAWeek(), { event: { ...snapshot, tentative: true } }).booking.nextRun).toBeUndefined();
    expect(shown(paidBooking()).booking.nextRun).toBeUndefined();
  });

  it('is read for a Meet link after a minute', () => {
    expect(shown(inAWeek(), { event: pendingMeet }).booking.nextRun).toEqual({
      why: 'check',
      at: now + 60,
      count: 1,
    });
  });

  it('keeps the conflict of a hold that is paid', () => {
    const problems = [conflictProblems.busy, doubtProblems.inDoubt];
    const held = paidBooking({ calendar: present({ ...snapshot, tentative: true }), problems });
    expect(shown(held).booking.problems).toEqual([conflictProblems.busy, other]);
  });

  it.each<[string, Partial<Booking>, boolean, number | undefined]>([
    ['when the window is open', { calendar: window }, true, now + 50],
    ['when the window has just ended', { calendar: { ...window, until: now } }, true, now + 120],
    ['when a late request may undo it', {}, true, now + 120],
    ['when another event was given up in the last minute', justGivenUp, false, now + 120],
    ['never otherwise', { calendar: window }, false, undefined],
  ])('is in doubt until the end of the window: %s', (_, change, mayBeUndone, until) => {
    const { calendar, nextRun } = shown(paidBooking(change), { mayBeUndone }).booking;
    expect(calendar).toEqual(until ? { kind: 'in_doubt', event: snapshot, until } : present());
    expect(nextRun).toEqual(until ? recheck(until) : undefined);
  });
});

describe('an event that was read', () => {
  const seen = (change: Partial<Booking>, event = snapshot) => eventSeen(inAWeek(change), event, now);

  it('is no longer in doubt', () => {
    const problems = [doubtProblems.inDoubt, other];
    const { calendar, problems: left } = seen({ calendar: { ...window, until: now }, problems });
    expect(calendar).toEqual(present());
    expect(left).toEqual([other]);
  });

  it('stays in doubt while the window is open', () => {
    expect(seen({ calendar: window, nextRun: run('check') })).toMatchObject({
      calendar: window,
      nextRun: recheck(now + 50),
    });
  });

  it.each<[NextRun | undefined, number, number]>([
    [undefined, 1, 60],
    [run('in_doubt', 7), 1, 60],
    [run('check', 1), 2, 120],
    [run('check', 3), 4, 480],
    [run('check', 30), 31, 6 * 3600],
  ])('is read less and less often for a Meet link: after %j', (nextRun, count, wait) => {
    const next = seen(nextRun ? { nextRun } : {}, pendingMeet).nextRun;
    expect(next).toEqual({ why: 'check', at: now + wait, count });
  });

  it('is not read for a Meet link when the appointment is over', () => {
    const next = (end: number) =>
      eventSeen(paidBooking({ appointment: { ...appointment, endsAt: end } }), pendingMeet, now).nextRun;
    expect(next(now + 60)).toBeUndefined();
    expect(next(now + 61)).toMatchObject({ at: now + 60 });
  });

  it('is checked a day before the appointment, at once never', () => {
    const at = (start: number) => {
      const booking = paidBooking({
        appointment: { ...appointment, startsAt: start, endsAt: start + 3600 },
        nextRun: run('check', 5),
      });
      return eventSeen(booking, snapshot, now).nextRun;
    };
    expect(at(now + 86_400)).toBeUndefined();
    expect(at(now + 86_401)).toEqual({ why: 'check', at: now + 1, count: 1 });
  });
});

describe('a check that failed', () => {
  it.each<[string, NextRun | undefined, NextRun]>([
    ['a check', run('check', 3), { why: 'check', at: now + 3600, count: 3 }],
    ['a re-check', run('in_doubt', 2), { why: 'in_doubt', at: now + 3600, count: 2 }],
    ['a contested slot', undefined, { why: 'check', at: now + 3600, count: 1 }],
  ])('is repeated in an hour: %s', (_, nextRun, expected) => {
    const booking = paidBooking({ calendar: present(), ...(nextRun ? { nextRun } : {}) });
    expect(checkLater(booking, now)).toEqual({ booking: { ...booking, nextRun: expected } });
  });

  it('is not repeated after the deadline', () => {
    const booking = paidBooking({ nextRun: run('check') });
    expect(checkLater(booking, startsAt - 3600).booking.nextRun).toBeUndefined();
    expect(checkLater(booking, startsAt - 3601).booking.nextRun?.at).toBe(startsAt - 1);
    const { appointment: _, ...without } = booking;
    expect(checkLater(without, now).booking.nextRun).toBeUndefined();
  });

  it('ends a doubt near the deadline in minutes, until the appointment is over', () => {
    const doubted = paidBooking({ calendar: window, nextRun: run('in_doubt') });
    const again = (at: number) => checkLater(doubted, at).booking.nextRun;
    expect(again(now)).toEqual(recheck(now + 3600));
    expect(again(startsAt - 3600)).toEqual(recheck(startsAt - 3300));
    expect(again(endsAt - 60)).toEqual(recheck(endsAt));
    expect(again(endsAt)).toBeUndefined();
  });
});

describe('an event that yields to another booking', () => {
  const yields = outranked(paidBooking({ calendar: present(), problems: [other] }), 'confirmed', now);

  it('is recorded before the event is deleted', () => {
    expect(yields).toEqual({
      booking: {
        ...paidBooking({ calendar: present() }),
        givenUp: { reason: 'conflict', revision: 1, presence: 'confirmed' },
        problems: [conflictProblems.busy],
        nextRun: { why: 'requested', at: now + 60, count: 0 },
      },
      again: true,
    });
    expect(isOutranked(yields.booking)).toBe(true);
  });

  it.each<[string, Partial<Booking>]>([
    ['no event is left', { calendar: { kind: 'absent' } }],
    [
      'it was given up for another reason',
      { givenUp: { reason: 'missed', revision: 1, presence: 'confirmed' } },
    ],
    ['the event shows another revision', { calendar: present({ ...snapshot, revision: 2 }) }],
  ])('is not to be deleted when %s', (_, change) => {
    expect(isOutranked({ ...yields.booking, ...change })).toBe(false);
  });
});

describe('an event that was deleted', () => {
  it('leaves a booking that should have none', () => {
    const booking = paidBooking({ calendar: present(), nextRun: run('retry'), eventNumber: 2 });
    const { nextRun: _, ...rest } = booking;
    expect(eventDeleted(booking, 'absent', now)).toEqual({
      booking: { ...rest, calendar: { kind: 'absent' }, eventNumber: 3, problems: [] },
    });
  });

  it('is created again under the next number when the booking should have one', () => {
    const booking = paidBooking({
      calendar: present(),
      givenUp: { reason: 'failed', revision: 0, presence: 'confirmed' },
      problems: [doubtProblems.inDoubt, other],
    });
    const { givenUp: _, ...rest } = booking;
    const next = {
      booking: {
        ...rest,
        calendar: { kind: 'in_doubt', until: 0 },
        eventNumber: 1,
        problems: [other],
        nextRun: { why: 'requested', at: now + 60, count: 0 },
      },
      again: true,
    };
    expect(eventDeleted(booking, 'confirmed', now)).toEqual(next);
    expect(nextEventNumber(booking, now)).toEqual(next);
  });

  it('stays away when the booking was given up', () => {
    const givenUp = { reason: 'conflict', revision: 1, presence: 'confirmed' } as const;
    const booking = paidBooking({ calendar: present(), nextRun: run('requested'), givenUp });
    const { nextRun: _, ...rest } = booking;
    expect(eventDeleted(booking, 'confirmed', now)).toEqual({
      booking: { ...rest, calendar: { kind: 'absent' }, eventNumber: 1, problems: [conflictProblems.busy] },
    });
  });
});

describe('a booking without an event', () => {
  const moved = { ...snapshot, why: 'may_have_moved' } as const;

  it('ends the attempts, and uses the next number where the last one is spent', () => {
    const givenUp = { reason: 'failed', revision: 1, presence: 'confirmed' } as const;
    const booking = paidBooking({ nextRun: run('retry'), givenUp, problems: [other] });
    const { nextRun: _, givenUp: __, ...rest } = booking;
    const absent = { ...rest, calendar: { kind: 'absent' }, problems: [] };
    expect(eventAbsent(booking, now)).toEqual(absent);
    expect(eventAbsent(booking, now, { isSpent: true })).toEqual({ ...absent, eventNumber: 1 });
    const deleted: Booking = { ...booking, calendar: { kind: 'deleted_by_owner', event: snapshot } };
    expect(eventAbsent(deleted, now)).toEqual({ ...absent, eventNumber: 1 });
  });

  it('is read once more when an event was given up in the last minute', () => {
    expect(eventAbsent(paidBooking(justGivenUp), now)).toMatchObject({
      calendar: { kind: 'in_doubt', until: now + 120 },
      nextRun: recheck(now + 120),
    });
    const after = { calendar: { kind: 'in_doubt', until: now + 7 } as const, nextRun: recheck(now + 7) };
    expect(eventAbsent(paidBooking(justGivenUp), now, { after })).toMatchObject(after);
  });

  it('says that an older event may remain', () => {
    const { problems } = eventAbsent(paidBooking({ otherEvents: [moved] }), now);
    expect(problems.map(({ code }) => code)).toEqual(['older_event_may_remain']);
  });

  it('says why it failed when only payments that do not count have declared it', () => {
    const orphaned = [{ paymentId: 'pi_9', reason: 'already_used', bookingId: 'booking-1' } as const];
    const codes = (change: Partial<Booking>) =>
      eventAbsent(paidBooking({ payments: {}, orphaned, ...change }), now).problems.map(({ code }) => code);
    expect(codes({ fromPayment: true })).toEqual(['payment_of_another_booking']);
    expect(codes({})).toEqual([]);
  });

  it('keeps why it has no appointment', () => {
    const { appointment: _, ...booking } = paidBooking({ problems: [other] });
    expect(eventAbsent(booking, now).problems).toEqual([other]);
  });
});

describe('an event that its owner has deleted', () => {
  it('is left so, without a next run and without doubt', () => {
    const booking = paidBooking({
      calendar: { kind: 'in_doubt', event: snapshot, until: 0 },
      nextRun: run('in_doubt'),
      problems: [doubtProblems.inDoubt, other],
      otherEvents: [{ ...snapshot, why: 'not_found', until: now + 99 }],
    });
    const { nextRun: _, otherEvents: __, ...rest } = booking;
    expect(deletedByOwner(booking)).toEqual({
      booking: { ...rest, calendar: { kind: 'deleted_by_owner', event: snapshot }, problems: [other] },
    });
  });

  it('says once that its owner may have moved it', () => {
    const booking = paidBooking({
      calendar: present(),
      otherEvents: [{ ...snapshot, why: 'may_have_moved' }],
    });
    const once = deletedByOwner(booking).booking;
    expect(once.problems.map(({ code }) => code)).toEqual(['older_event_may_remain']);
    expect(deletedByOwner(once).booking.problems).toEqual(once.problems);
  });

  it('needs an event on record', () => {
    const booking = paidBooking();
    expect(deletedByOwner(booking).booking).toBe(booking);
  });
});

describe('an event in a former account', () => {
  const event = { ...snapshot, account: 'before' };
  const leave = (change: Partial<Booking> = {}, wanted: 'confirmed' | 'absent' = 'confirmed', at = now) =>
    leaveInFormerAccount(paidBooking({ calendar: present(event), ...change }), wanted, at);
  const place = { calendarId: 'primary', eventId: 'e', account: 'before' };

  it('is left there, and the next is created in the connected account', () => {
    expect(leave()).toMatchObject({
      booking: {
        otherEvents: [{ ...place, why: 'former_account' }],
        timeline: [{ what: 'event left in former account', code: 'event_in_former_account' }],
        calendar: { kind: 'in_doubt', until: 0 },
        eventNumber: 1,
      },
      again: true,
    });
  });

  it('is left there when none should exist, or the appointment is over', () => {
    expect(leave({}, 'absent').booking).toMatchObject({
      otherEvents: [{ ...place, why: 'former_account' }],
      calendar: { kind: 'absent' },
      eventNumber: 1,
    });
    expect(leave({}, 'confirmed', endsAt).booking).toMatchObject({
      otherEvents: [{ ...place, why: 'former_account' }],
      calendar: { kind: 'absent' },
      eventNumber: 1,
      givenUp: { reason: 'missed', revision: 1, presence: 'confirmed' },
    });
  });

  it('an event that its owner has deleted is not left behind', () => {
    const { booking } = leave({ calendar: { kind: 'deleted_by_owner', event } });
    expect(booking).not.toHaveProperty('otherEvents');
    expect(booking.timeline).toEqual([]);
    expect(booking.eventNumber).toBe(1);
  });
});

describe('a booking that is given up', () => {
  const give = (change: Partial<Booking>, more: Partial<Parameters<typeof giveUp>[1]> = {}) =>
    giveUp(paidBooking(change), { reason: 'missed', wanted: 'confirmed', now, ...more });

  it('is pursued no more, and keeps its problems but the doubt', () => {
    const booking = paidBooking({ nextRun: run('retry'), problems: [doubtProblems.inDoubt, other] });
    const { nextRun: _, ...rest } = booking;
    const givenUp = { reason: 'missed', revision: 1, presence: 'confirmed' };
    expect(give(booking)).toEqual({ ...rest, givenUp, problems: [other] });
    expect(give(booking, { because: conflictProblems.busy }).problems).toEqual([conflictProblems.busy]);
  });

  it.each<[string, CalendarState, CalendarState, NextRun | undefined]>([
    ['an open window is read after it', window, window, recheck(now + 50)],
    [
      'also without a known event',
      { kind: 'in_doubt', until: now + 50 },
      { kind: 'in_doubt', until: now + 50 },
      recheck(now + 50),
    ],
    ['a requested run has created nothing', { kind: 'in_doubt', until: 0 }, { kind: 'absent' }, undefined],
    [
      'a known event stays in doubt',
      { kind: 'in_doubt', event: snapshot, until: 0 },
      { kind: 'in_doubt', event: snapshot, until: 0 },
      undefined,
    ],
    [
      'a window that has ended stays in doubt',
      { kind: 'in_doubt', until: now },
      { kind: 'in_doubt', until: now },
      undefined,
    ],
    ['a known event stays', present(), present(), undefined],
  ])('%s', (_, calendar, expected, nextRun) => {
    const left = give({ calendar, nextRun: run('retry') });
    expect(left.calendar).toEqual(expected);
    expect(left.nextRun).toEqual(nextRun);
  });

  it('takes over what a read has said', () => {
    const after = { calendar: { kind: 'in_doubt', until: now + 7 } as const, nextRun: recheck(now + 7) };
    expect(give({ calendar: window }, { after })).toMatchObject(after);
  });
});
