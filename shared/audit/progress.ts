import { type DynamoDBClient, GetItemCommand } from '@aws-sdk/client-dynamodb';
import { fromItem, toItem, tryUpdate } from '../aws/dynamo.ts';
import type { Progress } from './audit.ts';

/** A run that is recorded. `version` counts its writes. */
export type StoredProgress = Progress & { version: number };

/** The last scheduled run, in the table of bookings. */
export type AuditProgress = {
  get(): Promise<StoredProgress | undefined>;
  /** Stores `progress` over the version that was read (0: there was none); false where it has changed since. */
  save(progress: StoredProgress): Promise<boolean>;
};

export function auditProgress(dynamo: DynamoDBClient, table: string): AuditProgress {
  const key = { id: 'audit#progress' };
  return {
    async get() {
      const { Item } = await dynamo.send(
        new GetItemCommand({ TableName: table, Key: toItem(key), ConsistentRead: true }),
      );
      if (!Item) return undefined;
      const { progress, version } = fromItem<{ progress: Progress; version: number }>(Item);
      return { ...progress, version };
    },

    async save({ version, ...progress }) {
      const written = await tryUpdate(dynamo, {
        table,
        key,
        set: { progress, version: version + 1, schemaVersion: 1 },
        condition: version === 0 ? 'attribute_not_exists(id)' : '#version = :read',
        values: version === 0 ? {} : { ':read': version },
      });
      return written !== undefined;
    },
  };
}
