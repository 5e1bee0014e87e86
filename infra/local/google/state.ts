import { createHash } from 'node:crypto';
import type { calendar_v3 } from '@googleapis/calendar';
import { type Collection, openJournal } from '../journal.ts';

export type SimulatedClient = { clientId: string; clientSecret: string; redirectUris: string[] };

/** A fictional Google account. */
export type Account = {
  sub: string;
  email: string;
  name: string;
  timeZone: string;
  /** Google Calendar is off for this account, by its user or an administrator. */
  calendarIsOff?: boolean;
};

/**
 * Consent of an account for a client. Scopes are full names as Google returns them. Tokens refer to their grant by
 * id, and are invalid without it or under another one.
 */
export type Grant = { id: string; clientId: string; sub: string; scopes: string[]; refreshTokens: string[] };

/** An authorization code with the parameters of its request. Times are epoch milliseconds. */
type AuthorizationCode = {
  code: string;
  clientId: string;
  redirectUri: string;
  sub: string;
  scopes: string[];
  refreshToken: boolean;
  expiresAt: number;
  used: boolean;
  nonce?: string;
  codeChallenge?: string;
  codeChallengeMethod?: string;
};

type Token = { token: string; grantId: string; clientId: string; sub: string; scopes: string[] };
export type RefreshToken = Token & { issuedAt: number; usedAt: number };
type AccessToken = Token & { expiresAt: number };

type AccessRole = 'reader' | 'writer' | 'owner';

export type Calendar = {
  id: string;
  summary: string;
  timeZone: string;
  /** Absent: public, readable by all accounts. */
  owner?: string;
  primary: boolean;
  /** The roles of other accounts, by `sub`. */
  sharedWith?: Record<string, Exclude<AccessRole, 'owner'>>;
};

/** An event as stored: Google's resource without fields that are computed for each answer. */
export type StoredEvent = {
  calendarId: string;
  revision: number;
  resource: calendar_v3.Schema$Event & { id: string; status: string };
  /** Unreadable too; only its id stays reserved. */
  purged?: boolean;
};

/** The defect of a forged ID token; id-tokens.ts makes each. */
export type Forgery =
  | 'unsigned'
  | 'hmac_of_public_key'
  | 'other_key'
  | 'unknown_key_id'
  | 'other_subject'
  | 'other_audience'
  | 'other_issuer'
  | 'expired'
  | 'not_yet_valid'
  | 'other_nonce'
  | 'no_nonce'
  | 'no_subject';

/** Behaviours of Google that exclude each other. The defaults are the common ones. */
export type Switches = {
  /** Lifetime of an access token in seconds, and `expires_in`. */
  accessTokenSeconds: number;
  /** Never send a refresh token, as for an app that was authorized before and did not ask for consent. */
  omitRefreshToken: boolean;
  /** Send a new refresh token with each refresh and end the old one. */
  rotateRefreshToken: boolean;
  /** Refuse each refresh: an administrator's policy, or a session that must be confirmed again. */
  refuseRefresh: 'no' | 'invalid_rapt' | 'admin_policy_enforced';
  /** Refresh tokens of apps in status Testing expire after seven days. */
  publishingStatus: 'production' | 'testing';
  /** Google documents both as `iss` of its id tokens. */
  issuer: 'https://accounts.google.com' | 'accounts.google.com';
  /** Send an ID token that must be rejected, as an attacker or another app might. */
  forgeIdToken: 'no' | Forgery;
  /** Return `email` as the full name of the scope. Widely known, but not documented. */
  expandSignInScopes: boolean;
  /** Whether a cancelled event can be confirmed again. Reports of both exist. */
  reviveCancelled: 'allowed' | 'forbidden';
  /** The result of a requested conference, after it was pending in the first answer. */
  conference: 'success' | 'pending' | 'failure';
  /** Requests per minute and account on the Calendar API; 0 is unlimited, Google's own limit is 600. */
  requestsPerMinute: number;
  /**
   * Reject values that the reference forbids without documenting the error: more than five reminders, reminders
   * together with the default ones, unknown colors, a conference request without id.
   */
  strictFields: boolean;
  /** Guest addresses that Google rejects. Which ones it rejects is not documented. */
  rejectedGuests: string[];
  /** Result of a duplicate guest. Not documented. */
  duplicateGuests: 'kept' | 'rejected';
  /** Types of conferences that calendars allow. */
  conferenceTypes: string[];
  /** Names of time zones that this runtime knows and Google does not. */
  unknownTimeZones: string[];
  /** Answer of a calendar for an event that was moved to another one. Not documented. */
  movedEvent: 'cancelled' | 'not_found';
};

const defaultSwitches: Switches = {
  accessTokenSeconds: 3599,
  omitRefreshToken: false,
  rotateRefreshToken: false,
  refuseRefresh: 'no',
  publishingStatus: 'production',
  issuer: 'https://accounts.google.com',
  forgeIdToken: 'no',
  expandSignInScopes: true,
  reviveCancelled: 'allowed',
  conference: 'success',
  requestsPerMinute: 0,
  strictFields: true,
  rejectedGuests: [],
  duplicateGuests: 'kept',
  conferenceTypes: ['hangoutsMeet'],
  unknownTimeZones: [],
  movedEvent: 'cancelled',
};

export const demoAccounts: Account[] = [
  { sub: '100000000000000000001', email: 'ada@example.com', name: 'Ada Example', timeZone: 'Europe/Vienna' },
  {
    sub: '100000000000000000002',
    email: 'ben@example.com',
    name: 'Ben Example',
    timeZone: 'America/New_York',
  },
];

/** A `#` and an `@` in its id remind clients to encode calendar ids. */
const holidayCalendarId = 'en.simulated#holiday@group.v.calendar.google.com';

export type GoogleState = {
  clients: SimulatedClient[];
  switches: Switches;
  now: () => number;
  random: () => number;
  /** Revision of the latest change to any event; ETags are derived from it. */
  revision: number;
  accounts: Collection<Account>;
  grants: Collection<Grant>;
  codes: Collection<AuthorizationCode>;
  refreshTokens: Collection<RefreshToken>;
  accessTokens: Collection<AccessToken>;
  calendars: Collection<Calendar>;
  events: Collection<StoredEvent>;
  settings: Collection<unknown>;
  close(): void;
};

export function openState(options: {
  clients: SimulatedClient[];
  accounts: Account[];
  stateFile?: string | undefined;
  now: () => number;
  random: () => number;
}): GoogleState {
  const journal = openJournal(options.stateFile);
  const state: GoogleState = {
    clients: options.clients,
    switches: { ...defaultSwitches },
    now: options.now,
    random: options.random,
    revision: 0,
    accounts: journal.collection('accounts'),
    grants: journal.collection('grants'),
    codes: journal.collection('codes'),
    refreshTokens: journal.collection('refreshTokens'),
    accessTokens: journal.collection('accessTokens'),
    calendars: journal.collection('calendars'),
    events: journal.collection('events'),
    settings: journal.collection('settings'),
    close: journal.close,
  };
  for (const { revision } of state.events.values()) state.revision = Math.max(state.revision, revision);
  dropExpired(state);
  for (const account of options.accounts) addAccount(state, account);
  return state;
}

/** An account and its calendars: the primary one, one more of its own, and one that it can only read. */
export function addAccount(state: GoogleState, account: Account): void {
  if (state.accounts.get(account.sub)) return;
  const { sub, email, timeZone } = account;
  const appointments = `c_${createHash('sha256').update(sub).digest('hex')}@group.calendar.google.com`;
  state.accounts.set(sub, account);
  state.calendars.set(email, { id: email, summary: email, timeZone, owner: sub, primary: true });
  state.calendars.set(appointments, {
    id: appointments,
    summary: 'Appointments',
    timeZone,
    owner: sub,
    primary: false,
  });
  if (!state.calendars.get(holidayCalendarId)) {
    state.calendars.set(holidayCalendarId, {
      id: holidayCalendarId,
      summary: 'Holidays (read only)',
      timeZone: 'UTC',
      primary: false,
    });
  }
}

/** By `sub` or by email address, the two forms of a login hint. */
export function findAccount(state: GoogleState, hint: string | undefined): Account | undefined {
  const known = hint === undefined ? undefined : state.accounts.get(hint);
  if (known) return known;
  return [...state.accounts.values()].find(({ email }) => email === hint);
}

/** The calendars in an account's list, the primary one first. */
export function calendarsOf(state: GoogleState, sub: string): Calendar[] {
  return [...state.calendars.values()].filter((calendar) => accessRole(calendar, sub) !== undefined);
}

/** A calendar that the account can see (`primary` is an alias), or undefined. */
export function findCalendar(state: GoogleState, sub: string, calendarId: string): Calendar | undefined {
  const id = calendarId === 'primary' ? (state.accounts.get(sub)?.email ?? '') : calendarId;
  const calendar = state.calendars.get(id);
  return calendar && accessRole(calendar, sub) ? calendar : undefined;
}

/** The role of an account in a calendar; undefined if it cannot see it. */
export function accessRole({ owner, sharedWith }: Calendar, sub: string): AccessRole | undefined {
  if (owner === undefined) return 'reader';
  return owner === sub ? 'owner' : sharedWith?.[sub];
}

/** Deletes a calendar with its events. Its id is never reused. */
export function deleteCalendar(state: GoogleState, { id }: Calendar): void {
  for (const { resource } of eventsOf(state, id)) state.events.delete(eventKey(id, resource.id));
  state.calendars.delete(id);
}

export function eventsOf(state: GoogleState, calendarId: string): StoredEvent[] {
  return [...state.events.values()].filter((event) => event.calendarId === calendarId);
}

export const eventKey = (calendarId: string, eventId: string): string => `${calendarId}/${eventId}`;

/** The grant of a token, while it is valid. */
export function grantOf(state: GoogleState, token: Token | undefined): Grant | undefined {
  const grant = token && state.grants.get(grantKey(token.clientId, token.sub));
  return grant?.id === token?.grantId ? grant : undefined;
}

export const grantKey = (clientId: string, sub: string): string => `${clientId} ${sub}`;

/** Random text of `length` characters that are safe in URLs, from the simulator's source of randomness. */
export function randomText(state: GoogleState, length: number): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_';
  return Array.from({ length }, () => alphabet[Math.floor(state.random() * 64)]).join('');
}

function dropExpired(state: GoogleState): void {
  const now = state.now();
  for (const { code } of [...state.codes.values()].filter((it) => it.expiresAt <= now))
    state.codes.delete(code);
  for (const { token } of [...state.accessTokens.values()].filter((it) => it.expiresAt <= now)) {
    state.accessTokens.delete(token);
  }
}
