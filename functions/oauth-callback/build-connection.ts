import { withSecret } from '../../shared/aws/secrets.ts';
import { reencryptRevocation, type TokenDeps } from '../../shared/connection/access-token.ts';
import {
  type Connection,
  formerCalendarsOf,
  type GrantedConnection,
  nextRefresh,
  type Revocation,
  restoreFormerCalendars,
  unexpiredLinks,
  unknownFields,
} from '../../shared/connection/connection.ts';
import { type OAuthState, stateLifetimeSeconds } from '../../shared/crypto/oauth-state.ts';
import { decryptStoredTokens, encryptTokens } from '../../shared/crypto/token-encryption.ts';
import {
  type CalendarAccess,
  type CalendarAnswer,
  type CalendarApi,
  readCalendar,
} from '../../shared/google/calendar.ts';
import {
  coveredCalendars,
  type GoogleIdentity,
  scopesToKeep,
  type TokenResponse,
} from '../../shared/google/token-endpoint.ts';
import { AppError, hasCode } from '../../shared/lib/app-error.ts';
import { log, reportOperatorError } from '../../shared/lib/observability.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';
import { isTimeZone } from '../../shared/lib/time-zone.ts';

type BuildDeps = Omit<TokenDeps, 'sleep'>;

/** The user's consent, and the settings of the calendar that was `chosen` before. */
export type Consent = TokenResponse & {
  identity: GoogleIdentity;
  learned: LearnedCalendar & { chosen: string };
};

/** Seconds for which a used link is kept: the lifetime of a link and of a state made from it in its last second. */
export const usedLinkTtlSeconds = 2 * stateLifetimeSeconds + 60;

/**
 * The connection to store after a consent, over the existing one. Errors: `refresh_token_missing`, and those of Google's
 * token endpoint.
 */
export async function buildConnection(
  deps: BuildDeps,
  state: OAuthState,
  { identity, learned, ...granted }: Consent,
  existing: Connection | undefined,
): Promise<GrantedConnection> {
  const { userId } = state;
  const now = deps.clock();
  const keys = await deps.tokenKeys.get();
  const { same, other } = byAccount(existing, identity.sub);
  const refreshToken = granted.refreshToken ?? (await verifyStoredRefreshToken(deps, same));
  const accessTokenExpiresAt = now + granted.expiresIn;
  const calendar = calendarOf(same, learned);
  return omitUndefined({
    ...(existing ? unknownFields(existing) : {}),
    userId,
    status: 'active' as const,
    googleSub: identity.sub,
    email: identity.email,
    scopes: scopesToKeep(granted.scopes),
    ...calendar,
    ...toFormerCalendars(
      existing,
      identity,
      { scopes: granted.scopes, calendarId: calendar.calendarId },
      now,
    ),
    ...(await encryptTokens(keys, now, userId, { accessToken: granted.accessToken, refreshToken })),
    accessTokenExpiresAt,
    tokenVersion: (existing?.tokenVersion ?? 0) + 1,
    lastUsedAt: now,
    lastRefreshedAt: now,
    refreshAt: nextRefresh({ lastUsedAt: now, accessTokenExpiresAt }, now, deps.random, deps.refreshPolicy),
    refreshFailures: 0,
    usedLinks: [
      ...(existing ? unexpiredLinks(existing, now) : []),
      { link: state.linkTokenHash, until: now + usedLinkTtlSeconds },
    ],
    accountChangedAt: other ? now : same?.accountChangedAt,
    ...(await reencryptRevocation(deps, userId, grantToRevoke(existing, identity))),
    connectedAt: now,
    updatedAt: now,
  });
}

/** The existing connection where it was not ended, as one to the `same` Google account or to an `other` one. */
export function byAccount(
  existing: Connection | undefined,
  googleSub: string,
): { same?: GrantedConnection; other?: GrantedConnection } {
  if (!existing || existing.status === 'disconnected') return {};
  return existing.googleSub === googleSub ? { same: existing } : { other: existing };
}

/** Former calendars that may have orphans, as far as the new grant covers them. */
function toFormerCalendars(
  existing: Connection | undefined,
  { email, sub }: GoogleIdentity,
  { scopes, calendarId }: Pick<GrantedConnection, 'scopes' | 'calendarId'>,
  now: number,
): Pick<GrantedConnection, 'formerCalendars'> {
  const { same, other } = byAccount(existing, sub);
  if (other) return { formerCalendars: formerCalendarsOf(other, now) };
  const isReplaced = same !== undefined && same.calendarId !== calendarId;
  const kept = existing ? restoreFormerCalendars(existing, email, now) : [];
  const former = isReplaced ? formerCalendarsOf(same, now) : kept;
  const narrowed = same && coveredCalendars(same.scopes) === 'shared' && coveredCalendars(scopes) === 'owned';
  const covered = narrowed ? former.filter(({ calendarId }) => calendarId === 'primary') : former;
  return covered.length > 0 ? { formerCalendars: covered } : {};
}

/** The settings of the chosen calendar, unless the user has chosen another one in the meantime. */
function calendarOf(
  same: GrantedConnection | undefined,
  { chosen, calendarId, timeZone }: Consent['learned'],
): Pick<GrantedConnection, 'calendarId' | 'timeZone'> {
  const { calendarId: current = 'primary', timeZone: existing } = same ?? {};
  const isCurrent = current === chosen;
  const zone = isCurrent ? (timeZone ?? (calendarId === current ? existing : undefined)) : existing;
  return omitUndefined({ calendarId: isCurrent ? calendarId : current, timeZone: zone });
}

/** The unused grant of another account. Never one of this account, with which Google would revoke the new grant. */
function grantToRevoke(existing: Connection | undefined, identity: GoogleIdentity): Revocation | undefined {
  const { other } = byAccount(existing, identity.sub);
  const abandoned = other ? { tokens: other.tokens, googleSub: other.googleSub } : existing?.revocation;
  return abandoned?.googleSub === identity.sub ? undefined : abandoned;
}

/**
 * The stored refresh token of the same account, for a consent to which Google issued none. A refresh verifies it.
 */
async function verifyStoredRefreshToken(
  deps: BuildDeps,
  existing: GrantedConnection | undefined,
): Promise<string> {
  if (existing) {
    try {
      const { refreshToken } = await decryptStoredTokens(deps, existing, existing.tokens);
      await withSecret(deps.googleClient, ['google_client_misconfigured'], (client) =>
        deps.google.refresh(client, refreshToken),
      );
      return refreshToken;
    } catch (error) {
      if (!hasCode(error, 'google_grant_invalid', 'token_unreadable')) throw error;
    }
  }
  throw new AppError(
    'refresh_token_missing',
    'Google did not allow lasting access. Remove LeadsCalendar at myaccount.google.com/permissions, then connect again.',
    { status: 409 },
  );
}

/** The calendar in which new events are created, and its time zone where Google sends it. */
type LearnedCalendar = { calendarId: string; timeZone?: string };

const primary = 'primary';

/**
 * Reads the chosen calendar with a new grant. One that was deleted, or is not covered by the grant, is replaced by the
 * primary one. Any other failure keeps the choice, without a time zone.
 */
export async function learnCalendar(
  api: CalendarApi,
  { accessToken, scopes }: Pick<TokenResponse, 'accessToken' | 'scopes'>,
  chosen: string,
): Promise<LearnedCalendar> {
  const read = (calendarId: string) => readCalendar(api, accessToken, calendarId);
  const answer = await read(chosen);
  const isUsable = chosen === primary || !(isGone(answer) || isUncovered(answer, scopes));
  if (isUsable) return { calendarId: chosen, ...zoneOf(answer) };
  const fallback = await read(primary);
  // Such a failure may be temporary: it counts where the primary calendar answers and the second read fails too.
  const isDoubtful = (one: typeof answer) =>
    isGone(one) || (coveredCalendars(scopes) !== 'owned' && isPermissionMissing(one));
  if (isDoubtful(answer) && !(fallback.ok && isDoubtful(await read(chosen)))) return { calendarId: chosen };
  return { calendarId: primary, ...zoneOf(fallback) };
}

function isGone(answer: CalendarAnswer<CalendarAccess>): boolean {
  return !answer.ok && answer.failure.kind === 'not_found';
}

/** Google's answer for a calendar outside the scope is not documented: both possible ones count. */
function isUncovered(answer: CalendarAnswer<CalendarAccess>, scopes: string[]): boolean {
  return answer.ok
    ? coveredCalendars(scopes) === 'owned' && !answer.value.isOwned
    : isPermissionMissing(answer);
}

function isPermissionMissing(answer: CalendarAnswer<CalendarAccess>): boolean {
  return !answer.ok && answer.failure.kind === 'permission_missing';
}

function zoneOf(answer: CalendarAnswer<CalendarAccess>): { timeZone?: string } {
  if (!answer.ok) {
    const { kind, reason, status } = answer.failure;
    if (kind === 'operator')
      reportOperatorError('Calendar of new connection cannot be read', new Error(reason));
    else log.warn('Calendar of new connection not read', { kind, reason, status });
    return {};
  }
  const { timeZone } = answer.value;
  return timeZone && isTimeZone(timeZone) ? { timeZone } : {};
}
