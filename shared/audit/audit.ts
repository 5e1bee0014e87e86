import type { Cursor } from '../aws/dynamo.ts';
import { type Booking, calendarEventId, type EventPlace, knownEvent } from '../booking/booking.ts';
import { isPaid } from '../booking/booking-payments.ts';
import type { PaymentPolicy } from '../booking/desired-presence.ts';
import { type CalendarFinding, type Finding, type FindingStore, isOfPayment } from '../booking/findings.ts';
import { isAway, isInFormerAccount } from '../booking/former-account.ts';
import type { BookingStore, ListPosition } from '../booking/store.ts';
import {
  type Access,
  callWithTokenRefresh,
  getAccess,
  refresh,
  type TokenDeps,
} from '../connection/access-token.ts';
import { activeOf, type GrantedConnection } from '../connection/connection.ts';
import type { CalendarAnswer, CalendarApi } from '../google/calendar.ts';
import { type OwnEvent, ownEventPage, readOwnEvent } from '../google/own-events.ts';
import { toIso } from '../lib/clock.ts';
import { describeError, log } from '../lib/observability.ts';
import { bookingIdOf, type Context, isSettling, isWaiting, judgeBooking, judgeEvent } from './judge.ts';
import { comparePayments, isUnpaid, type PointerReader } from './payments.ts';

/** Where a run is: everything before `after` is compared. `after` is absent at the start, and once all is done. */
export type Progress = {
  startedAt: number;
  from: number;
  to: number;
  after?: { keyId: string; userId: string };
  finishedAt?: number;
  users: number;
  /** Users whose calendar could not be read. */
  unread: number;
  bookings: number;
  waiting: number;
  findings: number;
};

type CompareDeps = TokenDeps & {
  bookings: Pick<BookingStore, 'get' | 'list'>;
  pointers: PointerReader;
  calendar: CalendarApi;
  paymentPolicy: PaymentPolicy;
  /** Calls to Google's Calendar in one run, at most. */
  callBudget: number;
  timeLeft: () => boolean;
};

export type AuditDeps = CompareDeps & {
  /** Users side by side. */
  concurrency: number;
  found: (finding: Finding) => Promise<void>;
  /** Records what is done: a later run continues there. */
  saveProgress: (progress: Progress) => Promise<void>;
};

type UserReport = { bookings: number; waiting: number; findings: number };

const pageSize = 100;

/** Ends a run in the middle of a user, who is compared again from the beginning. */
class BudgetSpent extends Error {}

/**
 * Compares all bookings of the range with the events of ours in the calendars of their users. Answers where it ended:
 * `finishedAt` is absent where time or calls ran out.
 */
export async function audit(deps: AuditDeps, start: Progress): Promise<Progress> {
  const budget = { left: deps.callBudget };
  let progress = start;
  for await (const users of usersAfter(deps, start.after)) {
    if (!deps.timeLeft()) return progress;
    const reports = await Promise.all(
      users.map(({ userId }) => auditUser(deps, { userId, budget }, progress).catch(unlessSpent)),
    );
    const isSpent = reports.includes('spent');
    if (isSpent && progress !== start) return progress;
    // Users who need more than a whole budget count as unread, or no run would ever get past them.
    const read = reports.map((report) => (report === 'spent' ? undefined : report));
    progress = added(progress, read, users.at(-1));
    await deps.saveProgress(progress);
    if (isSpent) return progress;
  }
  const { after: _, ...rest } = progress;
  const findings = rest.findings + (await comparePayments(deps));
  const finished = { ...rest, findings, finishedAt: deps.clock() };
  await deps.saveProgress(finished);
  return finished;
}

function unlessSpent(error: unknown): 'spent' {
  if (error instanceof BudgetSpent) return 'spent';
  throw error;
}

function added(
  progress: Progress,
  reports: (UserReport | undefined)[],
  last: Progress['after'] | undefined,
): Progress {
  const read = reports.filter((report) => report !== undefined);
  const sum = (of: keyof UserReport): number =>
    read.reduce((total, report) => total + report[of], progress[of]);
  return {
    ...progress,
    ...(last ? { after: last } : {}),
    users: progress.users + reports.length,
    unread: progress.unread + reports.length - read.length,
    bookings: sum('bookings'),
    waiting: sum('waiting'),
    findings: sum('findings'),
  };
}

/**
 * Users with tokens, some at a time, in an order that no refresh changes: by the key of their tokens, the current one
 * last, since a refresh moves them to it.
 */
async function* usersAfter(
  deps: AuditDeps,
  after: Progress['after'],
): AsyncGenerator<{ keyId: string; userId: string }[]> {
  const keys = await deps.tokenKeys.get();
  const current = keys.current(deps.clock());
  const inOrder = [...keys.ids.filter((id) => id !== current).sort(), current];
  for (const keyId of inOrder.slice(Math.max(0, inOrder.indexOf(after?.keyId ?? '')))) {
    let cursor: Cursor | undefined = after?.keyId === keyId ? { ...after } : undefined;
    do {
      const page = await deps.connections.listByKeyId(keyId, pageSize, cursor);
      for (let first = 0; first < page.userIds.length; first += deps.concurrency) {
        yield page.userIds.slice(first, first + deps.concurrency).map((userId) => ({ keyId, userId }));
      }
      cursor = page.cursor;
    } while (cursor);
  }
}

/** Undefined where the calendar of a user cannot be read now. */
async function auditUser(
  deps: AuditDeps,
  { userId, budget }: { userId: string; budget: Budget },
  range: Progress,
): Promise<UserReport | undefined> {
  const connection = activeOf(await deps.connections.get(userId));
  if (!connection || (connection.calendarPausedUntil ?? 0) > deps.clock()) return undefined;
  try {
    const user = { access: await accessOf(deps, connection), budget };
    const report: UserReport = { bookings: 0, waiting: 0, findings: 0 };
    const seen = await compareEvents(deps, user, range, report);
    await compareBookings(deps, user, range, { seen, report });
    return report;
  } catch (error) {
    if (error instanceof BudgetSpent) throw error;
    log.warn('Calendar not audited', { userId, error: describeError(error) });
    return undefined;
  }
}

/** Calls to Google that are left in this run. */
type Budget = { left: number };
type User = { access: Access; budget: Budget };

/** Access that does not count as use: an idle connection is not to be refreshed each hour because of the audit. */
function accessOf(deps: CompareDeps, connection: GrantedConnection): Promise<Access> {
  const isFresh = connection.accessTokenExpiresAt > deps.clock() + 60;
  return isFresh ? getAccess(deps, connection) : refresh(deps, connection, { used: false });
}

/** Reads the calendar. Throws where Google does not answer: the user is compared in the next run. */
async function read<T>(
  deps: CompareDeps,
  user: User,
  call: (accessToken: string) => Promise<CalendarAnswer<T>>,
): Promise<T | undefined> {
  const { answer, access } = await callWithTokenRefresh(deps, user.access, ({ accessToken }) => {
    if (user.budget.left-- <= 0) throw new BudgetSpent();
    return call(accessToken);
  });
  user.access = access;
  if (answer.ok) return answer.value;
  const { kind, reason } = answer.failure;
  if (kind === 'not_found' || kind === 'gone') return undefined;
  throw new Error(`Google does not let us read the calendar: ${kind}, ${reason}.`);
}

/** Each event of ours in the calendars of a user. Answers the ids of those that stand. */
async function compareEvents(
  deps: AuditDeps,
  user: User,
  { from, to }: Progress,
  report: UserReport,
): Promise<Set<string>> {
  const seen = new Set<string>();
  for (const calendarId of calendarsOf(user.access.connection, deps.clock())) {
    let pageToken: string | undefined;
    do {
      const page = await read(deps, user, (token) =>
        ownEventPage(deps.calendar, token, calendarId, { from: toIso(from), to: toIso(to), pageToken }),
      );
      for (const event of page?.items ?? []) {
        if (seen.has(event.id)) continue;
        seen.add(event.id);
        await compareEvent(deps, user, { calendarId, event }, report);
      }
      pageToken = page?.nextPageToken;
    } while (pageToken);
  }
  return seen;
}

function calendarsOf(connection: GrantedConnection, now: number): string[] {
  const lately = (connection.formerCalendars ?? []).filter(
    (former) => former.until > now && !isInFormerAccount(former, connection),
  );
  return [...new Set([connection.calendarId, ...lately.map(({ calendarId }) => calendarId)])];
}

async function compareEvent(
  deps: AuditDeps,
  user: User,
  { calendarId, event }: { calendarId: string; event: OwnEvent },
  report: UserReport,
): Promise<void> {
  const bookingId = bookingIdOf(event);
  if (bookingId === undefined) return;
  const judge = async (shown: OwnEvent) =>
    judgeEvent(shown, await deps.bookings.get(bookingId), contextOf(deps, user));
  const first = await judge(event);
  if (!first) return;
  const again = await read(deps, user, (token) => readOwnEvent(deps.calendar, token, calendarId, event.id));
  const kind = again && (await judge(again));
  if (kind === first)
    await reportFinding(deps, user, report, { kind, bookingId, place: { calendarId, eventId: event.id } });
}

/** Each booking of a user in the range: its event must have been seen, or be found where the record says. */
async function compareBookings(
  deps: AuditDeps,
  user: User,
  { from, to }: Progress,
  { seen, report }: { seen: Set<string>; report: UserReport },
): Promise<void> {
  const { userId } = user.access.connection;
  let after: ListPosition | undefined;
  do {
    const page = await deps.bookings.list({ userId, from, to, limit: pageSize, ...(after ? { after } : {}) });
    for (const booking of page.bookings.filter((one) => one.userId === userId)) {
      report.bookings++;
      if (isPaid(booking) && isWaiting(booking, deps.paymentPolicy)) report.waiting++;
      await compareBooking(deps, user, booking, { seen, report });
    }
    after = page.next;
  } while (after);
}

async function compareBooking(
  deps: AuditDeps,
  user: User,
  booking: Booking,
  { seen, report }: { seen: Set<string>; report: UserReport },
): Promise<void> {
  const context = contextOf(deps, user);
  const place = placeOf(booking, user.access.connection);
  // What was seen is judged already; a former account cannot be read.
  if (seen.has(place.eventId) || isAway(booking, user.access.connection)) return;
  if (judgeBooking(booking, undefined, context) === undefined) return;
  const event = await read(deps, user, (token) =>
    readOwnEvent(deps.calendar, token, place.calendarId, place.eventId),
  );
  const latest = await deps.bookings.get(booking.bookingId);
  if (latest?.userId !== booking.userId || latest?.version !== booking.version) return;
  const kind = judgeBooking(latest, event, context);
  if (kind) await reportFinding(deps, user, report, { kind, bookingId: booking.bookingId, place });
}

/** Where the event of a booking is, or would be. */
function placeOf(booking: Booking, { calendarId }: GrantedConnection): EventPlace {
  const known = knownEvent(booking);
  if (known) return { calendarId: known.calendarId, eventId: known.eventId };
  return { calendarId, eventId: calendarEventId(booking.bookingId, calendarId, booking.eventNumber) };
}

function contextOf(deps: CompareDeps, { access: { connection } }: User): Context {
  return { connection, policy: deps.paymentPolicy, now: deps.clock() };
}

async function reportFinding(
  deps: AuditDeps,
  { access: { connection } }: User,
  report: UserReport,
  finding: Omit<CalendarFinding, 'userId'>,
): Promise<void> {
  report.findings++;
  await deps.found({ ...finding, userId: connection.userId });
}

/**
 * Resolves the findings that a finished run has not seen again, each after a read of its booking and its event. What
 * cannot be read stays open.
 */
export async function resolveFindings(
  deps: CompareDeps,
  findings: Pick<FindingStore, 'open' | 'resolve'>,
  startedAt: number,
): Promise<{ resolved: number; open: number }> {
  const counts = { resolved: 0, open: 0 };
  const budget = { left: deps.callBudget };
  for await (const finding of findings.open()) {
    const isSeen = finding.seenAt >= startedAt || !deps.timeLeft();
    const isOpen =
      isSeen ||
      (await (isOfPayment(finding) ? isUnpaid(deps.pointers, finding) : stillStands(deps, finding, budget)));
    const isResolved = !isOpen && (await findings.resolve(finding.findingId, startedAt, deps.clock()));
    counts[isResolved ? 'resolved' : 'open']++;
  }
  return counts;
}

async function stillStands(
  deps: CompareDeps,
  { kind, userId, bookingId, place }: CalendarFinding,
  budget: Budget,
): Promise<boolean> {
  const connection = activeOf(await deps.connections.get(userId));
  if (!connection) return true;
  try {
    const user = { access: await accessOf(deps, connection), budget };
    const booking = await deps.bookings.get(bookingId);
    if (booking && isSettling(booking, deps.clock())) return true;
    const isOwn = booking !== undefined && kind === 'paid_without_event';
    const { calendarId, eventId } = isOwn ? placeOf(booking, connection) : place;
    const event = await read(deps, user, (token) => readOwnEvent(deps.calendar, token, calendarId, eventId));
    const context = contextOf(deps, user);
    if (isOwn) return judgeBooking(booking, event, context) === kind;
    return event !== undefined && judgeEvent(event, booking, context) === kind;
  } catch (error) {
    log.warn('Finding not read again', { userId, bookingId, error: describeError(error) });
    return true;
  }
}
