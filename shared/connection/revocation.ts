import { decryptStoredTokens } from '../crypto/token-encryption.ts';
import { AppError } from '../lib/app-error.ts';
import { toIso } from '../lib/clock.ts';
import { describeError, log, metric } from '../lib/observability.ts';
import { scheduleRetry, type TokenDeps } from './access-token.ts';
import { type Connection, type Revocation, retentionEndsAt } from './connection.ts';

/**
 * The outcome of revoking a grant:
 * - `done`: Google has revoked it, now or before
 * - `shared`: not revoked, since Google would also end the connection of another user to the same Google account
 * - `pending`: Google could not be reached; token-refresh tries again
 * - `abandoned`: given up after many attempts; the user can revoke it at myaccount.google.com/permissions
 */
export type RevocationOutcome = 'done' | 'shared' | 'pending' | 'abandoned';

/** Attempts; the last one is about a day after the first. */
const maxTries = 30;

/** Revokes the grant that a connection holds for revocation, and records the outcome. A failure of Google never throws. */
export async function revokeGrant(
  deps: TokenDeps,
  connection: Connection & { revocation: Revocation },
): Promise<RevocationOutcome> {
  const { userId, tokenVersion, revocation, status } = connection;
  const outcome = await tryRevoke(deps, connection, revocation);
  metric('GrantRevocation', 1, { outcome });
  if (outcome !== 'pending') {
    const deleteAt = status === 'disconnected' ? retentionEndsAt(connection, deps.clock()) : undefined;
    await deps.connections.completeRevocation(userId, tokenVersion, deleteAt);
    return outcome;
  }
  // An active connection is due for its refresh anyway.
  if (status !== 'disconnected') return outcome;
  await scheduleRetry(deps, connection);
  return outcome;
}

async function tryRevoke(
  deps: TokenDeps,
  connection: Connection,
  revocation: Revocation,
): Promise<RevocationOutcome> {
  const { userId, refreshFailures } = connection;
  const others = await deps.connections.listOtherUsers(revocation.googleSub, userId);
  if (others.length > 0) return (await publishShared(deps, connection, others)) ? 'shared' : 'pending';
  try {
    const { refreshToken } = await decryptStoredTokens(deps, connection, revocation.tokens);
    await deps.google.revoke(refreshToken);
    return 'done';
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const outcome = refreshFailures + 1 < maxTries ? 'pending' : 'abandoned';
    log.warn('Grant not revoked', { userId, code: error.code, outcome });
    return outcome;
  }
}

/**
 * Publishes which users keep access to the account, so that LeadsCalendar can show and end their connections. Answers
 * whether that succeeded: token-refresh tries again.
 */
async function publishShared(
  { bus }: TokenDeps,
  { userId, tokenVersion, status, updatedAt }: Connection,
  otherUserIds: string[],
): Promise<boolean> {
  try {
    await bus.publish({
      type: 'connection.account_shared',
      id: `connection.account_shared:${userId}:${tokenVersion}`,
      time: toIso(updatedAt),
      userId,
      reason: status === 'disconnected' ? 'disconnected' : 'other_account',
      otherUserIds,
    });
    return true;
  } catch (error) {
    log.warn('Shared Google account not published', { userId, error: describeError(error) });
    return false;
  }
}
