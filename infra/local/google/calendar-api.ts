import { type Context, Hono } from 'hono';
import { readEventBody } from './event-body.ts';
import { listEvents } from './event-list.ts';
import {
  deleteEvent,
  etagOf,
  insertEvent,
  moveEvent,
  type Place,
  patchEvent,
  presentEvent,
  readEvent,
  updateEvent,
} from './event-store.ts';
import type { Faults, SimulatorEnv } from './faults.ts';
import { selectFields } from './fields.ts';
import { queryFreeBusy } from './free-busy.ts';
import { apiError, documented, insufficientPermissions, reported } from './google-errors.ts';
import { allows, type CalendarMethod, coversCalendar } from './scopes.ts';
import {
  type Account,
  accessRole,
  type Calendar,
  calendarsOf,
  deleteCalendar,
  findAccount,
  findCalendar,
  type GoogleState,
  grantOf,
  type StoredEvent,
} from './state.ts';

type ApiContext = Context<SimulatorEnv>;

/** Calendar API v3 at `/calendar/v3`: the methods that a service for events needs. */
export function calendarApi(state: GoogleState, faults: Faults, baseUrl: () => string): Hono<SimulatorEnv> {
  const app = new Hono<SimulatorEnv>();
  const limiter = createLimiter(state);

  /** The caller, if the token is valid and allows the method. */
  const authorize = (c: ApiContext, method: CalendarMethod): { account: Account; scopes: string[] } => {
    const { account, scopes } = authenticate(state, c);
    if (!allows(method, scopes)) throw insufficientPermissions(method);
    if (account.calendarIsOff) throw apiError(reported.notACalendarUser);
    limiter(account);
    return { account, scopes };
  };

  const place = (c: ApiContext, method: CalendarMethod): Place => {
    const { account, scopes } = authorize(c, method);
    const calendar = visibleCalendar(state, account, c.req.param('calendarId'));
    if (!coversCalendar(method, scopes, calendar.owner === account.sub))
      throw insufficientPermissions(method);
    return { state, account, calendar };
  };

  const writablePlace = (c: ApiContext, method: CalendarMethod): Place => {
    const found = place(c, method);
    requireWriter(found.calendar, found.account);
    checkSendUpdates(c.req.query('sendUpdates'));
    return found;
  };

  const answer = (c: ApiContext, { calendar }: Place, event: StoredEvent) =>
    c.json(selectFields(presentEvent(calendar, event, baseUrl()), c.req.query('fields')) as object, 200, {
      etag: etagOf(event),
      ...uncached,
    });

  const events = '/calendars/:calendarId/events';

  app.post(events, faults.around('events.insert'), async (c) => {
    const where = writablePlace(c, 'events.insert');
    const json = await readJson(c);
    const body = readEventBody(json, { conferences: knowsConferences(c) });
    return answer(c, where, insertEvent(where, text(json, 'id'), text(json, 'iCalUID'), body));
  });

  app.get(events, faults.around('events.list'), (c) => {
    const where = place(c, 'events.list');
    const listed = listEvents(where, new URL(c.req.url).searchParams, baseUrl());
    return c.json(selectFields(listed, c.req.query('fields')) as object, 200, uncached);
  });

  app.get(`${events}/:eventId`, faults.around('events.get'), (c) => {
    const where = place(c, 'events.get');
    return answer(c, where, readEvent(where, c.req.param('eventId')));
  });

  app.patch(`${events}/:eventId`, faults.around('events.patch'), async (c) => {
    const where = writablePlace(c, 'events.patch');
    const body = readEventBody(await readJson(c), { conferences: knowsConferences(c) });
    return answer(c, where, patchEvent(where, c.req.param('eventId'), c.req.header('if-match'), body));
  });

  app.put(`${events}/:eventId`, faults.around('events.update'), async (c) => {
    const where = writablePlace(c, 'events.update');
    const body = readEventBody(await readJson(c), { conferences: knowsConferences(c) });
    return answer(c, where, updateEvent(where, c.req.param('eventId'), c.req.header('if-match'), body));
  });

  app.delete(`${events}/:eventId`, faults.around('events.delete'), (c) => {
    const where = writablePlace(c, 'events.delete');
    deleteEvent(where, c.req.param('eventId'), c.req.header('if-match'));
    return c.body(null, 204);
  });

  app.post(`${events}/:eventId/move`, faults.around('events.move'), (c) => {
    const where = writablePlace(c, 'events.move');
    const destination = visibleCalendar(state, where.account, c.req.query('destination'));
    requireWriter(destination, where.account);
    const moved = moveEvent(where, c.req.param('eventId'), destination);
    return answer(c, { ...where, calendar: destination }, moved);
  });

  app.get('/users/me/calendarList', faults.around('calendarList.list'), (c) => {
    const { sub } = authorize(c, 'calendarList.list').account;
    const writableOnly = ['writer', 'writerWithoutPrivateAccess', 'owner'].includes(
      c.req.query('minAccessRole') ?? '',
    );
    const items = calendarsOf(state, sub).filter(
      (calendar) => !writableOnly || accessRole(calendar, sub) !== 'reader',
    );
    return c.json(
      {
        kind: 'calendar#calendarList',
        etag: '"1"',
        items: items.map((calendar) => presentListEntry(calendar, sub)),
      },
      200,
      uncached,
    );
  });

  app.get('/users/me/calendarList/:calendarId', faults.around('calendarList.get'), (c) => {
    const { account } = authorize(c, 'calendarList.get');
    return c.json(
      presentListEntry(visibleCalendar(state, account, c.req.param('calendarId')), account.sub),
      200,
      uncached,
    );
  });

  app.get('/calendars/:calendarId', faults.around('calendars.get'), (c) => {
    const { account } = authorize(c, 'calendars.get');
    const { id, summary, timeZone } = visibleCalendar(state, account, c.req.param('calendarId'));
    return c.json({ kind: 'calendar#calendar', etag: '"1"', id, summary, timeZone }, 200, uncached);
  });

  app.delete('/calendars/:calendarId', faults.around('calendars.delete'), (c) => {
    const { account } = authorize(c, 'calendars.delete');
    const calendar = visibleCalendar(state, account, c.req.param('calendarId'));
    if (calendar.owner !== account.sub) throw apiError(reported.forbidden);
    if (calendar.primary) throw apiError(reported.invalid('Cannot delete the primary calendar.'));
    deleteCalendar(state, calendar);
    return c.body(null, 204);
  });

  app.post('/freeBusy', faults.around('freebusy.query'), async (c) => {
    const { account } = authorize(c, 'freebusy.query');
    return c.json(queryFreeBusy(state, account, await readJson(c)), 200, uncached);
  });

  app.all('*', () => {
    throw apiError(documented.notFound);
  });
  return app;
}

const uncached = { 'cache-control': 'no-cache, no-store, max-age=0, must-revalidate' };

function authenticate(state: GoogleState, c: ApiContext): { account: Account; scopes: string[] } {
  const challenge = (error?: string) => ({
    'www-authenticate': `Bearer realm="https://accounts.google.com/"${error ? `, error="${error}"` : ''}`,
  });
  const presented = /^Bearer (.+)$/i.exec(c.req.header('authorization') ?? '')?.[1];
  if (!presented) throw apiError(reported.loginRequired, challenge());
  const token = state.accessTokens.get(presented);
  const account = findAccount(state, token?.sub);
  if (!token || !account || !grantOf(state, token) || token.expiresAt <= state.now()) {
    throw apiError(documented.authError, challenge('invalid_token'));
  }
  return { account, scopes: token.scopes };
}

function visibleCalendar(state: GoogleState, { sub }: Account, calendarId: string | undefined): Calendar {
  const calendar = findCalendar(state, sub, calendarId ?? '');
  if (!calendar) throw apiError(documented.notFound);
  return calendar;
}

function requireWriter(calendar: Calendar, { sub }: Account): void {
  if (accessRole(calendar, sub) === 'reader') throw apiError(reported.requiredAccessLevel);
}

function checkSendUpdates(value: string | undefined): void {
  if (value !== undefined && !['all', 'externalOnly', 'none'].includes(value))
    throw apiError(reported.invalid('Invalid value for: sendUpdates'));
}

function presentListEntry(calendar: Calendar, sub: string) {
  const { id, summary, timeZone, primary } = calendar;
  return {
    kind: 'calendar#calendarListEntry',
    etag: '"1"',
    id,
    summary,
    timeZone,
    accessRole: accessRole(calendar, sub),
    selected: true,
    defaultReminders: primary ? [{ method: 'popup', minutes: 30 }] : [],
    ...(primary ? { primary: true } : {}),
  };
}

/** Sliding minute per account; off unless the switch sets a limit. */
function createLimiter(state: GoogleState): (account: Account) => void {
  const recent = new Map<string, number[]>();
  return ({ sub }) => {
    const limit = state.switches.requestsPerMinute;
    if (limit === 0) return;
    const now = state.now();
    const calls = (recent.get(sub) ?? []).filter((at) => at > now - 60_000);
    if (calls.length >= limit) throw apiError(documented.userRateLimitExceeded);
    recent.set(sub, [...calls, now]);
  };
}

async function readJson(c: ApiContext): Promise<unknown> {
  try {
    return await c.req.json();
  } catch {
    throw apiError(reported.parseError);
  }
}

function knowsConferences(c: ApiContext): boolean {
  return c.req.query('conferenceDataVersion') === '1';
}

function text(json: unknown, name: string): string | undefined {
  const value = (json as Record<string, unknown>)[name];
  return value === undefined || value === null ? undefined : `${value}`;
}
