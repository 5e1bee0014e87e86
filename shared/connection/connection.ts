import { createHash } from 'node:crypto';
import { jitter } from '../lib/backoff.ts';
import type { Random } from '../lib/clock.ts';
import type { RefreshPolicy } from '../lib/config.ts';
import { omitUndefined } from '../lib/omit-undefined.ts';

/**
 * A user's grant of access to one Google account. Instants are epoch seconds.
 * - `active`: Google accepts the grant
 * - `reauthorization_required`: Google no longer accepts it; only the user can fix that, by consenting again
 * - `disconnected`: the user ended the connection here
 */
export type Connection = GrantedConnection | DisconnectedConnection;

type ConnectionBase = {
  /** The version of the stored shape, which the store writes. */
  schemaVersion?: number;
  userId: string;
  /** Grows with each change of tokens or status: the fence against stale writers. */
  tokenVersion: number;
  /** Id of the key that encrypts the tokens held here; absent without tokens. Key of the index `token-key`. */
  keyId?: string;
  /** When the next refresh or revocation is due. With its shard the key of the index `refresh-due`. */
  refreshAt?: number;
  refreshShard?: string;
  /** Attempts in a row that failed with a retryable error. */
  refreshFailures: number;
  /** End of the lease of the worker that is refreshing. */
  leaseUntil?: number;
  /** Calendars that events were created in before, the latest first, while an orphan may still be found there. */
  formerCalendars?: FormerCalendar[];
  /** Counts the user's settings changes: optimistic lock for writers that replace the item. */
  choices?: number;
  /** Links that completed a connection and have not expired: a link connects once. */
  usedLinks: { link: string; until: number }[];
  /** A grant that is still to be revoked at Google. */
  revocation?: Revocation;
  updatedAt: number;
};

export type GrantedConnection = ConnectionBase & {
  status: 'active' | 'reauthorization_required';
  /** Why the status is not `active`: Google's reason. */
  reason?: string;
  /** Google's id of the account, which never changes, unlike the email. Key of the index `google-account`. */
  googleSub: string;
  email: string;
  scopes: string[];
  /** Calendar in which new events are created. */
  calendarId: string;
  /** IANA zone of that calendar, from Google; absent where it is unknown. */
  timeZone?: string;
  /** Google's access and refresh token, encrypted together. */
  tokens: string;
  accessTokenExpiresAt: number;
  /** Google limits the rate of calls to this user's calendar: until then none are made. */
  calendarPausedUntil?: number;
  lastUsedAt: number;
  lastRefreshedAt: number;
  connectedAt: number;
  /** When the user last changed to another Google account. */
  accountChangedAt?: number;
};

/** The remainder of a connection that the user has ended: without tokens and account. */
export type DisconnectedConnection = ConnectionBase & {
  status: 'disconnected';
  disconnectedAt: number;
  /** Former calendars whose ids may be email addresses, by their hash. */
  hashedCalendars?: { hash: string; until: number }[];
  /** When an operator erased the user, and who: a payment that was made before brings nothing back. */
  erasedAt?: number;
  erasedBy?: string;
  /** Epoch second after which the item of an erased user is deleted. */
  expiresAt?: number;
};

/** Every field of a connection that this release knows. */
export const knownFields: Record<keyof GrantedConnection | keyof DisconnectedConnection, true> = {
  schemaVersion: true,
  userId: true,
  tokenVersion: true,
  keyId: true,
  refreshAt: true,
  refreshShard: true,
  refreshFailures: true,
  leaseUntil: true,
  formerCalendars: true,
  choices: true,
  usedLinks: true,
  revocation: true,
  updatedAt: true,
  status: true,
  reason: true,
  googleSub: true,
  email: true,
  scopes: true,
  calendarId: true,
  timeZone: true,
  tokens: true,
  accessTokenExpiresAt: true,
  calendarPausedUntil: true,
  lastUsedAt: true,
  lastRefreshedAt: true,
  connectedAt: true,
  accountChangedAt: true,
  disconnectedAt: true,
  hashedCalendars: true,
  erasedAt: true,
  erasedBy: true,
  expiresAt: true,
};

/** The fields of a newer release, for a writer that replaces the connection. */
export function unknownFields(connection: Connection): object {
  return Object.fromEntries(Object.entries(connection).filter(([name]) => !Object.hasOwn(knownFields, name)));
}

/** Seconds for which an erased user is remembered: longer than a provider repeats a payment, or a queue keeps it. */
const erasedSeconds = 90 * 86_400;

/** What is left of the connection of an erased user. A grant that is still to be revoked stays until it is. */
export function erasedConnection(
  userId: string,
  existing: DisconnectedConnection | undefined,
  { by, now }: { by: string; now: number },
): DisconnectedConnection {
  const { keyId, refreshAt, revocation } = existing ?? {};
  return {
    userId,
    status: 'disconnected',
    disconnectedAt: existing?.disconnectedAt ?? now,
    tokenVersion: (existing?.tokenVersion ?? 0) + 1,
    refreshFailures: existing?.refreshFailures ?? 0,
    usedLinks: existing ? unexpiredLinks(existing, now) : [],
    ...(revocation ? omitUndefined({ revocation, keyId, refreshAt }) : {}),
    erasedAt: now,
    erasedBy: by,
    expiresAt: now + erasedSeconds,
    updatedAt: now,
  };
}

/** The connection if it works, as far as is known. */
export function activeOf(connection: Connection | undefined): GrantedConnection | undefined {
  return connection?.status === 'active' ? connection : undefined;
}

/**
 * A calendar that was chosen before, and until when it is searched for orphans. `account` is the fingerprint of the
 * account it was chosen with.
 */
type FormerCalendar = { calendarId: string; until: number; account?: string };

/** Former calendars that are kept at most. */
const maxFormerCalendars = 3;
/** Seconds for which a former calendar is kept: longer than any message lives. */
const formerCalendarTtlSeconds = 15 * 86_400;

/** The former calendars of a connection whose events go to another calendar from `now` on. */
export function formerCalendarsOf(
  connection: Pick<GrantedConnection, 'userId' | 'googleSub' | 'calendarId' | 'formerCalendars'>,
  now: number,
): FormerCalendar[] {
  const { calendarId, formerCalendars = [] } = connection;
  const account = accountFingerprint(connection);
  const others = formerCalendars.filter(
    (former) => (former.calendarId !== calendarId || former.account !== account) && former.until > now,
  );
  return [{ calendarId, until: now + formerCalendarTtlSeconds, account }, ...others].slice(
    0,
    maxFormerCalendars,
  );
}

/** Ids without personal data: the alias, and generated ids of secondary calendars. */
const isImpersonal = (calendarId: string): boolean =>
  calendarId === 'primary' || calendarId.endsWith('@group.calendar.google.com');

function hashOf(userId: string, calendarId: string): string {
  return createHash('sha256').update(`${userId}\n${calendarId}`).digest('base64url');
}

/** Distinguishes the Google accounts of one user. It reveals neither the account nor that two users share one. */
export function accountFingerprint({
  userId,
  googleSub,
}: Pick<GrantedConnection, 'userId' | 'googleSub'>): string {
  return hashOf(userId, googleSub).slice(0, 6);
}

/** Former calendars of a disconnected connection: an id that may be an email address is kept only as its hash. */
export function withoutAddresses(
  userId: string,
  former: FormerCalendar[],
): Pick<DisconnectedConnection, 'formerCalendars' | 'hashedCalendars'> {
  const hashed = former.filter(({ calendarId }) => !isImpersonal(calendarId));
  return {
    formerCalendars: former.filter(({ calendarId }) => isImpersonal(calendarId)),
    ...(hashed.length === 0
      ? {}
      : {
          hashedCalendars: hashed.map(({ calendarId, until }) => ({
            hash: hashOf(userId, calendarId),
            until,
          })),
        }),
  };
}

/** The former calendars of a connection that is made again. The hash of `email` becomes an id again. */
export function restoreFormerCalendars(existing: Connection, email: string, now: number): FormerCalendar[] {
  const { userId, formerCalendars = [] } = existing;
  const hashed = existing.status === 'disconnected' ? (existing.hashedCalendars ?? []) : [];
  const resolved = hashed
    .filter(({ hash }) => hash === hashOf(userId, email))
    .map(({ until }) => ({ calendarId: email, until }));
  return [...formerCalendars, ...resolved].filter(({ until }) => until > now);
}

/** When the last field of a disconnected connection expires. */
export function retentionEndsAt(
  { formerCalendars = [], usedLinks, ...rest }: Connection,
  now: number,
): number {
  const hashed = rest.status === 'disconnected' ? (rest.hashedCalendars ?? []) : [];
  return Math.max(now, ...[...formerCalendars, ...hashed, ...usedLinks].map(({ until }) => until));
}

/** The used links that have not expired. */
export function unexpiredLinks(
  { usedLinks }: Pick<Connection, 'usedLinks'>,
  now: number,
): Connection['usedLinks'] {
  return usedLinks.filter(({ until }) => until > now);
}

/** The encrypted tokens of a grant that is to be revoked. */
export type Revocation = { tokens: string; googleSub: string };

/** When to refresh a connection next. Jittered, so that connections made together are not refreshed together. */
export function nextRefresh(
  connection: { lastUsedAt: number; accessTokenExpiresAt: number },
  now: number,
  random: Random,
  policy: RefreshPolicy,
): number {
  const inUse = now - connection.lastUsedAt < policy.inUseFor;
  if (inUse) return connection.accessTokenExpiresAt - jitter(policy.margin, random, 0.3);
  return now + jitter(policy.keepAlive, random, 0.2);
}
