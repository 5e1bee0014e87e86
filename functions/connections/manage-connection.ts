import * as v from 'valibot';
import { type BookingQueue, requestWaitingBookings } from '../../shared/booking/queue.ts';
import { callWithTokenRefresh, getAccess } from '../../shared/connection/access-token.ts';
import {
  type Connection,
  type DisconnectedConnection,
  formerCalendarsOf,
  type GrantedConnection,
  withoutAddresses,
} from '../../shared/connection/connection.ts';
import { type RevocationOutcome, revokeGrant } from '../../shared/connection/revocation.ts';
import { type Calendar, listWritableCalendars } from '../../shared/google/calendar.ts';
import { coveredCalendars } from '../../shared/google/token-endpoint.ts';
import type { ConnectionView } from '../../shared/http/api-schemas.ts';
import { parseRequest } from '../../shared/http/invalid-request.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { optionalScopes } from '../../shared/lib/names.ts';
import { log } from '../../shared/lib/observability.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';
import { retryOnConflict } from '../../shared/lib/retry-on-conflict.ts';
import { type CalendarDeps, fetchChosenCalendar, googleFailure } from './choose-calendar.ts';

export type ConnectionsDeps = CalendarDeps & { queue: BookingQueue };

type ListedCalendar = Omit<Calendar, 'isOwned'>;

/** Reads the connection of a user. Errors: `connection_not_found` (404). */
export async function viewConnection(deps: ConnectionsDeps, userId: string): Promise<ConnectionView> {
  return toView(await requireConnection(deps, userId));
}

/**
 * The calendars in which events can be created, the primary one first.
 * Errors: `connection_not_found`, `reauthorization_required`, `calendar_list_permission_missing`, and Google's.
 */
export async function listCalendars(
  deps: ConnectionsDeps,
  userId: string,
): Promise<{ calendars: ListedCalendar[] }> {
  const connection = await requireActiveConnection(deps, userId);
  if (!connection.scopes.includes(optionalScopes.calendarList)) throw listPermissionMissing();
  const { answer, access } = await callWithTokenRefresh(
    deps,
    await getAccess(deps, connection),
    ({ accessToken }) => listWritableCalendars(deps.calendar, accessToken),
  );
  if (answer.ok) {
    const ownedOnly = coveredCalendars(connection.scopes) === 'owned';
    return { calendars: answer.value.filter(({ isOwned }) => isOwned || !ownedOnly).map(toListed) };
  }
  // The scope for the list is optional: the connection works without it.
  if (answer.failure.kind === 'permission_missing') throw listPermissionMissing();
  throw await googleFailure(deps, access.connection, answer.failure);
}

function toListed({ isOwned: _, ...calendar }: Calendar): ListedCalendar {
  return calendar;
}

/** The settings that may be changed. */
export const changeSchema = v.strictObject({
  calendarId: v.optional(
    v.pipe(
      v.string('It must be text.'),
      v.minLength(1, 'It must not be empty.'),
      v.maxLength(254, 'It must not be longer than 254 characters.'),
      // An id goes into the path of a URL: these would be invalid there, or lead to another path.
      v.check((id) => id.isWellFormed() && id !== '.' && id !== '..', 'It is not the id of a calendar.'),
    ),
  ),
});

/**
 * Chooses the calendar, and reads its time zone. New events are created there, existing ones stay in their calendar;
 * bookings that wait for a calendar are synced again.
 * Errors: `invalid_request` (400) with a problem for each field, `connection_not_found`, `reauthorization_required`,
 * `calendar_switched_off`, `concurrent_update`, and Google's.
 */
export async function changeConnection(
  deps: ConnectionsDeps,
  userId: string,
  body: unknown,
): Promise<ConnectionView> {
  const { calendarId } = parseRequest(changeSchema, body);
  const connection = await requireActiveConnection(deps, userId);
  if (calendarId === undefined) return toView(connection);
  const chosen = await saveSettings(deps, userId, await fetchChosenCalendar(deps, connection, calendarId));
  const { tokenVersion, choices = 0 } = chosen;
  await requestWaitingBookings(deps.queue, { userId, tokenVersion, choices });
  return toView(chosen);
}

/**
 * Ends the connection and revokes the grant at Google; token-refresh tries again where that fails now. Idempotent.
 * Errors: `connection_not_found`, `concurrent_update`.
 */
export async function disconnect(
  deps: ConnectionsDeps,
  userId: string,
): Promise<{ status: 'disconnected'; revocation: RevocationOutcome }> {
  return retryOnConflict('connection', async () => {
    const connection = await requireConnection(deps, userId);
    if (connection.status === 'disconnected') {
      return { status: 'disconnected', revocation: connection.revocation ? 'pending' : 'done' };
    }
    const ended = toDisconnected(connection, deps.clock());
    // Published first: a crash after the write would lose the event.
    await publishDisconnected(deps, ended);
    if (!(await deps.connections.put(ended, connection))) return undefined;
    log.info('Connection ended', { userId });
    return { status: 'disconnected', revocation: await revokeGrant(deps, ended) };
  });
}

/** Seconds after which token-refresh takes over a revocation that was not completed here. */
const takeoverAfterSeconds = 60;

/** What remains. Fields of a newer release go too: they may be personal. */
function toDisconnected(
  connection: GrantedConnection,
  now: number,
): DisconnectedConnection & Required<Pick<Connection, 'revocation'>> {
  const { userId, tokenVersion, usedLinks, tokens, googleSub, keyId } = connection;
  return omitUndefined({
    userId,
    status: 'disconnected' as const,
    disconnectedAt: now,
    tokenVersion: tokenVersion + 1,
    keyId,
    revocation: { tokens, googleSub },
    ...withoutAddresses(userId, formerCalendarsOf(connection, now)),
    refreshAt: now + takeoverAfterSeconds,
    refreshFailures: 0,
    usedLinks,
    updatedAt: now,
  });
}

function publishDisconnected(
  deps: ConnectionsDeps,
  { userId, tokenVersion, disconnectedAt }: DisconnectedConnection,
): Promise<void> {
  return deps.bus.publish({
    type: 'connection.disconnected',
    id: `connection.disconnected:${userId}:${tokenVersion}`,
    time: toIso(disconnectedAt),
    userId,
    reason: 'requested',
  });
}

async function requireConnection(deps: ConnectionsDeps, userId: string): Promise<Connection> {
  const connection = await deps.connections.get(userId);
  if (connection) return connection;
  throw new AppError(
    'connection_not_found',
    'This user has never connected a Google Calendar. Send the user a connect link.',
    {
      status: 404,
    },
  );
}

async function requireActiveConnection(deps: ConnectionsDeps, userId: string): Promise<GrantedConnection> {
  const connection = await requireConnection(deps, userId);
  if (connection.status === 'active') return connection;
  throw new AppError(
    'reauthorization_required',
    'The connection is not active. The user must connect the calendar again.',
    {
      status: 409,
      details: { status: connection.status },
    },
  );
}

async function saveSettings(
  deps: ConnectionsDeps,
  userId: string,
  { calendarId, timeZone }: { calendarId: string; timeZone?: string },
): Promise<GrantedConnection> {
  return retryOnConflict('connection', async () => {
    // Read again: the call to Google may have refreshed the tokens.
    const connection = await requireActiveConnection(deps, userId);
    const now = deps.clock();
    const moves = calendarId !== connection.calendarId;
    const former = moves ? { formerCalendars: formerCalendarsOf(connection, now) } : {};
    const choice = { calendarId, timeZone, ...former, updatedAt: now };
    if (!(await deps.connections.updateSettings(userId, connection, choice))) return undefined;
    const { timeZone: _, ...unchanged } = connection;
    const choices = (connection.choices ?? 0) + 1;
    return { ...unchanged, ...omitUndefined(choice), choices };
  });
}

function toView(connection: Connection): ConnectionView {
  if (connection.status === 'disconnected') {
    return { status: 'disconnected', disconnectedAt: toIso(connection.disconnectedAt) };
  }
  const { status, reason, email, scopes, calendarId, timeZone, accountChangedAt } = connection;
  return omitUndefined({
    status,
    reason,
    email,
    scopes,
    features: {
      calendarList: scopes.includes(optionalScopes.calendarList),
      freeBusy: scopes.includes(optionalScopes.freeBusy),
    },
    calendarId,
    timeZone,
    connectedAt: toIso(connection.connectedAt),
    accountChangedAt: accountChangedAt === undefined ? undefined : toIso(accountChangedAt),
    lastRefreshedAt: toIso(connection.lastRefreshedAt),
  });
}

function listPermissionMissing(): AppError {
  return new AppError(
    'calendar_list_permission_missing',
    `The user has not allowed the list of calendars to be seen (${optionalScopes.calendarList}). Deploy with calendar-list in optionalScopes and let the user connect again; until then a calendar can be chosen by its id.`,
    { status: 403 },
  );
}
