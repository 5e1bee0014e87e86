import { AppError, hasCode } from './app-error.ts';
import { backoff } from './backoff.ts';
import type { Bus } from './bus.ts';
import type { CalendarAnswer } from './calendar.ts';
import { type Clock, type Random, type Sleep, toIso } from './clock.ts';
import {
  type Connection,
  type GrantedConnection,
  linksInUse,
  nextRefresh,
  type RefreshPolicy,
  type Revocation,
} from './connection.ts';
import type { ConnectionStore, Lease } from './connection-store.ts';
import type { GoogleClient } from './google-client-secret.ts';
import type { GoogleTokens, GrantedTokens } from './google-oauth.ts';
import type { Keys } from './keys.ts';
import { log, metric } from './observability.ts';
import { type Secret, useSecret } from './secrets.ts';
import { openTokens, sealTokens, type Tokens } from './token-vault.ts';

/** What the life of a token needs of the world. */
export type TokenDeps = {
  connections: ConnectionStore;
  google: GoogleTokens;
  googleClient: Secret<GoogleClient>;
  tokenKeys: Secret<Keys<'token-encryption'>>;
  bus: Bus;
  clock: Clock;
  random: Random;
  sleep: Sleep;
  refreshPolicy: RefreshPolicy;
};

/** A connection and its access token in clear. */
export type Access = { connection: GrantedConnection; accessToken: string };

/** Seconds of life that an access token must have left to be used. */
const usableFor = 60;
/** Seconds of a lease: longer than a refresh call can take, so that no second one starts beside a slow one. */
const leaseDuration = 20;
/** Seconds to wait for another worker's refresh: after that its holder is taken for dead, and the caller retries later. */
const waitForOthers = 10;
/** Milliseconds between two looks at a connection that somebody else refreshes. */
const lookAgainAfter = 250;
/** Seconds between two records of use: a busy user costs one small write in that time. */
const useRecordedFor = 6 * 3600;

/**
 * A valid access token of the connection, refreshed if need be. `refused` is the version of a token that
 * Calendar has just answered 401 to: it is replaced even if it looks fresh.
 * Errors: `reauthorization_required`; retryable ones of Google's token endpoint; `refresh_in_progress`.
 */
export async function getAccess(
  deps: TokenDeps,
  connection: GrantedConnection,
  refused?: number,
): Promise<Access> {
  const now = deps.clock();
  const fresh = connection.accessTokenExpiresAt > now + usableFor && connection.tokenVersion !== refused;
  if (!fresh) return refresh(deps, connection, { used: true });
  const { accessToken } = await open(deps, connection, connection.tokens);
  return { connection, accessToken };
}

/**
 * Calls Calendar with the token of `access`; once more with a new token where Google rejects that one (401). Answers
 * the access that was used last. Errors: those of `getAccess`, and what `call` throws.
 */
export async function callWithTokenRefresh<T>(
  deps: TokenDeps,
  access: Access,
  call: (access: Access) => Promise<CalendarAnswer<T>>,
): Promise<{ answer: CalendarAnswer<T>; access: Access }> {
  const answer = await call(access);
  if (answer.ok || answer.failure.kind !== 'unauthorized') return { answer, access };
  const renewed = await getAccess(deps, access.connection, access.connection.tokenVersion);
  return { answer: await call(renewed), access: renewed };
}

/** Opens tokens; with newer keys where another worker has sealed them with one that is not known here yet. */
export function open(
  deps: Pick<TokenDeps, 'tokenKeys'>,
  { userId }: { userId: string },
  sealed: string,
): Promise<Tokens> {
  return useSecret(deps.tokenKeys, ['token_unreadable'], (keys) => openTokens(keys, userId, sealed));
}

/**
 * The revocation of a connection, its tokens sealed anew with the current key: all that a connection holds is sealed
 * with the one key that it names. One that does not open stays as it is: a grant that cannot be taken back is no reason
 * to refuse a new one.
 */
export async function resealedRevocation(
  deps: Pick<TokenDeps, 'tokenKeys' | 'clock'>,
  userId: string,
  revocation: Revocation | undefined,
): Promise<{ revocation?: Revocation }> {
  if (!revocation) return {};
  const keys = await deps.tokenKeys.get();
  try {
    const opened = await open(deps, { userId }, revocation.tokens);
    const { tokens } = await sealTokens(keys, deps.clock(), userId, opened);
    return { revocation: { ...revocation, tokens } };
  } catch (error) {
    if (!hasCode(error, 'token_unreadable')) throw error;
    return { revocation };
  }
}

/** Records that the connection is in use, unless that is on record: see `useRecordedFor`. */
export async function recordUse(deps: TokenDeps, connection: GrantedConnection): Promise<void> {
  const now = deps.clock();
  if (now - connection.lastUsedAt < useRecordedFor) return;
  const refreshAt = nextRefresh({ ...connection, lastUsedAt: now }, now, deps.random, deps.refreshPolicy);
  await deps.connections.recordUse(connection.userId, connection.tokenVersion, now, refreshAt);
}

/**
 * Refreshes the tokens of a connection: one worker at a time does, all others wait for its result.
 * `used` marks the connection as in use. Errors: see `getAccess`.
 */
export async function refresh(
  deps: TokenDeps,
  connection: GrantedConnection,
  options: { used: boolean },
): Promise<Access> {
  const { userId } = connection;
  const giveUpAt = deps.clock() + waitForOthers;
  let current = connection;
  for (;;) {
    const leased = await deps.connections.takeLease(userId, current.tokenVersion, newLease(deps));
    if (leased) return refreshUnderLease(deps, leased, options);

    const seen = await readActive(deps, userId);
    if (seen.tokenVersion !== connection.tokenVersion) return getAccess(deps, seen);
    if (deps.clock() >= giveUpAt) {
      throw new AppError('refresh_in_progress', 'Another worker is still refreshing this connection.', {
        status: 503,
        retryable: true,
      });
    }
    current = seen;
    await deps.sleep(lookAgainAfter * (0.75 + 0.5 * deps.random()));
  }
}

/** A lease that starts now. It is known by its end, which no two have in common. */
export function newLease(deps: Pick<TokenDeps, 'clock' | 'random'>): Lease {
  const now = deps.clock();
  return { until: now + leaseDuration + Math.floor(deps.random() * 1e6) / 1e6, now };
}

/** The connection as it is now. Errors: `reauthorization_required` where it is not active. */
async function readActive(deps: TokenDeps, userId: string): Promise<GrantedConnection> {
  const connection = await deps.connections.get(userId);
  if (connection?.status === 'active') return connection;
  const reason = connection?.status === 'reauthorization_required' ? connection.reason : undefined;
  throw reauthorizationRequired(reason ?? 'disconnected');
}

/** Refreshes a connection on which the caller holds the lease. Errors: see `getAccess`. */
export async function refreshUnderLease(
  deps: TokenDeps,
  connection: GrantedConnection,
  options: { used: boolean },
): Promise<Access> {
  try {
    const { refreshToken } = await open(deps, connection, connection.tokens);
    const granted = await useSecret(deps.googleClient, ['google_client_misconfigured'], (client) =>
      deps.google.refresh(client, refreshToken),
    );
    return await saveGranted(deps, connection, granted, refreshToken, options);
  } catch (error) {
    if (hasCode(error, 'google_grant_invalid')) return grantRefused(deps, connection, error.details.reason);
    // Whatever else it is, it is not the user's: keep the connection as it is and come back later.
    await postpone(deps, connection);
    throw error;
  }
}

/** Leaves what is due on a connection for later, and ends the lease on it. */
export async function postpone(deps: TokenDeps, connection: Connection): Promise<void> {
  const failures = connection.refreshFailures + 1;
  const wait = backoff(failures, deps.random, { first: 60, longest: 3600 });
  await deps.connections.postpone(connection, deps.clock() + wait, failures);
}

async function saveGranted(
  deps: TokenDeps,
  connection: GrantedConnection,
  granted: GrantedTokens,
  usedRefreshToken: string,
  options: { used: boolean },
): Promise<Access> {
  const { userId, tokenVersion } = connection;
  const keys = await deps.tokenKeys.get();
  const now = deps.clock();
  const lastUsedAt = options.used ? now : connection.lastUsedAt;
  const accessTokenExpiresAt = now + granted.expiresIn;
  const refreshed = {
    // Both sealed anew, even when Google sent no new refresh token: so every token moves on to the current key.
    ...(await sealTokens(keys, now, userId, {
      accessToken: granted.accessToken,
      refreshToken: granted.refreshToken ?? usedRefreshToken,
    })),
    ...(await resealedRevocation(deps, userId, connection.revocation)),
    accessTokenExpiresAt,
    lastUsedAt,
    lastRefreshedAt: now,
    usedLinks: linksInUse(connection, now),
    refreshAt: nextRefresh({ lastUsedAt, accessTokenExpiresAt }, now, deps.random, deps.refreshPolicy),
  };
  if (await deps.connections.saveTokens(userId, tokenVersion, refreshed)) {
    metric('TokenRefreshed', 1);
    return {
      connection: { ...connection, ...refreshed, tokenVersion: tokenVersion + 1, refreshFailures: 0 },
      accessToken: granted.accessToken,
    };
  }
  // The user connected again meanwhile: what stands there now is newer than what we hold.
  return getAccess(deps, await readActive(deps, userId));
}

/** Google says the grant is dead. It may have been replaced while we asked: look before declaring anything. */
async function grantRefused(
  deps: TokenDeps,
  connection: GrantedConnection,
  reason = 'invalid_grant',
): Promise<never | Access> {
  const seen = await readActive(deps, connection.userId);
  if (seen.tokenVersion !== connection.tokenVersion) return getAccess(deps, seen);
  await requireReauthorization(deps, connection, reason);
  throw reauthorizationRequired(reason);
}

/**
 * Marks a connection as broken and tells LeadsCalendar. Published first: were it the other way round, a crash in
 * between would leave a broken connection that nobody was told of.
 */
export async function requireReauthorization(
  deps: TokenDeps,
  connection: GrantedConnection,
  reason: string,
): Promise<void> {
  const { userId, tokenVersion } = connection;
  const now = deps.clock();
  await deps.bus.publish({
    type: 'connection.reauthorization_required',
    id: `connection.reauthorization_required:${userId}:${tokenVersion}`,
    time: toIso(now),
    userId,
    reason,
  });
  await deps.connections.requireReauthorization(userId, tokenVersion, reason, now);
  log.warn('Connection needs to be authorized again', { userId, reason });
  metric('ReauthorizationRequired', 1);
}

function reauthorizationRequired(reason: string): AppError {
  return new AppError(
    'reauthorization_required',
    'Google no longer accepts this connection. The user must connect the calendar again.',
    { status: 409, details: { reason } },
  );
}
