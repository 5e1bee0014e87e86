import { RemovalPolicy } from 'aws-cdk-lib';
import {
  type Attribute,
  AttributeType,
  BillingMode,
  ProjectionType,
  Table,
  TableEncryption,
} from 'aws-cdk-lib/aws-dynamodb';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type { Construct } from 'constructs';
import { indexes } from '../shared/lib/names.ts';

export interface Tables {
  readonly connections: Table;
  readonly bookings: Table;
}

/**
 * The two tables. Items appear in an index only while they have both its attributes, so each index holds little more
 * than pending work.
 */
export function tables(scope: Construct, key: IKey, deletionProtection: boolean): Tables {
  // Tables survive mistakes: they roll back to any second, and neither a deploy nor a delete removes them. Only those of a
  // first deploy that fails go with it.
  const protection = {
    billingMode: BillingMode.PAY_PER_REQUEST,
    encryption: TableEncryption.CUSTOMER_MANAGED,
    encryptionKey: key,
    pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
    deletionProtection,
    removalPolicy: RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
  };

  // Table and not TableV2: with a key of ours, that one needs a region named before it synthesizes.
  const connections = new Table(scope, 'ConnectionsTable', {
    partitionKey: { name: 'userId', type: AttributeType.STRING },
    // Counts of the attempts of a link; a connection has no such attribute.
    timeToLiveAttribute: 'expiresAt',
    ...protection,
  });
  addIndex(connections, indexes.refreshDue, 'refreshShard', {
    name: 'refreshAt',
    type: AttributeType.NUMBER,
  });
  addIndex(connections, indexes.tokenKey, 'keyId', { name: 'userId', type: AttributeType.STRING });
  addIndex(connections, indexes.googleAccount, 'googleSub', { name: 'userId', type: AttributeType.STRING }, [
    'status',
  ]);
  addIndex(connections, indexes.email, 'email', { name: 'userId', type: AttributeType.STRING });

  const bookings = new Table(scope, 'BookingsTable', {
    partitionKey: { name: 'id', type: AttributeType.STRING },
    timeToLiveAttribute: 'expiresAt',
    ...protection,
  });
  addIndex(bookings, indexes.syncDue, 'syncShard', { name: 'syncDueAt', type: AttributeType.NUMBER }, [
    'userId',
  ]);
  addIndex(bookings, indexes.waiting, 'waitingUserId', { name: 'id', type: AttributeType.STRING });
  addIndex(bookings, indexes.userBookings, 'userId', { name: 'startsAt', type: AttributeType.NUMBER });
  addIndex(bookings, indexes.attention, 'attention', { name: 'attentionAt', type: AttributeType.NUMBER });
  return { connections, bookings };
}

/** An index holds the keys of its items, and of their attributes only those that its readers need. */
function addIndex(
  table: Table,
  indexName: string,
  partitionKey: string,
  sortKey: Attribute,
  nonKeyAttributes: string[] = [],
): void {
  table.addGlobalSecondaryIndex({
    indexName,
    partitionKey: { name: partitionKey, type: AttributeType.STRING },
    sortKey,
    ...(nonKeyAttributes.length > 0
      ? { projectionType: ProjectionType.INCLUDE, nonKeyAttributes }
      : { projectionType: ProjectionType.KEYS_ONLY }),
  });
}
