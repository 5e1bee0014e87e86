import { Hono } from 'hono';
import type { StripeEvent } from './event-log.ts';
import type { Fault, Faults, ObservedCall, SimulatorEnv } from './faults.ts';
import { newKey, type StripeKey } from './keys.ts';
import type { StripeState, Switches } from './state.ts';
import { type Answer, type Destination, deliverWebhook } from './webhooks.ts';

/** Control of the simulated Stripe for tests and demos. */
export type StripeControl = {
  /** Stores events without webhooks. An id that is known changes nothing. */
  register(...events: StripeEvent[]): void;
  /** Stores an event and delivers it; also again. Without an answer where webhooks are dropped. */
  deliver(event: StripeEvent, to: Destination): Promise<Answer | undefined>;
  setSwitch<Name extends keyof Switches>(name: Name, value: Switches[Name]): void;
  switches(): Switches;
  /** The connected account revokes the platform's access. */
  disconnectAccount(account: string): void;
  /** Plans a fault; several apply in the order in which they were planned. */
  fail(fault: Fault): void;
  clearFaults(): void;
  /** All calls of the API so far, oldest first. */
  calls(): ObservedCall[];
  clearCalls(): void;
  /** For each mode a restricted key with all permissions and a secret key, and those that were created. */
  keys(): StripeKey[];
  createKey(of: Omit<StripeKey, 'key'>): StripeKey;
};

export function createControl(state: StripeState, faults: Faults): StripeControl {
  return {
    register: (...events) => {
      for (const event of events) state.register(event);
    },
    deliver: async (event, to) => {
      state.register(event);
      return state.switches.dropWebhooks ? undefined : deliverWebhook(event, to, state.now());
    },
    setSwitch: (name, value) => {
      if (!(name in state.switches)) {
        throw new Error(`There is no switch ${name}, only ${Object.keys(state.switches).join(', ')}.`);
      }
      state.switches[name] = value;
    },
    switches: () => ({ ...state.switches }),
    disconnectAccount: (account) => {
      state.disconnected.add(account);
    },
    fail: faults.fail,
    clearFaults: faults.clearFaults,
    calls: faults.calls,
    clearCalls: faults.clearCalls,
    keys: () => [...state.keys.values()],
    createKey: (of) => {
      const created = newKey(of, state.random);
      state.keys.set(created.key, created);
      return created;
    },
  };
}

/** The same over HTTP, for demos and tests in other processes; mounted at `/_simulator`. */
export function controlRoutes(control: StripeControl): Hono<SimulatorEnv> {
  const app = new Hono<SimulatorEnv>();
  app.post('/events', async (c) => {
    const { events } = (await c.req.json()) as { events: StripeEvent[] };
    for (const event of events) control.register(event);
    return c.json({}, 201);
  });
  app.post('/webhooks', async (c) => {
    const { event, to } = (await c.req.json()) as { event: StripeEvent; to: Destination };
    return c.json({ answer: (await control.deliver(event, to)) ?? null }, 201);
  });
  app.get('/switches', (c) => c.json(control.switches()));
  app.patch('/switches', async (c) => {
    const wanted = (await c.req.json()) as Partial<Switches>;
    for (const [name, value] of Object.entries(wanted)) control.setSwitch(name as keyof Switches, value);
    return c.json(control.switches());
  });
  app.post('/faults', async (c) => c.json(control.fail(await c.req.json()) ?? {}, 201));
  app.delete('/faults', (c) => c.json(control.clearFaults() ?? {}));
  app.get('/calls', (c) => c.json({ calls: control.calls() }));
  app.delete('/calls', (c) => c.json(control.clearCalls() ?? {}));
  app.get('/keys', (c) => c.json({ keys: control.keys() }));
  app.post('/keys', async (c) => c.json(control.createKey(await c.req.json()), 201));
  app.onError((error, c) => c.json({ error: error.message }, 400));
  return app;
}
