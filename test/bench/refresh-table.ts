/** The table of connections that the sweeps of this bench find, and one in memory that carries a million of them. */
import {
  type AttributeValue,
  type DynamoDBClient,
  PutItemCommand,
  QueryCommand,
} from '@aws-sdk/client-dynamodb';
import type { Connection } from '../../shared/connection.ts';
import { shardOf, toItem } from '../../shared/dynamo.ts';
import { indexes } from '../../shared/names.ts';
import { parseTokenKeys } from '../../shared/token-keys.ts';
import { sealToken } from '../../shared/token-vault.ts';
import { simulatedDynamo, tableShapes } from '../simulation/dynamodb.ts';

export const table = 'connections';
/** As by default in infra/config.ts. */
export const indexShards = 4;
/** The secret `token-keys` of the bench, which guards nothing. */
export const tokenKeys = JSON.stringify({ current: 'k1', k1: 'bench'.padEnd(64, '.') });

export type Filling = {
  connections: number;
  /** So many of them are due. */
  due: number;
  /** Epoch seconds. */
  now: number;
};

type Item = Record<string, AttributeValue>;

/** Stores the connections as DynamoDB would hold them; those that are not due will be within the hour. */
export async function fill(dynamo: DynamoDBClient, { connections, due, now }: Filling): Promise<void> {
  const keys = parseTokenKeys(tokenKeys);
  const seal = (userId: string, kind: 'access' | 'refresh', length: number) =>
    sealToken(keys, now, userId, kind, kind.padEnd(length, '.'));
  const alike = {
    status: 'active',
    email: 'somebody@example.com',
    scopes: ['openid', 'https://www.googleapis.com/auth/calendar.events'],
    calendarId: 'primary',
    // As long as Google's. A sweep does not open the access token.
    accessToken: await seal('somebody', 'access', 220),
    refreshToken: await seal('somebody', 'refresh', 103),
    accessTokenExpiresAt: now + 900,
    tokenVersion: 7,
    keyId: 'k1',
    lastUsedAt: now,
    lastRefreshedAt: now - 2700,
    refreshFailures: 0,
    usedLinks: [],
    connectedAt: now - 86_400,
    updatedAt: now - 2700,
  } satisfies Partial<Connection>;
  // Attributes that are alike are the same objects: a million of them fit.
  const common = toItem(alike);
  for (let index = 0; index < connections; index++) {
    const userId = `user-${index}`;
    // The due ones stand anywhere among the others.
    const isDue = Math.floor((index * due) / connections) !== Math.floor(((index + 1) * due) / connections);
    const own = {
      userId,
      googleSub: `1${String(index).padStart(20, '0')}`,
      refreshShard: shardOf(userId, indexShards),
      refreshAt: isDue ? now - (index % 300) : now + 1800 + (index % 2700),
      ...(isDue ? { refreshToken: await seal(userId, 'refresh', 103) } : {}),
    };
    await dynamo.send(new PutItemCommand({ TableName: table, Item: { ...common, ...toItem(own) } }));
  }
}

/** The table that the simulation has, with an index `refresh-due` that is read in order rather than searched. */
export function tableInMemory(): { execute: (command: object) => unknown; size: () => number } {
  const due = dueIndex();
  const { connections } = tableShapes;
  const dynamo = simulatedDynamo({ [table]: connections }, (_, item, before) => due.move(item, before));
  return {
    execute(command) {
      if (!(command instanceof QueryCommand)) return dynamo.execute(command);
      if (command.input.IndexName !== indexes.refreshDue) throw new Error('Only what is due is asked for.');
      return due.query(command.input);
    },
    size: () => dynamo.items(table).length,
  };
}

/** Users by shard and second. */
function dueIndex() {
  const shards = new Map<string, Map<number, Set<string>>>();
  const secondsOf = (shard: string): Map<number, Set<string>> => {
    const seconds = shards.get(shard) ?? new Map();
    shards.set(shard, seconds);
    return seconds;
  };
  return {
    move({ userId, refreshShard, refreshAt }: Item, before: Item | undefined): void {
      const user = userId?.S as string;
      if (before?.refreshAt?.N === refreshAt?.N) return;
      if (before?.refreshAt?.N)
        secondsOf(before.refreshShard?.S as string)
          .get(Number(before.refreshAt.N))
          ?.delete(user);
      if (!refreshAt?.N) return;
      const seconds = secondsOf(refreshShard?.S as string);
      const users = seconds.get(Number(refreshAt.N)) ?? new Set();
      seconds.set(Number(refreshAt.N), users.add(user));
    },
    query({ ExpressionAttributeValues = {}, Limit = 0, ExclusiveStartKey }: QueryCommand['input']) {
      const shard = ExpressionAttributeValues[':shard']?.S as string;
      const now = Number(ExpressionAttributeValues[':now']?.N);
      const [fromSecond, fromUser] = ExclusiveStartKey
        ? [Number(ExclusiveStartKey.refreshAt?.N), ExclusiveStartKey.userId?.S as string]
        : [0, ''];
      const seconds = secondsOf(shard);
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
