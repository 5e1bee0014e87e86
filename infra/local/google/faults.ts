import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpBindings } from '@hono/node-server';
import type { Context, MiddlewareHandler } from 'hono';
import { type ApiError, apiErrorResponse, documented, oauthErrorResponse } from './google-errors.ts';

export type SimulatorEnv = { Bindings: HttpBindings };

/** Operations that can fail and are counted. A fault on `events` applies to all of `events.*`. */
export const routeNames = [
  'auth',
  'token',
  'revoke',
  'certs',
  'events.insert',
  'events.get',
  'events.patch',
  'events.update',
  'events.delete',
  'events.list',
  'events.move',
  'calendarList.list',
  'calendarList.get',
  'calendars.get',
  'calendars.delete',
  'freebusy.query',
] as const;
export type RouteName = (typeof routeNames)[number];

/** Effect of a fault: an answer instead of the action, a connection lost before or after it, or a delay before it. */
export type FaultEffect =
  | {
      status: number;
      /** Of the Calendar API. Google's documented message and domain are filled in. */
      reason?: string;
      message?: string;
      domain?: string;
      /** `error` and `error_subtype` of the token and revoke endpoints. */
      oauthError?: string;
      oauthSubtype?: string;
      /** Seconds, sent as `Retry-After`. */
      retryAfter?: number;
      /** Answer a page instead of JSON, as proxies do. */
      html?: true;
      /** Answer exactly this text as JSON, well-formed or not. */
      body?: string;
    }
  | { lose: 'request' | 'response' }
  | { delayMs: number };

export type Fault = {
  on: RouteName | 'events' | 'calendarList' | '*';
  /** How often; once by default, unlimited when a probability is given. */
  times?: number;
  /** Requests that pass before the first fault. */
  after?: number;
  /** 0..1, drawn from a generator with this fault's own seed, so that a run is reproducible. */
  probability?: number;
  seed?: number;
  how: FaultEffect;
};

/** A received request. `status` 0 is a lost connection; `at` is epoch milliseconds. */
export type ObservedRequest = {
  at: number;
  route: RouteName;
  method: string;
  path: string;
  query: string;
  status: number;
};

const maxRequests = 100_000;

export type Faults = ReturnType<typeof createFaults>;

/** Keeps planned faults and the request log, and applies both to the routes. */
export function createFaults(now: () => number) {
  let planned: PlannedFault[] = [];
  let requests: ObservedRequest[] = [];
  let latencyMs = 0;

  /** Counts requests of a route and lets them fail as planned. */
  const around =
    (route: RouteName): MiddlewareHandler<SimulatorEnv> =>
    async (c, proceed) => {
      const request: ObservedRequest = {
        at: now(),
        route,
        method: c.req.method,
        path: c.req.path,
        // Google's own library sends the token to revoke in the query; the log holds no secrets.
        query: route === 'revoke' ? '' : new URL(c.req.url).search,
        status: 0,
      };
      requests.push(request);
      if (requests.length > maxRequests) requests.shift();
      const how = nextEffect(planned, route);
      // Read before the delay: a client that times out cancels its body, but the request must still be applied.
      await c.req.text();
      if (latencyMs > 0) await sleep(latencyMs);
      if (await applyFault(c, route, how, proceed)) return cutConnection(c);
      request.status = c.res.status;
      return undefined;
    };

  return {
    around,
    fail: (fault: Fault): void => {
      checkFault(fault);
      planned.push({
        fault,
        left: fault.times ?? (fault.probability === undefined ? 1 : Number.POSITIVE_INFINITY),
        skip: fault.after ?? 0,
        draw: seededRandom(fault.seed ?? 1),
      });
    },
    clearFaults: (): void => {
      planned = [];
    },
    latency: (milliseconds: number): void => {
      latencyMs = milliseconds;
    },
    requests: (): ObservedRequest[] => [...requests],
    clearRequests: (): void => {
      requests = [];
    },
  };
}

type PlannedFault = { fault: Fault; left: number; skip: number; draw: () => number };

/** The effect of the first planned fault that applies to a request of this route. Counts it. */
function nextEffect(planned: PlannedFault[], route: RouteName): FaultEffect | undefined {
  for (const plan of planned) {
    if (!isOn(plan.fault, route)) continue;
    if (plan.skip > 0) {
      plan.skip -= 1;
      continue;
    }
    const { probability } = plan.fault;
    if (plan.left <= 0 || (probability !== undefined && plan.draw() >= probability)) continue;
    plan.left -= 1;
    return plan.fault.how;
  }
  return undefined;
}

/** Whether the connection is to be cut. A response that is lost had its effect. */
async function applyFault(
  c: Context<SimulatorEnv>,
  route: RouteName,
  how: FaultEffect | undefined,
  proceed: () => Promise<void>,
): Promise<boolean> {
  if (how && 'status' in how) {
    c.res = failureResponse(route, how);
    return false;
  }
  if (how && 'delayMs' in how) await sleep(how.delayMs);
  const lost = how && 'lose' in how ? how.lose : undefined;
  if (lost !== 'request') await proceed();
  return lost !== undefined;
}

function isOn({ on }: Fault, route: RouteName): boolean {
  return on === '*' || on === route || route.startsWith(`${on}.`);
}

/** Faults also arrive over HTTP, and one that can never apply would be a silent mistake in a test. */
function checkFault(fault: Fault): void {
  const { on, how } = fault;
  if (!routeNames.some((route) => isOn(fault, route))) {
    throw new Error(`No route is called ${on}. There are ${routeNames.join(', ')}, and * for all.`);
  }
  if (!how || !['status', 'lose', 'delayMs'].some((kind) => kind in how)) {
    throw new Error('A fault needs `how`: an object with `status`, `lose` or `delayMs`.');
  }
}

function failureResponse(route: RouteName, how: Extract<FaultEffect, { status: number }>): Response {
  const headers: Record<string, string> =
    how.retryAfter === undefined ? {} : { 'retry-after': `${how.retryAfter}` };
  const { status } = how;
  if (how.html) {
    const page = `<!doctype html><title>Error ${status}</title><p>That’s an error.`;
    return new Response(page, {
      status,
      headers: { ...headers, 'content-type': 'text/html; charset=utf-8' },
    });
  }
  if (how.body !== undefined) {
    return new Response(how.body, { status, headers: { ...headers, 'content-type': 'application/json' } });
  }
  if (route === 'token' || route === 'revoke') {
    const response = oauthErrorResponse(
      status,
      how.oauthError ?? how.reason ?? 'internal_failure',
      how.message,
      how.oauthSubtype,
    );
    for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
    return response;
  }
  const reason = how.reason ?? 'backendError';
  const known: Partial<ApiError> = (documented as Record<string, ApiError>)[reason] ?? {};
  const error = { ...known, reason, status, message: how.message ?? known.message ?? reason };
  return apiErrorResponse(how.domain ? { ...error, domain: how.domain } : error, headers);
}

/** Ends the TCP connection without an answer. What Hono still writes goes nowhere. */
function cutConnection(c: Context<SimulatorEnv>): Response {
  c.env.incoming.socket.destroy();
  return new Response(null, { status: 503 });
}

/** Mulberry32: small, fast, and the same numbers for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
