import { createHash } from 'node:crypto';
import { jitter } from './backoff.ts';
import type { Random } from './clock.ts';

/**
 * A user's grant of access to one Google account. Instants are epoch seconds.
 * - `active`: Google accepts the grant
 * - `reauthorization_required`: it does not any more; only the user can mend it, by consenting again
 * - `disconnected`: the user took the grant back here
 */
export type Connection = GrantedConnection | DisconnectedConnection;

type Common = {
  userId: string;
  /** Grows whenever tokens or status change: the fence against writers that were overtaken. */
  tokenVersion: number;
  /** Key id of the sealed tokens held here; absent when there are none. It is the index `token-key`. */
  keyId?: string;
  /** When something is to be done next: a refresh, or a revocation. With its shard it is the index `refresh-due`. */
  refreshAt?: number;
  refreshShard?: string;
  /** Attempts in a row that failed for a reason that may pass. */
  refreshFailures: number;
  /** Until when nobody else may refresh, since somebody does. */
  leaseUntil?: number;
  /** Calendars that events went to before, the latest first, until no attempt can have left an event there unseen. */
  formerCalendars?: FormerCalendar[];
  /** How often its user has chosen something: the fence against who stores a connection as a whole meanwhile. */
  choices?: number;
  /** Links that completed a connection and may still be valid: none completes two. */
  usedLinks: { link: string; until: number }[];
  /** A grant that is to be taken back at Google, and has not been yet. */
  revocation?: Revocation;
  updatedAt: number;
};

export type GrantedConnection = Common & {
  status: 'active' | 'reauthorization_required';
  /** Why the status is not `active`: Google's reason. */
  reason?: string;
  /** Google's id of the account; the email may change, this does not. It is the index `google-account`. */
  googleSub: string;
  email: string;
  scopes: string[];
  /** Calendar that new events go to. */
  calendarId: string;
  /** IANA zone of that calendar, as Google answered it; absent where it is not known. */
  timeZone?: string;
  /** Google's access and refresh token, sealed together: see token-vault. */
  tokens: string;
  accessTokenExpiresAt: number;
  /** Google has refused calls to this user's calendar as too many: until then none are made. */
  calendarPausedUntil?: number;
  lastUsedAt: number;
  lastRefreshedAt: number;
  connectedAt: number;
  /** When the user last changed to another Google account. */
  accountChangedAt?: number;
};

/** What remains of a connection that the user has ended: no tokens, no account. */
export type DisconnectedConnection = Common & {
  status: 'disconnected';
  disconnectedAt: number;
  /** Former calendars whose ids may be addresses of people, by their hash. */
  hashedCalendars?: { hash: string; until: number }[];
};

/**
 * A calendar that was chosen before, and until when it is looked into for what an attempt may have left there. `account`:
 * fingerprint of the account it was chosen with.
 */
type FormerCalendar = { calendarId: string; until: number; account?: string };

/** How many calendars are remembered that were chosen before, and for how many seconds: longer than any message lives. */
const rememberedCalendars = 3;
const rememberedFor = 15 * 86_400;

/** The calendars to remember of a connection once its events go elsewhere, from `now` on. */
export function formerCalendarsOf(
  connection: Pick<GrantedConnection, 'userId' | 'googleSub' | 'calendarId' | 'formerCalendars'>,
  now: number,
): FormerCalendar[] {
  const { calendarId, formerCalendars = [] } = connection;
  const account = accountFingerprint(connection);
  const others = formerCalendars.filter(
    (former) => (former.calendarId !== calendarId || former.account !== account) && former.until > now,
  );
  return [{ calendarId, until: now + rememberedFor, account }, ...others].slice(0, rememberedCalendars);
}

/** Ids that name no person: the alias, and what Google makes up for a secondary calendar. */
const isImpersonal = (calendarId: string): boolean =>
  calendarId === 'primary' || calendarId.endsWith('@group.calendar.google.com');

function hashOf(userId: string, calendarId: string): string {
  return createHash('sha256').update(`${userId}\n${calendarId}`).digest('base64url');
}

/** Tells the Google accounts of one user apart. Neither an account nor two users of one can be read from it. */
export function accountFingerprint({
  userId,
  googleSub,
}: Pick<GrantedConnection, 'userId' | 'googleSub'>): string {
  return hashOf(userId, googleSub).slice(0, 6);
}

/** Former calendars as they are kept without a connection: an id that may be an address only as its hash. */
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

/** The former calendars of a connection that is made again. A hash becomes an id again where it is that of `email`. */
export function formerCalendarsAgain(known: Connection, email: string, now: number): FormerCalendar[] {
  const { userId, formerCalendars = [] } = known;
  const hashed = known.status === 'disconnected' ? (known.hashedCalendars ?? []) : [];
  const resolved = hashed
    .filter(({ hash }) => hash === hashOf(userId, email))
    .map(({ until }) => ({ calendarId: email, until }));
  return [...formerCalendars, ...resolved].filter(({ until }) => until > now);
}

/** When nothing is left to keep of a connection that has ended. */
export function forgottenAt({ formerCalendars = [], usedLinks, ...rest }: Connection, now: number): number {
  const hashed = rest.status === 'disconnected' ? (rest.hashedCalendars ?? []) : [];
  return Math.max(now, ...[...formerCalendars, ...hashed, ...usedLinks].map(({ until }) => until));
}

/** The links that completed a connection and may still be valid. */
export function linksInUse(
  { usedLinks }: Pick<Connection, 'usedLinks'>,
  now: number,
): Connection['usedLinks'] {
  return usedLinks.filter(({ until }) => until > now);
}

/** The sealed tokens of a grant that is to be taken back. */
export type Revocation = { tokens: string; googleSub: string };

/** When connections are refreshed. All in seconds. */
export type RefreshPolicy = {
  /** A connection used within this time is kept fresh. */
  inUseFor: number;
  /** How long before its expiry the access token of a connection in use is replaced. */
  margin: number;
  /** How often the grant of an idle connection is tried: finds revoked grants, and counts as use for Google. */
  keepAlive: number;
};

/** When to refresh a connection next, given what is known of it now. Jittered, so that a burst of sign-ups spreads. */
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
