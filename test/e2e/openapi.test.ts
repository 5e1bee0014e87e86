import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { providers } from '../../functions/payment-confirmed/providers.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import type { JsonSchema, OpenApi } from '../../infra/openapi.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { routes, webhookRoute } from '../../shared/lib/names.ts';
import { signWebhook, webhooks } from '../fixtures/webhooks.ts';
import { temporaryDirectory } from '../local-stack/local-assembly.ts';
import { apiTokenFor, connect, linkFor, openLink } from './browser.ts';

/** The published document is compared with the deployed service: routes, bundles and permissions. */
const openApi: OpenApi = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../docs/openapi.json'), 'utf8'),
);

let stack: LocalStack;
let token: string;
beforeAll(async () => {
  // With the option that some operations need.
  const assembly = temporaryDirectory();
  synthesize(assembly, { stripeConnect: true });
  stack = await startLocalStack({ google: { kind: 'simulator' }, schedules: false, assembly });
  token = await apiTokenFor(stack, 'owner');
  await connect(stack, 'owner');
});
afterAll(() => stack?.close());

type Call = { headers?: Record<string, string>; body?: unknown };

/** Calls an operation, and fails if its answer differs from the document. */
async function call(method: string, target: string, { headers = {}, body }: Call = {}) {
  const response = await fetch(`${stack.url}${target}`, {
    method,
    redirect: 'manual',
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const sent = await response.text();
  const { answer, key } = documented(method, target, response.status);
  for (const name of Object.keys(answer.headers ?? {})) expect(response.headers.get(name), name).toBeTruthy();
  const type = response.headers.get('content-type')?.split(';')[0];
  if (answer.content) {
    const schema = answer.content[type ?? '']?.schema;
    if (!schema) throw new Error(`${key} ${response.status}: ${type} is not documented.`);
    if (type !== 'text/html') expect(problemsOf(schema, JSON.parse(sent)), `${key} ${sent}`).toEqual([]);
  }
  seen.add(`${key} ${response.status < 400 ? 'good' : 'bad'}`);
  return {
    status: response.status,
    headers: response.headers,
    body: sent && type?.endsWith('json') ? (JSON.parse(sent) as Record<string, unknown>) : {},
  };
}
const seen = new Set<string>();

function documented(method: string, target: string, status: number) {
  const path = target.split('?')[0] ?? '';
  const found = Object.entries(openApi.paths).find(([template]) =>
    new RegExp(`^${template.replace(/\{\w+\}/, '[^/]+')}$`).test(path),
  );
  const answer = found?.[1][method.toLowerCase()]?.responses[status];
  if (!found || !answer) throw new Error(`${method} ${path} answers ${status}, which is not documented.`);
  return { key: `${method} ${found[0]}`, answer };
}

function problemsOf(schema: JsonSchema, body: unknown): unknown[] {
  const whole = { ...schema, $defs: openApi.components.schemas };
  const local = JSON.parse(JSON.stringify(whole).replaceAll('#/components/schemas/', '#/$defs/'));
  const validate = formats.default(new Ajv2020({ strictTypes: false })).compile(local);
  return validate(body) ? [] : (validate.errors ?? []);
}

const asOwner = (headers: Record<string, string> = {}) => ({ authorization: `Bearer ${token}`, ...headers });
const booking = {
  summary: 'First meeting with Ada',
  start: '2027-03-01T10:00:00',
  end: '2027-03-01T11:00:00',
  timeZone: 'Europe/Berlin',
};

async function until<T>(look: () => Promise<T>, done: (seen: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries++) {
    const found = await look();
    if (done(found)) return found;
    if (tries === 100) throw new Error(`Not so after ten seconds: ${JSON.stringify(found)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
const settled = (id: string, status: string) =>
  until(
    () => call('GET', `/bookings/${id}`, { headers: asOwner() }),
    ({ body }) => body.status === status,
  );

describe('bookings', () => {
  it('bookings are declared, paid, moved and cancelled', async () => {
    const path = '/bookings/booking-1';
    const put = (body: unknown, headers = {}) => call('PUT', path, { headers: asOwner(headers), body });
    const declared = await put(booking);
    expect(declared).toMatchObject({ status: 201, body: { status: 'declared', revision: 1 } });
    expect(declared.headers.get('location')).toBe(path);
    expect(declared.headers.get('etag')).toBe('"1"');
    expect(await put(booking)).toMatchObject({ status: 200, body: { revision: 1 } });
    expect(await put({ ...booking, hold: true })).toMatchObject({ status: 202, body: { revision: 2 } });
    expect(await settled('booking-1', 'held')).toMatchObject({ body: { observed: { tentative: true } } });

    const paid = await confirm('booking-1', booking);
    expect(paid).toMatchObject({ status: 200, body: { booking_id: 'booking-1' } });
    await settled('booking-1', 'scheduled');

    const patch = (body: unknown, headers: Record<string, string>) =>
      call('PATCH', path, { headers: asOwner(headers), body });
    const merge = { 'content-type': 'application/merge-patch+json' };
    expect(await patch({ location: 'Here' }, { ...merge, 'if-match': '"1"' })).toMatchObject({ status: 412 });
    expect(await patch({ location: 'Here' }, { ...merge, 'if-match': '"2"' })).toMatchObject({ status: 202 });
    expect(await patch({ location: 'Here' }, {})).toMatchObject({ status: 200, body: { revision: 3 } });
    await settled('booking-1', 'scheduled');
    expect(stack.google?.control.events('ada@example.com')).toMatchObject([
      { location: 'Here', status: 'confirmed' },
    ]);

    expect(await call('DELETE', path, { headers: asOwner() })).toMatchObject({ status: 202 });
    await settled('booking-1', 'cancelled');
    expect(await call('DELETE', path, { headers: asOwner() })).toMatchObject({ status: 200 });
    expect(await put(booking)).toMatchObject({ status: 409, body: { code: 'booking_cancelled' } });
  });

  it('a declared booking needs only its id in the payment', async () => {
    await call('PUT', '/bookings/booking-2', { headers: asOwner(), body: booking });
    await confirm('booking-2');
    expect(await settled('booking-2', 'scheduled')).toMatchObject({
      body: {
        problems: [],
        desired: { summary: booking.summary },
        payments: [{ paymentId: 'standard:order-booking-2', standing: 'paid' }],
      },
    });
  });

  it('lists bookings in pages', async () => {
    for (const day of ['01', '02', '03']) {
      const body = { summary: day, start: `2028-01-${day}T10:00:00Z`, end: `2028-01-${day}T11:00:00Z` };
      await call('PUT', `/bookings/listed-${day}`, { headers: asOwner(), body });
    }
    const range = 'from=2028-01-01T00:00:00Z&to=2028-01-03T00:00:00Z&status=declared';
    const one = await call('GET', `/bookings?${range}&limit=1`, { headers: asOwner() });
    expect(one.body).toMatchObject({
      bookings: [{ bookingId: 'listed-01' }],
      nextCursor: expect.any(String),
    });
    const two = await call('GET', `/bookings?${range}&cursor=${one.body.nextCursor}`, { headers: asOwner() });
    expect(two.body).toMatchObject({ bookings: [{ bookingId: 'listed-02' }] });
    expect(await call('GET', '/bookings?cursor=forged', { headers: asOwner() })).toMatchObject({
      status: 400,
    });
  });

  it.each<[string, string, Call, number, string]>([
    ['PUT', '/bookings/x', { body: booking }, 401, 'token_missing'],
    ['PUT', '/bookings/x', { headers: { authorization: 'Bearer x' }, body: booking }, 401, 'token_invalid'],
    ['PUT', '/bookings/x%20y', { headers: {}, body: booking }, 400, 'invalid_request'],
    ['PUT', '/bookings/x', { headers: {}, body: { ...booking, colour: 1 } }, 400, 'invalid_request'],
    ['PUT', '/bookings/x', { headers: {}, body: '{' }, 400, 'invalid_json'],
    ['PUT', '/bookings/x', { headers: {}, body: { x: 'x'.repeat(70_000) } }, 413, 'payload_too_large'],
    ['PUT', '/bookings/x', { headers: { 'if-match': '"1"' }, body: booking }, 404, 'booking_not_found'],
    ['GET', '/bookings/none', { headers: {} }, 404, 'booking_not_found'],
    ['PATCH', '/bookings/none', { headers: {}, body: {} }, 404, 'booking_not_found'],
    [
      'PATCH',
      '/bookings/x',
      { headers: { 'content-type': 'application/json-patch+json' }, body: [] },
      415,
      'unsupported_media_type',
    ],
    ['DELETE', '/bookings/none', { headers: {} }, 404, 'booking_not_found'],
    ['GET', '/bookings?limit=0', { headers: {} }, 400, 'invalid_request'],
  ])('%s %s %j: %i %s', async (method, target, { headers, body }, status, code) => {
    // Without headers in the row: without a token.
    const sent = headers && !headers.authorization ? asOwner(headers) : headers;
    const answer = await call(method, target, { ...(sent ? { headers: sent } : {}), body });
    expect(answer).toMatchObject({ status, body: { code } });
  });

  it("hides bookings from another user's token", async () => {
    await call('PUT', '/bookings/mine', { headers: asOwner(), body: booking });
    const headers = { authorization: `Bearer ${await apiTokenFor(stack, 'other')}` };
    for (const [method, body] of [['GET'], ['PUT', booking], ['PATCH', {}], ['DELETE']] as const) {
      expect(await call(method, '/bookings/mine', { headers, body })).toMatchObject({
        status: 404,
        body: { code: 'booking_not_found' },
      });
    }
  });
});

/** A payment for a booking, signed as by a provider other than Stripe. */
async function confirm(bookingId: string, appointment?: object) {
  const body = JSON.stringify({
    type: 'payment.confirmed',
    timestamp: '2026-11-23T09:00:00Z',
    data: {
      paymentId: `order-${bookingId}`,
      bookingId,
      userId: 'owner',
      ...(appointment ? { booking: appointment } : {}),
    },
  });
  const { standard } = JSON.parse(stack.secrets.get(stack.secretNames.webhookSigning) as string);
  const at = new Date();
  return call('POST', webhookRoute('standard'), {
    body,
    headers: {
      'webhook-id': `msg_${bookingId}`,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': new Webhook(standard[0]).sign(`msg_${bookingId}`, at, body),
    },
  });
}

describe('webhooks', () => {
  it.each(providers.map(({ name }) => name))('the webhook of %s answers as documented', async (name) => {
    const secrets = JSON.parse(stack.secrets.get(stack.secretNames.webhookSigning) as string);
    const body = JSON.stringify(webhooks[name].paymentWith({}));
    const headers = signWebhook[name](body, secrets[name][0], Math.floor(Date.now() / 1000));
    const post = (sent: Record<string, string>) => call('POST', webhookRoute(name), { headers: sent, body });
    expect(await post(headers)).toMatchObject({ status: 200 });
    expect(await post({})).toMatchObject({ status: 400, body: { code: 'signature_missing' } });
  });
});

describe('payment accounts', () => {
  it('payment account endpoints answer as documented', async () => {
    const own = { headers: asOwner() };
    const account = routes.paymentAccount.replace('{accountId}', 'acct_1');
    expect(await call('PUT', account, own)).toMatchObject({ status: 201 });
    expect(await call('PUT', account, own)).toMatchObject({ status: 200 });
    expect(await call('PUT', account)).toMatchObject({ status: 401 });
    expect(await call('GET', account, own)).toMatchObject({ status: 200 });
    expect(await call('GET', routes.paymentAccounts, own)).toMatchObject({ status: 200 });
    expect(await call('GET', routes.paymentAccounts)).toMatchObject({ status: 401 });
    expect(await call('DELETE', account, own)).toMatchObject({ status: 204 });
    expect(await call('DELETE', account)).toMatchObject({ status: 401 });
    expect(await call('GET', account, own)).toMatchObject({ status: 404 });
  });
});

describe('browser endpoints and health', () => {
  it('browser endpoints and health answer as documented', async () => {
    const link = new URL(await linkFor(stack, 'visitor'));
    expect(await call('GET', `${routes.connect}${link.search}`)).toMatchObject({ status: 302 });
    expect(await call('GET', routes.connect)).toMatchObject({ status: 401 });
    const { location, cookie } = await openLink(link.href);
    const back = new URL(await walkConsent(location));
    expect(await call('GET', `${routes.callback}${back.search}`)).toMatchObject({ status: 403 });
    expect(await call('GET', `${routes.callback}${back.search}`, { headers: { cookie } })).toMatchObject({
      status: 200,
    });
    expect(await call('GET', routes.callback)).toMatchObject({ status: 400 });
    expect(await call('GET', routes.health)).toMatchObject({ status: 200 });
    expect(await call('HEAD', routes.health)).toMatchObject({ status: 200 });
  });
});

describe('connections', () => {
  it('connection endpoints answer as documented', async () => {
    const own = { headers: asOwner() };
    expect(await call('GET', routes.connection, own)).toMatchObject({ status: 200 });
    expect(await call('GET', routes.connection)).toMatchObject({ status: 401 });
    const patch = (body: unknown) => call('PATCH', routes.connection, { ...own, body });
    expect(await patch({ calendarId: 'primary' })).toMatchObject({ status: 200 });
    expect(await patch({ timeZone: 'Europe/Vienna' })).toMatchObject({ status: 400 });
    expect(await call('GET', routes.calendars, own)).toMatchObject({ status: 403 });
    const stranger = { headers: { authorization: `Bearer ${await apiTokenFor(stack, 'stranger')}` } };
    expect(await call('DELETE', routes.connection, stranger)).toMatchObject({ status: 404 });
    expect(await call('DELETE', routes.connection, own)).toMatchObject({ status: 200 });
    expect(await call('GET', routes.connection, own)).toMatchObject({ status: 200 });
  });
});

it('notices an answer that differs from the documented schema', () => {
  const { Booking, Bookings } = openApi.components.schemas as { Booking: JsonSchema; Bookings: JsonSchema };
  expect(problemsOf(Booking, { bookingId: 'x' })).not.toEqual([]);
  expect(problemsOf(Bookings, { bookings: [{}] })).not.toEqual([]);
  const unnamed = openApi.paths[routes.booking]?.get?.responses[404]?.content?.['application/problem+json'];
  const error = { title: 'Not Found', status: 404, code: 'booking_not_found', detail: 'None.' };
  expect(problemsOf(unnamed?.schema ?? {}, error)).toEqual([]);
  expect(problemsOf(unnamed?.schema ?? {}, { ...error, code: 'concurrent_update' })).not.toEqual([]);
});

it('every documented operation was called with success and with failure', () => {
  const all = Object.entries(openApi.paths).flatMap(([path, methods]) =>
    Object.keys(methods).flatMap((method) =>
      ['good', 'bad'].map((kind) => `${method.toUpperCase()} ${path} ${kind}`),
    ),
  );
  const exempt = [
    // Needs a scope that this stack does not request: see the tests of connections.
    `GET ${routes.calendars} good`,
    // This operation has no invalid request.
    `GET ${routes.health} bad`,
    `HEAD ${routes.health} bad`,
  ];
  expect(all.filter((one) => !seen.has(one)).sort()).toEqual(exempt.sort());
});
