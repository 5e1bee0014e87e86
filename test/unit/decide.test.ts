import { describe, expect, it } from 'vitest';
import { decideNext } from '../../functions/booking-sync/decide.ts';
import { maybeStale } from '../../functions/booking-sync/doubt.ts';
import {
  awaitsConnection,
  type Booking,
  type CalendarState,
  type EventSnapshot,
  type NextRun,
  requestRun,
} from '../../shared/booking/booking.ts';
import { problemsOf } from '../../shared/booking/booking-payments.ts';
import { desiredPresence, type PaymentPolicy } from '../../shared/booking/desired-presence.ts';
import { isInFormerAccount } from '../../shared/booking/former-account.ts';
import { conclude } from '../../shared/booking/status.ts';
import {
  accountFingerprint,
  type Connection,
  type GrantedConnection,
} from '../../shared/connection/connection.ts';
import { snapshot as event, facts, now, endsAt as over, paidBooking, present } from '../fakes/booking.ts';

const cancelPolicy: PaymentPolicy = { refunded: 'cancel', disputeLost: 'cancel' };
const keepPolicy: PaymentPolicy = { refunded: 'keep', disputeLost: 'keep' };
const refunded = { pi_1: { ...facts, refundedTotal: 9000 } };
const active = {
  userId: 'ada',
  status: 'active',
  googleSub: 'sub-1',
  calendarId: 'primary',
} as GrantedConnection;
const broken = { ...active, status: 'reauthorization_required' } as Connection;
const disconnected = { userId: 'ada', status: 'disconnected' } as Connection;

const held: EventSnapshot = { ...event, tentative: true };
/** In doubt: a run that may create the event was requested, and no write is known. */
const requested: CalendarState = { kind: 'in_doubt', until: 0 };
/** In doubt: a write timed out a while ago, or just now. */
const unknownWrite: CalendarState = { kind: 'in_doubt', until: now - 60 };
const openWindow = (of?: EventSnapshot): CalendarState => ({
  kind: 'in_doubt',
  ...(of ? { event: of } : {}),
  until: now + 100,
});
const notFound = (since: number, of?: EventSnapshot): CalendarState => ({
  kind: 'in_doubt',
  ...(of ? { event: of } : {}),
  until: 0,
  notFound: { calendarId: 'primary', eventId: 'e', since },
});
const due = (why: NextRun['why'], change: Partial<NextRun> = {}): NextRun => ({
  why,
  at: now,
  count: 1,
  ...change,
});
const later = (why: NextRun['why'], change: Partial<NextRun> = {}): NextRun =>
  due(why, { at: now + 900, ...change });
const refusal = { by: 'account', reason: 'forbidden' } as const;
const givenUp = (reason: 'failed' | 'missed' | 'conflict', change: Partial<Booking['givenUp']> = {}) => ({
  givenUp: { reason, revision: 1, presence: 'confirmed' as const, ...change },
});

type Row = {
  booking?: Partial<Booking>;
  connection?: Connection | undefined;
  at?: number;
  policy?: PaymentPolicy;
  mayBeStale?: true;
  isSlotContested?: true;
};

/** What is decided, in words: the action, or the status that is recorded. */
function decided(row: Row): string {
  const { at = now, policy = cancelPolicy, isSlotContested = false } = row;
  const stored = paidBooking(row.booking);
  const booking = row.mayBeStale ? maybeStale(stored, at) : stored;
  const connection = 'connection' in row ? row.connection : active;
  const wanted = desiredPresence(booking, policy);
  const decision = decideNext({ booking, wanted, connection, now: at, random: () => 0.5, isSlotContested });
  if (decision.do !== 'record') return decision.do;
  if (decision.booking === stored) return 'nothing';
  return `record ${conclude(stored, decision.booking, { wanted, now: at }).booking.status}`;
}

describe('an event that should exist, and is not on record', () => {
  it.each<[string, Row, string]>([
    ['paid', { booking: { calendar: requested, nextRun: due('requested') } }, 'ensure'],
    ['paid, without a request on record', {}, 'ensure'],
    ['paid, never connected', { connection: undefined }, 'record waiting_for_connection'],
    ['paid, disconnected', { connection: disconnected }, 'record waiting_for_connection'],
    [
      'paid, over',
      { at: over, booking: { calendar: requested, nextRun: due('requested') } },
      'record missed',
    ],
    ['paid, begun', { at: over - 60 }, 'ensure'],
    [
      'retried until it began',
      { booking: { nextRun: due('retry', { since: now }) }, at: over - 60 },
      'record missed',
    ],
    [
      'retried until it began, a write is unknown',
      { booking: { calendar: unknownWrite, nextRun: due('retry', { since: now }) }, at: over - 60 },
      'check',
    ],
    [
      'retried until it began, not connected',
      {
        booking: { calendar: unknownWrite, nextRun: due('retry', { since: now }) },
        at: over - 60,
        connection: broken,
      },
      'record missed',
    ],
    [
      'first tried after it began',
      { booking: { nextRun: due('retry', { since: over - 90 }) }, at: over - 60 },
      'ensure',
    ],
    ['over, a write is unknown', { booking: { calendar: unknownWrite }, at: over }, 'check'],
    ['failed before', { booking: givenUp('failed') }, 'nothing'],
    ['missed before', { booking: givenUp('missed') }, 'nothing'],
    ['in conflict before', { booking: givenUp('conflict') }, 'nothing'],
    ['failed at an earlier revision', { booking: { ...givenUp('failed'), revision: 2 } }, 'ensure'],
    ['failed as a hold', { booking: givenUp('failed', { presence: 'tentative' }) }, 'ensure'],
    ['in conflict, record may be stale', { booking: givenUp('conflict'), mayBeStale: true }, 'ensure'],
    [
      'in conflict, re-check due',
      { booking: { ...givenUp('conflict'), calendar: unknownWrite, nextRun: due('in_doubt') } },
      'check',
    ],
    [
      'in conflict, re-check not due',
      { booking: { ...givenUp('conflict'), calendar: openWindow(), nextRun: later('in_doubt') } },
      'nothing',
    ],
    [
      'waiting, not connected',
      { booking: { nextRun: later('no_connection') }, connection: broken },
      'nothing',
    ],
    [
      'waiting, not connected, due',
      { booking: { nextRun: due('no_connection') }, connection: broken },
      'record waiting_for_connection',
    ],
    ['waiting, connected again', { booking: { nextRun: later('no_connection') } }, 'ensure'],
    ['retry not due', { booking: { nextRun: later('retry') } }, 'nothing'],
    [
      'retry not due, record may be stale',
      { booking: { nextRun: later('retry') }, mayBeStale: true },
      'record pending',
    ],
    ['retry due', { booking: { nextRun: due('retry') } }, 'ensure'],
    ['paused, not due', { booking: { nextRun: later('paused') } }, 'nothing'],
    ['refused, not due', { booking: { nextRun: later('refused', { refusal }) } }, 'nothing'],
    [
      'refused, connected again since',
      {
        booking: { nextRun: later('refused', { refusal }) },
        connection: { ...active, connectedAt: now } as Connection,
      },
      'ensure',
    ],
    [
      'refused, another calendar chosen since',
      {
        booking: { nextRun: later('refused', { refusal }) },
        connection: { ...active, choices: 1 } as Connection,
      },
      'ensure',
    ],
    ['refused, begun', { booking: { nextRun: due('refused', { refusal }) }, at: over - 60 }, 'ensure'],
    [
      'calendar paused',
      { connection: { ...active, calendarPausedUntil: now + 60 } as Connection },
      'record pending',
    ],
    ['hold declared', { booking: { payments: {}, hold: true } }, 'ensure'],
    ['declared', { booking: { payments: {} } }, 'nothing'],
  ])('decides for a wanted event that is not on record (%s): %s', (_, row, expected) => {
    expect(decided(row)).toBe(expected);
  });
});

describe('an event that should exist, and is on record', () => {
  it.each<[string, Row, string]>([
    ['as desired', { booking: { calendar: present() } }, 'nothing'],
    ['as desired, not connected', { booking: { calendar: present() }, connection: undefined }, 'nothing'],
    ['as desired, record may be stale', { booking: { calendar: present() }, mayBeStale: true }, 'ensure'],
    ['as desired, check not due', { booking: { calendar: present(), nextRun: later('check') } }, 'nothing'],
    ['as desired, check due', { booking: { calendar: present(), nextRun: due('check') } }, 'check'],
    [
      'as desired, check due, not connected',
      { booking: { calendar: present(), nextRun: due('check') }, connection: undefined },
      'record scheduled',
    ],
    ['as desired, slot contested', { booking: { calendar: present() }, isSlotContested: true }, 'check'],
    [
      'held, slot contested',
      { booking: { payments: {}, hold: true, calendar: present(held) }, isSlotContested: true },
      'check',
    ],
    ['held as desired', { booking: { payments: {}, hold: true, calendar: present(held) } }, 'nothing'],
    ['held, paid now', { booking: { calendar: present(held) } }, 'ensure'],
    ['changed', { booking: { calendar: present(), revision: 2 } }, 'ensure'],
    ['changed, over', { booking: { calendar: present(), revision: 2 }, at: over }, 'ensure'],
    [
      'changed, missed before',
      { booking: { calendar: present(), revision: 2, ...givenUp('missed', { revision: 2 }) }, at: over },
      'nothing',
    ],
    [
      'changed, not connected',
      { booking: { calendar: present(), revision: 2 }, connection: broken },
      'record waiting_for_connection',
    ],
    [
      'changed, refused, over: the last attempt',
      { booking: { calendar: present(), revision: 2, nextRun: due('refused', { refusal }) }, at: over },
      'ensure',
    ],
    [
      'changed, refused also when it was over',
      {
        booking: { calendar: present(), revision: 2, nextRun: due('refused', { refusal, at: over + 60 }) },
        at: over + 60,
      },
      'record missed',
    ],
    [
      'in doubt, re-check due',
      { booking: { calendar: openWindow(event), nextRun: due('in_doubt') } },
      'ensure',
    ],
    [
      'in doubt, re-check not due',
      { booking: { calendar: openWindow(event), nextRun: later('in_doubt') } },
      'nothing',
    ],
    [
      'in doubt, retry due, not connected, over',
      {
        booking: { calendar: openWindow(event), nextRun: due('retry', { at: over }) },
        connection: broken,
        at: over,
      },
      'record missed',
    ],
    [
      'not found by a check, second read not due',
      { booking: { calendar: notFound(now, event), nextRun: later('in_doubt') } },
      'nothing',
    ],
    [
      'not found by a check, second read due',
      { booking: { calendar: notFound(now - 66, event), nextRun: due('in_doubt') } },
      'check',
    ],
    [
      'not found by a check, record may be stale: still the second read',
      { booking: { calendar: notFound(now, event), nextRun: later('in_doubt') }, mayBeStale: true },
      'record scheduled',
    ],
    [
      'not found by a change, second read due',
      { booking: { calendar: notFound(now - 66, event), revision: 2, nextRun: due('retry') } },
      'ensure',
    ],
    ['deleted by its owner', { booking: { calendar: { kind: 'deleted_by_owner', event } } }, 'nothing'],
    [
      'deleted by its owner, record may be stale',
      { booking: { calendar: { kind: 'deleted_by_owner', event } }, mayBeStale: true },
      'nothing',
    ],
    [
      'deleted by its owner, changed',
      { booking: { calendar: { kind: 'deleted_by_owner', event }, revision: 2 } },
      'ensure',
    ],
    [
      'another booking keeps the slot',
      { booking: { calendar: present(), ...givenUp('conflict'), nextRun: due('requested') } },
      'remove',
    ],
    [
      'another booking keeps the slot, changed since',
      { booking: { calendar: present(), ...givenUp('conflict'), revision: 2, nextRun: due('requested') } },
      'remove',
    ],
    [
      'refunded, policy keeps it',
      { booking: { payments: refunded, calendar: present() }, policy: keepPolicy },
      'nothing',
    ],
  ])('decides for a wanted event that is on record (%s): %s', (_, row, expected) => {
    expect(decided(row)).toBe(expected);
  });
});

describe('no event should exist', () => {
  const known = { payments: refunded, calendar: present() };
  it.each<[string, Row, string]>([
    ['an event is on record', { booking: known }, 'remove'],
    ['an event is on record, over', { booking: known, at: over }, 'remove'],
    [
      'an event is on record, not connected',
      { booking: known, connection: broken },
      'record waiting_for_connection',
    ],
    [
      'an event is on record, not connected, over',
      { booking: known, connection: broken, at: over },
      'record cancelled',
    ],
    [
      'an event is on record, refused, over: the last attempt',
      { booking: { ...known, nextRun: due('refused', { refusal }) }, at: over },
      'remove',
    ],
    [
      'an event is on record, refused also when it was over',
      { booking: { ...known, nextRun: due('refused', { refusal, at: over + 60 }) }, at: over + 60 },
      'record cancelled',
    ],
    [
      'an event was not found once, second read due',
      { booking: { payments: refunded, calendar: notFound(now - 66, event), nextRun: due('retry') } },
      'remove',
    ],
    [
      'a run was requested',
      { booking: { payments: refunded, calendar: requested, nextRun: due('requested') } },
      'remove',
    ],
    [
      'a run was requested, never connected',
      {
        booking: { payments: refunded, calendar: requested, nextRun: due('requested') },
        connection: undefined,
      },
      'record cancelled',
    ],
    [
      'failed, a write is unknown',
      {
        booking: {
          payments: refunded,
          calendar: unknownWrite,
          nextRun: due('requested'),
          ...givenUp('failed'),
        },
      },
      'remove',
    ],
    [
      'known absent, requested',
      { booking: { payments: refunded, nextRun: due('requested') } },
      'record cancelled',
    ],
    ['known absent', { booking: { payments: refunded } }, 'nothing'],
    ['known absent, record may be stale', { booking: { payments: refunded }, mayBeStale: true }, 'remove'],
    [
      're-check due',
      { booking: { payments: refunded, calendar: unknownWrite, nextRun: due('in_doubt') } },
      'remove',
    ],
    [
      're-check due, not connected',
      {
        booking: { payments: refunded, calendar: unknownWrite, nextRun: due('in_doubt') },
        connection: broken,
      },
      'record cancelled',
    ],
    [
      'deleted by its owner',
      {
        booking: {
          payments: refunded,
          calendar: { kind: 'deleted_by_owner', event },
          nextRun: due('requested'),
        },
      },
      'record cancelled',
    ],
    [
      'cancelled by the backend, whatever was paid',
      { booking: { calendar: present(), cancelledAt: 'then' } },
      'remove',
    ],
    [
      'a hold whose payment failed',
      {
        booking: {
          payments: { pi_1: { failedAt: '2026-09-22T00:00:00Z' } },
          hold: true,
          calendar: present(held),
        },
      },
      'remove',
    ],
  ])('decides when no event is wanted (%s): %s', (_, row, expected) => {
    expect(decided(row)).toBe(expected);
  });

  it('a re-check that cannot be made is due each six hours until the appointment is over', () => {
    let booking = paidBooking({ payments: refunded, calendar: unknownWrite, nextRun: due('in_doubt') });
    const reads: number[] = [];
    while (booking.nextRun && reads.length < 50) {
      const { at } = booking.nextRun;
      reads.push(at);
      const situation = {
        booking,
        wanted: 'absent' as const,
        connection: broken,
        now: at,
        random: () => 0.5,
      };
      booking = decideNext({ ...situation, isSlotContested: false }).booking;
    }
    const ends = (booking.appointment?.endsAt ?? 0) - now;
    expect(reads.map((at) => at - now)).toEqual([...[0, 6, 12, 18, 24].map((hours) => hours * 3600), ends]);
  });

  it('a re-check that could not be made is due as soon as the user has a connection', () => {
    const calendar = unknownWrite;
    const booking = paidBooking({
      payments: refunded,
      calendar,
      nextRun: due('in_doubt', { at: now + 3600, count: 2 }),
    });
    expect(awaitsConnection(booking.nextRun)).toBe(true);
    const situation = { booking, wanted: 'absent' as const, now, random: () => 0.5, isSlotContested: false };
    expect(decideNext({ ...situation, connection: active }).do).toBe('remove');
    expect(decideNext({ ...situation, connection: broken }).do).toBe('record');
    const first = { ...booking, nextRun: due('in_doubt', { at: now + 3600 }) };
    expect(awaitsConnection(first.nextRun)).toBe(false);
    expect(decideNext({ ...situation, booking: first, connection: active }).do).toBe('record');
  });
});

describe('a requested run', () => {
  it('a requested run puts a calendar without an event in doubt only if it may create one', () => {
    expect(requestRun(paidBooking(), now, { mayCreate: true }).calendar).toEqual({
      kind: 'in_doubt',
      until: 0,
    });
    expect(requestRun(paidBooking(), now, { mayCreate: false }).calendar).toEqual({ kind: 'absent' });
  });

  it('a requested run keeps a booking waiting for a connection, and is due at once', () => {
    const waiting = paidBooking({ nextRun: later('no_connection', { count: 3 }) });
    expect(requestRun(waiting, now, { mayCreate: true }).nextRun).toEqual(due('no_connection', { count: 3 }));
  });
});

describe('an event in a former account', () => {
  const connectedTo = (googleSub: string, calendarId = 'primary') => ({ ...active, googleSub, calendarId });
  const [former, current] = [connectedTo('sub-1'), connectedTo('sub-2')];
  const account = accountFingerprint(former);
  const place = { calendarId: 'primary', eventId: 'e', account };
  const inFormer = { calendar: present({ ...event, account }) };
  const decide = (booking: Booking, at = now) => {
    const wanted = desiredPresence(booking, cancelPolicy);
    const situation = { booking, wanted, connection: current, now: at, random: () => 0.5 };
    const decision = decideNext({ ...situation, isSlotContested: false });
    return conclude(booking, decision.booking, { wanted, now: at }).booking;
  };

  it.each<[string, Row, string]>([
    ['nothing has changed', { booking: inFormer }, 'nothing'],
    ['its slot is contested', { booking: inFormer, isSlotContested: true }, 'nothing'],
    ['a check is due', { booking: { ...inFormer, nextRun: due('check') } }, 'record scheduled'],
  ])('an event in a former account is not read when %s: %s', (_, row, expected) => {
    expect(decided({ ...row, connection: current })).toBe(expected);
  });

  it.each<[string, Partial<Booking>, number, Partial<Booking>]>([
    ['changed', { revision: 2 }, now, { status: 'pending', eventNumber: 1 }],
    ['changed after it was over', { revision: 2 }, over, { status: 'missed', eventNumber: 1 }],
    ['cancelled', { cancelledAt: '2026-09-21T14:13:20Z' }, now, { status: 'cancelled', eventNumber: 1 }],
    [
      'changed while it waits',
      { revision: 2, nextRun: due('no_connection') },
      now,
      { status: 'pending', eventNumber: 1 },
    ],
  ])('an event in a former account is left there when the booking is %s', (_, change, at, expected) => {
    const left = decide(paidBooking({ ...inFormer, ...change }), at);
    expect(left).toMatchObject({ ...expected, otherEvents: [{ ...place, why: 'former_account' }] });
    expect(left).not.toHaveProperty('calendar.event');
    expect(problemsOf(left).map(({ code }) => code)).toContain('event_in_former_account');
  });

  it('deletes an event in a former account once that account is connected again', () => {
    const booking = {
      cancelledAt: '2026-09-21T14:13:20Z',
      otherEvents: [{ ...place, why: 'former_account' as const }],
    };
    expect(decided({ booking, connection: current })).toBe('nothing');
    expect(decided({ booking, connection: former })).toBe('check');
  });

  it.each<[string, string, string | undefined, GrantedConnection, boolean]>([
    ['primary of the same account', 'primary', account, former, false],
    ['primary of another account', 'primary', account, current, true],
    ['a calendar of another account', 'team', account, current, true],
    ['the chosen calendar, used with another account', 'team', account, connectedTo('sub-2', 'team'), false],
    ['an earlier calendar of the same account', 'team', account, former, false],
    ['an unknown account', 'primary', undefined, current, false],
  ])(
    'recognizes an event in a former account by its place: %s',
    (_, calendarId, of, connection, expected) => {
      const place = { calendarId, ...(of === undefined ? {} : { account: of }) };
      expect(isInFormerAccount(place, connection)).toBe(expected);
    },
  );
});

it('the fingerprint of an account names neither the account nor its other users', () => {
  const account = accountFingerprint({ userId: 'ada', googleSub: '100000000000000000001' });
  expect(account).toMatch(/^[\w-]{6}$/);
  expect(account).not.toBe(accountFingerprint({ userId: 'ben', googleSub: '100000000000000000001' }));
});
