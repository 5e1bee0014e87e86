import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DynamoDBClient, ScanCommand, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { marshall, unmarshall } from '@aws-sdk/util-dynamodb';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { retire, rotate } from '../../infra/cli/keys-rotation.ts';
import { checkoutCompleted, deliver, demoBooking } from '../../infra/cli/payment.ts';
import { dynamoDbClient } from '../../infra/local/aws/dynamodb.ts';
import type { FaultEffect } from '../../infra/local/google/faults.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { parseKeys } from '../../shared/crypto/keys.ts';
import { decryptState } from '../../shared/crypto/oauth-state.ts';
import { parseGoogleClient } from '../../shared/google/client-secret.ts';
import { type KeyPurpose, keySecrets, routes, webhookRoute } from '../../shared/lib/names.ts';
import { temporaryDirectory } from '../local-stack/local-assembly.ts';
import { type Canary, findLeaks, type Observation, spellings } from '../support/canaries.ts';
import { dispute, refund, snapshot, thin } from '../unit/stripe.ts';
import { apiTokenFor, linkFor, openCallback, openLink } from './browser.ts';

const app = 'https://app.example.com';
const random = (): string => randomBytes(24).toString('base64url');
/** Put where the service reads its secrets. */
const planted = {
  stripe: `whsec_${random()}`,
  standard: `whsec_${randomBytes(32).toString('base64')}`,
  stripeApiKey: `rk_test_${random()}`,
  /** In a malformed secret, which must not be quoted. Too short for a key. */
  broken: randomBytes(15).toString('base64url'),
  /** In error messages of Google and Stripe. */
  quoted: random(),
};
/** Never in logs or timelines, but may be stored and shown. */
const personal = {
  email: `${random()}@example.com`,
  summary: `Summary ${random()}`,
  location: `Location ${random()}`,
  description: `Description ${random()}`,
  guest: `${random()}@example.com`,
};

/** All functions that log. */
const functions = [
  'connect',
  'oauth-callback',
  'connections',
  'bookings',
  'payment-confirmed',
  'booking-sync',
  'booking-reconcile',
  'token-refresh',
];
/** Outputs that users, backends and operators must have seen by the end. */
const codes = [
  'access_denied',
  'authorization_failed',
  'booking_not_found',
  'calendar_permission_missing',
  'connection_not_found',
  'google_client_misconfigured',
  'google_oauth_error',
  'google_unexpected_status',
  'google_unreachable',
  'id_token_invalid',
  'invalid_json',
  'invalid_request',
  'not_configured',
  'payload_too_large',
  'return_to_not_allowed',
  'revision_mismatch',
  'signature_malformed',
  'signature_mismatch',
  'signature_missing',
  'state_invalid',
  'state_missing',
  'state_used',
  'stripe_unreachable',
  'token_expired',
  'token_invalid',
  'token_missing',
  'unsupported_event_format',
  'wrong_browser',
];

let stack: LocalStack;
let dynamo: DynamoDBClient;
const stateDir = temporaryDirectory();
const observations: Observation[] = [];
const canaries: Canary[] = [];
const see = (where: string, text: unknown) =>
  observations.push({ where, text: typeof text === 'string' ? text : JSON.stringify(text) });
const plant = (name: string, secret: string | Buffer) => canaries.push({ name, secret });
const began = Date.now();
/** Each link is from a second of its own, so that no two are equal. */
let links = 0;
let number = 0;

/**
 * The test's own fetch, which records every answer of the service. Functions run in threads of their own and do
 * not use it.
 */
const realFetch = globalThis.fetch;
const observedFetch: typeof fetch = async (input, init) => {
  const response = await realFetch(input, init);
  const url = new URL(input instanceof Request ? input.url : input);
  if (!stack || url.origin !== stack.url) return response;
  const where = `answer of ${init?.method ?? 'GET'} ${url.pathname.replace(/(?<=^\/bookings\/).+/, '{id}')}`;
  for (const [name, value] of response.headers) see(`${where}: ${name}`, value);
  see(`${where}: status`, `${response.status} ${response.statusText}`);
  see(`${where}: body`, await response.clone().text());
  return response;
};

beforeAll(async () => {
  const assembly = temporaryDirectory();
  synthesize(assembly, {
    returnOrigins: app,
    onConflict: 'flag',
    optionalScopes: 'calendar-list free-busy',
    // Two concurrent runs of token-refresh, to reach a new environment with the rotated key.
    reservedConcurrency: '0',
  });
  stack = await startLocalStack({
    google: { kind: 'simulator' },
    schedules: false,
    stateDir,
    assembly,
    onLog: ({ functionName, stream, text }) => {
      const kind = text.startsWith('{"_aws"') ? 'metric' : 'log';
      see(`${kind} of ${functionName} (${stream})`, text);
    },
    onAccess: (access) => see('access log', access),
    onEvent: (event) => see(`event ${event.detailType}`, event),
    // All writes of the functions to tables, queue and bus, in each version.
    onCall: ({ functionName, service, operation }, input) =>
      see(`call of ${functionName}: ${service}:${operation}`, input),
  });
  vi.stubGlobal('fetch', observedFetch);
  const { stripe: stripeSecret, standard, stripeApiKey } = planted;
  stack.secrets.put(
    stack.secretNames.webhookSigning,
    JSON.stringify({ stripe: [stripeSecret], standard: [standard] }),
  );
  stack.secrets.put(stack.secretNames.stripeApi, JSON.stringify({ keys: [stripeApiKey] }));
  const { clientSecret } = parseGoogleClient(stack.secrets.get(stack.secretNames.googleClient) as string);
  plant("Google's client secret", clientSecret.slice('GOCSPX-'.length));
  stack.google?.control.addAccount({ sub: '77', email: personal.email, name: 'Someone', timeZone: 'UTC' });
  dynamo = dynamoDbClient(stack.endpoints.dynamodb);
});
afterAll(async () => {
  vi.unstubAllGlobals();
  dynamo?.destroy();
  await stack?.close();
});

const google = () => stack.google?.control as NonNullable<LocalStack['google']>['control'];
const tokenFails = (how: FaultEffect, times = 1) => google().fail({ on: 'token', times, how });

async function settled(): Promise<void> {
  for (const giveUpAt = Date.now() + 20_000; Date.now() < giveUpAt; await sleep(10)) {
    const { ready, inFlight } = stack.queues.messages('BookingsQueue.fifo');
    if (ready.length + inFlight.length === 0) return;
  }
  throw new Error('The queue does not empty.');
}

/** Makes work due now: of all, or of one user or booking. */
async function bringForward(only?: string): Promise<void> {
  const due = { ConnectionsTable: ['userId', 'refreshAt'], BookingsTable: ['id', 'syncDueAt'] } as const;
  for (const [TableName, [key, time]] of Object.entries(due)) {
    const { Items = [] } = await dynamo.send(new ScanCommand({ TableName, ConsistentRead: true }));
    for (const item of Items.map((each) => unmarshall(each))) {
      if (item[time] === undefined || (only && item[key] !== only)) continue;
      await dynamo.send(
        new UpdateItemCommand({
          TableName,
          Key: marshall({ [key]: item[key] }),
          UpdateExpression: 'SET #time = :now',
          ExpressionAttributeNames: { '#time': time },
          ExpressionAttributeValues: marshall({ ':now': Math.floor(Date.now() / 1000) - 1 }),
        }),
      );
    }
  }
}
async function run(functionName: string): Promise<void> {
  const result = await stack.invoke(functionName, {});
  see(`result of ${functionName}`, result);
  expect(result.ok).toBe(true);
  await settled();
}
/** All work of the schedules. */
async function sweep(): Promise<void> {
  await bringForward();
  await run('token-refresh');
  await run('booking-reconcile');
}

/** The value of the secret with the keys of a purpose. */
const keysText = (purpose: KeyPurpose) => stack.secrets.get(stack.secretNames.keys[purpose]) as string;
const purposes = Object.keys(keySecrets) as KeyPurpose[];

type Walk = Parameters<typeof walkConsent>[1];
/** A link, its redirect to Google, and Google's callback. Their secret parts become canaries. */
async function begin(userId: string, walk: Walk = { account: personal.email }, query = '') {
  const link = await linkFor(stack, userId, began - 1000 * links++);
  plantJwt('link token', new URL(link).searchParams.get('token') ?? '');
  const visit = await openLink(link + query);
  plant('browser cookie', visit.cookie.replace(/^.*=/, ''));
  const state = new URL(visit.location).searchParams.get('state') ?? '';
  plantJwt('state', state);
  const keys = parseKeys('state-encryption', keysText('state-encryption'));
  const { verifier, nonce } = await decryptState(keys, state, Math.floor(Date.now() / 1000));
  plant('PKCE verifier', verifier);
  plant('nonce', nonce);
  return { ...visit, link, state, callback: await walkConsent(visit.location, walk) };
}
/** The secret part of a JWT follows its header, which is the same for others. */
const plantJwt = (name: string, token: string) => plant(name, token.slice(token.indexOf('.') + 1));

async function connect(userId: string, walk?: Walk, query?: string): Promise<number> {
  const { callback, cookie } = await begin(userId, walk, query);
  const { status } = await openCallback(callback, cookie);
  await settled();
  return status;
}

async function call(userId: string, method: string, path: string, body?: unknown, headers = {}) {
  const token = await apiTokenFor(stack, userId);
  plantJwt('bearer token', token);
  const type = method === 'PATCH' && path !== routes.connection ? 'merge-patch+json' : 'json';
  const response = await fetch(`${stack.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': `application/${type}`, ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  await settled();
  return response.status;
}

async function hook(event: object, secret = planted.stripe): Promise<number> {
  const to = { webhookUrl: `${stack.url}${webhookRoute('stripe')}`, signingSecret: secret };
  const { status } = await deliver(event, to, Date.now());
  await settled();
  return status;
}
async function pay(userId: string, bookingId: string, change: object = {}): Promise<number> {
  const { summary, location, description } = personal;
  const booking = {
    ...demoBooking(userId, bookingId, Date.now()),
    summary,
    location,
    description,
    ...change,
  };
  return hook(checkoutCompleted(booking, Date.now(), bookingId));
}
async function standardHook(body: string, secret = planted.standard): Promise<number> {
  const [id, at] = [`msg_${number++}`, new Date()];
  const response = await fetch(`${stack.url}${webhookRoute('standard')}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': new Webhook(secret).sign(id, at, body),
    },
    body,
  });
  await settled();
  return response.status;
}
const appointment = () => {
  const { start, end } = demoBooking('', '', Date.now());
  const { summary, location, description, guest } = personal;
  return { summary, location, description, start, end, attendees: [{ email: guest }] };
};

// In sequence, each on the state of those before. A generous timeout for many calls on a busy machine.
describe('no secret leaks', { timeout: 120_000 }, () => {
  it('no secret leaks while users connect', async () => {
    expect(await connect('user')).toBe(200);
    expect(await connect('returning', undefined, `&return_to=${encodeURIComponent(`${app}/settings`)}`)).toBe(
      302,
    );
    expect(await connect('denier', { deny: true })).toBe(403);
    expect(await connect('unticker', { account: personal.email, untick: ['calendar.events.owned'] })).toBe(
      403,
    );
    expect(await connect('user', { account: 'ben@example.com' })).toBe(200);
    expect(await connect('user')).toBe(200);
  });

  it('no secret leaks while links and callbacks are manipulated', async () => {
    const { link, state, callback, cookie } = await begin('player');
    const other = await begin('other');
    const change = (name: string, value: string) => {
      const url = new URL(callback);
      url.searchParams.set(name, value);
      return url.href;
    };
    const attempts: [string, string, number][] = [
      [callback, '', 403],
      [callback, other.cookie, 403],
      [change('state', other.state), cookie, 403],
      [change('state', `${state.slice(0, -9)}AAAAAAAAA`), cookie, 400],
      [callback.replace(/state=[^&]*&?/, ''), cookie, 400],
      [change('error', 'server_error'), cookie, 400],
      [change('error', 'access_denied'), cookie, 403],
      [change('code', new URL(other.callback).searchParams.get('code') ?? ''), cookie, 400],
    ];
    for (const [url, sent, status] of attempts) {
      expect((await openCallback(url, sent)).status, url).toBe(status);
      expect((await fetch(url, { headers: { cookie: sent }, redirect: 'manual' })).status).toBe(status);
    }
    expect((await openCallback(callback, cookie)).status).toBe(200);
    expect((await openCallback(callback, cookie)).status).toBe(409);
    const refusedLinks = [
      [`${link}x`, 401],
      [link.replace(/\?.*/, ''), 401],
      [`${link}&return_to=https://evil.example/`, 400],
      [await linkFor(stack, 'late', Date.now() - 700_000), 401],
      [`${stack.url}${routes.connect}?retry=${state}`, 403],
      [`${stack.url}${routes.connect}?token=${await apiTokenFor(stack, 'player')}`, 401],
    ] as const;
    for (const [url, status] of refusedLinks) {
      plantJwt('refused token', new URL(url).searchParams.get('token') ?? `.${random()}`);
      for (const headers of [{ accept: 'text/html' }, { accept: '*/*' }]) {
        expect((await fetch(url, { redirect: 'manual', headers })).status, url).toBe(status);
      }
    }
  });

  it.each<[string, number, FaultEffect]>([
    ['refuses the code', 400, { status: 400, oauthError: 'invalid_grant', message: planted.quoted }],
    ['refuses our client', 503, { status: 401, oauthError: 'invalid_client', message: planted.quoted }],
    ['answers an unknown error', 502, { status: 400, oauthError: 'something_new', message: planted.quoted }],
    ['fails', 503, { status: 500, oauthError: 'internal_failure', message: planted.quoted }],
    ['answers a page', 503, { status: 502, html: true }],
    ['is cut off', 503, { lose: 'response' }],
    ['answers half a token', 502, { status: 200, body: `{"access_token":"${planted.quoted}` }],
    ['answers another token only', 502, { status: 200, body: `{"refresh_token":"${planted.quoted}"}` }],
  ])("no secret leaks while Google's token endpoint %s", async (_, status, how) => {
    for (const accept of ['text/html', 'application/json']) {
      tokenFails(how);
      const { callback, cookie } = await begin('unlucky');
      expect((await fetch(callback, { headers: { cookie, accept }, redirect: 'manual' })).status).toBe(
        status,
      );
    }
  });

  it.each(['unsigned', 'hmac_of_public_key', 'other_audience', 'other_nonce', 'expired'] as const)(
    "no secret leaks while Google's ID token is forged: %s",
    async (forgery) => {
      google().setSwitch('forgeIdToken', forgery);
      expect(await connect('forged')).toBeGreaterThanOrEqual(400);
      google().setSwitch('forgeIdToken', 'no');
    },
  );

  it('no secret leaks while bookings are paid, refunded, disputed, edited and cancelled', async () => {
    expect(await pay('user', 'booking-1')).toBe(200);
    expect(await pay('stranger', 'waiting')).toBe(200);
    expect(await pay('user', 'unusable', { start: 'soon', summary: '' })).toBe(200);
    const change = { id: 're_1', payment_intent: 'pi_booking-1', status: 'succeeded' };
    expect(await hook(snapshot('refund.created', refund({ ...change, amount: 1 }), { id: 'evt_r1' }))).toBe(
      200,
    );
    expect(await hook(snapshot('charge.dispute.created', dispute({ payment_intent: 'pi_booking-1' })))).toBe(
      200,
    );
    expect(await hook(snapshot('refund.created', refund({ ...change, id: 're_2', amount: 8999 })))).toBe(200);

    const path = '/bookings/booking-2';
    expect(await call('user', 'PUT', path, { ...appointment(), hold: true })).toBe(202);
    expect(await pay('user', 'booking-2')).toBe(200);
    expect(await call('user', 'PATCH', path, { location: personal.location })).toBeLessThan(300);
    expect(await call('user', 'PATCH', path, { summary: '' })).toBe(400);
    expect(await call('user', 'PUT', path, appointment(), { 'if-match': '"99"' })).toBe(412);
    expect(await call('user', 'PUT', path, '{"summary"')).toBe(400);
    expect(await call('user', 'GET', path)).toBe(200);
    expect(await call('somebody', 'GET', path)).toBe(404);
    expect(await call('user', 'GET', routes.bookings)).toBe(200);
    expect(await call('user', 'DELETE', path)).toBeLessThan(300);
    expect(await call('user', 'PUT', path, 'x'.repeat(70_000))).toBe(413);
  });

  it.each<[string, FaultEffect]>([
    ['401', { status: 401, reason: 'authError' }],
    ['403, the scope', { status: 403, reason: 'insufficientPermissions' }],
    ['403, the rate', { status: 403, reason: 'userRateLimitExceeded' }],
    ['403, the quota', { status: 403, reason: 'quotaExceeded' }],
    ['403, the project', { status: 403, reason: 'accessNotConfigured' }],
    ['404', { status: 404, reason: 'notFound' }],
    ['409', { status: 409, reason: 'duplicate' }],
    ['410', { status: 410, reason: 'deleted' }],
    ['412', { status: 412, reason: 'conditionNotMet' }],
    ['429', { status: 429, reason: 'rateLimitExceeded', retryAfter: 1 }],
    ['500', { status: 500, reason: 'backendError' }],
    ['503 and a page', { status: 503, html: true }],
    ['200 and no JSON', { status: 200, body: '{' }],
    ['nothing, before the act', { lose: 'request' }],
    ['nothing, after the act', { lose: 'response' }],
  ])('no secret leaks while the calendar answers %s', async (_, how) => {
    const userId = `calendar-${number++}`;
    const again = async () => {
      google().clearFaults();
      await bringForward(`booking#${userId}`);
      await run('booking-reconcile');
    };
    expect(await connect(userId)).toBe(200);
    google().fail({ on: 'events', times: 2, how });
    expect(await pay(userId, userId)).toBe(200);
    await again();
    google().fail({ on: 'events', times: 2, how });
    await call(userId, 'PATCH', `/bookings/${userId}`, { summary: personal.summary.slice(1) });
    google().fail({ on: 'calendarList', how });
    await call(userId, 'GET', routes.calendars);
    await call(userId, 'PATCH', routes.connection, { calendarId: 'elsewhere' });
    await again();
    await call(userId, 'GET', `/bookings/${userId}`);
  });

  it('no secret leaks while webhooks are malformed, forged or thin', async () => {
    const event = snapshot('charge.refunded', {});
    const post = async (path: string, headers: Record<string, string>, body = '{}') =>
      (await fetch(`${stack.url}${path}`, { method: 'POST', headers, body })).status;
    expect(await hook(event, planted.standard)).toBe(400);
    expect(await hook({ hello: 'world' })).toBe(400);
    expect(await hook({ ...event, data: { object: { id: 7 } } })).toBe(400);
    expect(await post(webhookRoute('stripe'), {})).toBe(400);
    expect(await post(webhookRoute('stripe'), { 'stripe-signature': 't=1,v1=zz' })).toBe(400);
    expect(await post(webhookRoute('standard'), { 'webhook-id': 'x' })).toBe(400);
    expect(await standardHook('{}', `whsec_${randomBytes(32).toString('base64')}`)).toBe(400);
    expect(await standardHook('{"type":')).toBe(400);
    expect(await standardHook('{"type":"payment.confirmed","data":{"paymentId":7}}')).toBe(400);
    const data = { paymentId: 'order-1', bookingId: 'booking-3', userId: 'user', booking: appointment() };
    const { attendees: _, ...booking } = data.booking;
    const timestamp = new Date().toISOString();
    expect(
      await standardHook(
        JSON.stringify({ type: 'payment.confirmed', timestamp, data: { ...data, booking } }),
      ),
    ).toBe(200);

    // Stripe quotes the key in its error; our error must not quote Stripe.
    const invalid = JSON.stringify({
      error: { message: `Invalid API Key provided: ${planted.stripeApiKey}` },
    });
    const answers: [status: number, body: string][] = [
      [401, invalid],
      [500, invalid],
      [200, `{"id":"${planted.quoted}`],
      [404, '{}'],
    ];
    const { control } = stack.stripe;
    for (const [status, body] of answers) control.fail({ on: 'objects.retrieve', how: { status, body } });
    control.clearCalls();
    for (let tries = 0; tries < 4; tries++) {
      const event = thin('v1.charge.refunded', `/v1/charges/ch_${tries}`, { id: `evt_thin_${tries}` });
      expect(await hook(event)).toBe(503);
    }
    expect(control.calls().map(({ status }) => status)).toEqual([401, 500, 200, 404]);
  });

  it('no secret leaks while token refreshes succeed and fail', async () => {
    await sweep();
    for (const how of [
      { status: 401, oauthError: 'invalid_client', message: planted.quoted },
      { status: 500, html: true as const },
      { status: 400, oauthError: 'invalid_grant', message: planted.quoted },
      { lose: 'response' as const },
      { status: 200, body: `{"refresh_token":"${planted.quoted}"}` },
    ]) {
      tokenFails(how, 2);
      await sweep();
      google().clearFaults();
    }
    google().setSwitch('rotateRefreshToken', true);
    await sweep();
    google().setSwitch('rotateRefreshToken', false);
  });

  it('no secret leaks while users disconnect and connect again', async () => {
    google().fail({ on: 'revoke', times: 2, how: { status: 500, html: true } });
    expect(await call('returning', 'DELETE', routes.connection)).toBe(200);
    expect(await call('returning', 'GET', routes.connection)).toBe(200);
    await sweep();
    expect(await connect('returning', { account: 'ada@example.com' })).toBe(200);
    google().fail({ on: 'revoke', how: { lose: 'request' } });
    expect(await call('returning', 'DELETE', routes.connection)).toBe(200);
    google().clearFaults();
    await sweep();
    expect(await call('nobody', 'GET', routes.connection)).toBe(404);
    expect(await call('user', 'PATCH', routes.connection, { token: planted.quoted })).toBe(400);
  });

  it('no secret leaks while keys are rotated and retired, and tokens re-encrypted', async () => {
    const now = Math.floor(Date.now() / 1000);
    const newKey = () => randomBytes(48).toString('base64url');
    const rotations = purposes.map((purpose) => {
      const rotation = rotate(purpose, keysText(purpose), now - 60 * 86_400, newKey, { atOnce: true });
      plantKeys(purpose, keysText(purpose));
      plantKeys(purpose, rotation.text);
      stack.secrets.put(stack.secretNames.keys[purpose], rotation.text);
      return { purpose, ...rotation };
    });
    await newEnvironments(200, (userId) => call(userId, 'GET', routes.connection));
    // Concurrently, so that one of them is a new environment.
    await Promise.all([run('token-refresh'), run('token-refresh')]);
    const results = observations.filter(({ where }) => where === 'result of token-refresh');
    expect(results.some(({ text }) => /"reencrypted":[1-9]/.test(text))).toBe(true);
    for (const { purpose, text, previous } of rotations)
      stack.secrets.put(stack.secretNames.keys[purpose], retire(purpose, text, previous, now));
    await newEnvironments(200, (userId) => call(userId, 'GET', routes.connection));
    await sweep();
  });

  it('no secret leaks while secrets are malformed', async () => {
    const { broken } = planted;
    const ask = async (path: string, init?: RequestInit) => (await fetch(`${stack.url}${path}`, init)).status;
    for (const value of [`{"current":"${broken}`, `{"current":"a","a":"${broken}"}`, broken]) {
      for (const purpose of purposes) stack.secrets.put(stack.secretNames.keys[purpose], value);
      stack.secrets.put(stack.secretNames.webhookSigning, value);
      stack.secrets.put(stack.secretNames.googleClient, value);
      const header = { headers: { authorization: `Bearer a.${random()}.c` } };
      await newEnvironments(503, () => ask(routes.connection, header));
      await newEnvironments(503, () => ask(`${routes.connect}?token=a.b.c`));
      await newEnvironments(503, () =>
        ask(webhookRoute('stripe'), {
          method: 'POST',
          headers: { 'stripe-signature': `t=1,v1=${'0'.repeat(64)}` },
        }),
      );
    }
  });

  /**
   * So many concurrent requests that some meet environments without a cached secret. One of them must answer
   * `status`.
   */
  async function newEnvironments(
    status: number,
    request: (userId: string) => Promise<number>,
  ): Promise<void> {
    const answers: number[] = [];
    for (let width = 2; width <= 10 && !answers.includes(status); width++) {
      answers.push(...(await Promise.all(Array.from({ length: width }, () => request('user')))));
    }
    expect(answers).toContain(status);
  }

  function plantKeys(purpose: KeyPurpose, secret: string): void {
    const keys = parseKeys(purpose, secret);
    const masters = JSON.parse(secret) as Record<string, string>;
    for (const id of keys.ids) {
      plant(`master key ${id} of ${purpose}`, masters[id] as string);
      const key = Buffer.from(keys.key(id) as Uint8Array);
      plant(`key ${id} of ${purpose}`, purpose.endsWith('signing') ? key.toString() : key);
    }
  }

  describe('after all of these', () => {
    /** Allowed places of each secret, with the reason. Each secret must have occurred there. */
    const belongs: [canary: string, where: string, because: string][] = [
      ['state', 'answer of GET /google/connect: location', 'Google hands it back'],
      ['nonce', 'answer of GET /google/connect: location', 'Google signs it'],
      ['browser cookie', 'answer of GET /google/connect: set-cookie', 'it binds the browser'],
      [
        'state',
        'answer of GET /google/callback: body',
        'the link to try again, in the browser it is bound to',
      ],
    ];

    beforeAll(async () => {
      for (const TableName of ['ConnectionsTable', 'BookingsTable']) {
        const { Items = [] } = await dynamo.send(new ScanCommand({ TableName, ConsistentRead: true }));
        for (const item of Items.map((each) => unmarshall(each))) {
          see(`item of ${TableName}`, item);
          if (item.timeline) see('timeline', item.timeline);
        }
      }
      for (const name of ['BookingsQueue.fifo', 'DeadLetters.fifo']) {
        const { ready, inFlight } = stack.queues.messages(name);
        for (const body of [...ready, ...inFlight]) see(`message in ${name}`, body);
      }
      // All tokens that the simulated Google has issued.
      const journal = readFileSync(join(stateDir, 'google.json'), 'utf8');
      for (const [kind, pattern] of Object.entries({
        'authorization code': /"4\/0([\w-]{60})"/g,
        'access token': /"ya29\.([\w-]{120})0*"/g,
        'refresh token': /"1\/\/([\w-]{80})0*"/g,
      })) {
        const issued = new Set([...journal.matchAll(pattern)].map(([, secret]) => secret as string));
        expect(issued.size, kind).toBeGreaterThan(20);
        for (const secret of issued) plant(kind, secret);
      }
      plant("Stripe's signing secret", planted.stripe.slice('whsec_'.length));
      plant("the other providers' signing secret", planted.standard.slice('whsec_'.length));
      plant(
        "the bytes of the other providers' signing secret",
        Buffer.from(planted.standard.slice(6), 'base64'),
      );
      plant("Stripe's API key", planted.stripeApiKey.slice('rk_test_'.length));
      plant('a broken secret', planted.broken);
      plant('what others quote', planted.quoted);
    });

    it('the run has observed many outputs of every kind', () => {
      const count = (pattern: RegExp) => observations.filter(({ where }) => pattern.test(where)).length;
      const least: [RegExp, number][] = [
        [/^log of/, 250],
        [/^metric of/, 400],
        [/^event /, 50],
        [/^answer of .*: body/, 200],
        [/^answer of .*: (?!body|status)/, 1500],
        [/^call of .*: dynamodb:(Put|Update)Item/, 300],
        [/^call of .*: sqs:/, 50],
        [/^call of .*: events:PutEvents/, 50],
        [/^item of ConnectionsTable/, 15],
        [/^item of BookingsTable/, 30],
        [/^timeline/, 15],
        [/^access log/, 200],
      ];
      for (const [what, number] of least) expect(count(what), String(what)).toBeGreaterThan(number);
      expect(canaries.length).toBeGreaterThan(500);
      for (const name of functions) expect(count(new RegExp(`^log of ${name} `)), name).toBeGreaterThan(0);
    });

    it('the run has met every intended failure', () => {
      const text = observations.flatMap(({ where, text }) =>
        /^(log|answer.*body)/.test(where) ? [text] : [],
      );
      const seen = new Set(
        [...text.join('\n').matchAll(/"code":"(\w+)"|<code>(\w+)</g)].map(([, json, html]) => json ?? html),
      );
      expect([...seen]).toEqual(expect.arrayContaining(codes));
    });

    it('secrets occur only in their intended places', () => {
      const leaks = findLeaks(canaries, observations);
      const isRight = (leak: { canary: string; where: string }) =>
        belongs.some(([canary, where]) => leak.canary === canary && leak.where === where);
      expect(leaks.filter((leak) => !isRight(leak))).toEqual([]);
      const seen = leaks.map(({ canary, where }) => `${canary}, ${where}`);
      for (const [canary, where] of belongs) expect(seen).toContain(`${canary}, ${where}`);
    });

    it('no ID token or encrypted token occurs outside its intended places', () => {
      const token = /eyJ[\w-]{8,}\.[\w-]*/;
      const found = new Set(observations.filter(({ text }) => token.test(text)).map(({ where }) => where));
      // The state, and encrypted tokens at rest.
      const sealed = ({ where }: Observation) => /ConnectionsTable|dynamodb:(Put|Update)Item/.test(where);
      expect([...found].filter((where) => !sealed({ where, text: '' })).sort()).toEqual([
        'answer of GET /google/callback: body',
        'answer of GET /google/connect: location',
      ]);
    });

    it('logs, metrics and timelines have no personal data', () => {
      const people = Object.entries(personal).map(([name, text]) => {
        return { name, secret: text.replace(/^\w+ /, '').replace(/@.*/, '') };
      });
      const quiet = observations.filter(({ where }) => /^(log|metric|access|timeline)/.test(where));
      expect(findLeaks(people, quiet)).toEqual([]);
      // They occur elsewhere, so the search for them can find them.
      const elsewhere = new Set(findLeaks(people, observations).map(({ canary }) => canary));
      expect(elsewhere).toEqual(new Set(Object.keys(personal)));
    });

    it('the leak search finds every secret in every spelling, also inside a line', () => {
      for (const { name, secret } of new Map(canaries.map((each) => [each.name, each])).values()) {
        for (const [as, text] of [...spellings(secret.slice(0, 16)), ...spellings(secret.slice(-16))]) {
          const line = { where: 'planted', text: `{"message":"before ${text} after"}` };
          expect(findLeaks([{ name, secret }], [line]), `${name} ${as}`).toHaveLength(1);
        }
      }
      const one = canaries.find(({ name }) => name === 'refresh token') as Canary;
      const planted = { where: 'planted', text: `a log line with ${one.secret}` };
      expect(findLeaks(canaries, [...observations, planted])).toContainEqual({
        canary: 'refresh token',
        where: 'planted',
        as: 'as it is',
      });
      expect(() => findLeaks([{ name: 'short', secret: 'short' }], [])).toThrow('too short');
    });
  });
});
