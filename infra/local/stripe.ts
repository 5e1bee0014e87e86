/** Stripe for the local stack: our simulator, whose restricted test key the functions get. */
import { type StripeSimulator, startStripeSimulator } from './stripe/simulator.ts';
import type { Answer, Destination } from './stripe/webhooks.ts';

type ProvidedStripe = {
  simulator: StripeSimulator;
  /** A restricted key of test mode. */
  apiKey: string;
};

/** @throws Error that says so when the port is taken */
export async function provideStripe(at: {
  port: number;
  stateFile: string | undefined;
}): Promise<ProvidedStripe> {
  const simulator = await startStripeSimulator(at);
  const key = simulator.control.keys().find(({ livemode, permissions }) => !livemode && permissions);
  if (!key) throw new Error('The simulated Stripe has no restricted test key. Start with --fresh.');
  return { simulator, apiKey: key.key };
}

/**
 * Registers an event at a running simulated Stripe, which delivers it. Without a destination its webhook is lost.
 * @returns the answer of the webhook; undefined where it was lost
 */
export async function payAtStripe(
  stripeUrl: string,
  event: object,
  to: Destination | undefined,
): Promise<Answer | undefined> {
  const response = await fetch(`${stripeUrl}/_simulator/${to ? 'webhooks' : 'events'}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(to ? { event, to } : { events: [event] }),
  });
  if (!response.ok) throw new Error(`The simulated Stripe answered ${response.status}.`);
  const { answer } = (await response.json()) as { answer?: Answer | null };
  return answer ?? undefined;
}
