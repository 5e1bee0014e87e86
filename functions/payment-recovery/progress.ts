import { type DynamoDBClient, GetItemCommand, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { fromItem, toItem, tryConditionalWrite } from '../../shared/aws/dynamo.ts';

/** Whose events: those of a connected account, or of the own one. */
export type EventScope = { mode: 'live' | 'test'; account?: string | undefined };

/** Until when the events have been queued: epoch seconds. It never goes back. */
export type RecoveryProgress = {
  get(scope: EventScope): Promise<number | undefined>;
  advance(scope: EventScope, through: number): Promise<void>;
};

/** The progress in the table `table` of bookings. */
export function recoveryProgress(dynamo: DynamoDBClient, table: string): RecoveryProgress {
  const at = ({ mode, account }: EventScope) => ({
    TableName: table,
    Key: toItem({ id: `recovery#${mode}${account === undefined ? '' : `#${account}`}` }),
  });
  return {
    async get(scope) {
      const { Item } = await dynamo.send(new GetItemCommand({ ...at(scope), ConsistentRead: true }));
      return Item && fromItem<{ through: number }>(Item).through;
    },

    async advance(scope, through) {
      // A slower run beside this one changes nothing.
      await tryConditionalWrite(
        dynamo.send(
          new UpdateItemCommand({
            ...at(scope),
            UpdateExpression: 'SET through = :through, schemaVersion = :schema',
            ConditionExpression: 'attribute_not_exists(through) OR through < :through',
            ExpressionAttributeValues: toItem({ ':through': through, ':schema': 1 }),
          }),
        ),
      );
    },
  };
}
