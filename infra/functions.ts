import { Duration } from 'aws-cdk-lib';
import type { IEventBus } from 'aws-cdk-lib/aws-events';
import { RecursiveLoop } from 'aws-cdk-lib/aws-lambda';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { env, indexes, type KeyPurpose, keySecrets, optionalScopes } from '../shared/lib/names.ts';
import { consumeFrom, publishTo, readSecret, sendTo, setting, useTable } from './access.ts';
import type { StackConfig } from './config.ts';
import type { Secrets } from './secrets.ts';
import { serviceFunctions } from './service-function.ts';
import { type StripeBus, stripeEventsTimeout } from './stripe-bus.ts';
import type { Tables } from './tables.ts';

/** What the functions use. */
interface Resources extends Secrets, Tables {
  readonly queue: Queue;
  readonly bus: IEventBus;
  /** Where browsers reach the API. */
  readonly baseUrl: string;
  /** The longest run of booking-sync. */
  readonly syncTimeout: Duration;
}

/** Between two runs of audit: one that did not get through goes on in the next. */
export const auditInterval = Duration.hours(1);

const scopes = { 'calendar-list': optionalScopes.calendarList, 'free-busy': optionalScopes.freeBusy };

const connected = setting(env.stripeConnect, 'true');

/** Every function, with all that it may do. */
export function functions(scope: Construct, config: StackConfig, resources: Resources) {
  const { connections, bookings, googleClient, webhookSigning, stripeApi, keys, queue, bus, baseUrl } =
    resources;
  const readKeys = (purpose: KeyPurpose) => readSecret(keys[purpose], keySecrets[purpose]);
  const readGoogleClient = readSecret(googleClient, env.googleClientSecretId);
  const publicUrl = setting(env.publicUrl, baseUrl);
  const indexShards = setting(env.indexShards, String(config.indexShards));
  const keepBookingsDays = setting(env.keepBookingsDays, String(config.keepBookingsDays));
  const refreshPolicy = setting(
    env.refreshPolicy,
    JSON.stringify({
      inUseFor: Duration.days(1).toSeconds(),
      margin: config.refreshMarginMinutes * 60,
      keepAlive: config.keepAliveDays * 86_400,
    }),
  );
  /** What reads and refreshes the tokens of connections. */
  const tokens = [readKeys('token-encryption'), readGoogleClient, indexShards, refreshPolicy];
  const paymentPolicy = setting(
    env.paymentPolicy,
    JSON.stringify({ refunded: config.onFullRefund, disputeLost: config.onDisputeLost }),
  );
  const atOnce = (runs: number) =>
    config.reservedConcurrency > 0 ? { reservedConcurrentExecutions: runs } : {};

  return serviceFunctions(scope, config.logRetentionDays, {
    health: {
      description: 'Says that API and Lambda are available',
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
      // The API waits 30 seconds: the function must time out first, with a page that says so.
      timeout: Duration.seconds(29),
      memorySize: 512,
      ...atOnce(config.reservedConcurrency),
      access: [
        readKeys('state-encryption'),
        ...tokens,
        publicUrl,
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
        ...tokens,
        useTable(connections, env.connectionsTable, {
          items: ['GetItem', 'PutItem', 'UpdateItem'],
          query: [indexes.googleAccount],
        }),
        // Bookings may wait for a newly chosen calendar.
        sendTo(queue),
        publishTo(bus),
      ],
    },
    bookings: {
      description: 'Declares, shows, changes and cancels bookings of a user, and binds payment accounts',
      timeout: Duration.seconds(15),
      memorySize: 512,
      access: [
        readKeys('api-signing'),
        indexShards,
        keepBookingsDays,
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
        ...stripeTranslation(stripeApi, config),
        readKeys('payment-messages'),
        sendTo(queue),
      ],
    },
    'booking-sync': {
      description: 'Makes the calendar event agree with its booking',
      timeout: resources.syncTimeout,
      memorySize: 1024,
      access: [
        readKeys('payment-messages'),
        ...tokens,
        keepBookingsDays,
        setting(env.conflictPolicy, config.onConflict),
        paymentPolicy,
        useTable(connections, env.connectionsTable, { items: ['GetItem', 'BatchGetItem', 'UpdateItem'] }),
        useTable(bookings, env.bookingsTable, {
          items: ['BatchGetItem', 'PutItem'],
          query: [indexes.waiting],
        }),
        consumeFrom(queue),
        sendTo(queue),
        publishTo(bus),
      ],
      // It sends itself the next page of a long list of waiting bookings through the queue that it reads. Lambda would
      // take that for a runaway loop and stop it; the end of the list ends it.
      recursiveLoop: RecursiveLoop.ALLOW,
    },
    'payment-recovery': {
      description: 'Queues payments whose webhook did not arrive',
      timeout: Duration.minutes(10),
      memorySize: 512,
      // A run that outlasts its interval leaves no work for a second one beside it.
      ...atOnce(1),
      access: [
        ...stripeTranslation(stripeApi, config),
        ...(config.stripeConnect ? [connected] : []),
        indexShards,
        readKeys('payment-messages'),
        // Its progress, whether payments are on record, and the accounts that users have bound.
        useTable(bookings, env.bookingsTable, {
          items: ['GetItem', 'UpdateItem'],
          query: config.stripeConnect ? [indexes.attention] : [],
        }),
        sendTo(queue),
      ],
    },
    audit: {
      description: 'Compares bookings with the calendars, once a day',
      timeout: Duration.minutes(15),
      memorySize: 512,
      ...atOnce(1),
      access: [
        ...tokens,
        keepBookingsDays,
        paymentPolicy,
        useTable(connections, env.connectionsTable, {
          items: ['GetItem', 'UpdateItem'],
          query: [indexes.tokenKey],
        }),
        // Its progress and what it finds; it changes no booking.
        useTable(bookings, env.bookingsTable, {
          items: ['GetItem', 'BatchGetItem', 'UpdateItem'],
          query: [indexes.userBookings, indexes.attention],
        }),
        publishTo(bus),
      ],
    },
    'booking-reconcile': {
      description: 'Requeues due bookings',
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
      // A run that outlasts its interval leaves no work for a second one beside it.
      ...atOnce(1),
      access: [
        ...tokens,
        setting(env.refreshConcurrency, String(config.refreshConcurrency)),
        useTable(connections, env.connectionsTable, {
          items: ['GetItem', 'UpdateItem'],
          query: [indexes.refreshDue, indexes.tokenKey, indexes.googleAccount],
        }),
        publishTo(bus),
      ],
    },
  });
}

/** What translates events of Stripe. The API key fetches what some events only reference. */
function stripeTranslation(stripeApi: Secrets['stripeApi'], config: StackConfig) {
  return [
    readSecret(stripeApi, env.stripeApiSecretId),
    setting(env.stripeMode, config.stripeMode),
    setting(env.invoicesPaidOutOfBand, config.invoicesPaidOutOfBand),
  ];
}

/** The function that reads the events of `bus`, with all that it may do. */
export function stripeEventsFunction(
  scope: Construct,
  config: StackConfig,
  bus: StripeBus,
  { stripeApi, keys, queue }: Pick<Resources, 'stripeApi' | 'keys' | 'queue'>,
) {
  return serviceFunctions(scope, config.logRetentionDays, {
    'stripe-events': {
      description: "Queues the payments that Stripe's event bus delivers",
      timeout: stripeEventsTimeout,
      memorySize: 512,
      access: [
        setting(env.stripeEventSource, bus.source),
        ...(config.stripeConnect ? [connected] : []),
        ...stripeTranslation(stripeApi, config),
        readSecret(keys['payment-messages'], keySecrets['payment-messages']),
        consumeFrom(bus.queue),
        sendTo(queue),
      ],
    },
  });
}
