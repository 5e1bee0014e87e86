import { Stack } from 'aws-cdk-lib';
import type { Table } from 'aws-cdk-lib/aws-dynamodb';
import type { IEventBus } from 'aws-cdk-lib/aws-events';
import { PolicyStatement, type PolicyStatementProps } from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type { Function as LambdaFunction } from 'aws-cdk-lib/aws-lambda';
import type { CfnSecret } from 'aws-cdk-lib/aws-secretsmanager';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import { env, eventSource } from '../shared/lib/names.ts';

/** A function's rights on one resource, and the environment variable that names the resource. */
export interface Access {
  readonly environment: Readonly<Record<string, string>>;
  readonly statements: readonly PolicyStatementProps[];
}

type ItemAction = 'GetItem' | 'BatchGetItem' | 'PutItem' | 'UpdateItem';

/** Grants rights and sets variables in one step, so that neither exists without the other. */
export function giveAccess(fn: LambdaFunction, ...accesses: readonly Access[]): void {
  for (const { environment, statements } of accesses) {
    for (const [key, value] of Object.entries(environment)) fn.addEnvironment(key, value);
    for (const statement of statements) fn.addToRolePolicy(new PolicyStatement(statement));
  }
}

/** An environment variable without rights. */
export function setting(key: string, value: string): Access {
  return { environment: { [key]: value }, statements: [] };
}

/** The variable holds the secret's ARN: also what to give as --secret-id on the command line of AWS. */
export function readSecret(secret: CfnSecret, key: string): Access {
  return {
    environment: { [key]: secret.ref },
    statements: [{ actions: ['secretsmanager:GetSecretValue'], resources: [secret.ref] }],
  };
}

/** Actions on items of the table, and queries on the named indexes only: never on the table itself, never a scan. */
export function useTable(
  table: Table,
  key: string,
  { items = [], query = [] }: { items?: readonly ItemAction[]; query?: readonly string[] },
): Access {
  const statements: PolicyStatementProps[] = [];
  if (items.length > 0) {
    const actions = items.map((action) => `dynamodb:${action}`);
    statements.push({ actions, resources: [table.tableArn] });
  }
  if (query.length > 0) {
    const resources = query.map((index) => `${table.tableArn}/index/${index}`);
    statements.push({ actions: ['dynamodb:Query'], resources });
  }
  const writes = items.includes('PutItem') || items.includes('UpdateItem');
  statements.push(useKey(table.encryptionKey, 'dynamodb', writes ? writerKeyActions : readerKeyActions));
  return { environment: { [key]: table.tableName }, statements };
}

/** Batches count as sends. */
export function sendTo(queue: Queue): Access {
  return {
    environment: { [env.bookingsQueueUrl]: queue.queueUrl },
    statements: [
      { actions: ['sqs:SendMessage'], resources: [queue.queueArn] },
      // SQS creates the data key under the sender's rights, and checks that it decrypts.
      useKey(queue.encryptionMasterKey, 'sqs', ['kms:GenerateDataKey', 'kms:Decrypt']),
    ],
  };
}

/** For an event source mapping, which reads the queue under the function's rights. */
export function consumeFrom(queue: Queue): Access {
  return {
    environment: {},
    statements: [
      {
        actions: ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes'],
        resources: [queue.queueArn],
      },
      // A queue without a key of ours is encrypted by SQS itself.
      ...(queue.encryptionMasterKey ? [useKey(queue.encryptionMasterKey, 'sqs', ['kms:Decrypt'])] : []),
    ],
  };
}

/** Publishes under our own source only. */
export function publishTo(bus: IEventBus): Access {
  return {
    environment: { [env.eventBus]: bus.eventBusName },
    statements: [
      {
        actions: ['events:PutEvents'],
        resources: [bus.eventBusArn],
        conditions: { StringEquals: { 'events:source': eventSource } },
      },
    ],
  };
}

/** The caller's rights that DynamoDB needs on a customer managed key, without wildcards. */
const readerKeyActions = ['kms:Decrypt', 'kms:DescribeKey'];
const writerKeyActions = [
  ...readerKeyActions,
  'kms:Encrypt',
  'kms:GenerateDataKey',
  'kms:GenerateDataKeyWithoutPlaintext',
  'kms:ReEncryptFrom',
  'kms:ReEncryptTo',
];

/** The key is usable through the one service that holds the data, never by calling KMS directly. */
function useKey(key: IKey | undefined, service: 'dynamodb' | 'sqs', actions: string[]): PolicyStatementProps {
  if (!key)
    throw new Error(`A resource in ${service} has no customer managed key: give it one in the stack.`);
  return {
    actions,
    resources: [key.keyArn],
    conditions: { StringEquals: { 'kms:ViaService': `${service}.${Stack.of(key).region}.amazonaws.com` } },
  };
}
