import {
  type AttributeValue,
  BatchGetItemCommand,
  ConditionalCheckFailedException,
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { indexes } from '../../shared/lib/names.ts';

/** DynamoDB in memory, as far as the stores use it: what it does is held against dynalite and DynamoDB Local by the same tests. */

type Item = Record<string, AttributeValue>;
type Index = { partition: string; sort: string; include: string[] };
export type TableShape = { key: string; indexes: Record<string, Index> };

const index = (partition: string, sort: string, include: string[] = []): Index => ({
  partition,
  sort,
  include,
});

/** The two tables as the template declares them: a test compares. */
export const tableShapes: Record<'bookings' | 'connections', TableShape> = {
  connections: {
    key: 'userId',
    indexes: {
      [indexes.refreshDue]: index('refreshShard', 'refreshAt'),
      [indexes.tokenKey]: index('keyId', 'userId'),
      [indexes.googleAccount]: index('googleSub', 'userId', ['status']),
      [indexes.email]: index('email', 'userId'),
    },
  },
  bookings: {
    key: 'id',
    indexes: {
      [indexes.syncDue]: index('syncShard', 'syncDueAt', ['userId']),
      [indexes.waiting]: index('waitingUserId', 'id'),
      [indexes.userBookings]: index('userId', 'startsAt'),
      [indexes.attention]: index('attention', 'attentionAt'),
    },
  },
};

/** A version of an item, and the one before: an index may still show that. */
type Row = { item: Item; before: Item | undefined };

/** Which version of a row an index shows at this moment. */
export type Lag = () => 'now' | 'before';
/** Called for each item that is written, with the item before. */
export type Written = (table: string, item: Item, before: Item | undefined) => void;

export type SimulatedDynamo = {
  /** Carries out a command at once. Throws what DynamoDB would. */
  execute(command: object, lag?: Lag): unknown;
  items(table: string): Item[];
};

export function simulatedDynamo(
  tables: Record<string, TableShape>,
  written: Written = () => {},
): SimulatedDynamo {
  const rows = new Map<string, Map<string, Row>>(Object.keys(tables).map((name) => [name, new Map()]));

  const tableOf = (name: string | undefined): { shape: TableShape; rows: Map<string, Row>; name: string } => {
    const shape = tables[name ?? ''];
    if (!shape) throw failure('ResourceNotFoundException', `There is no table ${name}.`);
    return { shape, rows: rows.get(name as string) as Map<string, Row>, name: name as string };
  };

  function write(name: string | undefined, item: Item): void {
    const table = tableOf(name);
    checkKeys(table.shape, item);
    const id = keyOf(table.shape, item);
    const before = table.rows.get(id)?.item;
    table.rows.set(id, { item, before });
    written(table.name, item, before);
  }

  function batchGet({ RequestItems = {} }: BatchGetItemCommand['input']): unknown {
    const found = Object.entries(RequestItems).map(([name, { Keys = [] }]) => {
      const { shape, rows } = tableOf(name);
      const ids = Keys.map((key) => keyOf(shape, key));
      if (ids.length === 0 || new Set(ids).size < ids.length) {
        throw failure('ValidationException', 'Keys must be given, and each once.');
      }
      return [name, ids.map((id) => rows.get(id)?.item).filter((item) => item !== undefined)];
    });
    return { Responses: Object.fromEntries(found), UnprocessedKeys: {} };
  }

  return {
    execute(command, lag = () => 'now') {
      if (command instanceof GetItemCommand) {
        const { shape, rows } = tableOf(command.input.TableName);
        const Item = rows.get(keyOf(shape, command.input.Key ?? {}))?.item;
        return Item ? { Item } : {};
      }
      if (command instanceof BatchGetItemCommand) return batchGet(command.input);
      if (command instanceof PutItemCommand) {
        const { TableName, Item = {}, ConditionExpression: condition } = command.input;
        const { shape, rows } = tableOf(TableName);
        check(command.input, rows.get(keyOf(shape, Item))?.item, [condition]);
        write(TableName, Item);
        return {};
      }
      if (command instanceof UpdateItemCommand) {
        const { TableName, Key = {}, ConditionExpression, UpdateExpression = '' } = command.input;
        const { shape, rows } = tableOf(TableName);
        const before = rows.get(keyOf(shape, Key))?.item;
        check(command.input, before, [ConditionExpression, UpdateExpression]);
        const Attributes = updated({ ...(before ?? Key) }, UpdateExpression, command.input);
        write(TableName, Attributes);
        return { Attributes };
      }
      if (command instanceof QueryCommand) return query(tableOf(command.input.TableName), command.input, lag);
      throw new Error(`The simulated DynamoDB does not know ${command.constructor.name}.`);
    },
    items: (name) => [...tableOf(name).rows.values()].map(({ item }) => item),
  };
}

/** A client that carries out commands through `send`: the stores need no more of it. */
export function dynamoClientOf(send: (command: object) => Promise<unknown>): DynamoDBClient {
  return { send } as unknown as DynamoDBClient;
}

function failure(name: string, message: string): Error {
  return Object.assign(new Error(message), { name });
}

function keyOf({ key }: TableShape, item: Item): string {
  const id = item[key]?.S;
  if (!id) throw failure('ValidationException', `The key ${key} is missing or empty.`);
  return id;
}

/** Keys of indexes are text or, where they are instants, numbers, and never empty. */
function checkKeys({ indexes }: TableShape, item: Item): void {
  for (const { partition, sort } of Object.values(indexes)) {
    for (const name of [partition, sort]) {
      const value = item[name];
      const wanted = /At$/.test(name) ? value?.N : value?.S;
      if (value !== undefined && !wanted)
        throw failure('ValidationException', `${name} cannot be a key: ${JSON.stringify(value)}.`);
    }
  }
}

type Names = {
  ExpressionAttributeNames?: Record<string, string> | undefined;
  ExpressionAttributeValues?: Item | undefined;
};

/** Throws where a condition does not hold, or a placeholder is not used. */
function check(input: Names, item: Item | undefined, expressions: (string | undefined)[]): void {
  const used = new Set(expressions.join(' ').match(/[#:]\w+/g));
  const given = [
    ...Object.keys(input.ExpressionAttributeNames ?? {}),
    ...Object.keys(input.ExpressionAttributeValues ?? {}),
  ];
  for (const name of given) if (!used.has(name)) throw failure('ValidationException', `${name} is not used.`);
  for (const name of used)
    if (!given.includes(name)) throw failure('ValidationException', `${name} is not given.`);
  const [condition] = expressions;
  if (condition !== undefined && !parsed(condition)(item ?? {}, input)) {
    throw new ConditionalCheckFailedException({ message: 'The conditional request failed', $metadata: {} });
  }
}

function updated(item: Item, expression: string, names: Names): Item {
  const [, assignments, additions, removals] =
    /^(?:SET (.*?))?\s*(?:ADD (.*?))?\s*(?:REMOVE (.*))?$/.exec(expression) ?? [];
  for (const assignment of assignments?.split(',') ?? []) {
    const [name = '', value = ''] = assignment.split('=').map((part) => part.trim());
    item[attribute(name, names)] = names.ExpressionAttributeValues?.[value] as AttributeValue;
  }
  for (const addition of additions?.split(',') ?? []) {
    const [name = '', value = ''] = addition.trim().split(' ');
    const amount = Number(names.ExpressionAttributeValues?.[value]?.N);
    item[attribute(name, names)] = { N: String(Number(item[attribute(name, names)]?.N ?? 0) + amount) };
  }
  for (const name of removals?.split(',') ?? []) delete item[attribute(name.trim(), names)];
  return item;
}

const attribute = (name: string, { ExpressionAttributeNames = {} }: Names): string =>
  name.startsWith('#') ? (ExpressionAttributeNames[name] as string) : name;

type Condition = (item: Item, names: Names) => boolean;

const conditions = new Map<string, Condition>();

function parsed(text: string): Condition {
  const known = conditions.get(text);
  if (known) return known;
  const tokens = text.match(/[#:]?\w+|<=|>=|<>|[=<>()]/g) ?? [];
  const condition = parseOr(tokens);
  if (tokens.length > 0) throw failure('ValidationException', `Cannot read the condition ${text}.`);
  conditions.set(text, condition);
  return condition;
}

function parseOr(tokens: string[]): Condition {
  let left = parseAnd(tokens);
  while (tokens[0] === 'OR') {
    tokens.shift();
    const [one, other] = [left, parseAnd(tokens)];
    left = (item, names) => one(item, names) || other(item, names);
  }
  return left;
}

function parseAnd(tokens: string[]): Condition {
  let left = parseTerm(tokens);
  while (tokens[0] === 'AND') {
    tokens.shift();
    const [one, other] = [left, parseTerm(tokens)];
    left = (item, names) => one(item, names) && other(item, names);
  }
  return left;
}

function parseTerm(tokens: string[]): Condition {
  const first = tokens.shift() ?? '';
  if (first === '(') {
    const inner = parseOr(tokens);
    tokens.shift();
    return inner;
  }
  if (first === 'attribute_not_exists') {
    const [, name = ''] = tokens.splice(0, 3);
    return (item, names) => item[attribute(name, names)] === undefined;
  }
  const operator = tokens.shift() ?? '';
  if (operator === 'BETWEEN') {
    const [low = '', , high = ''] = tokens.splice(0, 3);
    return (item, names) => {
      const order = (value: string) =>
        compare(item[attribute(first, names)], names.ExpressionAttributeValues?.[value]);
      return (order(low) ?? -1) >= 0 && (order(high) ?? 1) <= 0;
    };
  }
  const value = tokens.shift() ?? '';
  return (item, names) => {
    const order = compare(item[attribute(first, names)], names.ExpressionAttributeValues?.[value]);
    if (order === undefined) return false;
    switch (operator) {
      case '=':
        return order === 0;
      case '<':
        return order < 0;
      case '<=':
        return order <= 0;
      default:
        return order >= 0;
    }
  };
}

/** Below, equal or above 0; undefined where they cannot be compared. */
function compare(one: AttributeValue | undefined, other: AttributeValue | undefined): number | undefined {
  if (one?.N !== undefined && other?.N !== undefined) return Number(one.N) - Number(other.N);
  if (one?.S !== undefined && other?.S !== undefined)
    return Buffer.compare(Buffer.from(one.S), Buffer.from(other.S));
  return undefined;
}

function query(
  table: { shape: TableShape; rows: Map<string, Row>; name: string },
  {
    IndexName,
    KeyConditionExpression = '',
    Limit = Number.POSITIVE_INFINITY,
    ExclusiveStartKey,
    ...names
  }: QueryCommand['input'],
  lag: Lag,
): { Items: Item[]; LastEvaluatedKey?: Item } {
  const { shape, rows } = table;
  const index = shape.indexes[IndexName ?? ''];
  if (!index) throw failure('ValidationException', `There is no index ${IndexName}.`);
  const condition = parsed(KeyConditionExpression);
  const order = (one: Item, other: Item): number =>
    compare(one[index.sort], other[index.sort]) || (compare(one[shape.key], other[shape.key]) as number);
  const found = [...rows.values()]
    .map(({ item, before }) => (lag() === 'before' ? before : item))
    .filter((item) => item !== undefined)
    .filter((item) => item[index.partition] && item[index.sort] && condition(item, names))
    .sort(order)
    .filter((item) => !ExclusiveStartKey || order(item, ExclusiveStartKey) > 0);
  const pick = (item: Item, fields: string[]): Item =>
    Object.fromEntries(Object.entries(item).filter(([name]) => fields.includes(name)));
  const keys = [shape.key, index.partition, index.sort];
  const page = found.slice(0, Limit);
  const last = page.length === Limit ? page.at(-1) : undefined;
  return {
    Items: page.map((item) => pick(item, [...keys, ...index.include])),
    ...(last ? { LastEvaluatedKey: pick(last, keys) } : {}),
  };
}
