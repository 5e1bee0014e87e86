/**
 * The in-line variant of this service, for comparison: a webhook that creates the event in Google Calendar before
 * it answers, with `stripe` and `googleapis`. It has ideal conditions: a fresh access token, keep-alive clients,
 * its own process. It keeps no record, and fails when Google fails.
 */
import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { google } from 'googleapis';
import Stripe from 'stripe';

export type InlineSettings = { googleUrl: string; accessToken: string; signingSecret: string };

/** A server that does not listen yet. */
export function inlineServer({ googleUrl, accessToken, signingSecret }: InlineSettings): Server {
  const stripe = new Stripe('sk_test_not_used');
  const auth = new google.auth.OAuth2();
  auth.setCredentials({ access_token: accessToken });
  const calendar = google.calendar({ version: 'v3', auth, rootUrl: `${googleUrl}/` });

  const confirmPayment = async (body: Buffer, signature: string) => {
    const event = stripe.webhooks.constructEvent(body, signature, signingSecret);
    if (event.type !== 'checkout.session.completed') return { received: true, ignored: event.type };
    const {
      booking_id = event.id,
      summary,
      location,
      description,
      start,
      end,
    } = event.data.object.metadata ?? {};
    const { data } = await calendar.events.insert({
      calendarId: 'primary',
      requestBody: {
        id: createHash('sha256').update(booking_id).digest('hex').slice(0, 40),
        summary: summary ?? null,
        location: location ?? null,
        description: description ?? null,
        start: { dateTime: start ?? null },
        end: { dateTime: end ?? null },
      },
    });
    return { received: true, event_id: data.id };
  };

  return createServer(async (request, response) => {
    try {
      const receipt = await confirmPayment(
        await buffer(request),
        String(request.headers['stripe-signature'] ?? ''),
      );
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(receipt));
    } catch (error) {
      response.writeHead(500).end(`${error}`);
    }
  });
}
