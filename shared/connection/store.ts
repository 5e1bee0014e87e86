import {
  type AttributeValue,
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import {
  type Cursor,
  fromItem,
  type IndexQuery,
  queryIndex,
  shardOf,
  toItem,
  tryConditionalWrite,
  tryUpdate,
  type Update,
} from '../aws/dynamo.ts';
import { indexes } from '../lib/names.ts';
import { requireReadable, schemas } from '../lib/schema.ts';
import type { Connection, GrantedConnection, Revocation } from './connection.ts';

/** New tokens of a connection after a refresh, encrypted with the key `keyId`. */
type RefreshedTokens = Pick<
  GrantedConnection,
  'tokens' | 'accessTokenExpiresAt' | 'lastUsedAt' | 'lastRefreshedAt' | 'usedLinks'
> & { keyId: string; refreshAt: number; revocation?: Revocation };

/** The same tokens, encrypted with another key. */
export type ReencryptedTokens = {
  keyId: string;
  tokens?: string;
  revocation?: Revocation;
};

/** The exclusive right to refresh, from `now` until `until`. */
export type Lease = { until: number; now: number };

/** A connection and the lease that its reader holds on it. */
type LeasedConnection = Pick<Connection, 'userId' | 'tokenVersion' | 'leaseUntil'>;

/**
 * The table of connections. Every write is fenced by the token version that was read, and answers whether it took
 * place: a stale writer changes nothing and reads again.
 */
export type ConnectionStore = {
  get(userId: string): Promise<Connection | undefined>;
  /** Replaces the connection that was read, or creates the first one. */
  put(
    connection: Connection,
    read: Pick<Connection, 'tokenVersion' | 'choices'> | undefined,
  ): Promise<boolean>;
  /** Counts an attempt to connect with a link; the count expires at `expiresAt`. False beyond `limit` attempts. */
  countAttempt(link: string, limit: number, expiresAt: number): Promise<boolean>;
  /** Takes the lease on an active connection of this version, and answers the connection. */
  acquireLease(userId: string, version: number, lease: Lease): Promise<GrantedConnection | undefined>;
  /** Takes the lease on a connection with a due refresh or revocation, and answers the connection. */
  acquireLeaseIfDue(userId: string, lease: Lease): Promise<Connection | undefined>;
  /** Saves new tokens and releases the lease. */
  saveTokens(userId: string, version: number, tokens: RefreshedTokens): Promise<boolean>;
  /** Releases the lease that was read, if any, and schedules a retry at `refreshAt`. */
  releaseLeaseForRetry(read: LeasedConnection, refreshAt: number, failures: number): Promise<boolean>;
  /** Records that the user must consent again. */
  markReauthorizationRequired(userId: string, version: number, reason: string, now: number): Promise<boolean>;
  /** Removes a completed revocation. A disconnected connection is then due once more at `deleteAt`, for `deleteRetained`. */
  completeRevocation(userId: string, version: number, deleteAt?: number): Promise<boolean>;
  /** Removes the expired fields of a disconnected connection, and releases the lease. */
  deleteRetained(read: LeasedConnection): Promise<boolean>;
  /** Records use, and the next refresh: a connection in use is refreshed before its access token expires. */
  recordUse(userId: string, version: number, lastUsedAt: number, refreshAt: number): Promise<boolean>;
  /** Saves the settings of an active connection. */
  updateSettings(userId: string, read: ExpectedVersions, choice: ConnectionSettings): Promise<boolean>;
  /** Records the time zone of a calendar, while that is the chosen one. */
  saveTimeZone(
    userId: string,
    version: number,
    known: { calendarId: string; timeZone: string },
  ): Promise<boolean>;
  /** Records that Google limits the rate of calls to this calendar, unless a pause is recorded. */
  pauseCalendar(userId: string, until: number, now: number): Promise<boolean>;
  /** Replaces tokens by the same ones, encrypted with another key. */
  replaceCiphertext(userId: string, version: number, tokens: ReencryptedTokens): Promise<boolean>;
  /** One page of users whose connection has a due refresh or revocation. From an index: it may lag. */
  listDue(shard: string, now: number, limit: number, cursor?: Cursor): Promise<UserPage>;
  /** One page of users whose tokens are encrypted with a key. From an index: it may lag. */
  listByKeyId(keyId: string, limit: number, cursor?: Cursor): Promise<UserPage>;
  /** Other users with an active connection to this Google account, at most 50. From an index: it may lag. */
  listOtherUsers(googleSub: string, userId: string): Promise<string[]>;
};

/** The settings of a connection that its user may change. */
type ConnectionSettings = Pick<GrantedConnection, 'calendarId' | 'formerCalendars' | 'updatedAt'> & {
  /** The zone of that calendar; removed where it is unknown. */
  timeZone?: string | undefined;
};

/** What must be unchanged since a connection was read: tokens and status, and the user's settings. */
type ExpectedVersions = Pick<Connection, 'tokenVersion' | 'choices'>;

type UserPage = { userIds: string[]; cursor?: Cursor };

// One refresh of one connection, and what each step requires:
//
//   read v7 ──▶ take lease ──────────▶ Google ──▶ save tokens (v8, lease gone)
//               is active                         still v7
//               still v7
//               lease is free
//
// A callback or a second worker in between raises the version; the later steps then do nothing.
// A sweep needs no read: it takes the lease where a refresh is due, and gets the connection with it.
const versionUnchanged = 'tokenVersion = :version';
const settingsUnchanged = ({ choices }: ExpectedVersions): string =>
  choices === undefined ? 'attribute_not_exists(choices)' : 'choices = :seen';
const isActive = '#status = :active';
const isDue = 'refreshAt <= :now';
const leaseIsFree = '(attribute_not_exists(leaseUntil) OR leaseUntil <= :now)';
const leaseAttribute = 'leaseUntil';
const schemaVersion = schemas.connection.writes;

/** The store on the DynamoDB table `table`, whose due index has `shardCount` shards. */
export function connectionStore(dynamo: DynamoDBClient, table: string, shardCount: number): ConnectionStore {
  const update = async (userId: string, change: Update): Promise<Connection | undefined> => {
    const item = await tryUpdate(dynamo, { table, key: { userId }, ...change });
    return item && readable(item as Connection);
  };

  /** Changes a connection that was read. A lease needs no read, so it leaves the version as it is. */
  const changed = async (userId: string, change: Update): Promise<boolean> =>
    (await update(userId, { ...change, set: { ...change.set, schemaVersion } })) !== undefined;

  async function userPage(query: Omit<IndexQuery, 'table'>): Promise<UserPage> {
    const { items, ...rest } = await queryIndex<{ userId: string }>(dynamo, { table, ...query });
    return { userIds: items.map(({ userId }) => userId), ...rest };
  }

  return {
    async get(userId) {
      const { Item } = await dynamo.send(
        new GetItemCommand({ TableName: table, Key: toItem({ userId }), ConsistentRead: true }),
      );
      return Item && toConnection(Item);
    },

    put(connection, read) {
      // Shard and `refreshAt` are stored together or not at all, which keeps the index sparse.
      const refreshShard =
        connection.refreshAt === undefined ? undefined : shardOf(connection.userId, shardCount);
      return tryConditionalWrite(
        dynamo.send(
          new PutItemCommand({
            TableName: table,
            Item: toItem({ ...connection, schemaVersion, choices: read?.choices, refreshShard }),
            ...(read === undefined
              ? { ConditionExpression: 'attribute_not_exists(userId)' }
              : {
                  ConditionExpression: `${versionUnchanged} AND ${settingsUnchanged(read)}`,
                  ExpressionAttributeValues: toItem({
                    ':version': read.tokenVersion,
                    ':seen': read.choices,
                  }),
                }),
          }),
        ),
      );
    },

    countAttempt(link, limit, expiresAt) {
      return tryConditionalWrite(
        dynamo.send(
          new UpdateItemCommand({
            TableName: table,
            // No user id has a `#`.
            Key: toItem({ userId: `link#${link}` }),
            UpdateExpression: 'SET expiresAt = :expiresAt, schemaVersion = :schema ADD attempts :one',
            ConditionExpression: 'attribute_not_exists(attempts) OR attempts < :most',
            ExpressionAttributeValues: toItem({
              ':expiresAt': expiresAt,
              ':schema': schemas['link attempts'].writes,
              ':one': 1,
              ':most': limit,
            }),
          }),
        ),
      );
    },

    async acquireLease(userId, version, { until, now }) {
      const leased = await update(userId, {
        set: { leaseUntil: until },
        condition: `${isActive} AND ${versionUnchanged} AND ${leaseIsFree}`,
        values: { ':active': 'active', ':version': version, ':now': now },
      });
      return leased as GrantedConnection | undefined;
    },

    acquireLeaseIfDue(userId, { until, now }) {
      return update(userId, {
        set: { leaseUntil: until },
        condition: `${isDue} AND ${leaseIsFree}`,
        values: { ':now': now },
      });
    },

    saveTokens(userId, version, tokens) {
      return changed(userId, {
        set: {
          ...tokens,
          refreshShard: shardOf(userId, shardCount),
          refreshFailures: 0,
          tokenVersion: version + 1,
          updatedAt: tokens.lastRefreshedAt,
        },
        remove: [leaseAttribute],
        condition: versionUnchanged,
        values: { ':version': version },
      });
    },

    releaseLeaseForRetry({ userId, tokenVersion, leaseUntil }, refreshAt, failures) {
      // The SDK may send this twice: without the condition it would end the lease of the next worker.
      const stillLeased =
        leaseUntil === undefined ? 'attribute_not_exists(leaseUntil)' : 'leaseUntil = :lease';
      return changed(userId, {
        set: { refreshAt, refreshFailures: failures },
        remove: [leaseAttribute],
        condition: `${versionUnchanged} AND ${stillLeased}`,
        values: { ':version': tokenVersion, ':lease': leaseUntil },
      });
    },

    markReauthorizationRequired(userId, version, reason, now) {
      return changed(userId, {
        set: { status: 'reauthorization_required', reason, tokenVersion: version + 1, updatedAt: now },
        remove: ['refreshAt', 'refreshShard', leaseAttribute],
        condition: versionUnchanged,
        values: { ':version': version },
      });
    },

    completeRevocation(userId, version, deleteAt) {
      return changed(userId, {
        set: { refreshAt: deleteAt },
        remove: deleteAt === undefined ? ['revocation'] : ['revocation', 'keyId', leaseAttribute],
        condition: versionUnchanged,
        values: { ':version': version },
      });
    },

    deleteRetained({ userId, tokenVersion }) {
      return changed(userId, {
        set: { usedLinks: [] },
        remove: ['formerCalendars', 'hashedCalendars', 'refreshAt', 'refreshShard', leaseAttribute],
        condition: versionUnchanged,
        values: { ':version': tokenVersion },
      });
    },

    recordUse(userId, version, lastUsedAt, refreshAt) {
      return changed(userId, {
        set: { lastUsedAt, refreshAt },
        condition: versionUnchanged,
        values: { ':version': version },
      });
    },

    updateSettings(userId, read, choice) {
      const { tokenVersion, choices } = read;
      return changed(userId, {
        set: { ...choice, choices: (choices ?? 0) + 1 },
        // The zone of the calendar before would be wrong.
        remove: choice.timeZone === undefined ? ['timeZone'] : [],
        condition: `${isActive} AND ${versionUnchanged} AND ${settingsUnchanged(read)}`,
        values: { ':active': 'active', ':version': tokenVersion, ':seen': choices },
      });
    },

    saveTimeZone(userId, version, { calendarId, timeZone }) {
      return changed(userId, {
        set: { timeZone },
        condition: `${versionUnchanged} AND calendarId = :calendarId`,
        values: { ':version': version, ':calendarId': calendarId },
      });
    },

    pauseCalendar(userId, until, now) {
      const isOver = '(attribute_not_exists(calendarPausedUntil) OR calendarPausedUntil <= :now)';
      return changed(userId, {
        set: { calendarPausedUntil: until },
        condition: `${isActive} AND ${isOver}`,
        values: { ':active': 'active', ':now': now },
      });
    },

    replaceCiphertext(userId, version, tokens) {
      return changed(userId, {
        set: tokens,
        condition: versionUnchanged,
        values: { ':version': version },
      });
    },

    listDue(shard, now, limit, cursor) {
      const condition = 'refreshShard = :shard AND refreshAt <= :now';
      return userPage({
        index: indexes.refreshDue,
        condition,
        values: { ':shard': shard, ':now': now },
        limit,
        cursor,
      });
    },

    listByKeyId(keyId, limit, cursor) {
      const condition = 'keyId = :keyId';
      return userPage({ index: indexes.tokenKey, condition, values: { ':keyId': keyId }, limit, cursor });
    },

    async listOtherUsers(googleSub, userId) {
      const { items } = await queryIndex<Pick<Connection, 'userId' | 'status'>>(dynamo, {
        table,
        index: indexes.googleAccount,
        condition: 'googleSub = :sub',
        values: { ':sub': googleSub },
        limit: 50,
        cursor: undefined,
      });
      return items
        .filter((other) => other.userId !== userId && other.status === 'active')
        .map((other) => other.userId);
    },
  };
}

/** The connection of an item. */
export function toConnection(item: Record<string, AttributeValue>): Connection {
  return readable(fromItem<Connection>(item));
}

function readable(connection: Connection): Connection {
  requireReadable('connection', connection.schemaVersion);
  return connection;
}
