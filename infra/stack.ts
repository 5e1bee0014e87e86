import { Duration, RemovalPolicy, Stack, Validations } from 'aws-cdk-lib';
import { EventBus } from 'aws-cdk-lib/aws-events';
import { Key } from 'aws-cdk-lib/aws-kms';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { alarms } from './alarms.ts';
import { readConfig } from './config.ts';
import { deliverEvents } from './events-delivery.ts';
import { functions } from './functions.ts';
import { addRoutes, httpApi } from './http-api.ts';
import { outputs } from './outputs.ts';
import { bookingsQueue } from './queue.ts';
import { every } from './schedule.ts';
import { secrets } from './secrets.ts';
import { tables } from './tables.ts';

/** The whole service: what it stores, its functions, what starts them, its events and its alarms. */
export class LeadsCalendarGoogle extends Stack {
  constructor(scope: Construct, id: string) {
    super(scope, id, {
      description: 'Puts paid appointments of LeadsCalendar users into their Google Calendar.',
    });
    const config = readConfig((name) => this.node.tryGetContext(name));

    const key = new Key(this, 'Key', {
      description: 'Connections and bookings, at rest and in the queue',
      enableKeyRotation: true,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    const syncTimeout = Duration.seconds(30);
    const { queue, deadLetters } = bookingsQueue(this, key, syncTimeout);
    const bus = new EventBus(this, 'Bus');
    const api = httpApi(this, config);
    const baseUrl = config.publicUrl ?? api.apiEndpoint;
    const resources = { ...tables(this, key), ...secrets(this), queue, bus, baseUrl, syncTimeout };

    const defined = functions(this, config, resources);
    addRoutes(api, defined);
    startWithQueue(defined['booking-sync'], queue, config.syncConcurrency);
    every(Duration.minutes(1), defined['booking-reconcile']);
    every(Duration.minutes(config.refreshEveryMinutes), defined['token-refresh']);

    const undeliveredEvents = config.eventsUrl ? deliverEvents(this, bus, config.eventsUrl) : undefined;
    alarms(this, {
      api,
      queue,
      deadLetters,
      undeliveredEvents,
      functions: Object.values(defined),
      key,
      email: config.alarmEmail,
    });
    outputs(this, resources);
  }
}

function startWithQueue(bookingSync: IFunction, queue: Queue, maxConcurrency: number): void {
  bookingSync.addEventSourceMapping('Bookings', {
    eventSourceArn: queue.queueArn,
    batchSize: 10,
    reportBatchItemFailures: true,
    maxConcurrency,
  });
  Validations.of(bookingSync).acknowledge({
    id: 'Serverless-LambdaEventSourceMappingDestination',
    reason: "For streams. A queue's failures go to the dead-letter queue of its redrive policy.",
  });
}
