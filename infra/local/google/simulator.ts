import type { AddressInfo } from 'node:net';
import { type ServerType, serve } from '@hono/node-server';
import { Hono } from 'hono';
import { authorizationEndpoint } from './authorization-endpoint.ts';
import { calendarApi } from './calendar-api.ts';
import { calendarPages } from './calendar-pages.ts';
import { controlRoutes, createControl, type SimulatorControl } from './control.ts';
import { createFaults, type SimulatorEnv } from './faults.ts';
import { homePages } from './home-pages.ts';
import { createIdTokenSigner, idTokenRoutes } from './id-tokens.ts';
import { pageHeaders } from './page.ts';
import { type Account, demoAccounts, openState, type SimulatedClient } from './state.ts';
import { tokenEndpoint } from './token-endpoint.ts';

type GoogleSimulatorOptions = {
  /** 0, the default, uses any free port. */
  port?: number;
  /** The OAuth clients that the simulated Google knows. */
  clients: SimulatedClient[];
  /** Two fictional accounts by default. */
  accounts?: Account[];
  /** File of calendars and grants across restarts, as JSON lines; in memory when absent. */
  stateFile?: string;
  /** Epoch milliseconds. */
  now?: () => number;
  /** 0..1, for tokens, ids and the order of scopes. */
  random?: () => number;
};

export type GoogleSimulator = {
  /** Base of every endpoint, without a trailing slash. */
  url: string;
  control: SimulatorControl;
  close(): Promise<void>;
};

/**
 * Starts a simulated Google on 127.0.0.1: consent pages, token and revoke endpoints, signing keys and Calendar API
 * v3 under one base URL, with pages to view the calendars and a control for tests.
 */
export async function startGoogleSimulator(options: GoogleSimulatorOptions): Promise<GoogleSimulator> {
  const {
    port = 0,
    clients,
    accounts = demoAccounts,
    stateFile,
    now = Date.now,
    random = Math.random,
  } = options;
  const state = openState({ clients, accounts, stateFile, now, random });
  const faults = createFaults(now);
  const signer = await createIdTokenSigner(state);
  let url = '';
  const baseUrl = () => url;
  const control = createControl(state, faults, baseUrl);

  const app = new Hono<SimulatorEnv>();
  app.use(async (c, next) => {
    await next();
    if (!c.res.headers.get('content-type')?.startsWith('text/html')) return;
    for (const [name, value] of Object.entries(pageHeaders)) c.res.headers.set(name, value);
  });
  app.route('/', authorizationEndpoint(state, faults));
  app.route('/', tokenEndpoint(state, faults, signer));
  app.route('/', idTokenRoutes(signer, faults, baseUrl));
  app.route('/calendar/v3', calendarApi(state, faults, baseUrl));
  app.route('/_simulator', controlRoutes(control));
  app.route('/', calendarPages(state, baseUrl));
  app.route('/', homePages(state, baseUrl));

  const server = await listen(app, port);
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    url,
    control,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      if ('closeAllConnections' in server) server.closeAllConnections();
      await closed;
      state.close();
    },
  };
}

function listen(app: Hono<SimulatorEnv>, port: number): Promise<ServerType> {
  return new Promise((resolve, reject) => {
    const server = serve(
      { fetch: app.fetch, port, hostname: '127.0.0.1', overrideGlobalObjects: false },
      () => resolve(server),
    );
    server.once('error', reject);
  });
}
