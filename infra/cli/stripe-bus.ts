/** Events of Stripe through the event bus of the local stack, instead of the webhook. */
import { EventBridgeClient, PutPartnerEventsCommand } from '@aws-sdk/client-eventbridge';
import { localCredentials } from '../local/aws/dynamodb.ts';
import { region } from '../local/aws/template.ts';
import type { LocalStack } from '../local/stack.ts';
import type { checkoutCompleted } from './payment.ts';

/** Publishes an event as Stripe does. Answers as the webhook would. */
export async function putOnStripeBus(
  event: ReturnType<typeof checkoutCompleted>,
  { endpoints, outputs }: Pick<LocalStack, 'endpoints' | 'outputs'>,
): Promise<{ status: number; body: string }> {
  const { StripeEventSource: Source } = outputs;
  if (Source === undefined)
    return { status: 404, body: 'there is no event bus of Stripe: npm start -- --stripe-events' };
  const client = new EventBridgeClient({
    endpoint: endpoints.eventBridge,
    region,
    credentials: localCredentials,
  });
  try {
    const Entries = [{ Source, DetailType: event.type, Detail: JSON.stringify(event), Time: new Date() }];
    const { Entries: [answer] = [] } = await client.send(new PutPartnerEventsCommand({ Entries }));
    if (answer?.ErrorCode) return { status: 400, body: `${answer.ErrorCode}: ${answer.ErrorMessage}` };
    return {
      status: 200,
      body: JSON.stringify({ received: true, payment_id: event.data.object.payment_intent }),
    };
  } finally {
    client.destroy();
  }
}
