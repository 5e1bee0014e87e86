import {
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import type { Connection } from './connection.ts';
import { conditionally, fromItem, shardOf, toItem } from './dynamo.ts';
import { indexes, shardCount } from './names.ts';

/** New tokens of a connection after a refresh. Absent fields stay as they are. */
export type RefreshedTokens = {
  accessToken: string;
  refreshToken?: string;
  accessTokenExpiresAt: number;
  lastUsedAt?: number;
  refreshAt: number;
};

/**
 * The table of connections. Every write names the token version it was decided on and reports whether it took
 * place: a writer that was overtaken changes nothing and reads again.
 */
export type ConnectionStore = {
  get(userId: string): Promise<Connection | undefined>;
  /** Stores a whole connection over version `expected`, or where there is none. */
  put(connection: Connection, expected: number | undefined): Promise<boolean>;
  /** Takes the right to refresh until `until`; answers the connection as it is then. */
  takeLease(
    userId: string,
    lease: { version: number; owner: string; until: number; now: number },
  ): Promise<Connection | undefined>;
  /** Ends the lease with new tokens. */
  saveTokens(userId: string, version: number, tokens: RefreshedTokens, now: number): Promise<boolean>;
  /** Ends the lease without new tokens: tried again at `refreshAt`. */
  postponeRefresh(userId: string, version: number, refreshAt: number, failures: number): Promise<boolean>;
  /** Records that only the user can mend this connection. */
  requireReauthorization(userId: string, version: number, reason: string, now: number): Promise<boolean>;
  /** Records use, which moves the next refresh from the keep-alive rhythm to the expiry of the access token. */
  recordUse(userId: string, version: number, lastUsedAt: number, refreshAt: number): Promise<boolean>;
  /** One page of user ids whose refresh is due. From an index: it may lag, so read each before acting on it. */
  due(
    shard: string,
    now: number,
    limit: number,
    cursor?: Cursor,
  ): Promise<{ userIds: string[]; cursor?: Cursor }>;
};

/** Where a page of an index ended. */
export type Cursor = Record<string, unknown>;

// One refresh of one connection, and what each step requires:
//
//   read v7 ──▶ take lease ──────────▶ Google ──▶ save tokens (v8, lease gone)
//               is active                         still v7
//               still v7
//               nobody holds a lease
//
// A callback or a second worker in between moves the version, and the later steps then do nothing.
const stillVersion = 'tokenVersion = :version';
const isActive = '#status = :active';
const leaseIsFree = '(attribute_not_exists(leaseUntil) OR leaseUntil <= :now)';

/** The store on the DynamoDB table `table`. */
export function connectionStore(dynamo: DynamoDBClient, table: string): ConnectionStore {
  const update = (
    userId: string,
    expression: string,
    condition: string,
    values: Record<string, unknown>,
    names: Record<string, string> = {},
  ): Promise<boolean> =>
    conditionally(
      dynamo.send(
        new UpdateItemCommand({
          TableName: table,
          Key: toItem({ userId }),
          UpdateExpression: expression,
          ConditionExpression: condition,
          ExpressionAttributeValues: toItem(values),
          ...(Object.keys(names).length ? { ExpressionAttributeNames: names } : {}),
        }),
      ),
    );

  return {
    async get(userId) {
      const { Item } = await dynamo.send(
        new GetItemCommand({ TableName: table, Key: toItem({ userId }), ConsistentRead: true }),
      );
      return Item && fromItem<Connection>(Item);
    },

    put(connection, expected) {
      return conditionally(
        dynamo.send(
          new PutItemCommand({
            TableName: table,
            Item: toItem(withShard(connection)),
            ...(expected === undefined
              ? { ConditionExpression: 'attribute_not_exists(userId)' }
              : {
                  ConditionExpression: stillVersion,
                  ExpressionAttributeValues: toItem({ ':version': expected }),
                }),
          }),
        ),
      );
    },

    async takeLease(userId, { version, owner, until, now }) {
      let connection: Connection | undefined;
      await conditionally(
        dynamo
          .send(
            new UpdateItemCommand({
              TableName: table,
              Key: toItem({ userId }),
              UpdateExpression: 'SET leaseOwner = :owner, leaseUntil = :until',
              ConditionExpression: `${isActive} AND ${stillVersion} AND ${leaseIsFree}`,
              ExpressionAttributeNames: { '#status': 'status' },
              ExpressionAttributeValues: toItem({
                ':owner': owner,
                ':until': until,
                ':active': 'active',
                ':version': version,
                ':now': now,
              }),
              ReturnValues: 'ALL_NEW',
            }),
          )
          .then(({ Attributes }) => {
            connection = fromItem<Connection>(Attributes ?? {});
          }),
      );
      return connection;
    },

    saveTokens(userId, version, tokens, now) {
      const set = {
        accessToken: tokens.accessToken,
        refreshToken: tokens.refreshToken,
        accessTokenExpiresAt: tokens.accessTokenExpiresAt,
        lastUsedAt: tokens.lastUsedAt,
        refreshAt: tokens.refreshAt,
        refreshShard: shardOf(userId, shardCount),
        refreshFailures: 0,
        tokenVersion: version + 1,
        updatedAt: now,
      };
      const { assignments, values } = assign(set);
      return update(userId, `SET ${assignments} REMOVE leaseOwner, leaseUntil`, stillVersion, {
        ...values,
        ':version': version,
      });
    },

    postponeRefresh(userId, version, refreshAt, failures) {
      return update(
        userId,
        'SET refreshAt = :refreshAt, refreshFailures = :failures REMOVE leaseOwner, leaseUntil',
        stillVersion,
        { ':refreshAt': refreshAt, ':failures': failures, ':version': version },
      );
    },

    requireReauthorization(userId, version, reason, now) {
      return update(
        userId,
        'SET #status = :status, reason = :reason, tokenVersion = :next, updatedAt = :now ' +
          'REMOVE refreshAt, refreshShard, leaseOwner, leaseUntil',
        stillVersion,
        {
          ':status': 'reauthorization_required',
          ':reason': reason,
          ':next': version + 1,
          ':now': now,
          ':version': version,
        },
        { '#status': 'status' },
      );
    },

    recordUse(userId, version, lastUsedAt, refreshAt) {
      return update(userId, 'SET lastUsedAt = :lastUsedAt, refreshAt = :refreshAt', stillVersion, {
        ':lastUsedAt': lastUsedAt,
        ':refreshAt': refreshAt,
        ':version': version,
      });
    },

    async due(shard, now, limit, cursor) {
      const { Items = [], LastEvaluatedKey } = await dynamo.send(
        new QueryCommand({
          TableName: table,
          IndexName: indexes.refreshDue,
          KeyConditionExpression: 'refreshShard = :shard AND refreshAt <= :now',
          ExpressionAttributeValues: toItem({ ':shard': shard, ':now': now }),
          Limit: limit,
          ...(cursor ? { ExclusiveStartKey: toItem(cursor) } : {}),
        }),
      );
      return {
        userIds: Items.map((item) => fromItem<{ userId: string }>(item).userId),
        ...(LastEvaluatedKey ? { cursor: fromItem<Cursor>(LastEvaluatedKey) } : {}),
      };
    },
  };
}

/** The shard goes with `refreshAt`: both or neither, which keeps the index sparse. */
function withShard(connection: Connection): Connection {
  const { refreshShard: _, ...rest } = connection;
  return rest.refreshAt === undefined ? rest : { ...rest, refreshShard: shardOf(rest.userId, shardCount) };
}

/** `a = :a, b = :b` and its values, for the fields that are defined. */
function assign(fields: Record<string, unknown>): { assignments: string; values: Record<string, unknown> } {
  const defined = Object.entries(fields).filter(([, value]) => value !== undefined);
  return {
    assignments: defined.map(([name]) => `${name} = :${name}`).join(', '),
    values: Object.fromEntries(defined.map(([name, value]) => [`:${name}`, value])),
  };
}
