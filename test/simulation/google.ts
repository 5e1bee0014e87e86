import { HTTPException } from 'hono/http-exception';
import { readEventBody } from '../../infra/local/google/event-body.ts';
import { listEvents } from '../../infra/local/google/event-list.ts';
import {
  deleteEvent,
  insertEvent,
  type Place,
  patchEvent,
  presentEvent,
  readEvent,
} from '../../infra/local/google/event-store.ts';
import { queryFreeBusy } from '../../infra/local/google/free-busy.ts';
import { apiError, documented, insufficientPermissions } from '../../infra/local/google/google-errors.ts';
import { allows, type CalendarMethod, coversCalendar } from '../../infra/local/google/scopes.ts';
import {
  type Account,
  accessRole,
  type Calendar,
  calendarsOf,
  eventsOf,
  findAccount,
  findCalendar,
  type GoogleState,
  grantOf,
  openState,
  randomText,
  type StoredEvent,
} from '../../infra/local/google/state.ts';
import { authenticateClient, type Granted, redeem, revoke } from '../../infra/local/google/token-endpoint.ts';
import type { GoogleClient } from '../../shared/google/client-secret.ts';
import type { TokenResponse } from '../../shared/google/token-endpoint.ts';
import { AppError } from '../../shared/lib/app-error.ts';

/** The simulated Google of infra/local without HTTP in between: the same state, the same rules. */

export const clientId = 'client.apps.example.com';
export const publicUrl = 'https://calendar.example.com';
export const redirectUri = `${publicUrl}/google/callback`;

/** Calls of the Calendar API that the service makes. */
export type CalendarCall = { method: CalendarMethod; carryOut: () => unknown };

/** What fetch answers, as far as it is read. */
export type Answer = { status: number; headers: Headers; text: () => Promise<string> };

export function answer(status: number, body: string, headers: Record<string, string> = {}): Answer {
  return { status, headers: new Headers(headers), text: async () => body };
}

export type SimulatedGoogle = ReturnType<typeof simulatedGoogle>;

export function simulatedGoogle(options: {
  accounts: Account[];
  clientSecret: string;
  now: () => number;
  random: () => number;
}) {
  const { accounts, clientSecret, now, random } = options;
  const clients = [{ clientId, clientSecret, redirectUris: [redirectUri] }];
  const state: GoogleState = openState({ clients, accounts, now, random });
  let afterPatch: (before: StoredEvent['resource'], after: StoredEvent['resource']) => void = () => {};

  return {
    state,

    /** Reads a request to the Calendar API: which method it is, and what it does. */
    calendarCall(
      url: string,
      init: { method?: string; body?: string; headers?: Record<string, string> },
    ): CalendarCall {
      const { pathname, searchParams } = new URL(url);
      const [, , , , calendarId = '', , eventId] = pathname.split('/').map(decodeURIComponent);
      const conferences = searchParams.get('conferenceDataVersion') === '1';
      const token = init.headers?.authorization?.replace('Bearer ', '');
      const body = (): Record<string, unknown> => JSON.parse(init.body ?? '{}');
      const ifMatch = init.headers?.['if-match'];
      const at = (method: CalendarMethod): Place => placeOf(state, method, token, calendarId);
      const present = (place: Place, event: ReturnType<typeof readEvent>) =>
        presentEvent(place.calendar, event, 'https://calendar.example.org');
      if (pathname.endsWith('/freeBusy')) {
        const carryOut = () => queryFreeBusy(state, authorized(state, 'freebusy.query', token), body());
        return { method: 'freebusy.query', carryOut };
      }
      if (pathname.endsWith('/calendarList')) {
        const carryOut = () => {
          const { sub } = authorized(state, 'calendarList.list', token);
          return { items: calendarsOf(state, sub).map((calendar) => listEntryOf(calendar, sub)) };
        };
        return { method: 'calendarList.list', carryOut };
      }
      switch (init.method ?? 'GET') {
        case 'POST':
          return {
            method: 'events.insert',
            carryOut() {
              const place = at('events.insert');
              const event = readEventBody(body(), { conferences });
              return present(place, insertEvent(place, body().id as string, undefined, event));
            },
          };
        case 'PATCH':
          return {
            method: 'events.patch',
            carryOut() {
              const place = at('events.patch');
              const event = readEventBody(body(), { conferences });
              const before = readEvent(place, eventId ?? '').resource;
              const patched = patchEvent(place, eventId ?? '', ifMatch, event);
              afterPatch(before, patched.resource);
              return present(place, patched);
            },
          };
        case 'DELETE':
          return {
            method: 'events.delete',
            carryOut: () => deleteEvent(at('events.delete'), eventId ?? '', ifMatch),
          };
        default:
          if (eventId === undefined || eventId === '') {
            return {
              method: 'events.list',
              carryOut() {
                const place = at('events.list');
                return listEvents(place, searchParams, 'https://calendar.example.org');
              },
            };
          }
          return {
            method: 'events.get',
            carryOut() {
              const place = at('events.get');
              return present(place, readEvent(place, eventId));
            },
          };
      }
    },

    /** Consents on behalf of an account; answers the code that Google sends back with the browser. */
    consent(authorizationUrl: string, sub: string, withheld: string[] = []): { code: string; state: string } {
      const query = new URL(authorizationUrl).searchParams;
      const code = randomText(state, 40);
      state.codes.set(code, {
        code,
        clientId,
        redirectUri,
        sub,
        scopes: (query.get('scope') ?? '')
          .split(' ')
          .filter((scope) => !withheld.some((end) => scope.endsWith(end))),
        refreshToken: true,
        expiresAt: now() + 600_000,
        used: false,
        nonce: query.get('nonce') ?? '',
        codeChallenge: query.get('code_challenge') ?? '',
        codeChallengeMethod: 'S256',
      });
      return { code, state: query.get('state') ?? '' };
    },

    /** A request to the token endpoint. Throws what our adapter throws. */
    token(client: GoogleClient, form: Record<string, string>): TokenResponse & { granted: Granted } {
      return orOurError(() => {
        const { clientId: client_id, clientSecret: client_secret } = client;
        const request = new URLSearchParams({ client_id, client_secret, ...form });
        const granted = redeem(state, authenticateClient(state, undefined, request), request);
        const { accessToken, refreshToken, scopes } = granted;
        const expiresIn = state.switches.accessTokenSeconds;
        return { accessToken, expiresIn, scopes, ...(refreshToken ? { refreshToken } : {}), granted };
      });
    },

    /** Takes a grant back; a dead one counts as done. */
    revoke(refreshToken: string): void {
      try {
        revoke(state, refreshToken);
      } catch {
        // 400: it is dead already.
      }
    },

    /** Events that exist in the calendars of the accounts. */
    events: () =>
      [...state.events.values()].filter(({ resource, purged }) => !purged && resource.status !== 'cancelled'),

    /** Called for each patch of the service, with the event before and after it. */
    watchPatches: (watch: typeof afterPatch) => {
      afterPatch = watch;
    },

    /** Whether an event has been moved to another calendar. */
    isMoved: (eventId: string | undefined): boolean =>
      [...state.events.values()].filter(({ resource }) => resource.id === eventId).length > 1,

    /** The address of an account, which is the id of its primary calendar. */
    emailOf: (sub: string | undefined) => findAccount(state, sub)?.email,

    /** Whether a refresh token still works. */
    accepts(refreshToken: string): boolean {
      return grantOf(state, state.refreshTokens.get(refreshToken)) !== undefined;
    },

    revokeByHand(sub: string): void {
      state.grants.delete(`${clientId} ${sub}`);
    },
    eventsIn: (calendarId: string) => eventsOf(state, calendarId),
  };
}

function listEntryOf(calendar: Calendar, sub: string): object {
  const { id, summary, primary, timeZone } = calendar;
  return { id, summary, primary, timeZone, accessRole: accessRole(calendar, sub) };
}

function authorized(state: GoogleState, method: CalendarMethod, presented: string | undefined): Account {
  const token = state.accessTokens.get(presented ?? '');
  const account = findAccount(state, token?.sub);
  if (!token || !account || !grantOf(state, token) || token.expiresAt <= state.now())
    throw apiError(documented.authError);
  if (!allows(method, token.scopes)) throw insufficientPermissions(method);
  return account;
}

function placeOf(
  state: GoogleState,
  method: CalendarMethod,
  token: string | undefined,
  calendarId: string,
): Place {
  const account = authorized(state, method, token);
  const calendar = findCalendar(state, account.sub, calendarId);
  if (!calendar) throw apiError(documented.notFound);
  const { scopes = [] } = state.accessTokens.get(token ?? '') ?? {};
  if (!coversCalendar(method, scopes, calendar.owner === account.sub)) throw insufficientPermissions(method);
  return { state, account, calendar };
}

/** The answer to a Calendar call as fetch gives it, errors included. */
export function calendarAnswer({ carryOut }: CalendarCall): Answer {
  try {
    const value = carryOut();
    return value === undefined ? answer(204, '') : answer(200, JSON.stringify(value));
  } catch (error) {
    if (!(error instanceof HTTPException)) throw error;
    const response = error.getResponse();
    return { status: response.status, headers: response.headers, text: () => response.text() };
  }
}

/** Our adapter's codes for Google's OAuth errors; its own tests hold it against the simulator over HTTP. */
function orOurError<T>(request: () => T): T {
  try {
    return request();
  } catch (error) {
    if (!(error instanceof HTTPException)) throw error;
    throw new AppError(
      error.status === 401 ? 'google_client_misconfigured' : 'google_grant_invalid',
      'Google refused the token request.',
      { status: 502, details: { reason: 'invalid_grant' } },
    );
  }
}
