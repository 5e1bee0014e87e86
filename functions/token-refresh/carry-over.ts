import { open, resealedRevocation, type TokenDeps } from '../../shared/access-token.ts';
import type { Connection } from '../../shared/connection.ts';
import type { ResealedTokens } from '../../shared/connection-store.ts';
import { eachOf } from '../../shared/each-of.ts';
import type { Keys } from '../../shared/keys.ts';
import { describeError, log, metric } from '../../shared/observability.ts';
import { sealTokens } from '../../shared/token-vault.ts';

type CarryOverDeps = TokenDeps & { concurrency: number; timeLeft: () => boolean };

const pageSize = 100;

/**
 * Encrypts all tokens under older keys again with the current one, without calling Google. The old key can be removed
 * minutes after a rotation, since idle and broken connections are included.
 */
export async function carryOverTokens(deps: CarryOverDeps): Promise<{ carriedOver: number }> {
  const keys = await deps.tokenKeys.get();
  const current = keys.current(deps.clock());
  let carriedOver = 0;
  for (const keyId of keys.ids.filter((id) => id !== current)) {
    let left = 0;
    // Always the first page, which re-encrypted tokens leave. A page without success, or a key that has become the
    // current one, ends the loop until the next run.
    const isOld = () => keyId !== keys.current(deps.clock());
    for (let before = -1; isOld() && before !== carriedOver && deps.timeLeft(); ) {
      before = carriedOver;
      const { userIds } = await deps.connections.sealedWith(keyId, pageSize);
      left = userIds.length;
      await eachOf(userIds, deps.concurrency, async (userId) => {
        if (await carryOver(deps, keys, userId, keyId)) carriedOver++;
      });
    }
    metric('TokensOnOldKey', left, { key: keyId });
  }
  if (carriedOver > 0) log.info('Tokens re-encrypted', { carriedOver, current });
  return { carriedOver };
}

async function carryOver(
  deps: CarryOverDeps,
  keys: Keys<'token-encryption'>,
  userId: string,
  from: string,
): Promise<boolean> {
  try {
    const connection = await deps.connections.get(userId);
    if (connection?.keyId !== from) return false;
    return await deps.connections.reseal(
      userId,
      connection.tokenVersion,
      await resealed(deps, keys, connection),
    );
  } catch (error) {
    log.warn('Tokens not re-encrypted', { userId, error: describeError(error) });
    return false;
  }
}

async function resealed(
  deps: CarryOverDeps,
  keys: Keys<'token-encryption'>,
  connection: Connection,
): Promise<ResealedTokens> {
  const now = deps.clock();
  const { userId } = connection;
  const revocation = await resealedRevocation(deps, userId, connection.revocation);
  if (connection.status === 'disconnected') return { keyId: keys.current(now), ...revocation };
  const tokens = await open(deps, connection, connection.tokens);
  return { ...(await sealTokens(keys, now, userId, tokens)), ...revocation };
}
