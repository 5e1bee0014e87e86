/**
 * DynamoDB's charge for a call by its documented rules: item bytes and request units of table and indexes.
 * Sources: docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html (items),
 * GSI.html (writes to an index).
 */
import type { AttributeValue } from '@aws-sdk/client-dynamodb';

export type Item = Record<string, AttributeValue>;

/** An index as far as writes cost: its items have all its keys and the projected attributes. */
export type Index = { keys: string[]; projected: string[] };

const kilobyte = 1024;

/** Bytes of an item: names and values, three per list or map, and one per element in it. */
export function itemBytes(item: Item): number {
  return Object.entries(item).reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + valueBytes(value),
    0,
  );
}

function valueBytes({ S, N, BOOL, NULL, L, M, ...others }: AttributeValue): number {
  if (S !== undefined) return Buffer.byteLength(S);
  // Two digits per byte, and one byte for the exponent.
  if (N !== undefined) return Math.ceil(N.replace(/\D/g, '').replace(/^0+|0+$/g, '').length / 2) + 1;
  if (BOOL !== undefined || NULL !== undefined) return 1;
  if (L !== undefined) return L.reduce((sum, value) => sum + 1 + valueBytes(value), 3);
  if (M !== undefined) return 3 + Object.keys(M).length + itemBytes(M);
  throw new Error(`No item of ours has a value like ${JSON.stringify(others)}.`);
}

/** Units of a strongly consistent read of one item. A read of a missing item costs one. */
export function readUnits(item: Item | undefined): number {
  return Math.max(1, Math.ceil(itemBytes(item ?? {}) / (4 * kilobyte)));
}

/** Units of one page of an index, read with eventual consistency. An empty page costs half a unit. */
export function queryUnits(items: Item[]): number {
  const bytes = items.reduce((sum, item) => sum + itemBytes(item), 0);
  return Math.max(1, Math.ceil(bytes / (4 * kilobyte))) / 2;
}

/** Units of a write in the table and its indexes. Either item may be absent. */
export function writeUnits(before: Item | undefined, after: Item | undefined, indexes: Index[]): number {
  return inIndexes(before, after, indexes) + writing(Math.max(bytesOf(before), bytesOf(after)));
}

/** A changed key costs a delete and a put, a changed projected attribute a put, any other change nothing. */
function inIndexes(before: Item | undefined, after: Item | undefined, indexes: Index[]): number {
  return indexes.reduce((sum, index) => {
    const old = entryOf(before, index);
    const current = entryOf(after, index);
    if (same(old, current, index.projected)) return sum;
    if (old && current && same(old, current, index.keys))
      return sum + writing(Math.max(bytesOf(old), bytesOf(current)));
    return sum + (old ? writing(bytesOf(old)) : 0) + (current ? writing(bytesOf(current)) : 0);
  }, 0);
}

/** Bytes of an item in table and indexes; each copy is billed with a hundred bytes more. */
export function storedBytes(item: Item, indexes: Index[]): number {
  const copies = [item, ...indexes.map((index) => entryOf(item, index))].filter((copy) => copy !== undefined);
  return copies.reduce((sum, copy) => sum + itemBytes(copy) + 100, 0);
}

function entryOf(item: Item | undefined, { keys, projected }: Index): Item | undefined {
  if (!item || keys.some((key) => item[key] === undefined)) return undefined;
  return Object.fromEntries(projected.flatMap((name) => (item[name] ? [[name, item[name]]] : [])));
}

function same(one: Item | undefined, other: Item | undefined, names: string[]): boolean {
  return names.every((name) => JSON.stringify(one?.[name]) === JSON.stringify(other?.[name]));
}

function bytesOf(item: Item | undefined): number {
  return item ? itemBytes(item) : 0;
}

function writing(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / kilobyte));
}
