import { jitter } from './backoff.ts';
import type { Random } from './clock.ts';

/**
 * - `active`: Google accepts the grant
 * - `reauthorization_required`: it does not any more; only the user can mend it, by consenting again
 * - `disconnected`: the user took the grant back here
 */
export type ConnectionStatus = 'active' | 'reauthorization_required' | 'disconnected';

/** A user's grant of access to one Google account. Instants are epoch seconds. */
export type Connection = {
  userId: string;
  status: ConnectionStatus;
  /** Why the status is not `active`: Google's reason. */
  reason?: string;
  /** Google's id of the account; the email may change, this does not. */
  googleSub: string;
  email: string;
  scopes: string[];
  /** Calendar that new events go to. */
  calendarId: string;
  /** Sealed, see token-vault. */
  accessToken: string;
  refreshToken: string;
  accessTokenExpiresAt: number;
  /** Grows whenever tokens or status change: the fence against writers that were overtaken. */
  tokenVersion: number;
  lastUsedAt: number;
  /** When the tokens are to be refreshed next; absent unless active. With its shard it is the index `refresh-due`. */
  refreshAt?: number;
  refreshShard?: string;
  /** Refreshes in a row that failed for a reason that may pass. */
  refreshFailures: number;
  /** Who refreshes at present, and until when nobody else may. */
  leaseOwner?: string;
  leaseUntil?: number;
  /** Links that completed a connection and have not expired yet: none completes two. */
  usedLinks: { link: string; until: number }[];
  connectedAt: number;
  updatedAt: number;
};

/** When connections are refreshed. All in seconds. */
export type RefreshPolicy = {
  /** A connection used within this time is kept fresh. */
  inUseFor: number;
  /** How long before its expiry the access token of a connection in use is replaced. */
  margin: number;
  /** How often the grant of an idle connection is tried: finds revoked grants, and counts as use for Google. */
  keepAlive: number;
};

export const refreshPolicy: RefreshPolicy = { inUseFor: 86_400, margin: 900, keepAlive: 3 * 86_400 };

/** When to refresh a connection next, given what is known of it now. Jittered, so that a burst of sign-ups spreads. */
export function nextRefresh(
  connection: { lastUsedAt: number; accessTokenExpiresAt: number },
  now: number,
  random: Random,
  policy: RefreshPolicy = refreshPolicy,
): number {
  const inUse = now - connection.lastUsedAt < policy.inUseFor;
  if (inUse) return connection.accessTokenExpiresAt - jitter(policy.margin, random, 0.3);
  return now + jitter(policy.keepAlive, random, 0.2);
}
