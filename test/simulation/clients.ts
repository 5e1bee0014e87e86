import {
  BatchGetItemCommand,
  PutItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import type { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { type SendMessageBatchCommand, SendMessageCommand, type SQSClient } from '@aws-sdk/client-sqs';
import { type BusEvent, eventBridgeBus } from '../../shared/aws/bus.ts';
import {
  bookingQueue,
  type ConnectionActivated,
  type PaymentReported,
  paymentQueue,
  type SyncRequested,
} from '../../shared/booking/queue.ts';
import type { GoogleOAuth } from '../../shared/google/token-endpoint.ts';
import type { Doubts, EventCall } from './doubts.ts';
import { dynamoClientOf, type SimulatedDynamo } from './dynamodb.ts';
import type { FaultName, Target } from './faults.ts';
import { calendarAnswer, type SimulatedGoogle } from './google.ts';
import type { SimulatedQueue } from './queue.ts';
import type { Process, Random } from './scheduler.ts';
import type { Secrets } from './world.ts';

/** The clients of one process: their calls go to the simulated tables, queue, bus and Google, each as an operation. */

type Call = <T>(
  process: Process,
  target: Target,
  effect: (fault?: FaultName) => T,
  path?: string,
) => Promise<T>;

/** Called after each refresh begins, with whether another one of the connection runs, and after each Calendar call. */
export type Hooks = {
  afterRefresh: (besideAnother: boolean) => void;
  afterGoogle: (method: string) => void;
};

export type Surroundings = {
  call: Call;
  now: () => number;
  chance: (what: string) => Random;
  isCalm: () => boolean;
  trace: (what: string) => void;
  dynamo: SimulatedDynamo;
  queue: SimulatedQueue;
  google: SimulatedGoogle;
  published: BusEvent[];
  doubts: Doubts;
  hooks: Hooks;
};

export function createClients(on: Surroundings) {
  const { call, now, chance, isCalm, trace, dynamo, queue, google, published, doubts, hooks } = on;
  const refreshing = new Map<string, { process: Process; since: number }>();

  function dynamoOf(process: Process) {
    return dynamoClientOf((command) => {
      if (command instanceof QueryCommand) {
        const random = chance(`${process.name} index ${process.operations}`);
        const lag = () => (!isCalm() && random() < 0.2 ? 'before' : 'now') as 'before' | 'now';
        return call(process, 'index', () => dynamo.execute(command, lag));
      }
      if (command instanceof BatchGetItemCommand) {
        return call(process, 'batch read', (fault) =>
          fault === 'keys left unprocessed' ? leavingOne(command) : dynamo.execute(command),
        );
      }
      const writes = command instanceof PutItemCommand || command instanceof UpdateItemCommand;
      return call(process, writes ? 'table write' : 'table read', () => dynamo.execute(command));
    });
  }

  /** What a throttled table does: it answers for all keys but the first. */
  function leavingOne({ input: { RequestItems = {} } }: BatchGetItemCommand): unknown {
    const [table = '', ...others] = Object.keys(RequestItems);
    const [left, ...Keys] = RequestItems[table]?.Keys ?? [];
    const rest = Object.fromEntries(others.map((name) => [name, RequestItems[name]])) as typeof RequestItems;
    if (Keys.length > 0) rest[table] = { ...RequestItems[table], Keys };
    const answered = dynamo.execute(new BatchGetItemCommand({ RequestItems: rest })) as object;
    return { ...answered, UnprocessedKeys: { [table]: { ...RequestItems[table], Keys: [left] } } };
  }

  const clockOf = (process: Process) => () => Math.floor((now() + process.skew) / 1000);

  function queueOf(process: Process, messageKeys: Secrets['messageKeys']) {
    const send = (command: SendMessageCommand | SendMessageBatchCommand): Promise<unknown> => {
      type Text = string | undefined;
      type Entry = { MessageBody: Text; MessageGroupId?: Text; MessageDeduplicationId?: Text };
      const put = ({ MessageBody = '', MessageGroupId = '', MessageDeduplicationId = '' }: Entry): void =>
        queue.send({ body: MessageBody, groupId: MessageGroupId, deduplicationId: MessageDeduplicationId });
      if (command instanceof SendMessageCommand) return call(process, 'queue', () => put(command.input));
      return call(process, 'queue batch', (fault) => {
        const entries = command.input.Entries ?? [];
        const refused = fault === 'part of a batch refused' ? 1 : 0;
        for (const entry of entries.slice(refused)) put(entry);
        const named = entries.map(({ Id }) => ({ Id }));
        return { Successful: named.slice(refused), Failed: named.slice(0, refused) };
      });
    };
    const client = { send } as unknown as SQSClient;
    const messages = bookingQueue('bookings.fifo', clockOf(process), client);
    const payments = paymentQueue('bookings.fifo', messageKeys, clockOf(process), client);
    return {
      ...messages,
      ...payments,
      send: (message: SyncRequested | ConnectionActivated | PaymentReported) =>
        message.type === 'payment' ? payments.send(message) : messages.send(message),
    };
  }

  function busOf(process: Process) {
    const send = ({ input }: PutEventsCommand): Promise<unknown> =>
      call(process, 'bus', () => {
        for (const { Detail } of input.Entries ?? []) published.push(JSON.parse(Detail ?? ''));
        return { FailedEntryCount: 0 };
      });
    return eventBridgeBus('bus', { send } as unknown as EventBridgeClient);
  }

  function googleOf(process: Process): GoogleOAuth {
    return {
      async exchangeCode(client, { code, verifier, redirectUri }) {
        const form = {
          grant_type: 'authorization_code',
          code,
          code_verifier: verifier,
          redirect_uri: redirectUri,
        };
        const { granted, ...tokens } = await call(process, 'token', () => google.token(client, form));
        const { sub, nonce } = granted;
        return { ...tokens, identity: { sub, email: `${sub}@example.com`, ...(nonce ? { nonce } : {}) } };
      },
      refresh: async (client, refreshToken) => {
        const form = { grant_type: 'refresh_token', refresh_token: refreshToken };
        // A lease of 20 seconds on clocks that differ by up to three. A paused process may go on past its own.
        const other = refreshing.get(refreshToken);
        const isFresh = other !== undefined && now() - other.since < 16_000;
        const isAtIt = isFresh && !other.process.dead && !other.process.paused;
        hooks.afterRefresh(isAtIt && !process.paused);
        refreshing.set(refreshToken, { process, since: now() });
        try {
          const { granted: _, ...tokens } = await call(process, 'token', () => google.token(client, form));
          return tokens;
        } finally {
          refreshing.delete(refreshToken);
        }
      },
      revoke: (refreshToken) => call(process, 'revoke', () => google.revoke(refreshToken)),
    };
  }

  function calendarOf(process: Process) {
    const fetchFrom = (
      url: string,
      init: { method?: string; body?: string; headers?: Record<string, string> },
    ) => {
      const request = google.calendarCall(url, init);
      const about = eventCallOf(request.method, url, init.body);
      if (about) doubts.sent(process, about);
      const answer = call(
        process,
        request.method as Target,
        () => {
          const answered = calendarAnswer(request);
          trace(
            `Google: ${request.method} ${new URL(url).pathname.slice(22)} by ${process.name}: ${answered.status}`,
          );
          hooks.afterGoogle(request.method);
          return answered;
        },
        new URL(url).pathname,
      );
      if (about)
        answer.then(
          ({ status }) => doubts.answered(about, status),
          () => doubts.answered(about, undefined),
        );
      return answer;
    };
    return { fetch: fetchFrom as unknown as typeof fetch, baseUrl: 'https://www.example.com/calendar/v3' };
  }

  return { dynamoOf, clockOf, queueOf, busOf, googleOf, calendarOf };
}

/** Which event a request is about; undefined where it is about none or many. */
function eventCallOf(method: string, url: string, body: string | undefined): EventCall | undefined {
  if (method === 'events.insert') {
    const { id, extendedProperties } = JSON.parse(body ?? '{}');
    return { method, eventId: id, bookingId: extendedProperties?.private?.leadscalendarBooking };
  }
  const eventId = /\/events\/([^/]+)$/.exec(new URL(url).pathname)?.[1];
  return eventId === undefined ? undefined : { method, eventId, bookingId: undefined };
}
