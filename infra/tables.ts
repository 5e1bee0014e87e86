import { RemovalPolicy } from 'aws-cdk-lib';
import { AttributeType, BillingMode, ProjectionType, Table, TableEncryption } from 'aws-cdk-lib/aws-dynamodb';
import type { Key } from 'aws-cdk-lib/aws-kms';
import type { Construct } from 'constructs';
import { indexes } from '../shared/names.ts';

/**
 * The two tables. Items appear in an index only while they have both its attributes, so each index holds what
 * is to be done and little else.
 */
export function tables(scope: Construct, key: Key): { connections: Table; bookings: Table } {
  // Tables outlive mistakes: they roll back to any second, and neither a deploy nor a delete removes them.
  const keptSafe = {
    billingMode: BillingMode.PAY_PER_REQUEST,
    encryption: TableEncryption.CUSTOMER_MANAGED,
    encryptionKey: key,
    pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
    deletionProtection: true,
    removalPolicy: RemovalPolicy.RETAIN,
  };

  // Table and not TableV2: with a key of ours, that one needs a region named before it synthesizes.
  const connections = new Table(scope, 'ConnectionsTable', {
    partitionKey: { name: 'userId', type: AttributeType.STRING },
    ...keptSafe,
  });
  connections.addGlobalSecondaryIndex({
    indexName: indexes.refreshDue,
    partitionKey: { name: 'refreshShard', type: AttributeType.STRING },
    sortKey: { name: 'refreshAt', type: AttributeType.NUMBER },
    projectionType: ProjectionType.KEYS_ONLY,
  });
  connections.addGlobalSecondaryIndex({
    indexName: indexes.tokenKey,
    partitionKey: { name: 'keyId', type: AttributeType.STRING },
    sortKey: { name: 'userId', type: AttributeType.STRING },
    projectionType: ProjectionType.KEYS_ONLY,
  });
  connections.addGlobalSecondaryIndex({
    indexName: indexes.googleAccount,
    partitionKey: { name: 'googleSub', type: AttributeType.STRING },
    sortKey: { name: 'userId', type: AttributeType.STRING },
    projectionType: ProjectionType.INCLUDE,
    nonKeyAttributes: ['status'],
  });

  const bookings = new Table(scope, 'BookingsTable', {
    partitionKey: { name: 'id', type: AttributeType.STRING },
    timeToLiveAttribute: 'expiresAt',
    ...keptSafe,
  });
  bookings.addGlobalSecondaryIndex({
    indexName: indexes.syncDue,
    partitionKey: { name: 'syncShard', type: AttributeType.STRING },
    sortKey: { name: 'syncDueAt', type: AttributeType.NUMBER },
    projectionType: ProjectionType.INCLUDE,
    nonKeyAttributes: ['userId'],
  });
  bookings.addGlobalSecondaryIndex({
    indexName: indexes.waiting,
    partitionKey: { name: 'waitingUserId', type: AttributeType.STRING },
    sortKey: { name: 'id', type: AttributeType.STRING },
    projectionType: ProjectionType.KEYS_ONLY,
  });
  bookings.addGlobalSecondaryIndex({
    indexName: indexes.userBookings,
    partitionKey: { name: 'userId', type: AttributeType.STRING },
    sortKey: { name: 'startsAt', type: AttributeType.NUMBER },
    projectionType: ProjectionType.KEYS_ONLY,
  });
  return { connections, bookings };
}
