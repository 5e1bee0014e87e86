import { reencryptRevocation, type TokenDeps } from '../../shared/connection/access-token.ts';
import type { Connection } from '../../shared/connection/connection.ts';
import type { ReencryptedTokens } from '../../shared/connection/store.ts';
import type { Keys } from '../../shared/crypto/keys.ts';
import { decryptStoredTokens, encryptTokens } from '../../shared/crypto/token-encryption.ts';
import { forEachConcurrent } from '../../shared/lib/for-each-concurrent.ts';
import { describeError, log, metric } from '../../shared/lib/observability.ts';

type ReencryptDeps = TokenDeps & { concurrency: number; timeLeft: () => boolean };

const pageSize = 100;

/**
 * Encrypts all tokens under older keys again with the current one, without calling Google. The old key can be removed
 * minutes after a rotation, since idle and broken connections are included.
 */
export async function reencryptTokens(deps: ReencryptDeps): Promise<{ reencrypted: number }> {
  const keys = await deps.tokenKeys.get();
  const current = keys.current(deps.clock());
  let reencrypted = 0;
  for (const keyId of keys.ids.filter((id) => id !== current)) {
    let remaining = 0;
    // Always the first page, which re-encrypted tokens leave. A page without success, or a key that has become the
    // current one, ends the loop until the next run.
    const isOld = () => keyId !== keys.current(deps.clock());
    for (let before = -1; isOld() && before !== reencrypted && deps.timeLeft(); ) {
      before = reencrypted;
      const { userIds } = await deps.connections.listByKeyId(keyId, pageSize);
      remaining = userIds.length;
      await forEachConcurrent(userIds, deps.concurrency, async (userId) => {
        if (await reencryptOne(deps, keys, userId, keyId)) reencrypted++;
      });
    }
    metric('TokensOnOldKey', remaining, { key: keyId });
  }
  if (reencrypted > 0) log.info('Tokens re-encrypted', { reencrypted, current });
  return { reencrypted };
}

async function reencryptOne(
  deps: ReencryptDeps,
  keys: Keys<'token-encryption'>,
  userId: string,
  from: string,
): Promise<boolean> {
  try {
    const connection = await deps.connections.get(userId);
    if (connection?.keyId !== from) return false;
    return await deps.connections.replaceCiphertext(
      userId,
      connection.tokenVersion,
      await reencryptedTokens(deps, keys, connection),
    );
  } catch (error) {
    log.warn('Tokens not re-encrypted', { userId, error: describeError(error) });
    return false;
  }
}

async function reencryptedTokens(
  deps: ReencryptDeps,
  keys: Keys<'token-encryption'>,
  connection: Connection,
): Promise<ReencryptedTokens> {
  const now = deps.clock();
  const { userId } = connection;
  const revocation = await reencryptRevocation(deps, userId, connection.revocation);
  if (connection.status === 'disconnected') return { keyId: keys.current(now), ...revocation };
  const tokens = await decryptStoredTokens(deps, connection, connection.tokens);
  return { ...(await encryptTokens(keys, now, userId, tokens)), ...revocation };
}
