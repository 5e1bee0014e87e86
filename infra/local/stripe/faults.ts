import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpBindings } from '@hono/node-server';
import type { Context, MiddlewareHandler } from 'hono';
import { withoutKeys } from './keys.ts';
import { type StripeError, stripeErrorResponse } from './stripe-errors.ts';

export type SimulatorEnv = { Bindings: HttpBindings };

/** Operations that can fail and are counted. A fault on `events` applies to both of `events.*`. */
const routeNames = ['events.list', 'events.retrieve', 'objects.retrieve'] as const;
type RouteName = (typeof routeNames)[number];

/** Effect of a fault: an answer instead of the result, a lost connection, or a delay before the result. */
export type FaultEffect =
  | {
      status: number;
      code?: string;
      message?: string;
      /** Seconds, sent as `Retry-After`. */
      retryAfter?: number;
      /** Answer exactly this text as JSON, well-formed or not. */
      body?: string;
    }
  | { reset: true }
  | { delayMs: number };

export type Fault = {
  on: RouteName | 'events' | '*';
  /** How often; once by default, unlimited when a probability is given. */
  times?: number;
  /** Calls that pass before the first fault. */
  after?: number;
  /** 0..1, drawn from the simulator's source of randomness. */
  probability?: number;
  how: FaultEffect;
};

/** A received call. `status` 0 is a lost connection; `at` is epoch milliseconds. Keys are left out. */
export type ObservedCall = {
  at: number;
  route: RouteName;
  method: string;
  path: string;
  query: string;
  /** The connected account; empty for the own one. */
  account: string;
  status: number;
};

const maxCalls = 100_000;

export type Faults = ReturnType<typeof createFaults>;

/** Keeps planned faults and the journal of calls, and applies both to the routes. */
export function createFaults(now: () => number, random: () => number) {
  let planned: PlannedFault[] = [];
  let calls: ObservedCall[] = [];

  /** Counts calls of a route and lets them fail as planned. */
  const around =
    (route: RouteName): MiddlewareHandler<SimulatorEnv> =>
    async (c, proceed) => {
      const { pathname, search } = new URL(c.req.url);
      const call: ObservedCall = {
        at: now(),
        route,
        method: c.req.method,
        path: withoutKeys(pathname),
        query: withoutKeys(search),
        account: c.req.header('stripe-account') ?? '',
        status: 0,
      };
      calls.push(call);
      if (calls.length > maxCalls) calls.shift();
      const how = nextEffect(planned, route, random);
      if (how && 'reset' in how) return cutConnection(c);
      await answer(c, how, proceed);
      call.status = c.res.status;
      return undefined;
    };

  return {
    around,
    fail: (fault: Fault): void => {
      checkFault(fault);
      const { times, probability, after = 0 } = fault;
      const left = times ?? (probability === undefined ? 1 : Number.POSITIVE_INFINITY);
      planned.push({ fault, left, skip: after });
    },
    clearFaults: (): void => {
      planned = [];
    },
    calls: (): ObservedCall[] => [...calls],
    clearCalls: (): void => {
      calls = [];
    },
  };
}

type PlannedFault = { fault: Fault; left: number; skip: number };

/** The effect of the first planned fault that applies to a call of this route. Counts it. */
function nextEffect(
  planned: PlannedFault[],
  route: RouteName,
  random: () => number,
): FaultEffect | undefined {
  for (const plan of planned) {
    if (!isOn(plan.fault, route)) continue;
    if (plan.skip > 0) {
      plan.skip -= 1;
      continue;
    }
    const { probability } = plan.fault;
    if (plan.left <= 0 || (probability !== undefined && random() >= probability)) continue;
    plan.left -= 1;
    return plan.fault.how;
  }
  return undefined;
}

/** The failure instead of the result, or the result, perhaps late. */
async function answer(
  c: Context<SimulatorEnv>,
  how: Exclude<FaultEffect, { reset: true }> | undefined,
  proceed: () => Promise<void>,
): Promise<void> {
  if (how && 'status' in how) {
    c.res = failureResponse(how);
    return;
  }
  if (how) await sleep(how.delayMs);
  await proceed();
}

function isOn({ on }: Fault, route: RouteName): boolean {
  return on === '*' || on === route || route.startsWith(`${on}.`);
}

/** Faults also arrive over HTTP, and one that can never apply would be a silent mistake in a test. */
function checkFault(fault: Fault): void {
  if (!routeNames.some((route) => isOn(fault, route))) {
    throw new Error(`No route is called ${fault.on}. There are ${routeNames.join(', ')}, and * for all.`);
  }
  if (!fault.how || !['status', 'reset', 'delayMs'].some((kind) => kind in fault.how)) {
    throw new Error('A fault needs `how`: an object with `status`, `reset` or `delayMs`.');
  }
}

/** Codes and texts of the errors that faults usually simulate. */
const usual: Record<number, Omit<StripeError, 'status'>> = {
  429: { code: 'rate_limit', message: 'Request rate limit exceeded.' },
  500: { message: 'An unknown error occurred.' },
};

function failureResponse(how: Extract<FaultEffect, { status: number }>): Response {
  const { status, code, message, retryAfter, body } = how;
  const error = { message: `Simulated error ${status}.`, ...usual[status], status };
  const response =
    body === undefined
      ? stripeErrorResponse({ ...error, ...(code ? { code } : {}), ...(message ? { message } : {}) })
      : new Response(body, { status, headers: { 'content-type': 'application/json' } });
  if (retryAfter !== undefined) response.headers.set('retry-after', `${retryAfter}`);
  return response;
}

/** Ends the TCP connection without an answer. What Hono still writes goes nowhere. */
function cutConnection(c: Context<SimulatorEnv>): Response {
  c.env.incoming.socket.destroy();
  return new Response(null, { status: 503 });
}
