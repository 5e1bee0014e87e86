import type { BusEvent, BusEventType } from '../../shared/aws/bus.ts';
import { type CachedSecret, withSecret } from '../../shared/aws/secrets.ts';
import type { BookingQueue } from '../../shared/booking/queue.ts';
import {
  decryptStoredTokens,
  reencryptRevocation,
  type TokenDeps,
} from '../../shared/connection/access-token.ts';
import {
  type Connection,
  formerCalendarsOf,
  type GrantedConnection,
  nextRefresh,
  type Revocation,
  restoreFormerCalendars,
  unexpiredLinks,
} from '../../shared/connection/connection.ts';
import type { Keys } from '../../shared/crypto/keys.ts';
import {
  constantTimeEqual,
  type OAuthState,
  stateLifetimeSeconds,
  verifyState,
} from '../../shared/crypto/oauth-state.ts';
import { encryptTokens } from '../../shared/crypto/token-encryption.ts';
import type { CalendarApi } from '../../shared/google/calendar.ts';
import {
  coveredCalendars,
  type GoogleIdentity,
  type GoogleOAuth,
  scopesToKeep,
  type TokenResponse,
} from '../../shared/google/token-endpoint.ts';
import { AppError, hasCode } from '../../shared/lib/app-error.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { routes } from '../../shared/lib/names.ts';
import { describeError, log, metric } from '../../shared/lib/observability.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';
import { retryOnConflict } from '../../shared/lib/retry-on-conflict.ts';
import { type LearnedCalendar, learnCalendar } from './learn-calendar.ts';
import { consentError, parseCode } from './parse-code.ts';

export type CallbackDeps = Omit<TokenDeps, 'sleep'> & {
  google: GoogleOAuth;
  calendar: CalendarApi;
  queue: BookingQueue;
  stateKeys: CachedSecret<Keys<'state-encryption'>>;
  publicUrl: string;
};

type CallbackRequest = {
  /** Google's query parameters; unknown ones are ignored. */
  query: URLSearchParams;
  /** The value that binds this browser. */
  browser: string | undefined;
};

/** The user's consent, and the settings of the calendar that was `chosen` before. */
type Consent = TokenResponse & { identity: GoogleIdentity; learned: LearnedCalendar & { chosen: string } };

export type Connected = { connection: GrantedConnection; returnTo?: string };

/** Seconds for which a used link is kept: the lifetime of a link and of a state made from it in its last second. */
const usedLinkTtlSeconds = 2 * stateLifetimeSeconds + 60;
/** Codes that one link may redeem, since all users share the rate limit of Google's token endpoint. */
const maxExchanges = 5;

/**
 * Completes a connection: verifies browser and link, redeems the code once, verifies identity and scopes, reads the
 * calendar, and stores the connection with encrypted tokens.
 * Errors, each with nothing stored: `state_missing`, `state_invalid`, `state_expired`, `state_used`, `wrong_browser`,
 * those of `parseCode`, `id_token_invalid`, `calendar_permission_missing`, `refresh_token_missing`,
 * and those of Google's token endpoint.
 */
export async function completeConnection(
  deps: CallbackDeps,
  { query, browser }: CallbackRequest,
): Promise<Connected> {
  const state = await verifyState(deps, query.get('state') ?? stateMissing(), browser);
  const code = parseCode(query);

  // The keys are read early: a failure to read them after the code is redeemed would waste the code.
  const [existing] = await Promise.all([deps.connections.get(state.userId), deps.tokenKeys.get()]);
  if (isLinkUsed(existing, state)) throw stateUsed();
  const mayAsk = await deps.connections.countAttempt(
    state.linkTokenHash,
    maxExchanges,
    deps.clock() + usedLinkTtlSeconds,
  );
  if (!mayAsk) throw tooManyAttempts();

  const { identity, ...granted } = await redeemCode(deps, code, state.verifier);
  if (!identity.nonce || !constantTimeEqual(identity.nonce, state.nonce)) throw nonceMismatch();
  if (coveredCalendars(granted.scopes) === 'none') throw permissionMissing();

  const chosen = ifSameAccount(existing, identity)?.calendarId ?? 'primary';
  const learned = { chosen, ...(await learnCalendar(deps.calendar, granted, chosen)) };
  const connection = await saveConnection(deps, state, { ...granted, identity, learned }, existing);
  await enqueueActivated(deps, connection);
  return omitUndefined({ connection, returnTo: state.returnTo });
}

async function redeemCode(
  deps: CallbackDeps,
  code: string,
  verifier: string,
): Promise<TokenResponse & { identity: GoogleIdentity }> {
  const redirectUri = `${deps.publicUrl}${routes.callback}`;
  try {
    return await withSecret(deps.googleClient, ['google_client_misconfigured'], (client) =>
      deps.google.exchangeCode(client, { code, verifier, redirectUri }),
    );
  } catch (error) {
    if (!hasCode(error, 'google_grant_invalid')) throw error;
    if (error.details.error === 'admin_policy_enforced') throw consentError('admin_policy_enforced');
    throw new AppError(
      'authorization_failed',
      'Google does not accept this answer any more: it was used already, or is too old. Please start again from LeadsCalendar.',
      { status: 400, details: error.details },
    );
  }
}

/**
 * Stores the connection, again where another writer changed it in the meantime. Published first: after a crash in
 * between, the event is published again rather than never.
 */
async function saveConnection(
  deps: CallbackDeps,
  state: OAuthState,
  consent: Consent,
  firstRead: Connection | undefined,
): Promise<GrantedConnection> {
  let existing = firstRead;
  const stored = await retryOnConflict('connection', async () => {
    const connection = await buildConnection(deps, state, consent, existing);
    await publishActivated(deps, connection, existing);
    if (await deps.connections.put(connection, existing)) return connection;
    existing = await deps.connections.get(state.userId);
    if (isLinkUsed(existing, state)) throw stateUsed();
    return undefined;
  });
  metric('ConnectionActivated', 1);
  log.info('Connection activated', { userId: stored.userId });
  return stored;
}

async function buildConnection(
  deps: CallbackDeps,
  state: OAuthState,
  { identity, learned, ...granted }: Consent,
  existing: Connection | undefined,
): Promise<GrantedConnection> {
  const { userId } = state;
  const now = deps.clock();
  const keys = await deps.tokenKeys.get();
  const before = existing?.status === 'disconnected' ? undefined : existing;
  const sameAccount = ifSameAccount(existing, identity);
  const refreshToken = granted.refreshToken ?? (await verifyStoredRefreshToken(deps, sameAccount));
  const accessTokenExpiresAt = now + granted.expiresIn;
  const accountChangedAt = before && !sameAccount ? now : before?.accountChangedAt;
  return omitUndefined({
    userId,
    status: 'active' as const,
    googleSub: identity.sub,
    email: identity.email,
    scopes: scopesToKeep(granted.scopes),
    ...calendarOf(sameAccount, learned),
    ...toFormerCalendars(existing, identity, granted.scopes, now),
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
    accountChangedAt,
    ...(await reencryptRevocation(deps, userId, grantToRevoke(existing, identity))),
    connectedAt: now,
    updatedAt: now,
  });
}

/** The existing connection to the same Google account; a connection to another account has other calendars. */
function ifSameAccount(
  existing: Connection | undefined,
  identity: GoogleIdentity,
): GrantedConnection | undefined {
  return existing && existing.status !== 'disconnected' && existing.googleSub === identity.sub
    ? existing
    : undefined;
}

/** Former calendars that may have orphans, as far as the new grant covers them. */
function toFormerCalendars(
  existing: Connection | undefined,
  { email, sub }: GoogleIdentity,
  scopes: string[],
  now: number,
): Pick<GrantedConnection, 'formerCalendars'> {
  if (existing && existing.status !== 'disconnected' && existing.googleSub !== sub)
    return { formerCalendars: formerCalendarsOf(existing, now) };
  const former = existing ? restoreFormerCalendars(existing, email, now) : [];
  const narrowed =
    existing !== undefined &&
    existing.status !== 'disconnected' &&
    coveredCalendars(existing.scopes) === 'shared' &&
    coveredCalendars(scopes) === 'owned';
  const covered = narrowed ? former.filter(({ calendarId }) => calendarId === 'primary') : former;
  return covered.length > 0 ? { formerCalendars: covered } : {};
}

/** The settings of the chosen calendar, unless the user has chosen another one in the meantime. */
function calendarOf(
  sameAccount: GrantedConnection | undefined,
  { chosen, calendarId, timeZone }: Consent['learned'],
): Pick<GrantedConnection, 'calendarId' | 'timeZone'> {
  const { calendarId: current = 'primary', timeZone: existing } = sameAccount ?? {};
  const isCurrent = current === chosen;
  const zone = isCurrent ? (timeZone ?? (calendarId === current ? existing : undefined)) : existing;
  return omitUndefined({ calendarId: isCurrent ? calendarId : current, timeZone: zone });
}

/** The unused grant of another account. Never one of this account, with which Google would revoke the new grant. */
function grantToRevoke(existing: Connection | undefined, identity: GoogleIdentity): Revocation | undefined {
  const abandoned =
    existing && existing.status !== 'disconnected' && existing.googleSub !== identity.sub
      ? { tokens: existing.tokens, googleSub: existing.googleSub }
      : existing?.revocation;
  return abandoned?.googleSub === identity.sub ? undefined : abandoned;
}

/**
 * The stored refresh token of the same account, for a consent to which Google issued none. A refresh verifies it.
 */
async function verifyStoredRefreshToken(
  deps: CallbackDeps,
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

/** Publishes the connection, and the change to another Google account. */
async function publishActivated(
  deps: CallbackDeps,
  { userId, tokenVersion, googleSub, connectedAt }: GrantedConnection,
  existing: Connection | undefined,
): Promise<void> {
  const event = (type: BusEventType, reason: string): BusEvent => ({
    type,
    id: `${type}:${userId}:${tokenVersion}`,
    time: toIso(connectedAt),
    userId,
    reason,
  });
  const isOtherAccount = existing && existing.status !== 'disconnected' && existing.googleSub !== googleSub;
  await deps.bus.publish(
    event('connection.activated', existing ? 'consented_again' : 'first_consent'),
    ...(isOtherAccount ? [event('connection.account_changed', 'other_account')] : []),
  );
}

/** Requests the sync of bookings that wait for this user. Without it, they are synced when they are due. */
async function enqueueActivated(deps: CallbackDeps, { userId, tokenVersion }: Connection): Promise<void> {
  try {
    await deps.queue.send({ type: 'connection.activated', userId, tokenVersion, page: 0 });
  } catch (error) {
    log.warn('Waiting bookings not requeued, they stay due', { userId, error: describeError(error) });
  }
}

function isLinkUsed(existing: Connection | undefined, state: OAuthState): boolean {
  return existing?.usedLinks.some(({ link }) => link === state.linkTokenHash) ?? false;
}

function stateMissing(): never {
  throw new AppError(
    'state_missing',
    'This page is only reached from Google. Please start from LeadsCalendar.',
    {
      status: 400,
    },
  );
}

function stateUsed(): AppError {
  return new AppError(
    'state_used',
    'This link has already connected a calendar. Nothing was changed now. To connect another one, start again from LeadsCalendar.',
    { status: 409 },
  );
}

function tooManyAttempts(): AppError {
  return new AppError(
    'state_used',
    'This link was tried too often. Nothing was changed now. Start again from LeadsCalendar: it gives you a new link.',
    { status: 409 },
  );
}

function nonceMismatch(): AppError {
  return new AppError(
    'id_token_invalid',
    "Google's answer belongs to another attempt. Nothing was stored; please start again from LeadsCalendar.",
    { status: 400 },
  );
}

function permissionMissing(): AppError {
  return new AppError(
    'calendar_permission_missing',
    'LeadsCalendar was not allowed to change events in your calendars, so it cannot enter appointments. Start again and leave that box ticked.',
    { status: 403 },
  );
}
