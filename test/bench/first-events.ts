/** The first events of the cold-start part: real ones that each function processes to the end. */
import { DeleteItemCommand, type DynamoDBClient, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { marshall } from '@aws-sdk/util-dynamodb';
import { SignJWT } from 'jose';
import { Stripe } from 'stripe';
import { bearerToken, connectLink } from '../../infra/cli/links.ts';
import {
  type BookingMetadata,
  checkoutCompleted,
  demoBooking,
  hour,
  rfc3339,
  stripeSigningSecret,
} from '../../infra/cli/payment.ts';
import { toEvent } from '../../infra/local/aws/http-payload.ts';
import { accountId } from '../../infra/local/aws/template.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';
import type { LocalStack } from '../../infra/local/stack.ts';
import type { PaymentReported } from '../../shared/booking/queue.ts';
import { parseKeys } from '../../shared/crypto/keys.ts';
import { withMac } from '../../shared/crypto/payment-mac.ts';
import { type KeyPurpose, routes, webhookRoute } from '../../shared/lib/names.ts';
import { queuedText } from '../fakes/queue.ts';

/** The functions, ordered so that each finds the connection that an earlier one has made. */
export const functionNames = [
  'health',
  'connect',
  'oauth-callback',
  'connections',
  'bookings',
  'payment-confirmed',
  'booking-sync',
  'booking-reconcile',
  'token-refresh',
] as const;
export type FunctionName = (typeof functionNames)[number];

/** The variant that answers: ours, or the baseline, which has users of its own. */
export type Side = 'ours' | 'usual';

/** The world of the events. `answers` holds this variant's answers in this round. */
export type Scene = {
  stack: LocalStack;
  dynamo: DynamoDBClient;
  tables: { connections: string; bookings: string };
  side: Side;
  answers: Map<FunctionName, unknown>;
  /** Epoch milliseconds. */
  now: number;
  /** Unique part of new ids. */
  newId: string;
};

const account = 'ada@example.com';

/** Makes the event of a function, and the state that it needs. */
export const eventsFor: Record<FunctionName, (scene: Scene) => Promise<unknown>> = {
  health: async (scene) => request(scene, 'GET', routes.health),
  connect: async (scene) =>
    request(scene, 'GET', routes.connect, { query: `token=${await linkToken(scene)}` }),
  'oauth-callback': async (scene) => {
    const { headers, cookies = [] } = scene.answers.get('connect') as Redirect;
    const callback = new URL(await walkConsent(headers.location, { account }));
    return request(scene, 'GET', routes.callback, {
      query: callback.search.slice(1),
      headers: { cookie: cookies.map((each) => each.split(';')[0]).join('; ') },
    });
  },
  connections: async (scene) => request(scene, 'GET', routes.connection, { headers: await bearer(scene) }),
  bookings: async (scene) => {
    const id = `declared-${scene.side}`;
    const key = marshall({ id: `booking#${id}` });
    await scene.dynamo.send(new DeleteItemCommand({ TableName: scene.tables.bookings, Key: key }));
    const { summary, start, end, location } = demoBooking(userOf(scene), id, scene.now);
    return request(scene, 'PUT', routes.booking, {
      parameters: { id },
      headers: { ...(await bearer(scene)), 'content-type': 'application/json' },
      body: JSON.stringify({ summary, start, end, location, hold: true }),
    });
  },
  'payment-confirmed': async (scene) => {
    const { stack, now } = scene;
    const payload = JSON.stringify(checkoutCompleted(paidBooking(scene), now, scene.newId));
    const secret = stripeSigningSecret(stack.secrets.get(stack.secretNames.webhookSigning) as string);
    const timestamp = Math.floor(now / 1000);
    return request(scene, 'POST', webhookRoute('stripe'), {
      headers: {
        'content-type': 'application/json; charset=utf-8',
        'stripe-signature': Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp }),
      },
      body: payload,
    });
  },
  'booking-sync': async (scene) => queueEvent(scene),
  // Finds the declared booking, which has not been synced.
  'booking-reconcile': async () => ({}),
  'token-refresh': async (scene) => {
    await scene.dynamo.send(
      new UpdateItemCommand({
        TableName: scene.tables.connections,
        Key: marshall({ userId: userOf(scene) }),
        UpdateExpression: 'SET refreshAt = :past',
        ExpressionAttributeValues: marshall({ ':past': 1 }),
      }),
    );
    return {};
  },
};

/** Expected answer of each function to its event. */
const rightAnswers: Record<FunctionName, (answer: Record<string, unknown>) => boolean> = {
  health: ({ statusCode }) => statusCode === 200,
  connect: ({ statusCode }) => statusCode === 302,
  'oauth-callback': ({ statusCode }) => statusCode === 200,
  connections: ({ statusCode }) => statusCode === 200,
  bookings: ({ statusCode }) => statusCode === 202,
  'payment-confirmed': ({ statusCode }) => statusCode === 200,
  'booking-sync': ({ batchItemFailures }) =>
    Array.isArray(batchItemFailures) && batchItemFailures.length === 0,
  'booking-reconcile': ({ requeued }) => requeued === 1,
  'token-refresh': ({ refreshed }) => refreshed === 1,
};

/** @throws Error if the event has another outcome, whose time would say nothing */
export function checkAnswer(name: FunctionName, answer: unknown): void {
  if (rightAnswers[name](answer as Record<string, unknown>)) return;
  throw new Error(`${name} did not carry out its event, it answered ${JSON.stringify(answer)}.`);
}

type Redirect = { headers: { location: string }; cookies?: string[] };

function userOf({ side }: Scene): string {
  return `user-of-${side}`;
}

/** A booking a month ahead, so that no check comes due while the bench runs. */
function paidBooking(scene: Scene): BookingMetadata {
  return demoBooking(userOf(scene), `paid-${scene.newId}`, scene.now + 30 * 24 * hour);
}

async function linkToken(scene: Scene): Promise<string> {
  if (scene.side === 'usual') return usualToken(scene, 'link-signing');
  const link = await connectLink(keysFor(scene, 'link-signing'), scene.stack.url, userOf(scene), scene.now);
  return new URL(link).searchParams.get('token') as string;
}

async function bearer(scene: Scene): Promise<{ authorization: string }> {
  const token =
    scene.side === 'usual'
      ? await usualToken(scene, 'api-signing')
      : await bearerToken(keysFor(scene, 'api-signing'), userOf(scene), scene.now);
  return { authorization: `Bearer ${token}` };
}

/** The baseline signs with the secret itself. */
function usualToken(scene: Scene, purpose: KeyPurpose): Promise<string> {
  const { current, ...keys } = JSON.parse(keysFor(scene, purpose)) as Record<string, string>;
  const key = new TextEncoder().encode(keys[current as string]);
  return new SignJWT().setSubject(userOf(scene)).setProtectedHeader({ alg: 'HS256' }).sign(key);
}

function keysFor({ stack }: Scene, purpose: KeyPurpose): string {
  return stack.secrets.get(stack.secretNames.keys[purpose]) as string;
}

/** An event of the HTTP API, payload format 2.0. */
function request(
  { stack, now }: Scene,
  method: string,
  route: string,
  options: {
    query?: string;
    parameters?: Record<string, string>;
    headers?: Record<string, string>;
    body?: string;
  } = {},
) {
  const { query, parameters = {}, headers = {}, body = '' } = options;
  const path = route.replace(/{(\w+)}/, (_, name: string) => parameters[name] as string);
  return toEvent(
    {
      method,
      target: query === undefined ? path : `${path}?${query}`,
      rawHeaders: Object.entries({ host: new URL(stack.url).host, ...headers }).flat(),
      body: Buffer.from(body),
      sourceIp: '127.0.0.1',
    },
    { routeKey: `${method} ${route}`, pathParameters: parameters },
    { requestId: 'bench', apiId: 'bench', accountId, now: new Date(now) },
  );
}

/** An event of the queue with one paid booking, as each variant's own webhook queues it. */
function queueEvent(scene: Scene) {
  const metadata = paidBooking(scene);
  const paymentId = `pi_${scene.newId}`;
  const attributes = { MessageGroupId: metadata.booking_id, ApproximateReceiveCount: '1' };
  const keys = parseKeys('payment-messages', keysFor(scene, 'payment-messages'));
  const body =
    scene.side === 'usual'
      ? JSON.stringify({ paymentId, metadata })
      : withMac(keys, queuedText(paymentReported(scene, paymentId, metadata)), scene.now / 1000);
  return { Records: [{ messageId: scene.newId, body, attributes }] };
}

function paymentReported(
  { now, newId }: Scene,
  paymentId: string,
  booking: BookingMetadata,
): PaymentReported {
  const {
    booking_id: bookingId,
    user_id: userId,
    summary,
    location = '',
    description = '',
    start,
    end,
  } = booking;
  return {
    type: 'payment',
    paymentId,
    eventId: `evt_${newId}`,
    facts: { confirmedAt: rfc3339(now), amount: 9000 },
    booking: {
      bookingId,
      userId,
      appointment: {
        summary,
        location,
        description,
        start: { dateTime: start },
        end: { dateTime: end },
        startsAt: Date.parse(start) / 1000,
        endsAt: Date.parse(end) / 1000,
      },
      problems: [],
    },
  };
}
