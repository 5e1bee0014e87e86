import { CfnOutput } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { routes, webhookRoute } from '../shared/lib/names.ts';
import type { Resources } from './functions.ts';

/** What the setup asks for. */
export function outputs(scope: Construct, resources: Omit<Resources, 'queue' | 'syncTimeout'>): void {
  const { baseUrl, googleClient, webhookSigning, keys, bus, connections, bookings } = resources;
  const output = (name: string, value: string, description: string) =>
    new CfnOutput(scope, name, { value, description });

  output('ApiUrl', baseUrl, 'The API');
  output('CallbackUrl', `${baseUrl}${routes.callback}`, 'To register as redirect URI at Google');
  output('WebhookUrl', `${baseUrl}${webhookRoute('stripe')}`, 'To register as webhook endpoint at Stripe');
  output(
    'StandardWebhookUrl',
    `${baseUrl}${webhookRoute('standard')}`,
    'For payment providers that sign by Standard Webhooks',
  );
  output('GoogleOauthClientSecret', googleClient.ref, "Needs Google's client secret JSON");
  output('WebhookSigningSecret', webhookSigning.ref, "Needs Stripe's signing secret");
  output('LinkSigningSecret', keys['link-signing'].ref, 'Keys with which the backend signs connect links');
  output('ApiSigningSecret', keys['api-signing'].ref, 'Keys with which the backend signs bearer tokens');
  output('TokenEncryptionSecret', keys['token-encryption'].ref, "Keys that encrypt Google's tokens");
  output('StateEncryptionSecret', keys['state-encryption'].ref, 'Keys that encrypt the OAuth state');
  output('PaymentMessagesSecret', keys['payment-messages'].ref, 'Keys for the MACs of payment messages');
  output('BusName', bus.eventBusName, 'The event bus for LeadsCalendar');
  output('ConnectionsTableName', connections.tableName, 'Connections');
  output('BookingsTableName', bookings.tableName, 'Bookings');
}
