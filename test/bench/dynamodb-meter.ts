/**
 * A metering proxy in front of dynalite, which records every call and the items it reads and writes. Real engine,
 * real HTTP.
 */
import { createServer, type IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { type CreateTableCommandInput, GetItemCommand, ScanCommand } from '@aws-sdk/client-dynamodb';
import { dynamoDbClient, startDynamoDb } from '../../infra/local/aws/dynamodb.ts';
import { closeServer, listen } from '../../infra/local/ports.ts';
import { type Index, type Item, itemBytes, queryUnits, readUnits, writeUnits } from './capacity.ts';

/** Items read (including those that an index returns) and written, their bytes and billed units. */
export type ItemUsage = {
  read: number;
  readBytes: number;
  readUnits: number;
  written: number;
  writtenBytes: number;
  writeUnits: number;
};

export type DynamoDbMeter = {
  endpoint: string;
  usage(): ItemUsage;
  clear(): void;
  /** All items of a table, and its indexes. */
  contents(table: string): Promise<{ items: Item[]; indexes: Index[] }>;
  close(): Promise<void>;
};

type Answer = {
  Item?: Item;
  Items?: Item[];
  Responses?: Record<string, Item[]>;
  Attributes?: Item;
};
type Call = {
  operation: string;
  input: {
    TableName?: string;
    Key?: Item;
    Item?: Item;
    RequestItems?: Record<string, { Keys: Item[] }>;
  };
  answer: Answer;
  before: Item | undefined;
};
type Table = { key: string[]; indexes: Index[] };

export const nothing: ItemUsage = {
  read: 0,
  readBytes: 0,
  readUnits: 0,
  written: 0,
  writtenBytes: 0,
  writeUnits: 0,
};

export async function startDynamoDbMeter(): Promise<DynamoDbMeter> {
  const engine = await startDynamoDb('dynalite');
  const client = dynamoDbClient(engine.endpoint);
  const tables = new Map<string, Table>();
  let usage = nothing;

  const server = createServer(async (request, response) => {
    const body = await buffer(request);
    const operation = String(request.headers['x-amz-target']).split('.')[1] ?? '';
    const input = JSON.parse(body.toString('utf8')) as Call['input'];
    const before = await itemBefore(operation, input);
    const answered = await fetch(engine.endpoint, { method: 'POST', headers: passedOn(request), body });
    const text = await answered.text();
    if (operation === 'CreateTable') note(input as CreateTableCommandInput);
    // A write with a failed condition is billed by the existing item; conditions in measured scenarios hold.
    if (answered.ok) {
      const used = usageOf({ operation, input, answer: JSON.parse(text) as Answer, before });
      usage = plus(usage, used);
    }
    response.writeHead(answered.status, {
      'content-type': answered.headers.get('content-type') ?? '',
      'x-amz-crc32': answered.headers.get('x-amz-crc32') ?? '',
    });
    response.end(text);
  });

  const itemBefore = async (operation: string, { TableName, Key, Item }: Call['input']) => {
    if (operation !== 'PutItem' && operation !== 'UpdateItem') return undefined;
    const { key } = tables.get(TableName as string) as Table;
    const whole = Key ?? Item ?? {};
    const Keys = Object.fromEntries(key.map((name) => [name, whole[name]])) as Item;
    return (await client.send(new GetItemCommand({ TableName, Key: Keys, ConsistentRead: true }))).Item;
  };

  const note = ({ TableName, KeySchema, GlobalSecondaryIndexes }: CreateTableCommandInput) => {
    const namesOf = (schema: CreateTableCommandInput['KeySchema']) =>
      (schema ?? []).map(({ AttributeName }) => AttributeName as string);
    const key = namesOf(KeySchema);
    const indexes = (GlobalSecondaryIndexes ?? []).map(({ KeySchema, Projection }) => {
      const keys = namesOf(KeySchema);
      return { keys, projected: [...new Set([...key, ...keys, ...(Projection?.NonKeyAttributes ?? [])])] };
    });
    tables.set(TableName as string, { key, indexes });
  };

  const usageOf = ({ operation, input, answer, before }: Call): ItemUsage => {
    switch (operation) {
      case 'GetItem':
        return reading(answer.Item ? [answer.Item] : [], readUnits(answer.Item));
      case 'BatchGetItem': {
        const asked = Object.values(input.RequestItems ?? {}).flatMap(({ Keys }) => Keys).length;
        const items = Object.values(answer.Responses ?? {}).flat();
        const units = items.reduce((sum, item) => sum + readUnits(item), asked - items.length);
        return reading(items, units);
      }
      case 'Query':
        return reading(answer.Items ?? [], queryUnits(answer.Items ?? []));
      case 'PutItem':
      case 'UpdateItem': {
        const { indexes } = tables.get(input.TableName as string) as Table;
        const after = input.Item ?? answer.Attributes ?? {};
        return {
          ...nothing,
          written: 1,
          writtenBytes: itemBytes(after),
          writeUnits: writeUnits(before, after, indexes),
        };
      }
      default:
        return nothing;
    }
  };

  const port = await listen(server, 0);
  return {
    endpoint: `http://127.0.0.1:${port}`,
    usage: () => usage,
    clear: () => {
      usage = nothing;
    },
    async contents(table) {
      const { Items = [] } = await client.send(new ScanCommand({ TableName: table, ConsistentRead: true }));
      return { items: Items, indexes: tables.get(table)?.indexes ?? [] };
    },
    async close() {
      await closeServer(server);
      client.destroy();
      await engine.close();
    },
  };
}

function reading(items: Item[], units: number): ItemUsage {
  const bytes = items.reduce((sum, item) => sum + itemBytes(item), 0);
  return { ...nothing, read: items.length, readBytes: bytes, readUnits: units };
}

function plus(one: ItemUsage, other: ItemUsage): ItemUsage {
  const names = Object.keys(nothing) as (keyof ItemUsage)[];
  return Object.fromEntries(names.map((name) => [name, one[name] + other[name]])) as ItemUsage;
}

/** The parameters that the engine reads; the rest is built again. */
function passedOn({ headers }: IncomingMessage): Record<string, string> {
  const names = ['content-type', 'x-amz-target', 'authorization', 'x-amz-date'];
  return Object.fromEntries(names.map((name) => [name, String(headers[name] ?? '')]));
}
