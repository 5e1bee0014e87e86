/**
 * The baseline of this service: one file with `googleapis`, `stripe` and the AWS SDK, a handler for each function,
 * clients made at import. It does the same job in the same tables and queue for the normal case: without fences,
 * retries, key rotation or re-checks. No other code may import it.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import {
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SendMessageBatchCommand, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { marshall, unmarshall } from '@aws-sdk/util-dynamodb';
import type { APIGatewayProxyEventV2, SQSEvent } from 'aws-lambda';
import { google } from 'googleapis';
import { jwtVerify, SignJWT } from 'jose';
import Stripe from 'stripe';

const setting = (name: string) => process.env[name] ?? '';
const connectionsTable = setting('CONNECTIONS_TABLE');
const bookingsTable = setting('BOOKINGS_TABLE');
const queueUrl = setting('BOOKINGS_QUEUE_URL');
const redirectUri = `${setting('PUBLIC_URL')}/google/callback`;
/** Address of the simulated Google. */
const googleUrl = setting('GOOGLE_URL');
const scope = ['openid', 'email', 'https://www.googleapis.com/auth/calendar.events'];

const dynamo = new DynamoDBClient();
const sqs = new SQSClient();
const events = new EventBridgeClient();
const secretsManager = new SecretsManagerClient();
const stripe = new Stripe('sk_test_not_used');

type Connection = {
  userId: string;
  status: string;
  email: string;
  accessToken: string;
  refreshToken: string;
  expiresAt: number;
  refreshShard: string;
  refreshAt: number;
};

export async function health() {
  return json(200, { status: 'ok' });
}

export async function connect(request: APIGatewayProxyEventV2) {
  const userId = await userOf(
    request.queryStringParameters?.token ?? '',
    await signingKey('LINK_SIGNING_SECRET_ID'),
  );
  const { oauth } = await googleClient();
  const state = await new SignJWT()
    .setSubject(userId)
    .setProtectedHeader({ alg: 'HS256' })
    .sign(await signingKey('STATE_ENCRYPTION_SECRET_ID'));
  const location = oauth.generateAuthUrl({ access_type: 'offline', prompt: 'consent', scope, state });
  return { statusCode: 302, headers: { location: location }, body: '' };
}

export async function oauthCallback(request: APIGatewayProxyEventV2) {
  const { code = '', state = '' } = request.queryStringParameters ?? {};
  const userId = await userOf(state, await signingKey('STATE_ENCRYPTION_SECRET_ID'));
  const sealing = await sealingKey();
  await readConnection(userId);
  const { oauth, clientId } = await googleClient();
  const { tokens } = await oauth.getToken(code);
  const ticket = await oauth.verifyIdToken({ idToken: tokens.id_token ?? '', audience: clientId });
  const expiresAt = Math.floor((tokens.expiry_date ?? 0) / 1000);
  const connection: Connection = {
    userId,
    status: 'active',
    email: ticket.getPayload()?.email ?? '',
    accessToken: seal(sealing, tokens.access_token ?? ''),
    refreshToken: seal(sealing, tokens.refresh_token ?? ''),
    expiresAt,
    refreshShard: '0',
    refreshAt: expiresAt - 900,
  };
  await publish('connection.activated', { userId });
  await dynamo.send(new PutItemCommand({ TableName: connectionsTable, Item: marshall(connection) }));
  await enqueue(userId, { type: 'connection.activated', userId });
  return { statusCode: 200, headers: { 'content-type': 'text/html' }, body: 'Your calendar is connected.' };
}

export async function connections(request: APIGatewayProxyEventV2) {
  const connection = await readConnection(await bearerOf(request));
  return connection
    ? json(200, { status: connection.status, email: connection.email })
    : json(404, { code: 'connection_not_found' });
}

export async function bookings(request: APIGatewayProxyEventV2) {
  const userId = await bearerOf(request);
  const id = `booking#${request.pathParameters?.id}`;
  const body = JSON.parse(request.body ?? '{}');
  await dynamo.send(new GetItemCommand({ TableName: bookingsTable, Key: marshall({ id }) }));
  const booking = { ...body, id, userId, status: 'pending', startsAt: Date.parse(body.start) / 1000 };
  await dynamo.send(new PutItemCommand({ TableName: bookingsTable, Item: marshall(booking) }));
  await enqueue(id, { type: 'sync', id });
  return json(202, booking);
}

export async function paymentConfirmed(request: APIGatewayProxyEventV2) {
  const { stripe: signing } = JSON.parse(await readSecret(setting('WEBHOOK_SIGNING_SECRET_ID')));
  const body = Buffer.from(request.body ?? '', request.isBase64Encoded ? 'base64' : 'utf8');
  const event = stripe.webhooks.constructEvent(body, request.headers['stripe-signature'] ?? '', signing[0]);
  if (event.type !== 'checkout.session.completed') return json(200, { received: true, ignored: event.type });
  const { payment_intent: paymentId, metadata } = event.data.object;
  await enqueue(metadata?.booking_id ?? event.id, { type: 'payment', paymentId, metadata });
  return json(200, { received: true });
}

export async function bookingSync({ Records }: SQSEvent) {
  for (const { body } of Records) {
    const { paymentId, metadata } = JSON.parse(body);
    const id = `booking#${metadata.booking_id}`;
    const [connection] = await Promise.all([
      readConnection(metadata.user_id),
      dynamo.send(new GetItemCommand({ TableName: bookingsTable, Key: marshall({ id }) })),
    ]);
    if (!connection) throw new Error(`${metadata.user_id} has no connection.`);
    const sealing = await sealingKey();
    const auth = new google.auth.OAuth2();
    auth.setCredentials({ access_token: open(sealing, connection.accessToken) });
    const calendar = google.calendar({ version: 'v3', auth, rootUrl: `${googleUrl}/` });
    const { data } = await calendar.events.insert({
      calendarId: 'primary',
      requestBody: {
        id: createHash('sha256').update(id).digest('hex').slice(0, 40),
        summary: metadata.summary,
        location: metadata.location,
        description: metadata.description,
        start: { dateTime: metadata.start },
        end: { dateTime: metadata.end },
      },
    });
    await publish('booking.scheduled', { id, htmlLink: data.htmlLink });
    const booking = { id, userId: metadata.user_id, status: 'scheduled', eventId: data.id };
    await dynamo.send(new PutItemCommand({ TableName: bookingsTable, Item: marshall(booking) }));
    const pointer = { id: `payment#${paymentId}`, booking: id };
    await dynamo.send(new PutItemCommand({ TableName: bookingsTable, Item: marshall(pointer) }));
  }
  return { batchItemFailures: [] };
}

export async function bookingReconcile() {
  const due = (await dueIn(bookingsTable, 'sync-due', 'syncShard', 'syncDueAt')).map(
    ({ id }) => id as string,
  );
  if (due.length > 0) {
    const Entries = due
      .slice(0, 10)
      .map((id, index) => ({ Id: String(index), ...message(id, { type: 'sync', id }) }));
    await sqs.send(new SendMessageBatchCommand({ QueueUrl: queueUrl, Entries }));
  }
  return { requeued: due.length };
}

export async function tokenRefresh() {
  const due = await dueIn(connectionsTable, 'refresh-due', 'refreshShard', 'refreshAt');
  for (const { userId } of due) {
    const connection = await readConnection(userId as string);
    if (!connection) continue;
    const sealing = await sealingKey();
    const { oauth } = await googleClient();
    oauth.setCredentials({ refresh_token: open(sealing, connection.refreshToken) });
    const { credentials } = await oauth.refreshAccessToken();
    const expiresAt = Math.floor((credentials.expiry_date ?? 0) / 1000);
    await dynamo.send(
      new UpdateItemCommand({
        TableName: connectionsTable,
        Key: marshall({ userId }),
        UpdateExpression: 'SET accessToken = :token, expiresAt = :expiresAt, refreshAt = :refreshAt',
        ExpressionAttributeValues: marshall({
          ':token': seal(sealing, credentials.access_token ?? ''),
          ':expiresAt': expiresAt,
          ':refreshAt': expiresAt - 900,
        }),
      }),
    );
  }
  return { refreshed: due.length };
}

function json(statusCode: number, body: unknown) {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

async function readSecret(id: string): Promise<string> {
  const { SecretString = '' } = await secretsManager.send(new GetSecretValueCommand({ SecretId: id }));
  return SecretString;
}

async function signingKey(variable: string): Promise<Uint8Array> {
  const { current, ...keys } = JSON.parse(await readSecret(setting(variable)));
  return Buffer.from(String(keys[current]));
}

async function sealingKey(): Promise<Uint8Array> {
  const key = await signingKey('TOKEN_ENCRYPTION_SECRET_ID');
  return createHash('sha256').update(key).digest();
}

async function googleClient() {
  const { web } = JSON.parse(await readSecret(setting('GOOGLE_OAUTH_CLIENT_SECRET_ID')));
  const oauth = new google.auth.OAuth2({
    clientId: web.client_id,
    clientSecret: web.client_secret,
    redirectUri,
    endpoints: {
      oauth2AuthBaseUrl: `${googleUrl}/o/oauth2/v2/auth`,
      oauth2TokenUrl: `${googleUrl}/token`,
      oauth2FederatedSignonPemCertsUrl: `${googleUrl}/oauth2/v1/certs`,
    },
  });
  return { oauth, clientId: web.client_id as string };
}

async function userOf(token: string, key: Uint8Array): Promise<string> {
  const { payload } = await jwtVerify(token, key, { algorithms: ['HS256'] });
  return payload.sub ?? '';
}

async function bearerOf({ headers }: APIGatewayProxyEventV2): Promise<string> {
  return userOf(
    headers.authorization?.replace('Bearer ', '') ?? '',
    await signingKey('API_SIGNING_SECRET_ID'),
  );
}

async function readConnection(userId: string): Promise<Connection | undefined> {
  const { Item } = await dynamo.send(
    new GetItemCommand({ TableName: connectionsTable, Key: marshall({ userId }) }),
  );
  return Item && (unmarshall(Item) as Connection);
}

async function dueIn(TableName: string, IndexName: string, shard: string, at: string) {
  const pages = await Promise.all(
    ['0', '1', '2', '3'].map((value) =>
      dynamo.send(
        new QueryCommand({
          TableName,
          IndexName,
          KeyConditionExpression: `${shard} = :shard AND ${at} <= :now`,
          ExpressionAttributeValues: marshall({ ':shard': value, ':now': Math.floor(Date.now() / 1000) }),
        }),
      ),
    ),
  );
  return pages.flatMap(({ Items = [] }) => Items.map((item) => unmarshall(item)));
}

async function publish(type: string, detail: object): Promise<void> {
  const entry = {
    EventBusName: setting('EVENT_BUS'),
    Source: 'bench.usual',
    DetailType: type,
    Detail: JSON.stringify(detail),
  };
  await events.send(new PutEventsCommand({ Entries: [entry] }));
}

async function enqueue(group: string, body: object): Promise<void> {
  await sqs.send(new SendMessageCommand({ QueueUrl: queueUrl, ...message(group, body) }));
}

function message(group: string, body: object) {
  return {
    MessageBody: JSON.stringify(body),
    MessageGroupId: group,
    MessageDeduplicationId: randomBytes(8).toString('hex'),
  };
}

function seal(key: Uint8Array, text: string): string {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), sealed]).toString('base64');
}

function open(key: Uint8Array, sealed: string): string {
  const bytes = Buffer.from(sealed, 'base64');
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12)).setAuthTag(
    bytes.subarray(12, 28),
  );
  return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8');
}
