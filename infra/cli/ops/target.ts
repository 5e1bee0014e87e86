/** The deployment that an operator works on: the local stack, or an environment in AWS. */
import { userInfo } from 'node:os';
import { CloudFormationClient, DescribeStacksCommand } from '@aws-sdk/client-cloudformation';
import { CloudWatchClient } from '@aws-sdk/client-cloudwatch';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { LambdaClient } from '@aws-sdk/client-lambda';
import {
  GetSecretValueCommand,
  ResourceNotFoundException,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { SNSClient } from '@aws-sdk/client-sns';
import { SQSClient } from '@aws-sdk/client-sqs';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import type { PaymentPolicy } from '../../../shared/booking/desired-presence.ts';
import { type RefreshPolicy, stripeUrl } from '../../../shared/lib/config.ts';
import type { KeyPurpose } from '../../../shared/lib/names.ts';
import type { StackConfig } from '../../config.ts';
import { dynamoDbClient, localCredentials } from '../../local/aws/dynamodb.ts';
import { region as localRegion } from '../../local/aws/template.ts';
import { readStackAddress } from '../../local/state-files.ts';
import type { OutputName } from '../../operator-reference.ts';
import { cloudWatchMetrics, loggedMetrics, type ReadMetrics } from './metrics.ts';

export type Target = {
  /** `local`, or the name of the environment. */
  name: string;
  /** Google's simulator; undefined for the real one. */
  googleUrl: string | undefined;
  /** Stripe's API, or its simulator. */
  stripeUrl: string;
  /** An output of the stack. Throws where it has none of that name. */
  output: (name: OutputName) => string;
  outputs: Record<string, string>;
  indexShards: number;
  /** Days for which a booking is kept. */
  keepDays: number;
  stripeMode: StackConfig['stripeMode'];
  invoicesPaidOutOfBand: StackConfig['invoicesPaidOutOfBand'];
  /** By which the service refreshes tokens, and counts payments. */
  policies: { refreshPolicy: RefreshPolicy; paymentPolicy: PaymentPolicy };
  dynamo: DynamoDBClient;
  sqs: SQSClient;
  secrets: SecretsManagerClient;
  metrics: ReadMetrics;
  /** What only AWS has: undefined for the local stack. */
  aws: { stackName: string; cloudWatch: CloudWatchClient; sns: SNSClient; lambda: LambdaClient } | undefined;
  /** Who runs this, as AWS or the machine names them: for the timeline of what they change. */
  operator: () => Promise<string>;
};

type TargetOptions = { local: boolean; env?: string | undefined; state: string };

/** Opens the deployment. Throws what is missing, and what to do. */
export async function openTarget({ local, env, state }: TargetOptions): Promise<Target> {
  if (local === (env !== undefined)) throw new Error('Which deployment? Give --local, or --env <name>.');
  return env === undefined ? openLocal(state) : openEnvironment(env);
}

function openLocal(state: string): Target {
  const { endpoints, outputs, googleUrl, stripeUrl } = readStackAddress(state);
  const common = { region: localRegion, credentials: localCredentials };
  return {
    name: 'local',
    googleUrl,
    stripeUrl,
    ...ofOutputs(outputs, 'the local stack'),
    // As npm start has it.
    ...storing({ stripeMode: 'both' }),
    dynamo: dynamoDbClient(endpoints.dynamodb),
    // The queue's URL names the gateway, which is for the functions; the service has an address of its own.
    sqs: new SQSClient({ ...common, endpoint: endpoints.sqs, useQueueUrlAsEndpoint: false }),
    secrets: new SecretsManagerClient({ ...common, endpoint: endpoints.secretsManager }),
    metrics: loggedMetrics(state),
    aws: undefined,
    operator: async () => userInfo().username,
  };
}

async function openEnvironment(name: string): Promise<Target> {
  // These load the CDK, for which the local stack need not wait.
  const { loadEnvironment } = await import('../../environment.ts');
  const { deployedOptions } = await import('../deployed-options.ts');
  const { stackName, region } = await loadEnvironment(name);
  const cloudFormation = new CloudFormationClient({ region });
  const options = await deployedOptions(cloudFormation, stackName);
  if (!options)
    throw new Error(`There is no stack ${stackName} in ${region} yet: npm run deploy -- --env ${name}`);
  const { Stacks = [] } = await cloudFormation.send(new DescribeStacksCommand({ StackName: stackName }));
  const outputs = (Stacks[0]?.Outputs ?? []).map(({ OutputKey = '', OutputValue = '' }) => [
    OutputKey,
    OutputValue,
  ]);
  const cloudWatch = new CloudWatchClient({ region });
  return {
    name,
    googleUrl: undefined,
    stripeUrl: stripeUrl(),
    ...ofOutputs(Object.fromEntries(outputs), `the stack ${stackName}`),
    ...storing(options),
    dynamo: new DynamoDBClient({ region }),
    sqs: new SQSClient({ region }),
    secrets: new SecretsManagerClient({ region }),
    metrics: cloudWatchMetrics(cloudWatch, stackName),
    aws: { stackName, cloudWatch, sns: new SNSClient({ region }), lambda: new LambdaClient({ region }) },
    operator: async () => {
      const { Arn } = await new STSClient({ region }).send(new GetCallerIdentityCommand({}));
      return Arn ?? 'unknown';
    },
  };
}

/** What commands need to know of the options. The local stack has the defaults. */
function storing({
  indexShards = 4,
  keepBookingsDays: keepDays = 400,
  stripeMode = 'live',
  invoicesPaidOutOfBand = 'ignore',
  refreshMarginMinutes = 15,
  keepAliveDays = 3,
  onFullRefund: refunded = 'cancel',
  onDisputeLost: disputeLost = 'cancel',
}: Partial<StackConfig>): Pick<
  Target,
  'indexShards' | 'keepDays' | 'stripeMode' | 'invoicesPaidOutOfBand' | 'policies'
> {
  const refreshPolicy = {
    inUseFor: 86_400,
    margin: refreshMarginMinutes * 60,
    keepAlive: keepAliveDays * 86_400,
  };
  const policies = { refreshPolicy, paymentPolicy: { refunded, disputeLost } };
  return { indexShards, keepDays, stripeMode, invoicesPaidOutOfBand, policies };
}

/** The outputs that name the secrets with keys. */
export const keyOutputs: Record<KeyPurpose, OutputName> = {
  'token-encryption': 'TokenEncryptionSecret',
  'state-encryption': 'StateEncryptionSecret',
  'link-signing': 'LinkSigningSecret',
  'api-signing': 'ApiSigningSecret',
  'payment-messages': 'PaymentMessagesSecret',
};

/** The value of the secret that an output names. Throws where it has none yet. */
export async function secretText(
  { secrets, output }: Target,
  name: OutputName,
  empty?: string,
): Promise<string> {
  try {
    const { SecretString = '' } = await secrets.send(new GetSecretValueCommand({ SecretId: output(name) }));
    return SecretString;
  } catch (error) {
    if (!(error instanceof ResourceNotFoundException)) throw error;
    if (empty !== undefined) return empty;
    throw new Error('It has no value yet: docs/setup.md says what to store.', { cause: error });
  }
}

function ofOutputs(outputs: Record<string, string>, where: string): Pick<Target, 'output' | 'outputs'> {
  return {
    outputs,
    output: (name) => {
      const value = outputs[name];
      if (value === undefined) throw new Error(`${where} has no output ${name}: deploy or start it again.`);
      return value;
    },
  };
}
