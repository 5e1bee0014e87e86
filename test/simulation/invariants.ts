import { instantOf } from '../../infra/local/google/event-times.ts';
import type { Booking, BookingStatus } from '../../shared/booking.ts';
import type { BusEventType } from '../../shared/bus.ts';
import type { Connection, GrantedConnection } from '../../shared/connection.ts';
import { fromItem } from '../../shared/dynamo.ts';
import { parseKeys } from '../../shared/keys.ts';
import { openTokens } from '../../shared/token-vault.ts';
import { colleague, eventsOfBooking } from './by-hand.ts';
import { deadlineOf, instantOfContent } from './contents.ts';
import type { Deed } from './deeds.ts';
import { bodyOf, countedDeeds, ownerOf, presences } from './expectations.ts';
import { isConnected, type Life } from './life.ts';
import { checkPayments } from './payment-outcomes.ts';
import { lastEventViolation } from './published.ts';
import { ready } from './readiness.ts';
import { givenUpEvents, mayHaveOlderEvent, recordedEvent } from './stored-booking.ts';
import { changesBesideBooking } from './untouched.ts';
import type { World } from './world.ts';

/** What must hold, at every moment and in the end. Each violation is told in one line. */

/**
 * Milliseconds for which two events may stand: two minutes until nothing can take effect late any more, one until
 * reconcile hands back what is due, and three for each message of the same user before it that somebody has died with
 * or an operator has handed back.
 */
const longestOverlap = 20 * 60_000;
/** Seconds for which the service remembers an event that it gave up. */
const givenUpFor = 15 * 86_400;

/** Counts of what was looked at, so that a check that never runs is noticed. */
export type Checks = Record<string, number>;

export type Watch = {
  violations: string[];
  checks: Checks;
  broken: { at: number; connection: GrantedConnection; alive: Set<string> }[];
};

/** Looks at each change of the tables and of the calendars as it happens. */
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
    // Its owner has moved the older one to a calendar that cannot be searched: a problem says so.
    if (stored && mayHaveOlderEvent(stored)) return true;
    // One worker gives an event id up while another one creates its event: the re-check deletes it.
    const known = events.filter(({ resource }) => {
      const givenUp = stored && givenUpEvents(stored).find(({ eventId }) => eventId === resource.id);
      const createdAt = Date.parse(resource.created ?? '') / 1000;
      return givenUp === undefined || createdAt < givenUp.until - givenUpFor - 30;
    });
    if (new Set(known.map(({ calendarId }) => calendarId)).size < known.length) return false;
    // After these the service waits for an hour and more.
    if (isAccountRefused(world)) return true;
    const newest = Math.max(...events.map(({ resource }) => Date.parse(resource.created ?? '')));
    const hindered = world.injected.at(-1)?.at ?? 0;
    return world.now() - Math.max(newest, hindered) < longestOverlap;
  };
  world.watchGoogle(() => {
    count('one event at most, after each call');
    const standing = Map.groupBy(
      world.google
        .events()
        .filter(({ resource }) => resource.extendedProperties?.private?.leadscalendarBooking),
      ({ resource, calendarId }) =>
        `${resource.extendedProperties?.private?.leadscalendarBooking} of ${world.google.state.calendars.get(calendarId)?.owner}`,
    );
    for (const [booking, events] of standing) {
      if (events.length > 1 && !isBriefly(events)) violated(`two events stand for ${booking} at once`);
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

  world.watchers.push((table, item, before) => {
    if (table === 'bookings' && item.id?.S?.startsWith('booking#')) {
      const [now, then] = [fromItem<Booking>(item), before && fromItem<Booking>(before)];
      count('booking versions follow each other');
      if (now.version !== (then?.version ?? 0) + 1)
        violated(`${now.bookingId} was written over another version`);
      const tooEarly = missedTooEarly(world, then, now);
      if (ready.days && tooEarly !== undefined) {
        count('nothing is given up before its deadline');
        if (tooEarly) violated(`${now.bookingId} was given up although its appointment is still ahead`);
      }
      const news = newsOf(then, now);
      if (!news) return;
      count('news is published before it is stored');
      const isPublished = world.published.some(
        ({ type, bookingId, id }) =>
          news.includes(type) && bookingId === now.bookingId && id.endsWith(`:${now.version - 1}`),
      );
      if (!isPublished) violated(`${now.bookingId} became ${now.status}, and nobody was told`);
    }
    if (table === 'connections') {
      const [now, then] = [fromItem<Connection>(item), before && fromItem<Connection>(before)];
      count('connection versions never go back');
      if (then && now.tokenVersion < then.tokenVersion) violated(`the connection of ${now.userId} went back`);
      if (now.status === then?.status) return;
      const type = connectionNews[now.status];
      if (!world.published.some((event) => event.type === type && event.userId === now.userId))
        violated(`the connection of ${now.userId} became ${now.status}, and nobody was told`);
      if (now.status === 'reauthorization_required') {
        const alive = new Set(
          [...world.google.state.refreshTokens.values()]
            .map(({ token }) => token)
            .filter(world.google.accepts),
        );
        watch.broken.push({ at: world.now(), connection: now, alive });
      }
    }
  });
  return watch;
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

const connectionNews: Record<Connection['status'], BusEventType> = {
  active: 'connection.activated',
  reauthorization_required: 'connection.reauthorization_required',
  disconnected: 'connection.disconnected',
};

const newsOfStatus: Partial<Record<BookingStatus, BusEventType[]>> = {
  scheduled: ['booking.scheduled', 'booking.rescheduled', 'booking.conflict'],
  cancelled: ['booking.cancelled'],
  waiting_for_connection: ['booking.waiting'],
  conflict: ['booking.conflict'],
  deleted_by_user: ['booking.deleted_by_user'],
  missed: ['booking.missed'],
  failed: ['booking.failed'],
};

/** Events of which one must have been published for this change; undefined where none need be. */
function newsOf(before: Booking | undefined, now: Booking): BusEventType[] | undefined {
  if (before?.status === now.status) return undefined;
  const known = before && recordedEvent(before);
  // Cancelled by its backend where nothing stood and nothing was paid: that is answered, and no news.
  if (now.status === 'cancelled' && now.cancelledAt !== undefined && !known && before?.status !== 'pending')
    return undefined;
  // A look at Google that found all as it was on record.
  if (
    before?.status === 'pending' &&
    known &&
    known.revision === recordedEvent(now)?.revision &&
    now.status === 'scheduled' &&
    !known.tentative
  )
    return undefined;
  return newsOfStatus[now.status];
}

/** Texts that must never leave: tokens of Google's, secrets and keys of ours. */
const secretText = /ya29\.|1\/\/[\w-]{20}|canary-/;

export function leaks(what: string, text: string): string[] {
  return secretText.test(text) ? [`${what} shows a secret: ${text.slice(0, 300)}`] : [];
}

const lastEventCheck = 'the last event published agrees with the status';
const refusedCheck = 'no event is left because its account was refused until the appointment was over';

/** What must hold when all is quiet. */
export async function checkEnd(life: Life, watch: Watch): Promise<void> {
  const { world, truth } = life;
  const { violations, checks } = watch;
  const count = (what: string): void => {
    checks[what] = (checks[what] ?? 0) + 1;
  };
  const bookings = new Map(world.bookings().map((booking) => [booking.bookingId, booking]));

  for (const { resource } of world.google.events()) {
    const id = resource.extendedProperties?.private?.leadscalendarBooking ?? '';
    count('no event of ours without a booking');
    if (!bookings.has(id)) violations.push(`an event stands for ${id}, which does not exist`);
  }
  for (const { id } of truth.plan.bookings) {
    count('the calendar shows what is desired');
    violations.push(...checkBooking(life, id, bookings.get(id)).map((what) => `${id}: ${what}`));
  }
  for (const booking of bookings.values()) {
    count(lastEventCheck);
    const violation = lastEventViolation(world.published, booking);
    if (violation) violations.push(`${lastEventCheck}: ${booking.bookingId}: ${violation}`);
  }
  for (let freed = 0; freed < truth.freed; freed++) count('an ordinary action frees a stuck booking');
  violations.push(...truth.stuck);
  if (ready.paymentOutcomes) violations.push(...checkPayments(life, count));
  for (const event of world.published) {
    count('no secret in a bus event');
    violations.push(...leaks('a bus event', JSON.stringify(event)));
  }
  for (const { timeline, bookingId } of bookings.values())
    violations.push(...leaks(`the timeline of ${bookingId}`, JSON.stringify(timeline)));

  const keys = parseKeys('token-encryption', world.texts['token-encryption'] as string);
  for (const { connection, alive } of watch.broken) {
    count('no connection is marked broken without cause');
    const { refreshToken } = await openTokens(keys, connection.userId, connection.tokens);
    const scopeRefused = world.injected.some(({ fault }) => fault === '403 scope missing');
    if (alive.has(refreshToken) && !scopeRefused)
      violations.push(`the connection of ${connection.userId} was marked broken although its grant is alive`);
    const ends = truth.plan.deeds.some((deed) => deed.do === 'revoke at Google' || deed.do === 'disconnect');
    if (!ends && world.injected.length === 0)
      violations.push(`the connection of ${connection.userId} broke although nothing had gone wrong`);
  }
  const current = keys.current(Math.floor(world.now() / 1000));
  for (const connection of world.connections()) {
    count('every token opens, and is sealed with the current key');
    if (connection.keyId !== undefined && connection.keyId !== current)
      violations.push(`tokens of ${connection.userId} are still sealed with ${connection.keyId}`);
    if (connection.status !== 'disconnected')
      await openTokens(keys, connection.userId, connection.tokens).catch(() =>
        violations.push(`the tokens of ${connection.userId} cannot be opened`),
      );
    if (connection.leaseUntil !== undefined && connection.leaseUntil * 1000 > world.now())
      violations.push(`the connection of ${connection.userId} is leased for ever`);
  }
  if (world.queue.size() > 0) violations.push(`${world.queue.size()} messages are left in the queue`);
}

/** Google has refused something for good: then a booking may have failed, and says so. */
function isRefused({ world }: Life): boolean {
  return world.injected.some(({ fault }) => fault === '400 data');
}

/** Google has refused an account or a calendar for a while. */
function isAccountRefused({ injected }: World): boolean {
  return injected.some(({ fault }) => /^403 (quota|forbidden|unknown|not set up)$/.test(fault));
}

/** How a booking may end of which nothing stands. */
const atRest: (string | undefined)[] = [
  'cancelled',
  'declared',
  'missed',
  'failed',
  'waiting_for_connection',
  'deleted_by_user',
  'conflict',
  undefined,
];

function checkBooking(life: Life, id: string, booking: Booking | undefined): string[] {
  const { world, truth } = life;
  const user = ownerOf(life, id);
  const wanted = presences(life, id);
  const names = (deed: Deed): boolean => 'booking' in deed && deed.booking === id && !('unusable' in deed);
  const named = truth.delivered.filter(names);
  const isUsable = countedDeeds(life, id).some(names) || truth.applied.has(id);
  const events = eventsOfBooking(world, id).filter((event) => !isOfLostRun(life, id, event.calendarId));
  const zoneOf = (calendarId: string): string =>
    world.google.state.calendars.get(calendarId)?.timeZone ?? 'UTC';
  const calendarZone = zoneOf(events[0]?.calendarId ?? world.google.emailOf(truth.plan.accounts[user]) ?? '');
  const shown = events.map(
    ({ calendarId, resource: { summary, location, start, end, status, attendees } }) => ({
      summary,
      location,
      start: instantOf(start ?? {}, zoneOf(calendarId)),
      end: instantOf(end ?? {}, zoneOf(calendarId)),
      status,
      guests: (attendees ?? []).map(({ email }) => email ?? '').filter((email) => email !== colleague),
    }),
  );
  const found = `status ${booking?.status ?? 'none'} ${JSON.stringify(booking?.problems ?? [])}, events ${JSON.stringify(shown)}`;
  const connected = isConnected(life, user);
  const body = bodyOf(truth, id);
  const { summary, location, start, end, timeZone, attendees } = body;
  const deadline = deadlineOf(body, calendarZone);
  const content = {
    summary,
    location,
    start: instantOfContent(start, timeZone, calendarZone),
    end: instantOfContent(end, timeZone, calendarZone),
  };
  const isSaid = booking?.problems.some(({ code }) => code === 'older_event_may_remain');
  if (booking && mayHaveOlderEvent(booking) && booking.status !== 'deleted_by_user') {
    const isAtRest = booking.status === 'scheduled' || booking.status === 'held';
    return isSaid || !isAtRest ? [] : [`an older event may remain, and no problem says so: ${found}`];
  }
  if (events.length > 1) return [`${events.length} events stand: ${found}`];
  if (booking?.status === 'failed' && booking.problems.length === 0) return ['it failed without saying why'];
  if (booking?.status === 'pending') return [`it is still pending: ${JSON.stringify(booking)}`];

  if (wanted.includes('absent') && events.length === 0 && atRest.includes(booking?.status)) return [];
  const isGivenUp = booking?.status === 'cancelled' || booking?.status === 'declared';
  if (wanted.includes('absent') && (wanted.length === 1 || isGivenUp)) {
    // Nobody can take it out without access, and after the appointment nobody needs to.
    const isOver = content.end <= world.now();
    if (!connected && (booking?.status === 'waiting_for_connection' || isOver)) return [];
    if (booking?.status === 'failed' && isRefused(life)) return [];
    if (truth.movedByHand.has(id) && mayNotSearch(life, user) && isDeletionUnanswered(world)) return [];
    const endedAt = Date.parse(booking?.updatedAt ?? '');
    if (isAccountRefused(world) && isGivenUp && endedAt >= content.end) return [`${refusedCheck}: ${found}`];
    return [`nothing should stand: ${found}`];
  }
  const tentative = wanted[0] === 'tentative';
  if (!booking) return ['it was paid for and is not known'];
  if (!isUsable) {
    if (booking.status === 'failed' && events.length === 0) return [];
    // A session that came to nothing may have told of its appointment.
    if (named.length === 0) return [`it cannot be used: ${found}`];
  }
  switch (booking.status) {
    case 'scheduled':
    case 'held': {
      if (truth.deletedByHand.has(id) && events.length === 0) return [];
      // It is checked a day before, or when the booking changes.
      if (truth.deletedCalendars.has(recordedEvent(booking)?.calendarId ?? '')) return [];
      const mayBeIn = truth.movedByHand.has(id) ? truth.deletedCalendars.size : 0;
      if (mayBeIn > 0 && events.length === 0) return [];
      const expected = { ...content, status: tentative ? 'tentative' : 'confirmed' };
      const [event] = shown;
      if (!event) return [`it is ${booking.status}, and no event stands`];
      const differs = (Object.keys(expected) as (keyof typeof expected)[]).filter(
        (name) => event[name] !== expected[name],
      );
      const guests = tentative ? [] : (attendees ?? []).map(({ email }) => email).sort();
      return [
        ...differs.map((name) => `its event shows ${name} ${event[name]} and not ${expected[name]}`),
        ...checkGuests(life, booking, event.guests.sort(), guests),
      ];
    }
    case 'deleted_by_user':
      // Its event was in a calendar that was deleted.
      if (truth.deletedCalendars.has(recordedEvent(booking)?.calendarId ?? '')) return [];
      if (truth.movedByHand.has(id) && truth.deletedCalendars.size > 0) return [];
      if (truth.movedByHand.has(id) && mayNotSearch(life, user))
        return isSaid ? [] : [`its owner has moved it, and no problem says so: ${found}`];
      return truth.deletedByHand.has(id) && events.length === 0 ? [] : [`nobody has deleted it: ${found}`];
    case 'conflict':
      return truth.plan.conflictPolicy === 'hold' && events.length === 0 ? [] : [`no conflict: ${found}`];
    case 'waiting_for_connection':
      return connected ? [`it waits for a connection that is there: ${found}`] : [];
    case 'failed':
      return isRefused(life) ? [] : [`it failed without cause: ${found}`];
    case 'missed': {
      // Late enough before the appointment everything worked: then there was time, the longest wait of six hours included.
      const hadTime =
        connected &&
        !isCalendarDeleted(life, user) &&
        truth.calmAt + 7 * 3600 < deadline / 1000 &&
        truth.plan.mends;
      // Without access, nobody can tell that an attempt that seemed to have failed has left an event.
      return hadTime || (connected && events.length > 0 && !recordedEvent(booking))
        ? [`it was missed although there was time: ${found}`]
        : [];
    }
    default:
      return [`it should stand: ${found}`];
  }
}

function checkGuests(life: Life, { problems }: Booking, shown: string[], wanted: string[]): string[] {
  if (!ready.guests) return [];
  const rejected = life.truth.plan.switches.rejectedGuests ?? [];
  const mayLack = isRefused(life) || wanted.some((guest) => rejected.includes(guest));
  if (mayLack && problems.some(({ code }) => code === 'guests_refused')) return [];
  return `${shown}` === `${wanted}` ? [] : [`its event has the guests ${shown} and not ${wanted}`];
}

/** The answer to a deletion was lost. A known limit: an event that is not found afterwards counts as deleted, not moved. */
function isDeletionUnanswered({ injected }: World): boolean {
  return injected.some(({ target }) => target === 'events.delete');
}

/** Whether an event that its owner has moved cannot be looked for in the other calendars. */
function mayNotSearch({ truth }: Life, user: string): boolean {
  return (truth.plan.withheld?.[user] ?? []).includes('.calendarlist.readonly');
}

/** Whether the calendar that a user has chosen was deleted. */
function isCalendarDeleted({ world, truth }: Life, user: string): boolean {
  const connection = world.connections().find(({ userId }) => userId === user);
  return connection?.status === 'active' && truth.deletedCalendars.has(connection.calendarId);
}

/**
 * Whether an event is in the calendar of a user whose payment came first and lost the booking to another user before
 * the run that created the event could record it. A known limit.
 */
function isOfLostRun({ world, truth }: Life, id: string, calendarId: string): boolean {
  const mayBe = truth.plan.deeds.some((deed) => deed.do === 'pay as another user' && deed.booking === id);
  const owner = truth.plan.accounts[ownerOf({ world, truth }, id)];
  const { calendars } = world.google.state;
  return mayBe && calendars.get(calendarId)?.owner !== owner;
}
