import { Duration, Names, RemovalPolicy, Validations } from 'aws-cdk-lib';
import type { HttpApi } from 'aws-cdk-lib/aws-apigatewayv2';
import { EventBus, type IEventBus } from 'aws-cdk-lib/aws-events';
import { type IKey, Key } from 'aws-cdk-lib/aws-kms';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import type { ITopic } from 'aws-cdk-lib/aws-sns';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { type ProviderName, providers } from '../functions/payment-confirmed/providers.ts';
import { alarms } from './alarms.ts';
import { type Options, publicUrlOf, readConfig, type StackConfig, stackConfig } from './config.ts';
import { dashboard } from './dashboard.ts';
import { type Domain, mapDomain } from './domain.ts';
import { deliverEvents, type EventsDelivery } from './events-delivery.ts';
import { auditInterval, functions, stripeEventsFunction } from './functions.ts';
import { addRoutes, httpApi } from './http-api.ts';
import { bookingsQueue } from './queue.ts';
import { every } from './schedule.ts';
import { type Secrets, secrets } from './secrets.ts';
import { type StripeBus, stripeBus } from './stripe-bus.ts';
import { type Tables, tables } from './tables.ts';

type LeadsCalendarGoogleProps = Options & {
  /** Instead of a key of its own: encrypts tables, queue and alarms. */
  readonly key?: IKey;
  /** Instead of a bus of its own. */
  readonly bus?: IEventBus;
  /** Instead of a topic of its own for `alarmEmail`: gets every alarm. */
  readonly alarmTopic?: ITopic;
  /**
   * Whether the tables refuse to be deleted (default: true). Without it, a first deploy that fails leaves nothing behind.
   */
  readonly deletionProtection?: boolean;
};

/**
 * The whole service: what it stores, its functions, what starts them, its events and its alarms. Options that are not
 * given are read from the CDK context, else their default holds.
 */
export class LeadsCalendarGoogle extends Construct {
  /** The options with all defaults. */
  readonly options: StackConfig;
  readonly api: HttpApi;
  /** Where browsers and webhooks reach the API. */
  readonly baseUrl: string;
  readonly domain: Domain | undefined;
  readonly key: IKey;
  readonly bus: IEventBus;
  readonly queue: Queue;
  readonly deadLetters: Queue;
  readonly tables: Tables;
  readonly secrets: Secrets;
  /** With `eventsUrl`. */
  readonly eventsDelivery: EventsDelivery | undefined;
  /** With `stripeEventSource`. */
  readonly stripeBus: StripeBus | undefined;
  /** By the names of their folders in functions/. */
  readonly functions: Readonly<Record<string, IFunction>>;

  constructor(scope: Construct, id: string, props: LeadsCalendarGoogleProps = {}) {
    super(scope, id);
    const { key, bus, alarmTopic, deletionProtection = true, ...given } = props;
    this.options = readConfig({ ...contextOf(this), ...given });
    const config = this.options;

    this.key = key ?? ownKey(this);
    // The cast is for CDK's types, which disagree on an optional property.
    this.bus = bus ?? (ownBus(this) as IEventBus);
    this.tables = tables(this, this.key, deletionProtection);
    this.secrets = secrets(this);
    const syncTimeout = Duration.seconds(30);
    const { queue, deadLetters } = bookingsQueue(this, this.key, syncTimeout);
    this.queue = queue;
    this.deadLetters = deadLetters;
    const { api, stage } = httpApi(this, config);
    this.api = api;
    this.domain = mapDomain(this, config, api, stage);
    this.baseUrl = publicUrlOf(config) ?? api.apiEndpoint;

    const defined = functions(this, config, {
      ...this.tables,
      ...this.secrets,
      queue,
      bus: this.bus,
      baseUrl: this.baseUrl,
      syncTimeout,
    });
    addRoutes(api, config, defined);
    startWithQueue(defined['booking-sync'], 'Bookings', queue, config.syncConcurrency);
    every(Duration.minutes(1), defined['booking-reconcile']);
    const refreshInterval = Duration.minutes(config.refreshEveryMinutes);
    every(refreshInterval, defined['token-refresh']);
    const recoveryInterval = Duration.minutes(config.recoverEveryMinutes);
    every(recoveryInterval, defined['payment-recovery']);
    every(auditInterval, defined.audit);

    this.stripeBus = config.stripeEventSource ? stripeBus(this, config.stripeEventSource) : undefined;
    const ofStripe =
      this.stripeBus && stripeEventsFunction(this, config, this.stripeBus, { ...this.secrets, queue });
    if (this.stripeBus && ofStripe) startWithQueue(ofStripe['stripe-events'], 'Events', this.stripeBus.queue);
    this.functions = { ...defined, ...ofStripe };

    this.eventsDelivery = config.eventsUrl ? deliverEvents(this, this.bus, config.eventsUrl) : undefined;
    const watched = alarms(this, {
      api,
      providers: servedProviders(config),
      queue,
      deadLetters,
      undeliveredEvents: this.eventsDelivery?.undelivered,
      stripeBus: this.stripeBus,
      functions: Object.values(this.functions),
      refreshInterval,
      recoveryInterval,
      key: this.key,
      email: config.alarmEmail,
      topic: alarmTopic,
    });
    dashboard(this, {
      providers: servedProviders(config),
      alarms: watched,
      functions: this.functions,
      queue,
      deadLetters,
    });
  }
}

function servedProviders({ stripeConnect }: StackConfig): ProviderName[] {
  return providers.map(({ name }) => name).filter((name) => name !== 'stripe-connect' || stripeConnect);
}

/** The options that the CDK context has. */
function contextOf(scope: Construct): Record<string, unknown> {
  const keys = Object.keys(stackConfig.entries);
  return Object.fromEntries(
    keys.flatMap((key) => {
      const value: unknown = scope.node.tryGetContext(key);
      return value === undefined ? [] : [[key, value]];
    }),
  );
}

/** Named after the stack: CDK's own name would be the same in every stack of the account. */
function ownBus(scope: Construct): EventBus {
  return new EventBus(scope, 'Bus', { eventBusName: Names.uniqueResourceName(scope, { maxLength: 200 }) });
}

function ownKey(scope: Construct): Key {
  return new Key(scope, 'Key', {
    description: 'Connections and bookings, at rest and in the queue',
    enableKeyRotation: true,
    removalPolicy: RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
  });
}

function startWithQueue(fn: IFunction, id: string, queue: Queue, maxConcurrency?: number): void {
  fn.addEventSourceMapping(id, {
    eventSourceArn: queue.queueArn,
    batchSize: 10,
    reportBatchItemFailures: true,
    ...(maxConcurrency === undefined ? {} : { maxConcurrency }),
  });
  Validations.of(fn).acknowledge({
    id: 'Serverless-LambdaEventSourceMappingDestination',
    reason: "For streams. A queue's failures go to the dead-letter queue of its redrive policy.",
  });
}
