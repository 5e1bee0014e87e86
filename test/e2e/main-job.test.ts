import { setTimeout as sleep } from 'node:timers/promises';
import {
  type DynamoDBClient,
  GetItemCommand,
  ScanCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { marshall, unmarshall } from '@aws-sdk/util-dynamodb';
import { Stripe } from 'stripe';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type BookingMetadata, checkoutCompleted, demoBooking } from '../../infra/cli/payment.ts';
import { dynamoDbClient } from '../../infra/local/aws/dynamodb.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import { securityHeaders } from '../../shared/http/security-headers.ts';
import { apiTokenFor, connect, linkFor, openCallback, openLink, secretsOf } from './browser.ts';

const ada = 'ada@example.com';
let stack: LocalStack;
let dynamo: DynamoDBClient;
let number = 0;

// One stack for all: the synthesized template, its bundles in worker threads, real DynamoDB and SQS APIs, real HTTP.
beforeAll(async () => {
  stack = await startLocalStack({
    google: { kind: 'simulator' },
    schedules: false,
    assembly: inject('assembly'),
  });
  dynamo = dynamoDbClient(stack.endpoints.dynamodb);
});
afterAll(async () => {
  dynamo?.destroy();
  await stack?.close();
});

/** The queue of bookings: waiting messages and those in process. */
function queued(): string[] {
  const { ready, inFlight } = stack.queues.messages('BookingsQueue.fifo');
  return [...ready, ...inFlight];
}

const uniqueId = (): string => `${Date.now().toString(36)}${number++}`;
const events = () => (stack.google?.control.events(ada) ?? []).filter(({ status }) => status !== 'cancelled');
const eventsOf = (bookingId: string) =>
  events().filter((event) => event.extendedProperties?.private?.leadscalendarBooking === bookingId);

type Table = 'ConnectionsTable' | 'BookingsTable';
async function item(table: Table, key: Record<string, string>) {
  const { Item } = await dynamo.send(
    new GetItemCommand({ TableName: table, Key: marshall(key), ConsistentRead: true }),
  );
  return Item && unmarshall(Item);
}
/** Everything in both tables once no message is in process, to see that nothing changed. */
async function rows() {
  await expect.poll(queued, { timeout: 10_000 }).toEqual([]);
  const tables: Table[] = ['ConnectionsTable', 'BookingsTable'];
  const scans = await Promise.all(
    tables.map((TableName) => dynamo.send(new ScanCommand({ TableName, ConsistentRead: true }))),
  );
  return JSON.stringify(
    scans.map(({ Items = [] }) =>
      Items.map((each) => unmarshall(each)).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
    ),
  );
}
/** Makes a later due time the present. */
async function bringForward(table: Table, key: Record<string, string>, name: string) {
  await dynamo.send(
    new UpdateItemCommand({
      TableName: table,
      Key: marshall(key),
      UpdateExpression: 'SET #due = :now',
      ExpressionAttributeNames: { '#due': name },
      ExpressionAttributeValues: marshall({ ':now': Math.floor(Date.now() / 1000) - 1 }),
    }),
  );
}
const booking = (bookingId: string) => item('BookingsTable', { id: `booking#${bookingId}` });
const connection = (userId: string) => item('ConnectionsTable', { userId });

async function until<T>(look: () => T | undefined | Promise<T | undefined>, what: string): Promise<T> {
  for (const giveUpAt = Date.now() + 15_000; Date.now() < giveUpAt; await sleep(20)) {
    const seen = await look();
    if (seen) return seen;
  }
  throw new Error(
    `Never seen: ${what}\n${stack
      .logs()
      .map(({ text }) => text)
      .join('\n')}`,
  );
}
const status = (bookingId: string, wanted: string) =>
  until(
    async () => ((await booking(bookingId))?.status === wanted ? true : undefined),
    `${bookingId} ${wanted}`,
  );

type Delivery = { body?: string | Buffer; signature?: string; headers?: Record<string, string> };

/** Posts to the webhook, signed by Stripe's library unless a signature is given. */
async function deliver(
  event: object,
  { body, signature, headers }: Delivery = {},
): Promise<{ status: number; body: Record<string, unknown> }> {
  const payload = body ?? JSON.stringify(event);
  const signed =
    signature ??
    Stripe.webhooks.generateTestHeaderString({
      payload: payload.toString(),
      secret: secretsOf(stack).stripe,
    });
  const response = await fetch(`${stack.url}/webhooks/stripe`, {
    method: 'POST',
    headers: { 'content-type': 'application/json; charset=utf-8', 'stripe-signature': signed, ...headers },
    body: payload,
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const metadataOf = (userId: string, bookingId = `booking-${uniqueId()}`): BookingMetadata =>
  demoBooking(userId, bookingId, Date.now());

/** The payment intent's own event of the same checkout. */
function intentOf(session: ReturnType<typeof checkoutCompleted>) {
  const { payment_intent, metadata } = session.data.object as { payment_intent: string; metadata: object };
  return {
    ...session,
    id: `${session.id}_pi`,
    type: 'payment_intent.succeeded',
    data: { object: { id: payment_intent, object: 'payment_intent', status: 'succeeded', metadata } },
  };
}

it('answers a health check', async () => {
  const response = await fetch(`${stack.url}/health`);
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual({ status: 'ok' });
});

it('answers HEAD /health without a body', async () => {
  const response = await fetch(`${stack.url}/health`, { method: 'HEAD' });
  expect(response.status).toBe(200);
  expect(await response.text()).toBe('');
});

it('sends the security headers with every answer of our own, also of /health', async () => {
  for (const path of ['/health', '/google/connect', '/google/callback', '/connections/me', '/bookings']) {
    const { headers } = await fetch(`${stack.url}${path}`);
    expect(Object.fromEntries(headers), path).toMatchObject(securityHeaders);
  }
});

describe('a confirmed payment', () => {
  beforeAll(async () => {
    expect((await connect(stack, 'payee')).status).toBe(200);
  });

  it('a confirmed payment creates an event, is recorded and published', async () => {
    const metadata = metadataOf('payee');
    const answer = await deliver(checkoutCompleted(metadata, Date.now(), uniqueId()));
    expect(answer).toEqual({
      status: 200,
      body: {
        received: true,
        payment_id: expect.stringMatching(/^pi_/),
        booking_id: metadata.booking_id,
      },
    });
    await status(metadata.booking_id, 'scheduled');
    expect(eventsOf(metadata.booking_id)).toEqual([
      expect.objectContaining({
        summary: metadata.summary,
        location: metadata.location,
        status: 'confirmed',
      }),
    ]);
    expect(stack.events()).toContainEqual(
      expect.objectContaining({
        detailType: 'booking.scheduled',
        detail: expect.objectContaining({ bookingId: metadata.booking_id }),
      }),
    );
  });

  it('a payment redelivered by session and payment intent creates one event', async () => {
    const metadata = metadataOf('payee');
    const session = checkoutCompleted(metadata, Date.now(), uniqueId());
    const intent = intentOf(session);
    const other = { ...session, id: `${session.id}_again` };
    const deliveries = [session, intent, other, session, intent, session, other, intent];
    const answers = await Promise.all(deliveries.map((event) => deliver(event)));
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    await status(metadata.booking_id, 'scheduled');
    await until(() => queued().length === 0 || undefined, 'an empty queue');
    expect(eventsOf(metadata.booking_id)).toHaveLength(1);
    expect(
      stack
        .events()
        .filter(({ detail }) => (detail as { bookingId?: string }).bookingId === metadata.booking_id),
    ).toHaveLength(1);
  });

  it('a payment of an unconnected user waits, and is synced when the user connects', async () => {
    const userId = `late-${uniqueId()}`;
    const metadata = metadataOf(userId);
    await deliver(checkoutCompleted(metadata, Date.now(), uniqueId()));
    await status(metadata.booking_id, 'waiting_for_connection');
    await connect(stack, userId);
    await status(metadata.booking_id, 'scheduled');
    expect(eventsOf(metadata.booking_id)).toHaveLength(1);
  });

  it('a payment that Google could not take at first is requeued by the schedule', async () => {
    const metadata = metadataOf('payee');
    stack.google?.control.fail({ on: 'events.insert', times: 2, how: { status: 503, html: true } });
    await deliver(checkoutCompleted(metadata, Date.now(), uniqueId()));
    await status(metadata.booking_id, 'pending');
    // It is due in half a minute; the test brings that forward instead of waiting.
    await bringForward('BookingsTable', { id: `booking#${metadata.booking_id}` }, 'syncDueAt');
    expect(await stack.invoke('booking-reconcile', {})).toMatchObject({ ok: true });
    await status(metadata.booking_id, 'scheduled');
  });

  it('a signed but unusable payment is recorded as failed, with all its problems', async () => {
    const { start: _, summary: __, ...metadata } = metadataOf('payee');
    await deliver(checkoutCompleted(metadata as BookingMetadata, Date.now(), uniqueId()));
    await status(metadata.booking_id, 'failed');
    expect(
      (await booking(metadata.booking_id))?.problems.map(({ field }: { field: string }) => field),
    ).toEqual(['summary', 'start']);
  });

  it('the local stack accepts live-mode payments besides test-mode ones', async () => {
    const metadata = metadataOf('payee');
    const live = { ...checkoutCompleted(metadata, Date.now(), uniqueId()), livemode: true };
    expect(await deliver(live)).toMatchObject({ status: 200, body: { booking_id: metadata.booking_id } });
    await status(metadata.booking_id, 'scheduled');
  });

  it('a payment of a connected account is ignored with its reason, and changes nothing', async () => {
    const before = await rows();
    const other = { ...checkoutCompleted(metadataOf('payee'), Date.now(), uniqueId()), account: 'acct_1' };
    expect(await deliver(other)).toMatchObject({ status: 200, body: { reason: 'connected_account' } });
    expect(await rows()).toBe(before);
  });

  it('a payment with a time zone that only Intl knows fails the booking on that field', async () => {
    const metadata = { ...metadataOf('payee'), time_zone: 'PST' };
    const answer = await deliver(checkoutCompleted(metadata, Date.now(), uniqueId()));
    expect(answer).toMatchObject({ status: 200, body: { booking_id: metadata.booking_id } });
    await status(metadata.booking_id, 'failed');
    expect((await booking(metadata.booking_id))?.problems).toEqual([
      expect.objectContaining({ code: 'invalid_booking', field: 'time_zone' }),
    ]);
  });

  it('a payment that is unrelated or not paid yet is answered 200 and ignored', async () => {
    const before = await rows();
    const foreign = checkoutCompleted({} as BookingMetadata, Date.now(), uniqueId());
    expect(await deliver(foreign)).toMatchObject({
      status: 200,
      body: { ignored: 'no booking in its metadata' },
    });
    const unpaid = checkoutCompleted(metadataOf('payee'), Date.now(), uniqueId());
    (unpaid.data.object as { payment_status: string }).payment_status = 'unpaid';
    expect(await deliver(unpaid)).toMatchObject({ status: 200, body: { ignored: 'not paid yet' } });
    expect(await deliver({ ...foreign, type: 'charge.succeeded' })).toMatchObject({
      status: 200,
      body: { ignored: 'event type charge.succeeded' },
    });
    expect(await rows()).toBe(before);
  });
});

describe('a webhook', () => {
  const event = () => checkoutCompleted(metadataOf('payee'), Date.now(), uniqueId());
  const signed = (payload: string, change: { secret?: string; timestamp?: number } = {}) =>
    Stripe.webhooks.generateTestHeaderString({ payload, secret: secretsOf(stack).stripe, ...change });
  const now = () => Math.floor(Date.now() / 1000);

  it.each<[string, number, string, () => Delivery]>([
    [
      'forged',
      400,
      'signature_mismatch',
      () => ({ body: '{}', signature: signed('{}', { secret: 'whsec_of_somebody_else' }) }),
    ],
    [
      'changed in transit',
      400,
      'signature_mismatch',
      () => ({ body: '{"a":2}', signature: signed('{"a":1}') }),
    ],
    ['unsigned', 400, 'signature_missing', () => ({ signature: '' })],
    [
      'stale',
      400,
      'timestamp_out_of_tolerance',
      () => ({ body: '{}', signature: signed('{}', { timestamp: now() - 310 }) }),
    ],
    [
      'from the future',
      400,
      'timestamp_out_of_tolerance',
      () => ({ body: '{}', signature: signed('{}', { timestamp: now() + 310 }) }),
    ],
    ['truncated', 400, 'invalid_json', () => ({ body: '{"id":"evt_1"' })],
    ['not JSON', 400, 'invalid_json', () => ({ body: 'hello' })],
    ['empty', 400, 'invalid_json', () => ({ body: '' })],
    ['of another form', 400, 'unsupported_event_format', () => ({ body: '{"hello":"world"}' })],
    ['too large', 413, 'payload_too_large', () => ({ body: `"${'x'.repeat(1024 * 1024)}"` })],
  ])('a webhook that is %s is answered %i %s, and nothing changes', async (_, expected, code, delivery) => {
    const before = await rows();
    const answer = await deliver({}, delivery());
    expect(answer).toMatchObject({
      status: expected,
      body: { title: expect.any(String), status: expected, code, detail: expect.any(String) },
    });
    expect(queued()).toEqual([]);
    expect(await rows()).toBe(before);
  });

  it('verifies a webhook over its raw bytes when API Gateway encodes them in base64', async () => {
    const payload = JSON.stringify(event());
    const bytes = { headers: { 'content-type': 'application/octet-stream' } };
    expect(
      await deliver({}, { body: Buffer.from(payload), signature: signed(payload), ...bytes }),
    ).toMatchObject({ status: 200 });
    expect(
      await deliver({}, { body: Buffer.from(`${payload} `), signature: signed(payload), ...bytes }),
    ).toMatchObject({
      body: { code: 'signature_mismatch' },
    });
  });

  it('accepts a webhook with a rotated secret at once, and with the old one while it is listed', async () => {
    const { stripe: old } = secretsOf(stack);
    const rolled = 'whsec_rolled_0123456789abcdef';
    const payload = JSON.stringify(event());
    stack.secrets.put(stack.secretNames.webhookSigning, JSON.stringify({ stripe: [rolled, old] }));
    // The function read its secrets a moment ago, and reads them again after half a minute at the earliest.
    const answer = await deliver({}, { body: payload, signature: signed(payload, { secret: old }) });
    expect(answer.status).toBe(200);
    stack.secrets.put(stack.secretNames.webhookSigning, JSON.stringify({ stripe: [old] }));
  });
});

describe('connecting', () => {
  it('sends the browser to Google with all OAuth parameters', async () => {
    const { location, cookie } = await openLink(await linkFor(stack, 'user'));
    const url = new URL(location);
    expect(`${url.origin}${url.pathname}`).toBe(`${stack.googleUrl}/o/oauth2/v2/auth`);
    expect(Object.fromEntries(url.searchParams)).toEqual({
      client_id: expect.stringMatching(/\.apps\.googleusercontent\.com$/),
      redirect_uri: `${stack.url}/google/callback`,
      response_type: 'code',
      scope: 'openid email https://www.googleapis.com/auth/calendar.events.owned',
      access_type: 'offline',
      prompt: 'consent select_account',
      state: expect.stringMatching(/^[\w.-]+$/),
      nonce: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: 'S256',
    });
    expect(cookie).toMatch(/^leadscalendar-connect=[\w-]{43}$/);
    expect(await connection('user')).toBeUndefined();
  });

  it('stores a connection with encrypted tokens and confirms it on a page', async () => {
    const response = await connect(stack, 'sealed');
    expect(response.status).toBe(200);
    expect(await response.text()).toContain(ada);
    const stored = await connection('sealed');
    expect(stored).toMatchObject({ status: 'active', email: ada, calendarId: 'primary', tokenVersion: 1 });
    const header = JSON.parse(Buffer.from(stored?.tokens.split('.')[0], 'base64url').toString());
    expect(header).toEqual({ alg: 'dir', enc: 'A256GCM', kid: 'initial', sub: 'sealed' });
    expect(stack.events()).toContainEqual(
      expect.objectContaining({
        detailType: 'connection.activated',
        detail: expect.objectContaining({ userId: 'sealed' }),
      }),
    );
  });

  it('shows the holder of a link nothing about the connected account', async () => {
    await connect(stack, 'returning');
    const { email, googleSub } = (await connection('returning')) as { email: string; googleSub: string };
    const { location } = await openLink(await linkFor(stack, 'returning', Date.now() + 1000));
    expect(decodeURIComponent(location)).not.toContain(email);
    expect(location).not.toContain(googleSub);
    expect(new URL(location).searchParams.has('login_hint')).toBe(false);
  });

  const page = async (response: Response) => ({ status: response.status, text: await response.text() });

  it.each<[string, number, string, (url: string) => string]>([
    ['without a token', 401, 'token_missing', (url) => url.replace(/\?.*/, '')],
    ['with a changed token', 401, 'token_invalid', (url) => `${url.slice(0, -3)}AAA`],
    [
      'with an address that is not LeadsCalendar to return to',
      400,
      'return_to_not_allowed',
      (url) => `${url}&return_to=https://evil.example/`,
    ],
    [
      'with a script to return to',
      400,
      'return_to_not_allowed',
      (url) => `${url}&return_to=javascript:alert(1)`,
    ],
  ])('refuses a link %s: %i %s', async (_, expected, code, change) => {
    const url = change(await linkFor(stack, 'user'));
    const asProgram = await fetch(url, { redirect: 'manual' });
    expect(asProgram.status).toBe(expected);
    expect(asProgram.headers.get('content-type')).toBe('application/problem+json');
    expect(await asProgram.json()).toMatchObject({ status: expected, code });
    const asPerson = await page(await fetch(url, { redirect: 'manual', headers: { accept: 'text/html' } }));
    expect(asPerson).toMatchObject({ status: expected, text: expect.stringContaining(code) });
  });

  it('refuses an expired link, and a bearer token as a link', async () => {
    const expired = await linkFor(stack, 'user', Date.now() - 700_000);
    expect(await (await fetch(expired, { redirect: 'manual' })).json()).toMatchObject({
      code: 'token_expired',
    });
    const bearer = `${stack.url}/google/connect?token=${await apiTokenFor(stack, 'user')}`;
    expect(await (await fetch(bearer, { redirect: 'manual' })).json()).toMatchObject({
      code: 'token_invalid',
    });
  });

  async function consented(userId: string, options: Parameters<typeof walkConsent>[1] = {}) {
    const visit = await openLink(await linkFor(stack, userId));
    return { ...visit, callback: await walkConsent(visit.location, options) };
  }
  const withState = (callback: string, change: (state: string) => string): string => {
    const url = new URL(callback);
    url.searchParams.set('state', change(url.searchParams.get('state') ?? ''));
    return url.href;
  };

  it.each<[string, number, string, (callback: string, cookie: string) => [string, string]]>([
    [
      'a changed state',
      400,
      'state_invalid',
      (url, cookie) => [withState(url, (state) => `${state.slice(0, -9)}AAAAAAAAA`), cookie],
    ],
    ['no state', 400, 'state_missing', (url, cookie) => [url.replace(/state=[^&]*/, ''), cookie]],
    ['another browser', 403, 'wrong_browser', (url) => [url, '']],
    [
      'the cookie of another browser',
      403,
      'wrong_browser',
      (url) => [url, `leadscalendar-connect=${'x'.repeat(43)}`],
    ],
    [
      'an unknown error',
      400,
      'authorization_failed',
      (url, cookie) => [url.replace(/code=[^&]*/, 'error=interstellar'), cookie],
    ],
    [
      'a made-up code',
      400,
      'authorization_failed',
      (url, cookie) => [url.replace(/code=[^&]*/, 'code=4%2Fmadeup'), cookie],
    ],
    ['no code', 400, 'authorization_failed', (url, cookie) => [url.replace(/code=[^&]*/, ''), cookie]],
  ])('refuses a callback with %s: %i %s, and stores nothing', async (_, expected, code, change) => {
    const userId = `refused-${uniqueId()}`;
    const { callback, cookie } = await consented(userId);
    const answer = await page(await openCallback(...change(callback, cookie)));
    expect(answer).toMatchObject({ status: expected, text: expect.stringContaining(code) });
    expect(await connection(userId)).toBeUndefined();
  });

  it('refuses a callback when the user denies consent', async () => {
    const { callback, cookie } = await consented('denier', { deny: true });
    expect(await page(await openCallback(callback, cookie))).toMatchObject({
      status: 403,
      text: expect.stringContaining('access_denied'),
    });
    expect(await connection('denier')).toBeUndefined();
  });

  it('a link works once: a repeated answer and a second tab change nothing', async () => {
    const userId = `once-${uniqueId()}`;
    const link = await linkFor(stack, userId);
    const first = await openLink(link);
    const second = await openLink(link, first.cookie);
    const callback = await walkConsent(first.location);
    expect((await openCallback(callback, first.cookie)).status).toBe(200);
    const stored = await connection(userId);
    expect(await page(await openCallback(callback, first.cookie))).toMatchObject({
      status: 409,
      text: expect.stringContaining('state_used'),
    });
    const other = await walkConsent(second.location);
    expect(await page(await openCallback(other, second.cookie))).toMatchObject({
      status: 409,
      text: expect.stringContaining('state_used'),
    });
    expect(await connection(userId)).toEqual(stored);
  });

  it('sends strict headers and no secrets with every page', async () => {
    const { callback, cookie } = await consented(`headers-${uniqueId()}`);
    const response = await openCallback(callback, cookie);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-security-policy': expect.stringMatching(
        /^default-src 'none'; style-src 'sha256-[^']+'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/,
      ),
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    });
    const text = await response.text();
    expect(text).not.toMatch(/<script|state=|code=4/);
  });
});

describe('a connection', () => {
  it('the schedule refreshes a due connection', async () => {
    await connect(stack, 'refreshed');
    await bringForward('ConnectionsTable', { userId: 'refreshed' }, 'refreshAt');
    expect(await stack.invoke('token-refresh', {})).toMatchObject({ ok: true, payload: { refreshed: 1 } });
    expect(await connection('refreshed')).toMatchObject({ tokenVersion: 2, status: 'active' });
  });

  it('marks a connection whose grant was revoked, and publishes why', async () => {
    await connect(stack, 'revoked');
    await bringForward('ConnectionsTable', { userId: 'revoked' }, 'refreshAt');
    stack.google?.control.fail({ on: 'token', how: { status: 400, oauthError: 'invalid_grant' } });
    expect(await stack.invoke('token-refresh', {})).toMatchObject({
      ok: true,
      payload: { reauthorizationRequired: 1 },
    });
    expect(await connection('revoked')).toMatchObject({
      status: 'reauthorization_required',
      reason: 'invalid_grant',
    });
    expect(stack.events()).toContainEqual(
      expect.objectContaining({
        detailType: 'connection.reauthorization_required',
        detail: expect.objectContaining({ userId: 'revoked', reason: 'invalid_grant' }),
      }),
    );
  });
});
