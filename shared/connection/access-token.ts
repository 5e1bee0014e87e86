import type { Bus } from '../aws/bus.ts';
import { type CachedSecret, withSecret } from '../aws/secrets.ts';
import type { Keys } from '../crypto/keys.ts';
import { decryptStoredTokens, encryptTokens } from '../crypto/token-encryption.ts';
import type { CalendarAnswer } from '../google/calendar.ts';
import type { GoogleClient } from '../google/client-secret.ts';
import type { GoogleTokens, TokenResponse } from '../google/token-endpoint.ts';
import { AppError, hasCode } from '../lib/app-error.ts';
import { backoff } from '../lib/backoff.ts';
import { type Clock, type Random, type Sleep, toIso } from '../lib/clock.ts';
import type { RefreshPolicy } from '../lib/config.ts';
import { log, metric } from '../lib/observability.ts';
import {
  type Connection,
  type GrantedConnection,
  nextRefresh,
  type Revocation,
  unexpiredLinks,
} from './connection.ts';
import type { ConnectionStore, Lease } from './store.ts';

/** Dependencies of everything that reads, refreshes or revokes tokens. */
export type TokenDeps = {
  connections: ConnectionStore;
  google: GoogleTokens;
  googleClient: CachedSecret<GoogleClient>;
  tokenKeys: CachedSecret<Keys<'token-encryption'>>;
  bus: Bus;
  clock: Clock;
  random: Random;
  sleep: Sleep;
  refreshPolicy: RefreshPolicy;
};

/** A connection and its decrypted access token. */
export type Access = { connection: GrantedConnection; accessToken: string };

/** Seconds for which an access token must still be valid to be used. */
const minRemainingSeconds = 60;
/** Seconds of a lease: longer than a refresh call can take, so that a slow one stays the only one. */
const leaseSeconds = 20;
/** Seconds to wait for another worker's refresh. After that the worker has probably crashed: the caller retries later. */
const leaseWaitSeconds = 10;
/** Milliseconds between two reads of a connection that another worker refreshes. */
const leasePollIntervalMs = 250;
/** Seconds between two records of use, so that a busy user costs one small write in that time. */
const recordUseIntervalSeconds = 6 * 3600;

/**
 * A valid access token of the connection, refreshed where necessary. `rejectedVersion` is the version of a token that
 * Calendar has just answered with 401: it is replaced even if it should still be valid.
 * Errors: `reauthorization_required`; retryable ones of Google's token endpoint; `refresh_in_progress`.
 */
export async function getAccess(
  deps: TokenDeps,
  connection: GrantedConnection,
  rejectedVersion?: number,
): Promise<Access> {
  const now = deps.clock();
  const fresh =
    connection.accessTokenExpiresAt > now + minRemainingSeconds &&
    connection.tokenVersion !== rejectedVersion;
  if (!fresh) return refresh(deps, connection, { used: true });
  const { accessToken } = await decryptStoredTokens(deps, connection, connection.tokens);
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

/**
 * Refreshes the tokens of a connection under a lease: one worker calls Google, the others wait for its result.
 * `used` marks the connection as in use. Errors: see `getAccess`.
 */
export async function refresh(
  deps: TokenDeps,
  connection: GrantedConnection,
  options: { used: boolean },
): Promise<Access> {
  const { userId } = connection;
  const deadline = deps.clock() + leaseWaitSeconds;
  let current = connection;
  for (;;) {
    const leased = await deps.connections.acquireLease(userId, current.tokenVersion, newLease(deps));
    if (leased) return refreshUnderLease(deps, leased, options);

    const latest = await requireActive(deps, userId);
    if (latest.tokenVersion !== connection.tokenVersion) return getAccess(deps, latest);
    if (deps.clock() >= deadline) {
      throw new AppError(
        'refresh_in_progress',
        'Another worker is still refreshing this connection. Try again in a few seconds.',
        {
          status: 503,
          retryable: true,
        },
      );
    }
    current = latest;
    await deps.sleep(leasePollIntervalMs * (0.75 + 0.5 * deps.random()));
  }
}

/** Refreshes a connection on which the caller holds the lease. Errors: see `getAccess`. */
export async function refreshUnderLease(
  deps: TokenDeps,
  connection: GrantedConnection,
  options: { used: boolean },
): Promise<Access> {
  try {
    const { refreshToken } = await decryptStoredTokens(deps, connection, connection.tokens);
    const granted = await withSecret(deps.googleClient, ['google_client_misconfigured'], (client) =>
      deps.google.refresh(client, refreshToken),
    );
    return await saveRefreshedTokens(deps, connection, granted, refreshToken, options);
  } catch (error) {
    if (hasCode(error, 'google_grant_invalid'))
      return handleInvalidGrant(deps, connection, error.details.reason);
    // Any other failure is ours or Google's, never the user's: keep the connection and retry later.
    await scheduleRetry(deps, connection);
    throw error;
  }
}

async function saveRefreshedTokens(
  deps: TokenDeps,
  connection: GrantedConnection,
  granted: TokenResponse,
  usedRefreshToken: string,
  options: { used: boolean },
): Promise<Access> {
  const { userId, tokenVersion } = connection;
  const keys = await deps.tokenKeys.get();
  const now = deps.clock();
  const lastUsedAt = options.used ? now : connection.lastUsedAt;
  const accessTokenExpiresAt = now + granted.expiresIn;
  const refreshed = {
    // Both are encrypted again, even without a new refresh token, so that every token moves to the current key.
    ...(await encryptTokens(keys, now, userId, {
      accessToken: granted.accessToken,
      refreshToken: granted.refreshToken ?? usedRefreshToken,
    })),
    ...(await reencryptRevocation(deps, userId, connection.revocation)),
    accessTokenExpiresAt,
    lastUsedAt,
    lastRefreshedAt: now,
    usedLinks: unexpiredLinks(connection, now),
    refreshAt: nextRefresh({ lastUsedAt, accessTokenExpiresAt }, now, deps.random, deps.refreshPolicy),
  };
  if (await deps.connections.saveTokens(userId, tokenVersion, refreshed)) {
    metric('TokenRefreshed', 1);
    return {
      connection: { ...connection, ...refreshed, tokenVersion: tokenVersion + 1, refreshFailures: 0 },
      accessToken: granted.accessToken,
    };
  }
  // The user connected again in the meantime: the stored tokens are newer than ours.
  return getAccess(deps, await requireActive(deps, userId));
}

/** Google answered `invalid_grant`. The grant may have been replaced during the call, so the connection is read again. */
async function handleInvalidGrant(
  deps: TokenDeps,
  connection: GrantedConnection,
  reason = 'invalid_grant',
): Promise<never | Access> {
  const latest = await requireActive(deps, connection.userId);
  if (latest.tokenVersion !== connection.tokenVersion) return getAccess(deps, latest);
  await recordReauthorizationRequired(deps, connection, reason);
  throw reauthorizationRequired(reason);
}

/**
 * Marks a connection as broken and publishes that. Published first: after a crash in between, the status is published
 * again rather than never.
 */
export async function recordReauthorizationRequired(
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
  await deps.connections.markReauthorizationRequired(userId, tokenVersion, reason, now);
  log.warn('Connection requires reauthorization', { userId, reason });
  metric('ReauthorizationRequired', 1);
}

/** The error for a connection that needs another consent; `reason` is Google's. */
export function reauthorizationRequired(reason: string): AppError {
  return new AppError(
    'reauthorization_required',
    'Google no longer accepts this connection. The user must connect the calendar again.',
    { status: 409, details: { reason } },
  );
}

/** Schedules a retry of a refresh or revocation, and releases the lease. */
export async function scheduleRetry(deps: TokenDeps, connection: Connection): Promise<void> {
  const failures = connection.refreshFailures + 1;
  const wait = backoff(failures, deps.random, { first: 60, longest: 3600 });
  await deps.connections.releaseLeaseForRetry(connection, deps.clock() + wait, failures);
}

/** The current connection. Errors: `reauthorization_required` where it is not active. */
async function requireActive(deps: TokenDeps, userId: string): Promise<GrantedConnection> {
  const connection = await deps.connections.get(userId);
  if (connection?.status === 'active') return connection;
  const reason = connection?.status === 'reauthorization_required' ? connection.reason : undefined;
  throw reauthorizationRequired(reason ?? 'disconnected');
}

/** A lease that starts now. Its end has a random fraction and identifies it. */
export function newLease(deps: Pick<TokenDeps, 'clock' | 'random'>): Lease {
  const now = deps.clock();
  return { until: now + leaseSeconds + Math.floor(deps.random() * 1e6) / 1e6, now };
}

/** Records that the connection is in use, at most once per `recordUseIntervalSeconds`. */
export async function recordUse(deps: TokenDeps, connection: GrantedConnection): Promise<void> {
  const now = deps.clock();
  if (now - connection.lastUsedAt < recordUseIntervalSeconds) return;
  const refreshAt = nextRefresh({ ...connection, lastUsedAt: now }, now, deps.random, deps.refreshPolicy);
  await deps.connections.recordUse(connection.userId, connection.tokenVersion, now, refreshAt);
}

/**
 * The revocation of a connection, encrypted again with the current key: a connection names one key for all it holds.
 * One that cannot be decrypted stays as it is, since it must not prevent a new grant.
 */
export async function reencryptRevocation(
  deps: Pick<TokenDeps, 'tokenKeys' | 'clock'>,
  userId: string,
  revocation: Revocation | undefined,
): Promise<{ revocation?: Revocation }> {
  if (!revocation) return {};
  const keys = await deps.tokenKeys.get();
  try {
    const decrypted = await decryptStoredTokens(deps, { userId }, revocation.tokens);
    const { tokens } = await encryptTokens(keys, deps.clock(), userId, decrypted);
    return { revocation: { ...revocation, tokens } };
  } catch (error) {
    if (!hasCode(error, 'token_unreadable')) throw error;
    return { revocation };
  }
}
