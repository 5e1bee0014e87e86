import { type AttributeValue, type DynamoDBClient, GetItemCommand } from '@aws-sdk/client-dynamodb';
import { attentionPages, fromItem, putVersioned, shardOf, shards, toItem } from '../aws/dynamo.ts';
import { requireReadable, schemas } from '../lib/schema.ts';

/** The connected accounts of Stripe that may pay for the bookings of a user: one item for each user, in the table of bookings. */
export type PaymentAccounts = {
  schemaVersion?: number;
  userId: string;
  /** When each account was bound (RFC 3339), by its id. */
  accounts: Record<string, string>;
  version: number;
};

export type PaymentAccountStore = {
  get(userId: string): Promise<PaymentAccounts>;
  /** Stores the accounts over the version that was read; false where they have changed since. */
  save(accounts: PaymentAccounts): Promise<boolean>;
  /**
   * The ids of all bound accounts, those of some users at a time: one that several users have comes several times. Begins
   * at the shard number `firstShard`. From an index: it may lag.
   */
  all(firstShard?: number): AsyncGenerator<string[]>;
};

/** Accounts of one user at most. */
export const maxAccounts = 100;

const prefix = 'payment-accounts#';
export const paymentAccountsKey = (userId: string): string => `${prefix}${userId}`;

export function accountIdsOf({ accounts }: PaymentAccounts): string[] {
  return Object.keys(accounts);
}

/** The payment accounts of an item. */
export function toPaymentAccounts(item: Record<string, AttributeValue>): PaymentAccounts {
  type Stored = PaymentAccounts & { id: string; attention: string; attentionAt: number };
  const { id: _, attention: __, attentionAt: ___, ...stored } = fromItem<Stored>(item);
  requireReadable('payment accounts', stored.schemaVersion);
  return stored;
}

export function paymentAccountStore(
  dynamo: DynamoDBClient,
  table: string,
  indexShards: number,
): PaymentAccountStore {
  const key = (userId: string) => toItem({ id: paymentAccountsKey(userId) });

  async function get(userId: string): Promise<PaymentAccounts> {
    const { Item } = await dynamo.send(
      new GetItemCommand({ TableName: table, Key: key(userId), ConsistentRead: true }),
    );
    return Item ? toPaymentAccounts(Item) : { userId, accounts: {}, version: 0 };
  }

  return {
    get,

    save(accounts) {
      const { userId } = accounts;
      const isListed = accountIdsOf(accounts).length > 0;
      return putVersioned(dynamo, table, {
        ...accounts,
        id: paymentAccountsKey(userId),
        // Listed for payment-recovery, by an index that has shards of its own for it.
        attention: isListed ? `${prefix}${shardOf(userId, indexShards)}` : undefined,
        attentionAt: isListed ? 0 : undefined,
        schemaVersion: schemas['payment accounts'].writes,
      });
    },

    async *all(firstShard = 0) {
      const keys = shards(indexShards).map((shard) => `${prefix}${shard}`);
      const first = firstShard % indexShards;
      const inOrder = [...keys.slice(first), ...keys.slice(0, first)];
      for await (const ids of attentionPages(dynamo, table, inOrder, { limit: 25 })) {
        const users = await Promise.all(ids.map((id) => get(id.slice(prefix.length))));
        yield [...new Set(users.flatMap(accountIdsOf))];
      }
    },
  };
}
