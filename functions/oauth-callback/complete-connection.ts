import type { BusEvent, BusEventType } from '../../shared/aws/bus.ts';
import { type CachedSecret, withSecret } from '../../shared/aws/secrets.ts';
import { type BookingQueue, requestWaitingBookings } from '../../shared/booking/queue.ts';
import type { TokenDeps } from '../../shared/connection/access-token.ts';
import type { Connection, GrantedConnection } from '../../shared/connection/connection.ts';
import type { Keys } from '../../shared/crypto/keys.ts';
import { constantTimeEqual, type OAuthState, verifyState } from '../../shared/crypto/oauth-state.ts';
import type { CalendarApi } from '../../shared/google/calendar.ts';
import {
  coveredCalendars,
  type GoogleIdentity,
  type GoogleOAuth,
  operatorOAuthErrors,
  type TokenResponse,
} from '../../shared/google/token-endpoint.ts';
import { AppError, hasCode } from '../../shared/lib/app-error.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { routes } from '../../shared/lib/names.ts';
import { log, metric } from '../../shared/lib/observability.ts';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';
import { retryOnConflict } from '../../shared/lib/retry-on-conflict.ts';
import {
  buildConnection,
  byAccount,
  type Consent,
  learnCalendar,
  usedLinkTtlSeconds,
} from './build-connection.ts';

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

export type Connected = { connection: GrantedConnection; returnTo?: string };

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

  // The keys are read here in parallel, so that storing the tokens does not wait for them after the code is redeemed.
  const [existing] = await Promise.all([deps.connections.get(state.userId), deps.tokenKeys.get()]);
  if (isLinkUsed(existing, state)) throw stateUsed();
  const isAllowed = await deps.connections.countAttempt(
    state.linkTokenHash,
    maxExchanges,
    deps.clock() + usedLinkTtlSeconds,
  );
  if (!isAllowed) throw tooManyAttempts();

  const { identity, ...granted } = await redeemCode(deps, code, state.verifier);
  if (!identity.nonce || !constantTimeEqual(identity.nonce, state.nonce)) throw nonceMismatch();
  if (coveredCalendars(granted.scopes) === 'none') throw permissionMissing();

  const chosen = byAccount(existing, identity.sub).same?.calendarId ?? 'primary';
  const learned = { chosen, ...(await learnCalendar(deps.calendar, granted, chosen)) };
  const connection = await saveConnection(deps, state, { ...granted, identity, learned }, existing);
  await requestWaitingBookings(deps.queue, { userId: state.userId, tokenVersion: connection.tokenVersion });
  return omitUndefined({ connection, returnTo: state.returnTo });
}

/**
 * The authorization code of Google's answer. Errors: `access_denied`, `administrator_denied`, `browser_unsupported`,
 * `google_client_misconfigured`, and `authorization_failed` for all others.
 */
function parseCode(query: URLSearchParams): string {
  const error = query.get('error');
  const code = query.get('code');
  if (error === null && code) return code;
  throw consentError((error ?? 'no code').slice(0, 60));
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

/** The error of a failed consent, at the consent page or at the redemption of the code. */
function consentError(error: string): AppError {
  const details = { error };
  if (error === 'access_denied') {
    return new AppError(
      'access_denied',
      'You did not allow access, so nothing was connected. To connect after all, go back to LeadsCalendar and start again.',
      { status: 403 },
    );
  }
  if (error === 'admin_policy_enforced') {
    return new AppError(
      'administrator_denied',
      'The administrator of this Google account does not allow access to its calendar. Ask them to allow it, or connect another Google account.',
      { status: 403, details },
    );
  }
  if (error === 'disallowed_useragent') {
    return new AppError(
      'browser_unsupported',
      'Google does not allow signing in inside this app. Open LeadsCalendar in a browser and start again.',
      { status: 403, details },
    );
  }
  if (operatorOAuthErrors.has(error)) {
    return new AppError(
      'google_client_misconfigured',
      `Google refuses the authorization request of this service (${error}). Check client, redirect URI, scopes and audience in Google's console.`,
      { status: 503, details },
    );
  }
  return new AppError(
    'authorization_failed',
    'Google ended the connection with an error. Please go back to LeadsCalendar and try again.',
    { status: 400, details },
  );
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
  const { other } = byAccount(existing, googleSub);
  await deps.bus.publish(
    event('connection.activated', existing ? 'consented_again' : 'first_consent'),
    ...(other ? [event('connection.account_changed', 'other_account')] : []),
  );
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
    'LeadsCalendar was not allowed to change events in your calendars, so it cannot add appointments. Start again and leave that box ticked.',
    { status: 403 },
  );
}
