import { instantOf } from '../../infra/local/google/event-times.ts';
import type { BusEvent, BusEventType } from '../../shared/aws/bus.ts';
import { fromItem } from '../../shared/aws/dynamo.ts';
import type { Booking, BookingStatus } from '../../shared/booking/booking.ts';
import type { Connection, GrantedConnection } from '../../shared/connection/connection.ts';
import { isAccountRefused } from './check-booking.ts';
import { ready } from './readiness.ts';
import { givenUpEvents, mayHaveOlderEvent, recordedEvent } from './stored-booking.ts';
import { changesBesideBooking } from './untouched.ts';
import type { World } from './world.ts';

/** What must hold at every moment. Each violation is one line. */

/**
 * Milliseconds for which two events may exist: the in-doubt window of two minutes, one minute until reconcile requeues,
 * and three for each earlier message of the same user that a worker has crashed with or an operator has redriven.
 */
const longestOverlap = 20 * 60_000;
/** Seconds for which the service remembers an event that it gave up. */
const givenUpFor = 15 * 86_400;

/** How often each check ran, so that one that never runs is noticed. */
export type Checks = Record<string, number>;

export type Watch = {
  violations: string[];
  checks: Checks;
  broken: { at: number; connection: GrantedConnection; alive: Set<string> }[];
};

/** Checks each change of the tables and of the calendars as it happens. */
export function watchWorld(world: World): Watch {
  const watch: Watch = { violations: [], checks: {}, broken: [] };
  const count = (what: string): void => {
    watch.checks[what] = (watch.checks[what] ?? 0) + 1;
  };
  const violated = (what: string): void => {
    watch.violations.push(`${((world.now() - 1) / 1000).toFixed(0)}: ${what}`);
  };

  /**
   * Google cannot be kept from entering late what was sent before its user chose another calendar, nor can two workers
   * that have one message be kept from meeting at that moment. That must not last, unless Google allows nothing more.
   */
  const isBriefly = (events: ReturnType<typeof world.google.events>): boolean => {
    const booking = events[0]?.resource.extendedProperties?.private?.leadscalendarBooking;
    const stored = world.bookings().find(({ bookingId }) => bookingId === booking);
    // Its owner has moved the older one to a calendar that cannot be searched: a problem reports it.
    if (stored && mayHaveOlderEvent(stored)) return true;
    // After these refusals the service waits for an hour and more. Until then it can read no event that it has given up.
    const isRefused =
      isAccountRefused(world) || world.injected.some(({ fault }) => fault === '403 scope missing');
    // One worker gives an event id up while another one creates its event: the re-check deletes it.
    const known = events.filter(({ resource }) => {
      const givenUp = stored && givenUpEvents(stored).find(({ eventId }) => eventId === resource.id);
      const createdAt = Date.parse(resource.created ?? '') / 1000;
      return givenUp === undefined || (!isRefused && createdAt < givenUp.until - givenUpFor - 30);
    });
    if (new Set(known.map(({ calendarId }) => calendarId)).size < known.length) return false;
    if (isRefused) return true;
    const newest = Math.max(...events.map(({ resource }) => Date.parse(resource.created ?? '')));
    const hindered = world.injected.at(-1)?.at ?? 0;
    return world.now() - Math.max(newest, hindered) < longestOverlap;
  };
  world.watchGoogle(() => {
    count('one event at most, after each call');
    const existing = Map.groupBy(
      world.google
        .events()
        .filter(({ resource }) => resource.extendedProperties?.private?.leadscalendarBooking),
      ({ resource, calendarId }) =>
        `${resource.extendedProperties?.private?.leadscalendarBooking} of ${world.google.state.calendars.get(calendarId)?.owner}`,
    );
    for (const [booking, events] of existing) {
      if (events.length > 1 && !isBriefly(events)) violated(`two events exist for ${booking} at once`);
    }
  });

  world.google.watchPatches((before, after) => {
    if (!ready.guests) return;
    count('a write changes nothing but what its booking changed');
    for (const what of changesBesideBooking(before, after)) violated(what);
  });

  world.watchRefreshes((beside) => {
    count('one refresh at a time');
    if (beside) violated('two refreshes of one connection ran side by side');
  });

  const watchBooking = bookingWatcher(world, { count, violated });
  world.watchers.push((table, item, before) => {
    if (table === 'bookings' && item.id?.S?.startsWith('booking#'))
      watchBooking(fromItem<Booking>(item), before && fromItem<Booking>(before));
    if (table !== 'connections') return;
    const now = fromItem<Connection>(item);
    watchConnection(world, { now, earlier: before && fromItem<Connection>(before) }, { count, violated });
    if (now.status !== 'reauthorization_required' || before?.status?.S === now.status) return;
    const tokens = [...world.google.state.refreshTokens.values()].map(({ token }) => token);
    watch.broken.push({
      at: world.now(),
      connection: now,
      alive: new Set(tokens.filter(world.google.accepts)),
    });
  });
  return watch;
}

type Report = { count: (what: string) => void; violated: (what: string) => void };

function bookingWatcher(world: World, { count, violated }: Report) {
  /** How many events had been published when a booking was last written. */
  const publishedBefore = new Map<string, number>();
  return (now: Booking, then: Booking | undefined): void => {
    const { bookingId, status, version } = now;
    const since = publishedBefore.get(bookingId) ?? 0;
    publishedBefore.set(bookingId, world.published.length);
    count('booking versions follow each other');
    if (version !== (then?.version ?? 0) + 1) violated(`${bookingId} was written over another version`);
    const tooEarly = missedTooEarly(world, then, now);
    if (ready.days && tooEarly !== undefined) {
      count('nothing is given up before its deadline');
      if (tooEarly) violated(`${bookingId} was given up although its appointment is still ahead`);
    }
    const wanted = eventsOf(then, now);
    if (!wanted) return;
    count('a status is published before it is stored');
    const isOurs = (event: BusEvent): boolean =>
      event.type.startsWith('booking.') && event.bookingId === bookingId;
    const events = world.published.filter(isOurs);
    const recent = world.published.slice(since).filter(isOurs);
    // Consumers that know the status already need no second event. What the record says was published may have been
    // followed by an event of a run whose write was lost: its message publishes again, which is checked at the end.
    const recorded = events.filter(({ type }) => type === then?.published?.type);
    const known = [...recent, ...events.slice(-1), ...recorded];
    if (!known.some(({ type }) => wanted.includes(type)))
      violated(`${bookingId} became ${status}, and no event was published`);
  };
}

function watchConnection(
  world: World,
  { now, earlier }: { now: Connection; earlier: Connection | undefined },
  { count, violated }: Report,
): void {
  const { userId, status } = now;
  count('connection versions never go back');
  if (earlier && now.tokenVersion < earlier.tokenVersion) violated(`the connection of ${userId} went back`);
  if (status === earlier?.status) return;
  const type = eventOfConnection[status];
  if (!world.published.some((event) => event.type === type && event.userId === userId))
    violated(`the connection of ${userId} became ${status}, and no event was published`);
}

/** Whether a booking was given up before its deadline; undefined where it was not given up. */
function missedTooEarly(world: World, before: Booking | undefined, now: Booking): boolean | undefined {
  const { appointment, status, userId } = now;
  if (status !== 'missed' || before?.status === 'missed' || !appointment) return undefined;
  const connection = world.connections().find((one) => one.userId === userId);
  if (connection?.status !== 'active') return undefined;
  const { state, emailOf } = world.google;
  const account = [...state.accounts.values()].find(({ sub }) => sub === connection.googleSub);
  const id = connection.calendarId === 'primary' ? emailOf(account?.sub) : connection.calendarId;
  const zone = state.calendars.get(id ?? '')?.timeZone ?? account?.timeZone ?? 'UTC';
  const [from, to] = [appointment.start, appointment.end].map((time) =>
    instantOf('date' in time ? { date: time.date } : time, zone),
  ) as [number, number];
  const deadline = to - from > 4 * 3_600_000 ? to : from;
  // Clocks differ by some seconds.
  return world.now() < deadline - 10_000;
}

const eventOfConnection: Record<Connection['status'], BusEventType> = {
  active: 'connection.activated',
  reauthorization_required: 'connection.reauthorization_required',
  disconnected: 'connection.disconnected',
};

const eventsOfStatus: Partial<Record<BookingStatus, BusEventType[]>> = {
  scheduled: ['booking.scheduled', 'booking.rescheduled', 'booking.conflict'],
  cancelled: ['booking.cancelled'],
  waiting_for_connection: ['booking.waiting'],
  conflict: ['booking.conflict'],
  deleted_by_user: ['booking.deleted_by_user'],
  missed: ['booking.missed'],
  failed: ['booking.failed'],
};

/** Events of which one must have been published for this change; undefined where none need be. */
function eventsOf(before: Booking | undefined, now: Booking): BusEventType[] | undefined {
  if (before?.status === now.status) return undefined;
  const known = before && recordedEvent(before);
  // Cancelled by its backend without an event or a payment: the answer says so, no bus event does.
  if (now.status === 'cancelled' && now.cancelledAt !== undefined && !known && before?.status !== 'pending')
    return undefined;
  // The answer to the request has said so before.
  if (now.status === 'cancelled' && before?.published?.answered) return undefined;
  // A read of Google that found all as recorded.
  if (
    before?.status === 'pending' &&
    known &&
    known.revision === recordedEvent(now)?.revision &&
    now.status === 'scheduled' &&
    !known.tentative
  )
    return undefined;
  return eventsOfStatus[now.status];
}
