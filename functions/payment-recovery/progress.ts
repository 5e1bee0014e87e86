import { type DynamoDBClient, GetItemCommand, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { fromItem, toItem, tryConditionalWrite } from '../../shared/aws/dynamo.ts';

/** Until when the events of a mode have been queued: epoch seconds. It never goes back. */
export type RecoveryProgress = {
  get(mode: 'live' | 'test'): Promise<number | undefined>;
  advance(mode: 'live' | 'test', through: number): Promise<void>;
};

/** The progress in the table `table` of bookings. */
export function recoveryProgress(dynamo: DynamoDBClient, table: string): RecoveryProgress {
  const at = (mode: string) => ({ TableName: table, Key: toItem({ id: `recovery#${mode}` }) });
  return {
    async get(mode) {
      const { Item } = await dynamo.send(new GetItemCommand({ ...at(mode), ConsistentRead: true }));
      return Item && fromItem<{ through: number }>(Item).through;
    },

    async advance(mode, through) {
      // A slower run beside this one changes nothing.
      await tryConditionalWrite(
        dynamo.send(
          new UpdateItemCommand({
            ...at(mode),
            UpdateExpression: 'SET through = :through, schemaVersion = :schema',
            ConditionExpression: 'attribute_not_exists(through) OR through < :through',
            ExpressionAttributeValues: toItem({ ':through': through, ':schema': 1 }),
          }),
        ),
      );
    },
  };
}
