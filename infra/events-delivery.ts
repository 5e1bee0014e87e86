import { Aws, Duration, Stack, Validations } from 'aws-cdk-lib';
import {
  ApiDestination,
  Authorization,
  Connection,
  HttpMethod,
  type IApiDestination,
  type IEventBus,
  Rule,
  RuleTargetInput,
} from 'aws-cdk-lib/aws-events';
import { ApiDestination as ApiDestinationTarget } from 'aws-cdk-lib/aws-events-targets';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { eventSource } from '../shared/lib/names.ts';
import { eventsKeyHeader } from './operator-reference.ts';

export interface EventsDelivery {
  readonly url: string;
  /** The queue of events that could not be delivered within a day, or that the receiver refused. */
  readonly undelivered: Queue;
  readonly keySecretArn: string;
  readonly connectionName: string;
}

/**
 * Posts every event of ours on the bus to `url`: its body is the event as docs/events.schema.json describes it,
 * without EventBridge's envelope.
 */
export function deliverEvents(scope: Construct, bus: IEventBus, url: string): EventsDelivery {
  const own = new Construct(scope, 'EventsDelivery');

  const key = new Secret(own, 'Key', {
    description: `Sent as ${eventsKeyHeader} with every event. Generated; the receiver compares it.`,
    generateSecretString: { passwordLength: 48, excludePunctuation: true },
  });
  Validations.of(key).acknowledge({
    id: 'AwsSolutions-SMG4',
    reason: 'The receiver has to know a new key before it is used, which no timer can ensure.',
  });

  // Encrypted with SQS's own key: ours would have to allow all of EventBridge.
  const undelivered = new Queue(own, 'DeadLetters', {
    encryption: QueueEncryption.SQS_MANAGED,
    enforceSSL: true,
    retentionPeriod: Duration.days(14),
  });
  const reason = 'It is the dead-letter queue of the rule below. An alarm rises when it holds a message.';
  Validations.of(undelivered).acknowledge(
    { id: 'AwsSolutions-SQS3', reason },
    { id: 'Serverless-SQSRedrivePolicy', reason },
  );

  const connection = new Connection(own, 'Connection', {
    description: 'Authenticates our events to LeadsCalendar',
    // CloudFormation reads the secret when it deploys: the template holds a reference only.
    authorization: Authorization.apiKey(eventsKeyHeader, key.secretValue),
  });
  const destination = new ApiDestination(own, 'Destination', {
    description: 'Where LeadsCalendar receives events',
    connection,
    endpoint: url,
    httpMethod: HttpMethod.POST,
    // Protects the receiver from a burst after an outage.
    rateLimitPerSecond: 50,
  });
  const role = new Role(own, 'Role', {
    assumedBy: new ServicePrincipal('events.amazonaws.com', {
      // Only rules of this bus may act as this role.
      conditions: {
        StringEquals: { 'aws:SourceAccount': Aws.ACCOUNT_ID },
        ArnLike: {
          'aws:SourceArn': Stack.of(scope).formatArn({
            service: 'events',
            resource: 'rule',
            resourceName: `${bus.eventBusName}/*`,
          }),
        },
      },
    }),
  });
  new Rule(own, 'Rule', {
    description: 'Delivers the events of this service by HTTPS',
    eventBus: bus,
    eventPattern: { source: [eventSource] },
    targets: [
      // The cast is for CDK's types, which disagree on an optional property.
      new ApiDestinationTarget(destination as IApiDestination, {
        eventRole: role,
        event: RuleTargetInput.fromEventPath('$.detail'),
        deadLetterQueue: undelivered,
        // EventBridge's maximum: a receiver that is unavailable for hours loses nothing.
        maxEventAge: Duration.days(1),
        retryAttempts: 185,
      }),
    ],
  });

  return { url, undelivered, keySecretArn: key.secretArn, connectionName: connection.connectionName };
}
