/**
 * The real functions in this process: their handlers over real engines, wired as in the template, without a slow
 * layer between. One request at a time, as in a Lambda environment.
 */
import { randomBytes } from 'node:crypto';
import { DeleteItemCommand, DynamoDBClient, PutItemCommand, ScanCommand } from '@aws-sdk/client-dynamodb';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { PurgeQueueCommand, SQSClient } from '@aws-sdk/client-sqs';
import { marshall, unmarshall } from '@aws-sdk/util-dynamodb';
import { type ProviderName, providers } from '../../functions/payment-confirmed/providers.ts';
import { startAwsJsonServer } from '../../infra/local/aws/aws-json.ts';
import { createTables, dynamoDbClient, startDynamoDb } from '../../infra/local/aws/dynamodb.ts';
import { createEventBus } from '../../infra/local/aws/event-bus.ts';
import { httpRoutes } from '../../infra/local/aws/http-api.ts';
import { createQueues, sqsClient, startQueues } from '../../infra/local/aws/queues.ts';
import { resolveResources } from '../../infra/local/aws/resources.ts';
import { createSecrets } from '../../infra/local/aws/secrets.ts';
import { readAssembly } from '../../infra/local/aws/template.ts';
import { lambdaEnvironment, variablesOf } from '../../infra/local/aws/wiring.ts';
import { startGoogleSimulator } from '../../infra/local/google/simulator.ts';
import { type Account, demoAccounts } from '../../infra/local/google/state.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';
import type { GrantedConnection } from '../../shared/connection/connection.ts';
import { connectionStore } from '../../shared/connection/store.ts';
import { keyText, parseKeys } from '../../shared/crypto/keys.ts';
import { splitMac, withMac } from '../../shared/crypto/payment-mac.ts';
import { encryptTokens } from '../../shared/crypto/token-encryption.ts';
import { signUserToken } from '../../shared/crypto/user-token.ts';
import { calendarScopes } from '../../shared/google/token-endpoint.ts';
import type { HttpRequest } from '../../shared/http/http.ts';
import { env, type KeyPurpose, keySecrets, optionalScopes, routes } from '../../shared/lib/names.ts';
import { setLogSink } from '../../shared/lib/observability.ts';
import { attempt, challenge, type Keys, usedLink } from './credentials.ts';
import { appointment, details } from './requests.ts';

export const publicUrl = 'https://calendar.example.com';
export const returnOrigin = 'https://app.example.com';
export const tableNames = { bookings: 'BookingsTable', connections: 'ConnectionsTable' };

export type Handler = (event: unknown, context: unknown) => Promise<unknown>;
/** A call that changes the state. */
export type Write = { operation: string; input: Record<string, unknown> };
export type Service = Awaited<ReturnType<typeof startService>>;
type Row = Record<string, unknown>;

const reading = new Set(['GetItemCommand', 'BatchGetItemCommand', 'QueryCommand', 'GetSecretValueCommand']);
const now = (): number => Math.floor(Date.now() / 1000);

/** @param assembly folder of the synthesized app */
export async function startService(assembly: string) {
  await using starting = new AsyncDisposableStack();
  const dynamodb = await startDynamoDb('dynalite');
  starting.defer(() => dynamodb.close());
  const queues = await startQueues();
  starting.defer(() => queues.close());
  const secrets = createSecrets();
  const bus = createEventBus(() => {});
  const awsJson = await startAwsJsonServer({ ...secrets.operations, ...bus.operations });
  starting.defer(() => awsJson.close());
  const clientSecret = `GOCSPX-${randomBytes(21).toString('base64url')}`;
  const client = {
    clientId: 'fuzz.apps.googleusercontent.com',
    clientSecret,
    redirectUris: [`${publicUrl}${routes.callback}`],
  };
  const google = await startGoogleSimulator({ clients: [client] });
  starting.defer(() => google.close());
  // No item expires while it runs.
  google.control.setSwitch('accessTokenSeconds', 1e8);

  const { resourcesOf } = resolveResources(readAssembly(assembly).template, {
    apiUrl: publicUrl,
    queueUrlBase: queues.endpoint,
  });
  await createTables(dynamodb.endpoint, resourcesOf('AWS::DynamoDB::Table', 'AWS::DynamoDB::GlobalTable'));
  await createQueues(queues.endpoint, resourcesOf('AWS::SQS::Queue'));
  secrets.create(resourcesOf('AWS::SecretsManager::Secret'));
  bus.create(resourcesOf('AWS::Events::EventBus'));
  const functions = resourcesOf('AWS::Lambda::Function');
  const variables = Object.assign({}, ...functions.map(variablesOf)) as Record<string, string>;
  const before = { ...process.env };
  Object.assign(process.env, lambdaEnvironment(''), variables, {
    AWS_ACCESS_KEY_ID: 'local',
    AWS_ENDPOINT_URL_DYNAMODB: dynamodb.endpoint,
    AWS_ENDPOINT_URL_SQS: queues.endpoint,
    AWS_ENDPOINT_URL_SECRETS_MANAGER: awsJson.url,
    AWS_ENDPOINT_URL_EVENTBRIDGE: awsJson.url,
    [env.googleUrl]: google.url,
    [env.stripeMode]: 'both',
    [env.publicUrl]: publicUrl,
    [env.returnOrigins]: returnOrigin,
    [env.optionalScopes]: Object.values(optionalScopes).join(' '),
  });
  delete process.env.AWS_ENDPOINT_URL;
  starting.defer(() => {
    process.env = before;
  });

  const signing = Object.fromEntries(
    providers.map(({ name }) => [name, `whsec_${randomBytes(32).toString('base64')}`]),
  ) as Record<ProviderName, string>;
  secrets.put(variables[env.webhookSecretId] as string, JSON.stringify(signing));
  secrets.put(
    variables[env.googleClientSecretId] as string,
    JSON.stringify({
      web: { client_id: client.clientId, client_secret: clientSecret, redirect_uris: client.redirectUris },
    }),
  );
  const keysText = (purpose: KeyPurpose) => secrets.get(variables[keySecrets[purpose]] as string) as string;
  const keysFor = <Purpose extends KeyPurpose>(purpose: Purpose) => parseKeys(purpose, keysText(purpose));
  const keys: Keys = {
    signing,
    tokens: keysFor('token-encryption'),
    states: keysFor('state-encryption'),
    links: keysFor('link-signing'),
    api: keysFor('api-signing'),
    messages: keysFor('payment-messages'),
  };

  const writes: Write[] = [];
  let recording = false;
  const stopRecording = [DynamoDBClient, SQSClient, EventBridgeClient].map((sender) => {
    const { send } = sender.prototype;
    sender.prototype.send = function (
      this: never,
      command: { constructor: { name: string }; input: Record<string, unknown> },
      ...rest: never[]
    ) {
      const operation = command.constructor.name;
      if (recording && !reading.has(operation)) writes.push({ operation, input: command.input });
      return (send as (...all: unknown[]) => unknown).call(this, command, ...rest);
    } as never;
    return () => {
      sender.prototype.send = send as never;
    };
  });
  starting.defer(() => stopRecording.forEach((stop) => void stop()));
  const lines: string[] = [];
  setLogSink((line) => lines.push(line));

  const handlers = new Map<string, Handler>();
  const load = async (name: string): Promise<Handler> => {
    return ((await import(`../../functions/${name}/handler.ts`)) as { handler: Handler }).handler;
  };
  const httpRoutesOfTemplate = httpRoutes(
    resourcesOf('AWS::ApiGatewayV2::Route'),
    resourcesOf('AWS::ApiGatewayV2::Integration'),
  );
  for (const { functionArn, routeKey } of httpRoutesOfTemplate) {
    const name = functions.find(({ arn }) => arn === functionArn)?.ref as string;
    handlers.set(routeKey, await load(name));
  }
  handlers.set('queue', await load('booking-sync'));

  const dynamo = dynamoDbClient(dynamodb.endpoint);
  starting.defer(() => dynamo.destroy());
  const sqs = sqsClient(queues.endpoint);
  starting.defer(() => sqs.destroy());
  const QueueUrl = process.env[env.bookingsQueueUrl] as string;

  const context = { awsRequestId: 'fuzz', getRemainingTimeInMillis: () => 60_000 };
  async function call(
    handler: string,
    event: unknown,
  ): Promise<{ answer: unknown; writes: Write[]; lines: string[]; ms: number }> {
    const handle = handlers.get(handler);
    if (!handle) throw new Error(`There is no handler for ${handler}.`);
    writes.length = 0;
    lines.length = 0;
    recording = true;
    const startedAt = performance.now();
    try {
      const answer = await handle(event, context);
      return { answer, writes: [...writes], lines: [...lines], ms: performance.now() - startedAt };
    } finally {
      recording = false;
    }
  }

  const records = (bodies: string[]) =>
    bodies.map((body, index) => ({
      messageId: `m${index}`,
      body,
      attributes: { MessageGroupId: `g${index}`, ApproximateReceiveCount: '1' },
    }));
  /** A body with a MAC, so that the fuzzer reaches the code behind its check. */
  const signed = (body: string): string =>
    splitMac(body).mac !== undefined || !body.endsWith('}') ? body : withMac(keys.messages, body, now());
  /** Sends messages to booking-sync as the queue would, each in a group of its own; returns those that stay. */
  async function sync(bodies: string[]) {
    const done = await call('queue', { Records: records(bodies.map(signed)) });
    const { batchItemFailures } = done.answer as { batchItemFailures: { itemIdentifier: string }[] };
    return { ...done, staying: batchItemFailures.map(({ itemIdentifier }) => itemIdentifier) };
  }

  // Rows before every request, by table and key.
  const rows = new Map<string, Row>();
  const keyOf = (table: string, row: Row): string => `${table} ${row.id ?? row.userId}`;
  async function scan(): Promise<Map<string, Row>> {
    const found = new Map<string, Row>();
    for (const TableName of Object.values(tableNames)) {
      const { Items = [], LastEvaluatedKey } = await dynamo.send(
        new ScanCommand({ TableName, ConsistentRead: true }),
      );
      if (LastEvaluatedKey) throw new Error(`There is more in ${TableName} than one page.`);
      for (const item of Items) found.set(keyOf(TableName, unmarshall(item)), item);
    }
    return found;
  }
  async function restore(done: Write[]): Promise<void> {
    for (const { operation, input } of done) {
      if (
        operation === 'SendMessageCommand' ||
        operation === 'SendMessageBatchCommand' ||
        operation === 'PutEventsCommand'
      )
        continue;
      const { TableName, Item, Key } = input as { TableName?: string; Item?: Row; Key?: Row };
      if (!TableName || !(Item ?? Key)) throw new Error(`The fuzzer does not know how to undo ${operation}.`);
      const { id, userId } = (Item ?? Key) as Row;
      const key = (TableName === tableNames.bookings ? { id } : { userId }) as never;
      const held = rows.get(keyOf(TableName, unmarshall(key)));
      if (held) await dynamo.send(new PutItemCommand({ TableName, Item: held as never }));
      else await dynamo.send(new DeleteItemCommand({ TableName, Key: key }));
    }
  }

  const connections = connectionStore(dynamo, tableNames.connections, Number(variables[env.indexShards]));
  /** Google's tokens in the table, by user. */
  const granted = new Map<string, string[]>();
  async function connect(userId: string, scopes: string[]): Promise<GrantedConnection> {
    const { email, sub } = demoAccounts[userId === 'ben-user' ? 1 : 0] as Account;
    const { accessToken, refreshToken = '' } = google.control.grant({
      clientId: client.clientId,
      email,
      scopes,
    });
    granted.set(userId, [accessToken, refreshToken]);
    return {
      userId,
      status: 'active',
      googleSub: sub,
      email,
      scopes,
      calendarId: 'primary',
      ...(await encryptTokens(keys.tokens, now(), userId, { accessToken, refreshToken })),
      accessTokenExpiresAt: now() + 1e7,
      tokenVersion: 1,
      lastUsedAt: now(),
      lastRefreshedAt: now(),
      refreshAt: now() + 1e7,
      refreshFailures: 0,
      usedLinks: [{ link: usedLink, until: now() + 1e7 }],
      connectedAt: now(),
      updatedAt: now(),
    };
  }
  /** A connection of ada-user or ben-user in its initial state, also at Google. */
  async function reconnect(userId: string): Promise<void> {
    const wanted = [
      'openid',
      calendarScopes.owned,
      ...(userId === 'ada-user' ? Object.values(optionalScopes) : []),
    ];
    const connection = await connect(userId, wanted);
    await dynamo.send(
      new DeleteItemCommand({ TableName: tableNames.connections, Key: marshall({ userId }) }),
    );
    await connections.put(connection, undefined);
  }
  const keep = async () => {
    rows.clear();
    for (const [key, row] of await scan()) rows.set(key, row);
  };

  /** The rows of both tables, as the service itself created them. */
  async function prepare(): Promise<void> {
    await reconnect('ada-user');
    await reconnect('ben-user');
    const like = await connect('broken-user', ['openid', calendarScopes.owned]);
    await connections.put(
      { ...like, status: 'reauthorization_required', reason: 'invalid_grant' },
      undefined,
    );
    await connections.put(
      {
        userId: 'gone-user',
        status: 'disconnected',
        disconnectedAt: now(),
        tokenVersion: 2,
        refreshFailures: 0,
        usedLinks: [],
        updatedAt: now(),
      },
      undefined,
    );
    await seedBookings();
    await keep();
    await sqs.send(new PurgeQueueCommand({ QueueUrl }));
  }

  async function seedBookings(): Promise<void> {
    const send = async (method: string, id: string, body: unknown, userId = 'ada-user') => {
      const authorization = `Bearer ${await signUserToken(keys.api, { userId, audience: 'leadscalendar-google/api', now: now() })}`;
      const routeKey = `${method} ${routes.booking}`;
      const event = {
        routeKey,
        rawQueryString: '',
        headers: { authorization },
        pathParameters: { id },
        body: JSON.stringify(body),
        isBase64Encoded: false,
      };
      const { answer, writes: done } = await call(routeKey, event as unknown as HttpRequest);
      if ((answer as { statusCode: number }).statusCode >= 300)
        throw new Error(`${method} ${id}: ${JSON.stringify(answer)}`);
      const sent = sentIn(done);
      if (sent.length > 0) await sync(sent);
    };
    const pay = (bookingId: string, userId: string | undefined, more: object = {}) =>
      sync([
        JSON.stringify({
          schemaVersion: 1,
          type: 'payment',
          paymentId: `standard:order-of-${bookingId}`,
          eventId: `evt_${bookingId}`,
          facts: { confirmedAt: '2026-11-01T10:00:00Z', amount: 9000 },
          booking: { bookingId, ...(userId ? { userId } : {}), problems: [], ...more },
        }),
      ]);
    const problems = [{ code: 'invalid_booking', field: 'start', message: 'It is missing.' }];
    await send('PUT', 'declared', appointment);
    await send('PUT', 'held', { ...appointment, hold: true });
    await send('PUT', 'scheduled', { ...appointment, location: 'Here', description: 'A & B' });
    await pay('scheduled', 'ada-user');
    await send('PUT', 'whole-days', { summary: 'Retreat', start: '2027-06-01', end: '2027-06-03' });
    await send('PUT', 'detailed', { ...appointment, ...details });
    await pay('detailed', 'ada-user');
    await send('PUT', 'waiting', appointment, 'gone-user');
    await pay('waiting', 'gone-user');
    await send('PUT', 'cancelled', appointment);
    await send('DELETE', 'cancelled', null);
    await pay('failed', 'ada-user', { problems });
    await pay('ownerless', undefined, { problems });
    await send('PUT', 'bens', appointment, 'ben-user');
  }

  /** A code of Google for the state of a case. */
  async function codeFor(
    state: string,
    how: 'allow' | 'box not ticked' | 'another attempt',
  ): Promise<string> {
    const query = new URLSearchParams({
      client_id: client.clientId,
      redirect_uri: `${publicUrl}${routes.callback}`,
      response_type: 'code',
      scope: ['openid', 'email', calendarScopes.owned, ...Object.values(optionalScopes)].join(' '),
      access_type: 'offline',
      prompt: 'consent',
      state,
      nonce: how === 'another attempt' ? 'another' : attempt.nonce,
      code_challenge: challenge,
      code_challenge_method: 'S256',
    });
    const back = await walkConsent(
      `${google.url}/o/oauth2/v2/auth?${query}`,
      how === 'box not ticked' ? { untick: [calendarScopes.owned] } : {},
    );
    return new URL(back).searchParams.get('code') ?? '';
  }

  const lasting = [
    ...Object.values(signing).map((secret) => secret.slice('whsec_'.length)),
    clientSecret,
    attempt.verifier,
    ...Object.keys(keySecrets).flatMap((purpose) =>
      Object.values(JSON.parse(keysText(purpose as KeyPurpose)) as Record<string, string>).filter(
        (it) => it.length >= 32,
      ),
    ),
    ...[keys.links, keys.api].flatMap((each) => each.ids.map((id) => keyText(each, id))),
  ];

  await prepare();
  const running = starting.move();
  return {
    keys,
    routes: httpRoutesOfTemplate,
    call,
    sync,
    restore,
    codeFor,
    /** Values that must never be visible outside. */
    secrets: (): string[] => [...lasting, ...[...granted.values()].flat()],
    async reconnect(userId: string) {
      await reconnect(userId);
      for (const [key, row] of await scan())
        if (key === `${tableNames.connections} ${userId}`) rows.set(key, row);
    },
    /** Rows that differ from those before every request, by table and key. */
    async changedRows(): Promise<string[]> {
      const found = await scan();
      const same = (key: string) =>
        JSON.stringify(sorted(rows.get(key))) === JSON.stringify(sorted(found.get(key)));
      return [...new Set([...rows.keys(), ...found.keys()])].filter((key) => !same(key));
    },
    /** Empties the queue. */
    async drain(): Promise<string[]> {
      const { ready, inFlight } = queues.messages('BookingsQueue.fifo');
      await sqs.send(new PurgeQueueCommand({ QueueUrl }));
      google.control.clearRequests();
      return [...ready, ...inFlight];
    },
    close: () => running.disposeAsync(),
  };
}

/** Bodies of the queued messages. */
export function sentIn(writes: Write[]): string[] {
  return writes.flatMap(({ operation, input }) => {
    if (operation === 'SendMessageCommand') return [input.MessageBody as string];
    if (operation === 'SendMessageBatchCommand')
      return (input.Entries as { MessageBody: string }[]).map((entry) => entry.MessageBody);
    return [];
  });
}

/** The same value with sorted member names. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, inner]) => [name, sorted(inner)]),
  );
}
