import { join } from 'node:path';
import { CfnOutput, Duration, RemovalPolicy, Stack, Stage, Validations } from 'aws-cdk-lib';
import { AccessLogFormat } from 'aws-cdk-lib/aws-apigateway';
import { HttpApi, HttpMethod, HttpStage, LogGroupLogDestination } from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import { AttributeType, BillingMode, ProjectionType, Table, TableEncryption } from 'aws-cdk-lib/aws-dynamodb';
import { EventBus } from 'aws-cdk-lib/aws-events';
import { Key } from 'aws-cdk-lib/aws-kms';
import type { Function as LambdaFunction } from 'aws-cdk-lib/aws-lambda';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { CfnSecret, type CfnSecretProps } from 'aws-cdk-lib/aws-secretsmanager';
import { DeduplicationScope, FifoThroughputLimit, Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { env, indexes, routes } from '../shared/names.ts';
import { consumeFrom, publishTo, readSecret, sendTo, setting, useTable } from './access.ts';
import { alarms } from './alarms.ts';
import { bundleFunctions } from './bundle.ts';
import { readConfig } from './config.ts';
import { every } from './schedule.ts';
import { type ServiceFunctionProps, serviceFunction } from './service-function.ts';

const functionNames = [
  'health',
  'connect',
  'oauth-callback',
  'payment-confirmed',
  'booking-sync',
  'booking-reconcile',
  'token-refresh',
] as const;

/** The whole service. Reads top to bottom: what is kept, what runs, what starts it, who is told. */
export class LeadsCalendarGoogle extends Stack {
  constructor(scope: Construct, id: string) {
    super(scope, id, {
      description: 'Puts paid appointments of LeadsCalendar users into their Google Calendar.',
    });
    const config = readConfig((key) => this.node.tryGetContext(key));

    const key = new Key(this, 'Key', {
      description: 'Connections and bookings, at rest and in the queue',
      enableKeyRotation: true,
      removalPolicy: RemovalPolicy.RETAIN,
    });

    const connections = new Table(this, 'Connections', {
      partitionKey: { name: 'userId', type: AttributeType.STRING },
      ...keptSafe(key),
    });
    connections.addGlobalSecondaryIndex({
      indexName: indexes.refreshDue,
      partitionKey: { name: 'refreshShard', type: AttributeType.STRING },
      sortKey: { name: 'refreshAt', type: AttributeType.NUMBER },
      projectionType: ProjectionType.KEYS_ONLY,
    });

    const bookings = new Table(this, 'Bookings', {
      partitionKey: { name: 'id', type: AttributeType.STRING },
      timeToLiveAttribute: 'expiresAt',
      ...keptSafe(key),
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

    const googleClient = secret(this, 'GoogleOauthClient', {
      description: 'Fill in: the client secret JSON file as downloaded from the Google Cloud console.',
      rotation: "Google's client secrets change by hand in the Google Cloud console.",
    });
    const webhookSigning = secret(this, 'WebhookSigning', {
      description: 'Fill in: signing secrets of the payment providers, e.g. {"stripe":["whsec_..."]}',
      rotation:
        'Signing secrets are rolled at the provider. Two may be listed, so that a roll loses nothing.',
    });
    const tokenKeys = secret(this, 'TokenKeys', {
      description:
        'Keys by id for stored tokens, OAuth state and link tokens. Losing them disconnects everybody.',
      rotation: 'A key may go only when no stored token needs it, which no timer knows: an operator rotates.',
      generateSecretString: {
        secretStringTemplate: JSON.stringify({ current: 'initial' }),
        generateStringKey: 'initial',
        passwordLength: 64,
        excludePunctuation: true,
      },
    });

    const syncTimeoutSeconds = 30;
    const encryption = { encryption: QueueEncryption.KMS, encryptionMasterKey: key, enforceSSL: true };
    const deadLetters = new Queue(this, 'DeadLetters', {
      fifo: true,
      retentionPeriod: Duration.days(14),
      ...encryption,
    });
    Validations.of(deadLetters).acknowledge({
      id: 'Serverless-SQSRedrivePolicy',
      reason: 'It is the dead-letter queue. An alarm tells that something is in it.',
    });
    const queue = new Queue(this, 'BookingsQueue', {
      fifo: true,
      // High throughput: groups, one for each booking, don't wait for each other.
      deduplicationScope: DeduplicationScope.MESSAGE_GROUP,
      fifoThroughputLimit: FifoThroughputLimit.PER_MESSAGE_GROUP_ID,
      visibilityTimeout: Duration.seconds(6 * syncTimeoutSeconds),
      retentionPeriod: Duration.days(14),
      deadLetterQueue: { queue: deadLetters, maxReceiveCount: 5 },
      ...encryption,
    });

    const bus = new EventBus(this, 'Bus');

    const api = new HttpApi(this, 'Api', { createDefaultStage: false });
    new HttpStage(this, 'Stage', {
      httpApi: api,
      stageName: '$default',
      autoDeploy: true,
      throttle: { rateLimit: config.throttleRate, burstLimit: config.throttleBurst },
      accessLogSettings: {
        destination: new LogGroupLogDestination(
          new LogGroup(this, 'AccessLogs', {
            retention: config.logRetentionDays,
            removalPolicy: RemovalPolicy.DESTROY,
          }),
        ),
        format: accessLogFormat,
      },
    });

    const bundles = join(Stage.of(this)?.outdir ?? 'cdk.out', 'bundles');
    bundleFunctions(functionNames, bundles);
    const define = (
      name: (typeof functionNames)[number],
      props: Omit<ServiceFunctionProps, 'name' | 'bundles' | 'logRetention'>,
    ) => serviceFunction(this, { name, bundles, logRetention: config.logRetentionDays, ...props });

    const tokenKeysRead = readSecret(tokenKeys, env.tokenKeysSecretId);
    const googleClientRead = readSecret(googleClient, env.googleClientSecretId);
    const publicUrl = setting(env.publicUrl, config.publicUrl ?? api.apiEndpoint);
    const returnOrigins = setting(env.returnOrigins, config.returnOrigins);

    const health = define('health', {
      description: 'GET /health',
      timeoutSeconds: 15,
      memorySize: 128,
      access: [],
    });
    const connect = define('connect', {
      description: "Sends a user to Google's consent page",
      timeoutSeconds: 15,
      memorySize: 512,
      access: [
        tokenKeysRead,
        googleClientRead,
        useTable(connections, env.connectionsTable, ['GetItem']),
        publicUrl,
        returnOrigins,
      ],
    });
    const oauthCallback = define('oauth-callback', {
      description: "Turns Google's answer into a connection",
      timeoutSeconds: 29,
      memorySize: 512,
      access: [
        tokenKeysRead,
        googleClientRead,
        useTable(connections, env.connectionsTable, ['GetItem', 'PutItem', 'UpdateItem']),
        sendTo(queue),
        publishTo(bus),
        publicUrl,
        returnOrigins,
      ],
    });
    const paymentConfirmed = define('payment-confirmed', {
      description: 'Verifies payment webhooks and queues their bookings',
      timeoutSeconds: 15,
      memorySize: 1024,
      access: [readSecret(webhookSigning, env.webhookSecretId), sendTo(queue)],
    });
    const bookingSync = define('booking-sync', {
      description: 'Makes the calendar event agree with its booking',
      timeoutSeconds: syncTimeoutSeconds,
      memorySize: 1024,
      access: [
        tokenKeysRead,
        googleClientRead,
        useTable(connections, env.connectionsTable, ['GetItem', 'BatchGetItem', 'UpdateItem']),
        useTable(bookings, env.bookingsTable, ['GetItem', 'BatchGetItem', 'PutItem'], [indexes.waiting]),
        consumeFrom(queue),
        sendTo(queue),
        publishTo(bus),
      ],
    });
    const bookingReconcile = define('booking-reconcile', {
      description: 'Hands due bookings back to the queue',
      timeoutSeconds: 55,
      memorySize: 512,
      access: [useTable(bookings, env.bookingsTable, ['GetItem'], [indexes.syncDue]), sendTo(queue)],
    });
    const tokenRefresh = define('token-refresh', {
      description: 'Refreshes the access tokens that are due',
      timeoutSeconds: 300,
      memorySize: 512,
      access: [
        tokenKeysRead,
        googleClientRead,
        useTable(connections, env.connectionsTable, ['GetItem', 'UpdateItem'], [indexes.refreshDue]),
        publishTo(bus),
      ],
    });

    const route = (method: HttpMethod, path: string, fn: LambdaFunction, authentication: string) => {
      const integration = new HttpLambdaIntegration('Function', fn);
      for (const added of api.addRoutes({ path, methods: [method], integration })) {
        Validations.of(added).acknowledge({ id: 'AwsSolutions-APIG4', reason: authentication });
      }
    };
    route(HttpMethod.GET, routes.health, health, 'Tells nothing but that it answers.');
    route(HttpMethod.GET, routes.connect, connect, 'The function checks the signed link token in the query.');
    route(
      HttpMethod.GET,
      routes.callback,
      oauthCallback,
      'The function checks the encrypted state and its cookie.',
    );
    route(
      HttpMethod.POST,
      routes.stripeWebhook,
      paymentConfirmed,
      "The function checks Stripe's signature over the raw body.",
    );

    bookingSync.addEventSourceMapping('Bookings', {
      eventSourceArn: queue.queueArn,
      batchSize: 10,
      reportBatchItemFailures: true,
      maxConcurrency: config.syncConcurrency,
    });
    Validations.of(bookingSync).acknowledge({
      id: 'Serverless-LambdaEventSourceMappingDestination',
      reason: "For streams. A queue's failures go to the dead-letter queue of its redrive policy.",
    });

    every(Duration.minutes(1), bookingReconcile);
    every(Duration.minutes(config.refreshEveryMinutes), tokenRefresh);

    alarms(this, {
      queue,
      deadLetters,
      functions: [
        health,
        connect,
        oauthCallback,
        paymentConfirmed,
        bookingSync,
        bookingReconcile,
        tokenRefresh,
      ],
      key,
      email: config.alarmEmail,
    });

    const base = config.publicUrl ?? api.apiEndpoint;
    const outputs: Record<string, [value: string, description: string]> = {
      ApiUrl: [base, 'The API'],
      CallbackUrl: [
        `${base}${routes.callback}`,
        'Register as authorised redirect URI of the OAuth client at Google',
      ],
      WebhookUrl: [`${base}${routes.stripeWebhook}`, 'Register as webhook endpoint at Stripe'],
      GoogleOauthClientSecret: [googleClient.ref, "Put Google's client secret JSON here"],
      WebhookSigningSecret: [webhookSigning.ref, "Put Stripe's signing secret here"],
      TokenKeysSecret: [tokenKeys.ref, 'Holds the keys that sign link tokens'],
      BusName: [bus.eventBusName, 'Events for LeadsCalendar'],
      ConnectionsTableName: [connections.tableName, 'Connections'],
      BookingsTableName: [bookings.tableName, 'Bookings'],
    };
    for (const [name, [value, description]] of Object.entries(outputs)) {
      new CfnOutput(this, name, { value, description });
    }
  }
}

/** Tables outlive mistakes: they can be rolled back to any second, and neither a deploy nor a delete removes them. */
function keptSafe(key: Key) {
  return {
    billingMode: BillingMode.PAY_PER_REQUEST,
    encryption: TableEncryption.CUSTOMER_MANAGED,
    encryptionKey: key,
    pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
    deletionProtection: true,
    removalPolicy: RemovalPolicy.RETAIN,
  };
}

/**
 * A secret that the template gives no value: empty, which says "not set up yet", or generated by AWS. (The L2
 * construct cannot make an empty one.) Under Secrets Manager's own key and not ours: who may read is decided by
 * the grant on the secret either way, and so no single key opens both the stored tokens and the keys they are
 * encrypted with.
 */
function secret(
  scope: Construct,
  id: string,
  { rotation, ...props }: CfnSecretProps & { /** Why no timer rotates it. */ rotation: string },
): CfnSecret {
  const created = new CfnSecret(scope, id, props);
  created.applyRemovalPolicy(RemovalPolicy.RETAIN);
  Validations.of(created).acknowledge({ id: 'AwsSolutions-SMG4', reason: rotation });
  return created;
}

/**
 * Neither path, query string nor headers: link tokens, codes and states travel in the query, signatures and
 * bearer tokens in headers, and later paths name bookings. The route key says enough.
 */
const accessLogFormat = AccessLogFormat.custom(
  JSON.stringify({
    requestId: '$context.requestId',
    time: '$context.requestTimeEpoch',
    ip: '$context.identity.sourceIp',
    route: '$context.routeKey',
    status: '$context.status',
    responseLength: '$context.responseLength',
    latencyMs: '$context.responseLatency',
    integrationLatencyMs: '$context.integrationLatency',
    integrationStatus: '$context.integrationStatus',
    integrationError: '$context.integrationErrorMessage',
    gatewayError: '$context.error.responseType',
  }),
);
