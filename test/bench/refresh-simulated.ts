/** Millions of connections in memory, and sweeps over them in simulated time. */
import {
  type AttributeValue,
  type DynamoDBClient,
  PutItemCommand,
  QueryCommand,
} from '@aws-sdk/client-dynamodb';
import { refreshDueConnections, type SweepReport } from '../../functions/token-refresh/refresh-due.ts';
import { shardOf, toItem } from '../../shared/aws/dynamo.ts';
import type { Connection } from '../../shared/connection/connection.ts';
import { connectionStore } from '../../shared/connection/store.ts';
import { type Keys, parseKeys } from '../../shared/crypto/keys.ts';
import { encryptTokens } from '../../shared/crypto/token-encryption.ts';
import { indexes } from '../../shared/lib/names.ts';
import { setLogSink } from '../../shared/lib/observability.ts';
import { cachedSecret } from '../fakes/secret.ts';
import { dynamoClientOf, simulatedDynamo, tableShapes } from '../simulation/dynamodb.ts';
import { createScheduler, type Process, type Random, randomOf } from '../simulation/scheduler.ts';

/** Calls of a sweep to the table and to Google, items returned by the index, and Google's total time. */
export type Asked = { calls: number; itemsOfIndex: number; googleSeconds: number };
export const nothingAsked = (): Asked => ({ calls: 0, itemsOfIndex: 0, googleSeconds: 0 });

/** Milliseconds of one answer of Google: half of the mean, plus an exponentially distributed rest. */
export function oneLatency(mean: number, random: Random): number {
  return (mean / 2) * (1 - Math.log(1 - random()));
}

export type Simulated = { report: SweepReport; asked: Asked; seconds: number };

/**
 * Sweeps once in simulated time: the cost of the order of work on an infinitely fast processor, with the real use
 * case and store. The table answers after `tableLatency` milliseconds, Google after `tokenLatency` on average.
 */
export async function simulatedSweep({
  connections,
  due,
  concurrency,
  tableLatency,
  tokenLatency,
}: {
  connections: number;
  due: number;
  concurrency: number;
  tableLatency: number;
  tokenLatency: number;
}): Promise<Simulated> {
  setLogSink(() => {});
  const startsAt = Date.parse('2026-11-23T09:00:00Z');
  const { now, at, operate, run } = createScheduler(startsAt);
  const clock = (): number => Math.floor(now() / 1000);
  const random = randomOf('refresh at scale');
  const keys = parseKeys('token-encryption', JSON.stringify({ current: 'k1', k1: 'bench'.padEnd(64, '.') }));
  const table = 'connections';
  // As by default in infra/config.ts.
  const indexShards = 4;
  const execute = tableInMemory(table);
  await fill(
    dynamoClientOf(async (command) => execute(command)),
    { table, indexShards, keys, connections, due, now: clock() },
  );

  const process: Process = {
    name: 'sweep',
    random,
    skew: 0,
    dead: false,
    paused: false,
    onDeath: () => {},
    ended: false,
    operations: 0,
  };
  const asked = nothingAsked();
  const course = { before: tableLatency / 2, after: tableLatency / 2 };
  const dynamo = dynamoClientOf(async (command) => {
    asked.calls += 1;
    const answer = (await operate(process, course, () => execute(command))) as { Items?: unknown[] };
    asked.itemsOfIndex += answer.Items?.length ?? 0;
    return answer;
  });
  const unused = (): Promise<never> =>
    Promise.reject(new Error('A sweep of active connections needs none of it.'));
  const sweep = refreshDueConnections({
    connections: connectionStore(dynamo, table, indexShards),
    google: {
      revoke: unused,
      async refresh() {
        asked.calls += 1;
        const latency = oneLatency(tokenLatency, random);
        asked.googleSeconds += latency / 1000;
        await new Promise<void>((resolve) => at(latency, resolve));
        return { accessToken: 'access'.padEnd(220, '.'), expiresIn: 3599, scopes: [] };
      },
    },
    googleClient: cachedSecret({ clientId: 'bench', clientSecret: 'bench' }),
    tokenKeys: cachedSecret(keys),
    bus: { publish: unused },
    clock,
    random,
    sleep: unused,
    refreshPolicy: { inUseFor: 86_400, margin: 900, keepAlive: 3 * 86_400 },
    indexShards,
    concurrency,
    timeLeft: () => true,
  });
  await run(Number.POSITIVE_INFINITY);
  return { report: await sweep, asked, seconds: (now() - startsAt) / 1000 };
}

type Item = Record<string, AttributeValue>;

/** Stores connections as DynamoDB would hold them: `due` random ones are due now, the others within the hour. */
export async function fill(
  dynamo: DynamoDBClient,
  {
    table,
    indexShards,
    keys,
    connections,
    due,
    now,
  }: {
    table: string;
    indexShards: number;
    keys: Keys<'token-encryption'>;
    connections: number;
    due: number;
    now: number;
  },
): Promise<void> {
  const seal = (userId: string) =>
    encryptTokens(keys, now, userId, {
      accessToken: 'access'.padEnd(220, '.'),
      refreshToken: 'refresh'.padEnd(103, '.'),
    });
  const alike = {
    status: 'active',
    email: 'somebody@example.com',
    scopes: ['openid', 'https://www.googleapis.com/auth/calendar.events'],
    calendarId: 'primary',
    ...(await seal('somebody')),
    accessTokenExpiresAt: now + 900,
    schemaVersion: 1,
    tokenVersion: 7,
    lastUsedAt: now,
    lastRefreshedAt: now - 2700,
    refreshFailures: 0,
    usedLinks: [],
    connectedAt: now - 86_400,
    updatedAt: now - 2700,
  } satisfies Partial<Connection>;
  // Equal attributes share one object, so that a million of them fit into memory.
  const common = toItem(alike);
  for (let index = 0; index < connections; index++) {
    const userId = `user-${index}`;
    const isDue = Math.floor((index * due) / connections) !== Math.floor(((index + 1) * due) / connections);
    const own = {
      userId,
      googleSub: `1${String(index).padStart(20, '0')}`,
      refreshShard: shardOf(userId, indexShards),
      refreshAt: isDue ? now - (index % 300) : now + 1800 + (index % 2700),
      ...(isDue ? await seal(userId) : {}),
    };
    await dynamo.send(new PutItemCommand({ TableName: table, Item: { ...common, ...toItem(own) } }));
  }
}

/**
 * Runs commands on the simulation's table. Its index `refresh-due` is kept sorted here, since the simulation's own
 * scans the whole table for each page.
 */
export function tableInMemory(table: string): (command: object) => unknown {
  const due = dueIndex();
  const dynamo = simulatedDynamo({ [table]: tableShapes.connections }, (_, item, before) =>
    due.move(item, before),
  );
  return (command) => {
    if (!(command instanceof QueryCommand)) return dynamo.execute(command);
    const { IndexName, KeyConditionExpression } = command.input;
    if (IndexName !== indexes.refreshDue || !KeyConditionExpression?.includes('refreshAt <= :now'))
      throw new Error('Only what is due is asked for.');
    return due.query(command.input);
  };
}

/** Users by shard and second. */
function dueIndex() {
  const shards = new Map<string, Map<number, Set<string>>>();
  const usersAt = ({ refreshShard, refreshAt }: Item): Set<string> => {
    const seconds = shards.get(refreshShard?.S as string) ?? new Map();
    shards.set(refreshShard?.S as string, seconds);
    const users = seconds.get(Number(refreshAt?.N)) ?? new Set();
    seconds.set(Number(refreshAt?.N), users);
    return users;
  };
  return {
    move(item: Item, before: Item | undefined): void {
      if (before?.refreshAt?.N === item.refreshAt?.N) return;
      const user = item.userId?.S as string;
      if (before?.refreshAt) usersAt(before).delete(user);
      if (item.refreshAt) usersAt(item).add(user);
    },
    query({ ExpressionAttributeValues = {}, Limit, ExclusiveStartKey }: QueryCommand['input']) {
      const shard = ExpressionAttributeValues[':shard']?.S as string;
      const now = Number(ExpressionAttributeValues[':now']?.N);
      const fromSecond = Number(ExclusiveStartKey?.refreshAt?.N ?? 0);
      const fromUser = ExclusiveStartKey?.userId?.S ?? '';
      const seconds = shards.get(shard) ?? new Map<number, Set<string>>();
      const Items: Item[] = [];
      const passed = [...seconds.keys()].filter((at) => at >= fromSecond && at <= now);
      for (const at of passed.sort((one, other) => one - other)) {
        for (const userId of [...(seconds.get(at) ?? [])].sort()) {
          if (at === fromSecond && userId <= fromUser) continue;
          Items.push({ userId: { S: userId }, refreshShard: { S: shard }, refreshAt: { N: String(at) } });
          if (Items.length === Limit) return { Items, LastEvaluatedKey: Items.at(-1) };
        }
      }
      return { Items };
    },
  };
}
