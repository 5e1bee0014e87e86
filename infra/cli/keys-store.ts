/** Where an operator finds keys and what they encrypt: Secrets Manager and the table of connections. */
import { type DynamoDBClient, paginateQuery, paginateScan } from '@aws-sdk/client-dynamodb';
import {
  GetSecretValueCommand,
  PutSecretValueCommand,
  type SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { decodeProtectedHeader } from 'jose';
import { fromItem, toItem } from '../../shared/aws/dynamo.ts';
import type { GrantedConnection } from '../../shared/connection/connection.ts';
import { indexes } from '../../shared/lib/names.ts';

/** The value of a secret, and which version of it that is. */
type SecretVersion = { text: string; versionId: string };

/** The keys of one purpose. */
export type KeysStore = {
  read(): Promise<SecretVersion>;
  /**
   * Puts a value in the place of `known`. PutSecretValue takes no condition, so the secret is looked at before and
   * after: answers a warning if another operator wrote in between.
   * Errors: another operator has written since `known` was read; nothing is changed then.
   */
  replace(known: SecretVersion, text: string): Promise<string | undefined>;
};

/** The stored tokens, by the keys that encrypt them. */
export type TokensByKey = {
  /** How many connections hold tokens that are sealed with a key, by the index, which may lag. */
  countEncryptedWith(keyId: string): Promise<{ count: number; complete: boolean }>;
  /**
   * How many connections hold a token that is sealed with a key, by what the tokens themselves say. Reads the whole
   * table, consistently: right before a key is destroyed, and nowhere else.
   */
  findEncryptedWith(keyId: string): Promise<number>;
};

/** Pages of the index, some ten thousand connections each, after which counting stops. */
const maxPages = 100;

export function keysStore(secrets: SecretsManagerClient, secretId: string): KeysStore {
  async function read(): Promise<SecretVersion> {
    const { SecretString, VersionId } = await secrets.send(new GetSecretValueCommand({ SecretId: secretId }));
    if (SecretString && VersionId) return { text: SecretString, versionId: VersionId };
    throw new Error(`The secret ${secretId} has no text value.`);
  }

  return {
    read,

    async replace(known, text) {
      if ((await read()).versionId !== known.versionId) {
        throw new Error(
          'Somebody else has changed the keys at the same moment. Nothing was done: try again.',
        );
      }
      const { VersionId } = await secrets.send(
        new PutSecretValueCommand({ SecretId: secretId, SecretString: text }),
      );
      // The version before may still be seen for a moment; a third one is another operator's.
      if ([VersionId, known.versionId].includes((await read()).versionId)) return undefined;
      return 'Somebody else has changed the keys right after this. See what stands there now: ops keys list';
    },
  };
}

/** @param table the table of connections */
export function tokensByKey(dynamo: DynamoDBClient, table: string): TokensByKey {
  return {
    async countEncryptedWith(keyId) {
      const pages = paginateQuery(
        { client: dynamo },
        {
          TableName: table,
          IndexName: indexes.tokenKey,
          Select: 'COUNT',
          KeyConditionExpression: 'keyId = :keyId',
          ExpressionAttributeValues: toItem({ ':keyId': keyId }),
        },
      );
      let count = 0;
      let page = 0;
      for await (const { Count = 0, LastEvaluatedKey } of pages) {
        count += Count;
        if (LastEvaluatedKey && ++page === maxPages) return { count, complete: false };
      }
      return { count, complete: true };
    },

    async findEncryptedWith(keyId) {
      const pages = paginateScan(
        { client: dynamo },
        {
          TableName: table,
          ConsistentRead: true,
          // A grant that is to be taken back may be older than the tokens beside it, and `keyId` is theirs.
          FilterExpression: 'keyId = :keyId OR attribute_exists(revocation)',
          ProjectionExpression: 'tokens, revocation',
          ExpressionAttributeValues: toItem({ ':keyId': keyId }),
        },
      );
      let found = 0;
      for await (const { Items = [] } of pages) {
        found += Items.filter((item) => holdsTokenOf(fromItem<HeldTokens>(item), keyId)).length;
      }
      return found;
    },
  };
}

type HeldTokens = Partial<Pick<GrantedConnection, 'tokens' | 'revocation'>>;

function holdsTokenOf({ tokens, revocation }: HeldTokens, keyId: string): boolean {
  return [tokens, revocation?.tokens].some((encrypted) => encrypted && keyIdOf(encrypted) === keyId);
}

/** Undefined for damaged tokens, which no key opens. */
function keyIdOf(encrypted: string): string | undefined {
  try {
    return decodeProtectedHeader(encrypted).kid;
  } catch {
    return undefined;
  }
}
