import type { calendar_v3 } from '@googleapis/calendar';
import { Hono } from 'hono';
import { deleteEvent, moveEvent, presentEvent, purgeEvent } from './event-store.ts';
import type { Fault, Faults, ObservedRequest, SimulatorEnv } from './faults.ts';
import {
  type Account,
  addAccount,
  calendarsOf,
  deleteCalendar,
  eventsOf,
  findAccount,
  findCalendar,
  type GoogleState,
  grantKey,
  type Switches,
} from './state.ts';
import { issueTokens } from './token-endpoint.ts';

/** Control of the simulated Google for tests and demos. */
export type SimulatorControl = {
  /** Plans a fault; several apply in the order in which they were planned. */
  fail(fault: Fault): void;
  clearFaults(): void;
  /** Milliseconds added before each answer. */
  latency(milliseconds: number): void;
  /** All requests to Google's endpoints so far, oldest first. */
  requests(): ObservedRequest[];
  clearRequests(): void;
  setSwitch<Name extends keyof Switches>(name: Name, value: Switches[Name]): void;
  switches(): Switches;
  addAccount(account: Account): void;
  /** Tokens without a browser, as if the account had just allowed these scopes (full names). */
  grant(grant: { clientId: string; email: string; scopes: string[]; refreshToken?: boolean }): {
    accessToken: string;
    refreshToken?: string;
  };
  /** The account's access tokens answer 401 from now on; its refresh tokens stay valid. */
  expireAccessTokens(email: string): void;
  /** As if the user had removed the app: all its tokens for the account end. */
  revokeGrant(email: string, clientId?: string): void;
  grants(): { clientId: string; email: string; scopes: string[]; refreshTokens: number }[];
  /** Events of one calendar, or of all that the account owns; cancelled ones too. */
  events(email: string, calendarId?: string): calendar_v3.Schema$Event[];
  /** As if the user had deleted the event by hand. */
  deleteEvent(email: string, eventId: string, calendarId?: string): void;
  /** Removes all of a cancelled event except its id, which stays reserved. */
  purgeDeleted(email: string): void;
  /** As if the user had moved the event to another calendar by hand. */
  moveEvent(email: string, eventId: string, to: string, from?: string): void;
  /** Deletes a calendar of the account, with its events. */
  deleteCalendar(email: string, calendarId: string): void;
  /** Changes the name or the time zone of a calendar of the account. */
  changeCalendar(email: string, calendarId: string, change: { summary?: string; timeZone?: string }): void;
  /** Shares a calendar with another account, or stops sharing (`none`). */
  share(email: string, calendarId: string, withEmail: string, role: 'reader' | 'writer' | 'none'): void;
  /** Switches Google Calendar off for the account, or on again. */
  switchCalendar(email: string, to: 'off' | 'on'): void;
};

export function createControl(state: GoogleState, faults: Faults, baseUrl: () => string): SimulatorControl {
  const account = (email: string): Account => {
    const found = findAccount(state, email);
    if (!found) throw new Error(`There is no simulated account ${email}. Add it with addAccount().`);
    return found;
  };
  const calendar = (email: string, calendarId: string) => {
    const found = findCalendar(state, account(email).sub, calendarId);
    if (!found) throw new Error(`The account ${email} has no calendar ${calendarId}.`);
    return found;
  };
  const ownCalendars = (email: string) => {
    const { sub } = account(email);
    return calendarsOf(state, sub).filter(({ owner }) => owner === sub);
  };

  return {
    fail: faults.fail,
    clearFaults: faults.clearFaults,
    latency: faults.latency,
    requests: faults.requests,
    clearRequests: faults.clearRequests,
    setSwitch: (name, value) => {
      if (!(name in state.switches)) {
        throw new Error(`There is no switch ${name}, only ${Object.keys(state.switches).join(', ')}.`);
      }
      state.switches[name] = value;
    },
    switches: () => ({ ...state.switches }),
    addAccount: (added) => addAccount(state, added),
    grant: ({ clientId, email, scopes, refreshToken = true }) =>
      issueTokens(state, { clientId, sub: account(email).sub, scopes, refreshToken }),
    expireAccessTokens: (email) => {
      const { sub } = account(email);
      for (const token of [...state.accessTokens.values()].filter((it) => it.sub === sub)) {
        state.accessTokens.delete(token.token);
      }
    },
    revokeGrant: (email, clientId) => {
      const { sub } = account(email);
      const grants = [...state.grants.values()].filter((it) => it.sub === sub);
      for (const grant of grants.filter((it) => !clientId || it.clientId === clientId)) {
        state.grants.delete(grantKey(grant.clientId, sub));
      }
    },
    grants: () =>
      [...state.grants.values()].map(({ clientId, sub, scopes, refreshTokens }) => ({
        clientId,
        email: findAccount(state, sub)?.email ?? '',
        scopes,
        refreshTokens: refreshTokens.length,
      })),
    events: (email, calendarId) =>
      (calendarId ? [calendar(email, calendarId)] : ownCalendars(email)).flatMap((it) =>
        eventsOf(state, it.id).map((event) => presentEvent(it, event, baseUrl())),
      ),
    deleteEvent: (email, eventId, calendarId = 'primary') =>
      deleteEvent(
        { state, account: account(email), calendar: calendar(email, calendarId) },
        eventId,
        undefined,
      ),
    purgeDeleted: (email) => {
      for (const event of ownCalendars(email).flatMap(({ id }) => eventsOf(state, id))) {
        const { id, status } = event.resource;
        if (status === 'cancelled') purgeEvent(state, calendar(email, event.calendarId), id);
      }
    },
    moveEvent: (email, eventId, to, from = 'primary') => {
      const place = { state, account: account(email), calendar: calendar(email, from) };
      moveEvent(place, eventId, calendar(email, to));
    },
    deleteCalendar: (email, calendarId) => deleteCalendar(state, calendar(email, calendarId)),
    changeCalendar: (email, calendarId, { summary, timeZone }) => {
      const before = calendar(email, calendarId);
      const after = { ...before, summary: summary ?? before.summary, timeZone: timeZone ?? before.timeZone };
      state.calendars.set(before.id, after);
    },
    share: (email, calendarId, withEmail, role) => {
      const shared = calendar(email, calendarId);
      const { [account(withEmail).sub]: _, ...others } = shared.sharedWith ?? {};
      const sharedWith = role === 'none' ? others : { ...others, [account(withEmail).sub]: role };
      state.calendars.set(shared.id, { ...shared, sharedWith });
    },
    switchCalendar: (email, to) => {
      const { calendarIsOff: _, ...switched } = account(email);
      state.accounts.set(switched.sub, to === 'off' ? { ...switched, calendarIsOff: true } : switched);
    },
  };
}

/** The same over HTTP, for demos and tests in other processes; mounted at `/_simulator`. */
export function controlRoutes(control: SimulatorControl): Hono<SimulatorEnv> {
  const app = new Hono<SimulatorEnv>();
  app.post('/faults', async (c) => c.json(control.fail(await c.req.json()) ?? {}, 201));
  app.delete('/faults', (c) => c.json(control.clearFaults() ?? {}));
  app.put('/latency', async (c) => c.json(control.latency((await c.req.json()).ms) ?? {}));
  app.get('/requests', (c) => c.json({ requests: control.requests() }));
  app.delete('/requests', (c) => c.json(control.clearRequests() ?? {}));
  app.get('/switches', (c) => c.json(control.switches()));
  app.patch('/switches', async (c) => {
    const wanted = (await c.req.json()) as Partial<Switches>;
    for (const [name, value] of Object.entries(wanted)) control.setSwitch(name as keyof Switches, value);
    return c.json(control.switches());
  });
  app.post('/accounts', async (c) => c.json(control.addAccount(await c.req.json()) ?? {}, 201));
  app.get('/grants', (c) => c.json({ grants: control.grants() }));
  app.post('/grants', async (c) => c.json(control.grant(await c.req.json()), 201));
  app.post('/expire-access-tokens', async (c) =>
    c.json(control.expireAccessTokens((await c.req.json()).email) ?? {}),
  );
  app.post('/revoke-grant', async (c) => {
    const { email, clientId } = await c.req.json();
    return c.json(control.revokeGrant(email, clientId) ?? {});
  });
  app.get('/events', (c) =>
    c.json({ events: control.events(c.req.query('email') ?? '', c.req.query('calendarId')) }),
  );
  app.delete('/events', (c) => {
    const { email = '', eventId = '', calendarId } = c.req.query();
    return c.json(control.deleteEvent(email, eventId, calendarId) ?? {});
  });
  app.post('/purge-deleted', async (c) => c.json(control.purgeDeleted((await c.req.json()).email) ?? {}));
  app.post('/move-event', async (c) => {
    const { email, eventId, to, from } = await c.req.json();
    return c.json(control.moveEvent(email, eventId, to, from) ?? {});
  });
  app.delete('/calendars', (c) =>
    c.json(control.deleteCalendar(c.req.query('email') ?? '', c.req.query('calendarId') ?? '') ?? {}),
  );
  app.patch('/calendars', async (c) => {
    const { email, calendarId, ...change } = await c.req.json();
    return c.json(control.changeCalendar(email, calendarId, change) ?? {});
  });
  app.post('/share', async (c) => {
    const { email, calendarId, with: other, role } = await c.req.json();
    return c.json(control.share(email, calendarId, other, role) ?? {});
  });
  app.post('/switch-calendar', async (c) => {
    const { email, to } = await c.req.json();
    return c.json(control.switchCalendar(email, to) ?? {});
  });
  app.onError((error, c) => c.json({ error: error.message }, 400));
  return app;
}
