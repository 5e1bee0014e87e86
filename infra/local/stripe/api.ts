import { Hono } from 'hono';
import type { Entry, Scope, StripeEvent } from './event-log.ts';
import type { Faults, SimulatorEnv } from './faults.ts';
import { authorize, type Permission, randomText } from './keys.ts';
import { parseListQuery } from './list-query.ts';
import type { StripeState } from './state.ts';
import { resourceMissing, stripeError } from './stripe-errors.ts';

/** Objects that events show, by the path of their API. */
export const objectPaths: [path: string, type: string, permission: Permission][] = [
  ['payment_intents', 'payment_intent', 'payment_intent_read'],
  ['checkout/sessions', 'checkout.session', 'checkout_session_read'],
  ['charges', 'charge', 'charge_read'],
  // Charges and refunds share a permission.
  ['refunds', 'refund', 'charge_read'],
  ['disputes', 'dispute', 'dispute_read'],
  ['invoices', 'invoice', 'invoice_read'],
];

/** Seconds for which Stripe lists events: 30 days. */
const keptFor = 30 * 86_400;

/** The part of Stripe's API that reads events and their objects; mounted at `/v1`. */
export function stripeApi(state: StripeState, faults: Faults): Hono<SimulatorEnv> {
  const { log, now, random } = state;
  const app = new Hono<SimulatorEnv>();
  const oldest = (): number => Math.floor(now() / 1000) - keptFor;
  const keptEntry = (scope: Scope, id: string, param?: string): Entry => {
    const entry = log.find(scope, id);
    if (!entry || entry.created < oldest()) throw resourceMissing('event', id, param);
    return entry;
  };

  app.use(async (c, next) => {
    await next();
    c.res.headers.set('request-id', `req_${randomText(random, 14)}`);
  });

  app.get('/events', faults.around('events.list'), (c) => {
    const scope = authorize(c, state, 'event_read');
    const { startingAfter, endingBefore, ...query } = parseListQuery(new URL(c.req.url).searchParams);
    const { events, hasMore } = log.page(scope, {
      ...query,
      from: Math.max(query.from, oldest()),
      ...(startingAfter ? { olderThan: keptEntry(scope, startingAfter, 'starting_after') } : {}),
      ...(endingBefore ? { newerThan: keptEntry(scope, endingBefore, 'ending_before') } : {}),
    });
    const data = events.map((event) => presentEvent(state, event));
    return c.json({ object: 'list', data, has_more: hasMore, url: '/v1/events' });
  });

  app.get('/events/:id', faults.around('events.retrieve'), (c) => {
    const scope = authorize(c, state, 'event_read');
    return c.json(presentEvent(state, keptEntry(scope, c.req.param('id')).event));
  });

  for (const [path, type, permission] of objectPaths) {
    app.get(`/${path}/:id`, faults.around('objects.retrieve'), (c) => {
      const id = c.req.param('id') as string;
      const object = log.findObject(authorize(c, state, permission), type, id);
      if (!object) throw resourceMissing(type, id);
      return c.json(object);
    });
  }

  app.all('*', (c) => {
    const message = `Unrecognized request URL (${c.req.method}: ${c.req.path}).`;
    throw stripeError({ status: 404, message });
  });
  return app;
}

/** An event as the API shows it. Only webhooks are documented to have `account`. */
function presentEvent({ switches }: StripeState, event: StripeEvent): Record<string, unknown> {
  const { account, ...shown } = event;
  return account && switches.listedAccount === 'shown' ? { ...shown, account } : shown;
}
