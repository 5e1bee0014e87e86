/** Payments as Stripe reports them: real event shapes, signed by Stripe's own library. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Stripe } from 'stripe';

/** A booking as LeadsCalendar's backend puts it into the metadata of a payment: strings only. */
export type BookingMetadata = {
  booking_id: string;
  user_id: string;
  summary: string;
  start: string;
  end: string;
  location?: string;
  description?: string;
  time_zone?: string;
};

/** Milliseconds. */
export const hour = 3_600_000;

const fixtures = join(import.meta.dirname, '..', '..', 'test', 'fixtures', 'stripe');

/**
 * A `checkout.session.completed` event with a paid session.
 * @param now epoch milliseconds
 * @param newId unique part of the ids of event, session and payment
 */
export function checkoutCompleted(metadata: BookingMetadata, now: number, newId: string) {
  const { _source, ...session } = JSON.parse(readFileSync(join(fixtures, 'checkout-session.json'), 'utf8'));
  const created = Math.floor(now / 1000);
  return {
    id: `evt_${newId}`,
    object: 'event',
    api_version: '2026-08-26.dahlia',
    created,
    data: {
      object: {
        ...session,
        id: `cs_test_${newId}`,
        payment_intent: `pi_${newId}`,
        created: created - 60,
        expires_at: created + 86_400,
        currency: 'eur',
        amount_subtotal: 9000,
        amount_total: 9000,
        status: 'complete',
        payment_status: 'paid',
        metadata,
      },
    },
    livemode: false,
    pending_webhooks: 1,
    request: { id: null, idempotency_key: null },
    type: 'checkout.session.completed',
  };
}

/**
 * Signs an event as Stripe does and posts it.
 * @param now epoch milliseconds
 */
export async function deliver(
  event: object,
  to: { webhookUrl: string; signingSecret: string },
  now: number,
): Promise<{ status: number; body: string }> {
  const payload = JSON.stringify(event);
  const signature = Stripe.webhooks.generateTestHeaderString({
    payload,
    secret: to.signingSecret,
    timestamp: Math.floor(now / 1000),
  });
  const response = await fetch(to.webhookUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json; charset=utf-8', 'stripe-signature': signature },
    body: payload,
  });
  return { status: response.status, body: await response.text() };
}

/** The first of Stripe's signing secrets in the value of the secret `webhook-signing`. */
export function stripeSigningSecret(
  webhookSigning: string,
  provider: 'stripe' | 'stripe-connect' = 'stripe',
): string {
  const secrets = JSON.parse(webhookSigning) as Record<string, string[]>;
  return secrets[provider]?.[0] as string;
}

/** A booking for demos: one hour tomorrow, at 10:00 UTC. */
export function demoBooking(userId: string, bookingId: string, now: number): BookingMetadata {
  const start = Date.parse(`${rfc3339(now + 24 * hour).slice(0, 10)}T10:00:00Z`);
  return {
    booking_id: bookingId,
    user_id: userId,
    summary: 'Consultation (demo)',
    location: 'Example Street 1, Springfield',
    description: 'A demo booking, paid for with nobody’s money.',
    start: rfc3339(start),
    end: rfc3339(start + hour),
  };
}

/** An instant in UTC, to the second. */
export function rfc3339(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d+Z$/, 'Z');
}
