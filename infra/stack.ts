import { CfnOutput, Duration, RemovalPolicy, Stack, Validations } from 'aws-cdk-lib';
import { HttpMethod } from 'aws-cdk-lib/aws-apigatewayv2';
import { EventBus } from 'aws-cdk-lib/aws-events';
import { Key } from 'aws-cdk-lib/aws-kms';
import { RecursiveLoop } from 'aws-cdk-lib/aws-lambda';
import type { Construct } from 'constructs';
import {
  env,
  indexes,
  type KeyPurpose,
  keySecrets,
  optionalScopes,
  routes,
  webhookRoute,
} from '../shared/names.ts';
import { consumeFrom, publishTo, readSecret, sendTo, setting, useTable } from './access.ts';
import { alarms } from './alarms.ts';
import { readConfig } from './config.ts';
import { deliverEvents } from './events-delivery.ts';
import { addRoute, httpApi } from './http-api.ts';
import { bookingsQueue } from './queue.ts';
import { every } from './schedule.ts';
import { secrets } from './secrets.ts';
import { serviceFunctions } from './service-function.ts';
import { tables } from './tables.ts';

const scopes = { 'calendar-list': optionalScopes.calendarList, 'free-busy': optionalScopes.freeBusy };

/** The whole service, top to bottom: what is kept, what runs and what it may do, what starts it, who is told. */
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
    const { connections, bookings } = tables(this, key);
    const { googleClient, webhookSigning, keys } = secrets(this);
    const syncTimeout = Duration.seconds(30);
    const { queue, deadLetters } = bookingsQueue(this, key, syncTimeout);
    const bus = new EventBus(this, 'Bus');
    const api = httpApi(this, config);
    const baseUrl = config.publicUrl ?? api.apiEndpoint;

    const readKeys = (purpose: KeyPurpose) => readSecret(keys[purpose], keySecrets[purpose]);
    const readGoogleClient = readSecret(googleClient, env.googleClientSecretId);
    const publicUrl = setting(env.publicUrl, baseUrl);
    const indexShards = setting(env.indexShards, String(config.indexShards));
    const refreshPolicy = setting(
      env.refreshPolicy,
      JSON.stringify({
        inUseFor: Duration.days(1).toSeconds(),
        margin: config.refreshMarginMinutes * 60,
        keepAlive: config.keepAliveDays * 86_400,
      }),
    );
    const atOnce = (runs: number) =>
      config.reservedConcurrency > 0 ? { reservedConcurrentExecutions: runs } : {};
    const functions = serviceFunctions(this, config.logRetentionDays, {
      health: {
        description: 'Answers that API and Lambda are there',
        timeout: Duration.seconds(15),
        memorySize: 128,
        access: [],
      },
      connect: {
        description: "Sends a user to Google's consent page",
        timeout: Duration.seconds(15),
        memorySize: 512,
        access: [
          readKeys('link-signing'),
          readKeys('state-encryption'),
          readGoogleClient,
          publicUrl,
          setting(env.returnOrigins, config.returnOrigins),
          setting(env.calendarScope, config.calendarAccess),
          setting(env.optionalScopes, config.optionalScopes.map((name) => scopes[name]).join(' ')),
        ],
      },
      'oauth-callback': {
        description: "Turns Google's answer into a connection",
        // The API waits 30 seconds: the function must be the one that gives up, with a page that says so.
        timeout: Duration.seconds(29),
        memorySize: 512,
        ...atOnce(config.reservedConcurrency),
        access: [
          readKeys('state-encryption'),
          readKeys('token-encryption'),
          readGoogleClient,
          publicUrl,
          indexShards,
          refreshPolicy,
          useTable(connections, env.connectionsTable, { items: ['GetItem', 'PutItem', 'UpdateItem'] }),
          sendTo(queue),
          publishTo(bus),
        ],
      },
      connections: {
        description: 'Shows, changes and ends the connection of a user',
        timeout: Duration.seconds(29),
        memorySize: 512,
        ...atOnce(config.reservedConcurrency),
        access: [
          readKeys('api-signing'),
          readKeys('token-encryption'),
          readGoogleClient,
          indexShards,
          refreshPolicy,
          useTable(connections, env.connectionsTable, {
            items: ['GetItem', 'PutItem', 'UpdateItem'],
            query: [indexes.googleAccount],
          }),
          // A newly chosen calendar may be what bookings wait for.
          sendTo(queue),
          publishTo(bus),
        ],
      },
      bookings: {
        description: 'Declares, shows, changes and cancels bookings of a user',
        timeout: Duration.seconds(15),
        memorySize: 512,
        access: [
          readKeys('api-signing'),
          indexShards,
          useTable(bookings, env.bookingsTable, {
            items: ['GetItem', 'BatchGetItem', 'PutItem'],
            query: [indexes.userBookings],
          }),
          sendTo(queue),
        ],
      },
      'payment-confirmed': {
        description: 'Verifies payment webhooks and queues their bookings',
        timeout: Duration.seconds(15),
        memorySize: 1024,
        access: [
          readSecret(webhookSigning, env.webhookSecretId),
          setting(env.stripeMode, config.stripeMode),
          readKeys('payment-messages'),
          sendTo(queue),
        ],
      },
      'booking-sync': {
        description: 'Makes the calendar event agree with its booking',
        timeout: syncTimeout,
        memorySize: 1024,
        access: [
          readKeys('payment-messages'),
          readKeys('token-encryption'),
          readGoogleClient,
          indexShards,
          refreshPolicy,
          setting(env.conflictPolicy, config.onConflict),
          setting(
            env.paymentPolicy,
            JSON.stringify({ refunded: config.onFullRefund, disputeLost: config.onDisputeLost }),
          ),
          useTable(connections, env.connectionsTable, { items: ['GetItem', 'BatchGetItem', 'UpdateItem'] }),
          useTable(bookings, env.bookingsTable, {
            items: ['BatchGetItem', 'PutItem'],
            query: [indexes.waiting],
          }),
          consumeFrom(queue),
          sendTo(queue),
          publishTo(bus),
        ],
        // It hands itself the next page of a long list of waiting bookings through the queue that it reads,
        // which Lambda would take for a runaway loop and stop. The list is what ends it.
        recursiveLoop: RecursiveLoop.ALLOW,
      },
      'booking-reconcile': {
        description: 'Hands due bookings back to the queue',
        // Less than the minute after which the next run starts.
        timeout: Duration.seconds(55),
        memorySize: 512,
        access: [
          indexShards,
          useTable(bookings, env.bookingsTable, { query: [indexes.syncDue] }),
          sendTo(queue),
        ],
      },
      'token-refresh': {
        description: 'Refreshes the access tokens that are due',
        timeout: Duration.minutes(5),
        memorySize: 512,
        // A run that outlasts its interval leaves nothing for a second one to do beside it.
        ...atOnce(1),
        access: [
          readKeys('token-encryption'),
          readGoogleClient,
          indexShards,
          refreshPolicy,
          setting(env.refreshConcurrency, String(config.refreshConcurrency)),
          useTable(connections, env.connectionsTable, {
            items: ['GetItem', 'UpdateItem'],
            query: [indexes.refreshDue, indexes.tokenKey, indexes.googleAccount],
          }),
          publishTo(bus),
        ],
      },
    });

    const { GET, HEAD, POST, PUT, PATCH, DELETE } = HttpMethod;
    // Some monitors send nothing but HEAD.
    for (const method of [GET, HEAD])
      addRoute(api, method, routes.health, functions.health, 'Public: says nothing but that it is there.');
    addRoute(api, GET, routes.connect, functions.connect, 'A signed link token in the query.');
    addRoute(
      api,
      GET,
      routes.callback,
      functions['oauth-callback'],
      'An encrypted state, bound to a cookie of that browser.',
    );
    addRoute(
      api,
      POST,
      webhookRoute('stripe'),
      functions['payment-confirmed'],
      "Stripe's signature over the raw body.",
    );
    addRoute(
      api,
      POST,
      webhookRoute('standard'),
      functions['payment-confirmed'],
      'A Standard Webhooks signature over the raw body.',
    );

    const bearer = "A bearer token, signed by LeadsCalendar's backend for one user.";
    for (const method of [GET, PATCH, DELETE])
      addRoute(api, method, routes.connection, functions.connections, bearer);
    addRoute(api, GET, routes.calendars, functions.connections, bearer);
    for (const method of [GET, PUT, PATCH, DELETE])
      addRoute(api, method, routes.booking, functions.bookings, bearer);
    addRoute(api, GET, routes.bookings, functions.bookings, bearer);

    const bookingSync = functions['booking-sync'];
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

    every(Duration.minutes(1), functions['booking-reconcile']);
    every(Duration.minutes(config.refreshEveryMinutes), functions['token-refresh']);

    const undeliveredEvents = config.eventsUrl ? deliverEvents(this, bus, config.eventsUrl) : undefined;
    alarms(this, {
      api,
      queue,
      deadLetters,
      undeliveredEvents,
      functions: Object.values(functions),
      key,
      email: config.alarmEmail,
    });

    const output = (name: string, value: string, description: string) =>
      new CfnOutput(this, name, { value, description });
    output('ApiUrl', baseUrl, 'The API');
    output('CallbackUrl', `${baseUrl}${routes.callback}`, 'To register as redirect URI at Google');
    output('WebhookUrl', `${baseUrl}${webhookRoute('stripe')}`, 'To register as webhook endpoint at Stripe');
    output(
      'StandardWebhookUrl',
      `${baseUrl}${webhookRoute('standard')}`,
      'For payment providers that sign by Standard Webhooks',
    );
    output('GoogleOauthClientSecret', googleClient.ref, "Wants Google's client secret JSON");
    output('WebhookSigningSecret', webhookSigning.ref, "Wants Stripe's signing secret");
    output('LinkSigningSecret', keys['link-signing'].ref, 'Keys with which the backend signs connect links');
    output('ApiSigningSecret', keys['api-signing'].ref, 'Keys with which the backend signs bearer tokens');
    output('TokenEncryptionSecret', keys['token-encryption'].ref, "Keys that encrypt Google's tokens");
    output('StateEncryptionSecret', keys['state-encryption'].ref, 'Keys that encrypt the OAuth state');
    output('PaymentMessagesSecret', keys['payment-messages'].ref, 'Keys for the MACs of payment messages');
    output('BusName', bus.eventBusName, 'Tells LeadsCalendar what happened');
    output('ConnectionsTableName', connections.tableName, 'Connections');
    output('BookingsTableName', bookings.tableName, 'Bookings');
  }
}
