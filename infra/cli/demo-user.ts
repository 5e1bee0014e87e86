/** Acts as a user and as the payment provider over HTTP: for the demo and for tests. */
import { webhookRoute } from '../../shared/lib/names.ts';
import { walkConsent } from '../local/google/walk-consent.ts';
import type { LocalStack } from '../local/stack.ts';
import { connectLink } from './links.ts';
import { type BookingMetadata, checkoutCompleted, deliver, stripeSigningSecret } from './payment.ts';

export type ReachableStack = Pick<LocalStack, 'url' | 'secretNames'> & {
  secrets: Pick<LocalStack['secrets'], 'get'>;
};

/**
 * Connects a user's calendar as a browser does: follows a connect link to Google, allows, and returns with the
 * cookies.
 * @param account e-mail address of the simulated Google account
 * @returns the URL of the callback and its answer, redirects not followed
 * @throws Error with the answer when the connect link does not redirect to Google
 */
export async function connectUser(
  { url, secrets, secretNames }: ReachableStack,
  { userId, account, now }: { userId: string; account: string; now: number },
): Promise<{ callbackUrl: string; response: Response }> {
  const link = await connectLink(secrets.get(secretNames.keys['link-signing']) as string, url, userId, now);
  const start = await fetch(link, { redirect: 'manual' });
  const consentPage = start.headers.get('location');
  if (!consentPage) throw new Error(`The connect link answered ${start.status}: ${await start.text()}`);
  const cookie = start.headers
    .getSetCookie()
    .map((each) => each.split(';')[0])
    .join('; ');
  const callbackUrl = await walkConsent(consentPage, { account });
  return { callbackUrl, response: await fetch(callbackUrl, { headers: { cookie }, redirect: 'manual' }) };
}

/**
 * Pays for a booking: a signed `checkout.session.completed` at the stack's webhook.
 * @param newId unique part of the ids of event, session and payment
 */
export function payForBooking(
  { url, secrets, secretNames }: ReachableStack,
  booking: BookingMetadata,
  { now, newId }: { now: number; newId: string },
): Promise<{ status: number; body: string }> {
  const signingSecret = stripeSigningSecret(secrets.get(secretNames.webhookSigning) as string);
  const webhookUrl = `${url}${webhookRoute('stripe')}`;
  return deliver(checkoutCompleted(booking, now, newId), { webhookUrl, signingSecret }, now);
}
