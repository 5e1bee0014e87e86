import {
  type AttributeValue,
  ConditionalCheckFailedException,
  DynamoDBClient,
  PutItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { marshall, unmarshall } from '@aws-sdk/util-dynamodb';
import { indexes } from '../lib/names.ts';
import { omitUndefined } from '../lib/omit-undefined.ts';

export type Item = Record<string, unknown>;

/** The DynamoDB client of a function. */
export function dynamoClient(): DynamoDBClient {
  return new DynamoDBClient();
}

/** To DynamoDB's own form, without undefined fields, which keeps sparse indexes sparse. */
export function toItem(value: Item): Record<string, AttributeValue> {
  // Ids from outside are keys of maps, and one may be `constructor`: without this option it could not be stored.
  return marshall(value, { removeUndefinedValues: true, convertClassInstanceToMap: true }) as Record<
    string,
    AttributeValue
  >;
}

export function fromItem<T>(item: Record<string, AttributeValue>): T {
  return unmarshall(item) as T;
}

/** Position after a page of an index. */
export type Cursor = Record<string, unknown>;

/** A query of an index: `condition` on its keys, with `values` for its placeholders. */
export type IndexQuery = {
  table: string;
  index: string;
  condition: string;
  values: Item;
  limit: number;
  cursor: Cursor | undefined;
  /** By the sort key, descending. */
  latestFirst?: boolean;
};

/** Reads one page of an index. It may lag behind the table. */
export async function queryIndex<T>(
  dynamo: DynamoDBClient,
  { table, index, condition, values, limit, cursor, latestFirst = false }: IndexQuery,
): Promise<{ items: T[]; cursor?: Cursor }> {
  const { Items = [], LastEvaluatedKey } = await dynamo.send(
    new QueryCommand({
      TableName: table,
      IndexName: index,
      KeyConditionExpression: condition,
      ExpressionAttributeValues: toItem(values),
      Limit: limit,
      ...(latestFirst ? { ScanIndexForward: false } : {}),
      ExclusiveStartKey: cursor && toItem(cursor),
    }),
  );
  return omitUndefined({
    items: Items.map((item) => fromItem<T>(item)),
    cursor: LastEvaluatedKey && fromItem<Cursor>(LastEvaluatedKey),
  });
}

/**
 * Ids of the items that the attention index lists under each of `keys`, a page at a time. It may lag behind the table.
 * @param options `until`: those listed before this epoch second
 */
export async function* attentionPages(
  dynamo: DynamoDBClient,
  table: string,
  keys: string[],
  { until, limit = 100 }: { until?: number; limit?: number } = {},
): AsyncGenerator<string[]> {
  for (const attention of keys) {
    let cursor: Cursor | undefined;
    do {
      const page = await queryIndex<{ id: string }>(dynamo, {
        table,
        index: indexes.attention,
        condition: `attention = :attention${until === undefined ? '' : ' AND attentionAt <= :until'}`,
        values: { ':attention': attention, ':until': until },
        limit,
        cursor,
      });
      yield page.items.map(({ id }) => id);
      cursor = page.cursor;
    } while (cursor);
  }
}

/** Whether the conditional write took place. Any failure but a condition that did not hold is thrown. */
export async function tryConditionalWrite(write: Promise<unknown>): Promise<boolean> {
  try {
    await write;
    return true;
  } catch (error) {
    if (error instanceof ConditionalCheckFailedException) return false;
    throw error;
  }
}

/**
 * Writes an item over the version that was read (0: there was none), and counts its version up. False where it has
 * changed since.
 */
export function putVersioned(
  dynamo: DynamoDBClient,
  table: string,
  item: Item & { version: number },
): Promise<boolean> {
  const { version } = item;
  const condition =
    version === 0
      ? { ConditionExpression: 'attribute_not_exists(id)' }
      : {
          ConditionExpression: '#version = :version',
          ExpressionAttributeNames: { '#version': 'version' },
          ExpressionAttributeValues: toItem({ ':version': version }),
        };
  return tryConditionalWrite(
    dynamo.send(
      new PutItemCommand({ TableName: table, Item: toItem({ ...item, version: version + 1 }), ...condition }),
    ),
  );
}

/** A conditional update. A condition may use `#status`: that name is reserved. */
export type Update = {
  set?: Item;
  remove?: string[];
  condition: string;
  /** Values of the placeholders in the condition. */
  values?: Item;
};

/** Updates an item and answers it as it is then; undefined where the condition did not hold. Skips undefined fields. */
export async function tryUpdate(
  dynamo: DynamoDBClient,
  { table, key, set = {}, remove = [], condition, values = {} }: Update & { table: string; key: Item },
): Promise<Item | undefined> {
  const fields = Object.entries(set).filter(([, value]) => value !== undefined);
  // Names go in with a `#`, since many good ones are reserved words of DynamoDB.
  const names = [...fields.map(([name]) => name), ...remove];
  if (condition.includes('#status')) names.push('status');
  const expression = [
    fields.length > 0 && `SET ${fields.map(([name]) => `#${name} = :${name}`).join(', ')}`,
    remove.length > 0 && `REMOVE ${remove.map((name) => `#${name}`).join(', ')}`,
  ];
  try {
    const { Attributes = {} } = await dynamo.send(
      new UpdateItemCommand({
        TableName: table,
        Key: toItem(key),
        UpdateExpression: expression.filter(Boolean).join(' '),
        ConditionExpression: condition,
        ExpressionAttributeNames: Object.fromEntries(names.map((name) => [`#${name}`, name])),
        ExpressionAttributeValues: toItem({
          ...Object.fromEntries(fields.map(([name, value]) => [`:${name}`, value])),
          ...values,
        }),
        ReturnValues: 'ALL_NEW',
      }),
    );
    return fromItem<Item>(Attributes);
  } catch (error) {
    if (error instanceof ConditionalCheckFailedException) return undefined;
    throw error;
  }
}

/** The shard of an id in a due index, which spreads the writes over `count` partitions. */
export function shardOf(id: string, count: number): string {
  let hash = 0;
  for (let index = 0; index < id.length; index++) hash = (hash * 31 + id.charCodeAt(index)) >>> 0;
  return String(hash % count);
}

/** All shards of a due index. */
export function shards(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}
