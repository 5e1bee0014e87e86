/** What a deleted stack has left, for a new one to take over: tables, their key and the secrets. */
import { readFileSync } from 'node:fs';
import { DescribeTableCommand, type DynamoDBClient } from '@aws-sdk/client-dynamodb';
import * as v from 'valibot';
import { parseJson } from '../../shared/lib/schemas.ts';
import type { OutputName } from '../operator-reference.ts';

/** Logical id and identifier of each resource that outlives its stack and whose name is an output. */
const retained = {
  ConnectionsTableName: ['ConnectionsTable8000B8A1', 'TableName'],
  BookingsTableName: ['BookingsTableB2628485', 'TableName'],
  GoogleOauthClientSecret: ['GoogleOauthClient', 'Id'],
  WebhookSigningSecret: ['WebhookSigning', 'Id'],
  StripeApiSecret: ['StripeApi', 'Id'],
  LinkSigningSecret: ['LinkSigning', 'Id'],
  ApiSigningSecret: ['ApiSigning', 'Id'],
  TokenEncryptionSecret: ['TokenEncryption', 'Id'],
  StateEncryptionSecret: ['StateEncryption', 'Id'],
  PaymentMessagesSecret: ['PaymentMessages', 'Id'],
} as const satisfies Partial<Record<OutputName, [logicalId: string, identifier: string]>>;
const keyLogicalId = 'Key961B73FD';

/** As `cdk import --resource-mapping` reads it. */
type ResourceMapping = Record<string, Record<string, string>>;

const outputsFile = v.record(v.string(), v.record(v.string(), v.string()));

/** The mapping from the outputs that the deleted stack has left in `file`. The tables say what their key is. */
export async function adoptionOf(file: string, dynamo: DynamoDBClient): Promise<ResourceMapping> {
  const read = v.safeParse(outputsFile, parseJson(readFileSync(file, 'utf8')));
  const [outputs] = read.success ? Object.values(read.output) : [];
  if (!outputs) throw new Error(`${file} holds no outputs of a stack: give its cdk-outputs.<name>.json.`);
  const mapping = Object.entries(retained).map(([output, [logicalId, identifier]]) => {
    const value = outputs[output];
    if (!value) throw new Error(`${file} has no output ${output}: it is of another stack, or incomplete.`);
    return [logicalId, { [identifier]: value }];
  });
  const described = await dynamo.send(new DescribeTableCommand({ TableName: outputs.BookingsTableName }));
  const key = described.Table?.SSEDescription?.KMSMasterKeyArn?.split('/').at(-1);
  if (!key)
    throw new Error(`The table ${outputs.BookingsTableName} has no key of ours: it is not of this service.`);
  return { ...Object.fromEntries(mapping), [keyLogicalId]: { KeyId: key } };
}
