import { createHmac } from 'node:crypto';
import { objectPaths } from './api.ts';
import type { StripeEvent } from './event-log.ts';

/** Where an event is delivered, and in which form: with its object, or thin, with a reference to it. */
export type Destination = { url: string; signingSecret: string; form?: 'snapshot' | 'thin' };

/** The endpoint's answer; `status` 0 is no answer. */
export type Answer = { status: number; body: string };

const timeoutMs = 30_000;

/** Delivers an event once, signed as Stripe does. Stripe itself would retry for up to three days. */
export async function deliverWebhook(
  event: StripeEvent,
  { url, signingSecret, form = 'snapshot' }: Destination,
  now: number,
): Promise<Answer> {
  const payload = JSON.stringify(form === 'thin' ? thinEvent(event) : event);
  const timestamp = Math.floor(now / 1000);
  const signature = createHmac('sha256', signingSecret).update(`${timestamp}.${payload}`).digest('hex');
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json; charset=utf-8',
        'stripe-signature': `t=${timestamp},v1=${signature}`,
      },
      body: payload,
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    });
    return { status: response.status, body: await response.text() };
  } catch {
    return { status: 0, body: '' };
  }
}

/** The thin form of an event. */
function thinEvent({ id, type, created, livemode, account, data: { object } }: StripeEvent): object {
  const [path] = objectPaths.find(([, type]) => type === object.object) ?? [];
  return {
    id: `${id}_thin`,
    object: 'v2.core.event',
    type: `v1.${type}`,
    created: new Date(created * 1000).toISOString(),
    livemode,
    ...(account ? { context: account } : {}),
    reason: null,
    related_object: path ? { id: object.id, type: object.object, url: `/v1/${path}/${object.id}` } : null,
    snapshot_event: id,
  };
}
