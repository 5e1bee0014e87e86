/** Those who call the service: Stripe, LeadsCalendar's backend and users. None of them gives up. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectUser, type ReachableStack } from '../../infra/local/demo-user.ts';
import { bearerToken } from '../../infra/local/links.ts';
import { checkoutCompleted, deliver, stripeSigningSecret } from '../../infra/local/payment.ts';
import { readLocalSecret, readStackAddress } from '../../infra/local/state-files.ts';
import { routes } from '../../shared/names.ts';
import { charge, snapshot } from '../unit/stripe.ts';
import type { ChaosUser, PlannedBooking } from './plan.ts';

/** What the callers were answered: how often by kind (`200`, `503`, `refused`, `cut off`). */
export type Answers = Map<string, number>;

export type World = {
  stateDir: string;
  random: () => number;
  /** Ends all trying. */
  signal: AbortSignal;
};

/** The events that Stripe sends for a booking. */
export function stripeEvents(booking: PlannedBooking, now: number): object[] {
  const { metadata, stripeId, fate } = booking;
  const paid = checkoutCompleted(metadata, now, stripeId);
  if (fate !== 'refunded') return [paid];
  const refunded = snapshot('charge.refunded', charge({ payment_intent: `pi_${stripeId}` }), {
    id: `evt_refund_${stripeId}`,
  });
  return [paid, refunded];
}

/** Delivers an event until it is answered 2xx, signed anew each time, as Stripe does (with hours in between). */
export function deliverEvent(world: World, answers: Answers, event: object): Promise<void> {
  const { url, secrets, secretNames } = reach(world);
  const to = {
    webhookUrl: `${url}${routes.stripeWebhook}`,
    signingSecret: stripeSigningSecret(secrets.get(secretNames.webhookSigning) as string),
  };
  return insist(world, answers, async () => (await deliver(event, to, Date.now())).status);
}

/** Moves or cancels a booking, as LeadsCalendar's backend does once it knows that the booking is known here. */
export function changeBooking(world: World, answers: Answers, booking: PlannedBooking): Promise<void> {
  const { metadata, fate, movedTo } = booking;
  const { url, secrets, secretNames } = reach(world);
  const cancel = { method: 'DELETE' };
  const move = { method: 'PATCH', body: JSON.stringify(movedTo) };
  return insist(world, answers, async () => {
    const tokenKeys = secrets.get(secretNames.tokenKeys) as string;
    const token = await bearerToken(tokenKeys, metadata.user_id, Date.now());
    const response = await fetch(`${url}${routes.booking.replace('{id}', metadata.booking_id)}`, {
      ...(fate === 'cancelled' ? cancel : move),
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    });
    await response.text();
    return response.status;
  });
}

/** Follows connect links until one has connected the user. */
export function connect(world: World, answers: Answers, { userId, account }: ChaosUser): Promise<void> {
  return insist(world, answers, async () => {
    const at = { userId, account: account.email, now: Date.now() };
    const { response } = await connectUser(reach(world), at);
    await response.text();
    return response.status;
  });
}

/** The service as its operator and LeadsCalendar know it, whichever process it runs in at the moment. */
function reach({ stateDir }: World): ReachableStack {
  const { url, secretNames } = readStackAddress(stateDir);
  return { url, secretNames, secrets: { get: (name) => readLocalSecret(stateDir, name) } };
}

async function insist(
  { random, signal }: World,
  answers: Answers,
  call: () => Promise<number>,
): Promise<void> {
  while (!signal.aborted) {
    const answer = await call().catch(kindOfFailure);
    answers.set(String(answer), (answers.get(String(answer)) ?? 0) + 1);
    if (typeof answer === 'number' && answer < 300) return;
    await sleep(300 + 1500 * random());
  }
}

/** Nobody listened, or the connection ended before the answer: what was asked for may have been done. */
function kindOfFailure(error: unknown): string {
  const { code } = ((error as Error).cause ?? {}) as { code?: string };
  if (code === 'ECONNREFUSED') return 'refused';
  return error instanceof TypeError ? 'cut off' : 'error page';
}
