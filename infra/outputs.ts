import { CfnOutput } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { routes, webhookRoute } from '../shared/lib/names.ts';
import type { LeadsCalendarGoogle } from './leads-calendar-google.ts';
import { type OutputName, outputReference } from './operator-reference.ts';

/** What setup and operation ask for, as outputs of the stack. */
export function outputs(scope: Construct, service: LeadsCalendarGoogle): void {
  const { options, baseUrl, tables, secrets, bus, queue, deadLetters, domain, eventsDelivery, stripeBus } =
    service;
  const { googleClient, webhookSigning, stripeApi, keys } = secrets;
  const values: Partial<Record<OutputName, string>> = {
    ApiUrl: baseUrl,
    CallbackUrl: `${baseUrl}${routes.callback}`,
    WebhookUrl: `${baseUrl}${webhookRoute('stripe')}`,
    StandardWebhookUrl: `${baseUrl}${webhookRoute('standard')}`,
    ...(options.stripeConnect ? { ConnectWebhookUrl: `${baseUrl}${webhookRoute('stripe-connect')}` } : {}),
    GoogleOauthClientSecret: googleClient.ref,
    WebhookSigningSecret: webhookSigning.ref,
    StripeApiSecret: stripeApi.ref,
    LinkSigningSecret: keys['link-signing'].ref,
    ApiSigningSecret: keys['api-signing'].ref,
    TokenEncryptionSecret: keys['token-encryption'].ref,
    StateEncryptionSecret: keys['state-encryption'].ref,
    PaymentMessagesSecret: keys['payment-messages'].ref,
    BusName: bus.eventBusName,
    ConnectionsTableName: tables.connections.tableName,
    BookingsTableName: tables.bookings.tableName,
    QueueUrl: queue.queueUrl,
    DeadLettersUrl: deadLetters.queueUrl,
    ...(eventsDelivery
      ? {
          EventsUrl: eventsDelivery.url,
          EventsKeySecret: eventsDelivery.keySecretArn,
          EventsConnectionName: eventsDelivery.connectionName,
          UndeliveredEventsUrl: eventsDelivery.undelivered.queueUrl,
        }
      : {}),
    ...(stripeBus
      ? {
          StripeEventSource: stripeBus.source,
          StripeEventsQueueUrl: stripeBus.queue.queueUrl,
          StripeEventsDeadLettersUrl: stripeBus.deadLetters.queueUrl,
        }
      : {}),
    ...(domain ? { DomainTarget: domain.target } : {}),
  };
  for (const [name, value] of Object.entries(values))
    new CfnOutput(scope, name, { value, description: outputReference[name as OutputName] });
}
