import { CfnOutput } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { routes, webhookRoute } from '../shared/lib/names.ts';
import type { Resources } from './functions.ts';
import { type OutputName, outputReference } from './operator-reference.ts';

/** An output of the stack, with its description. */
export function output(scope: Construct, name: OutputName, value: string): void {
  new CfnOutput(scope, name, { value, description: outputReference[name] });
}

/** What the setup asks for. */
export function outputs(scope: Construct, resources: Omit<Resources, 'queue' | 'syncTimeout'>): void {
  const { baseUrl, googleClient, webhookSigning, keys, bus, connections, bookings } = resources;

  output(scope, 'ApiUrl', baseUrl);
  output(scope, 'CallbackUrl', `${baseUrl}${routes.callback}`);
  output(scope, 'WebhookUrl', `${baseUrl}${webhookRoute('stripe')}`);
  output(scope, 'StandardWebhookUrl', `${baseUrl}${webhookRoute('standard')}`);
  output(scope, 'GoogleOauthClientSecret', googleClient.ref);
  output(scope, 'WebhookSigningSecret', webhookSigning.ref);
  output(scope, 'LinkSigningSecret', keys['link-signing'].ref);
  output(scope, 'ApiSigningSecret', keys['api-signing'].ref);
  output(scope, 'TokenEncryptionSecret', keys['token-encryption'].ref);
  output(scope, 'StateEncryptionSecret', keys['state-encryption'].ref);
  output(scope, 'PaymentMessagesSecret', keys['payment-messages'].ref);
  output(scope, 'BusName', bus.eventBusName);
  output(scope, 'ConnectionsTableName', connections.tableName);
  output(scope, 'BookingsTableName', bookings.tableName);
}
