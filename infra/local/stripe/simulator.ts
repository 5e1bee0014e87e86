import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { closeServer, listen } from '../ports.ts';
import { stripeApi } from './api.ts';
import { controlRoutes, createControl, type StripeControl } from './control.ts';
import { createFaults, type SimulatorEnv } from './faults.ts';
import { openState } from './state.ts';

type StripeSimulatorOptions = {
  /** 0, the default, uses any free port. */
  port?: number;
  /** File of events and keys across restarts, as JSON lines; in memory when absent. */
  stateFile?: string | undefined;
  /** Epoch milliseconds. */
  now?: () => number;
  /** 0..1, for keys, request ids and faults with a probability. */
  random?: () => number;
};

export type StripeSimulator = {
  /** Base of the API, without a trailing slash. */
  url: string;
  control: StripeControl;
  close(): Promise<void>;
};

/**
 * Starts a simulated Stripe on 127.0.0.1: the events of the last 30 days and the objects that they show, for keys of
 * both modes and connected accounts. It delivers webhooks, and has a control for tests.
 * @throws Error that says so when the port is taken
 */
export async function startStripeSimulator(options: StripeSimulatorOptions = {}): Promise<StripeSimulator> {
  const { port = 0, stateFile, now = Date.now, random = Math.random } = options;
  const state = openState({ stateFile, now, random });
  const faults = createFaults(now, random);
  const control = createControl(state, faults);
  const app = new Hono<SimulatorEnv>();
  app.route('/v1', stripeApi(state, faults));
  app.route('/_simulator', controlRoutes(control));

  const server = createServer(getRequestListener(app.fetch, { overrideGlobalObjects: false }));
  const listeningOn = await listen(server, port);
  return {
    url: `http://127.0.0.1:${listeningOn}`,
    control,
    close: async () => {
      await closeServer(server);
      state.close();
    },
  };
}
