import Stripe from 'stripe';
import { AppError } from '../../lib/app-error.ts';
import { apiVersion } from './api.ts';
import { objectParsers } from './object-parsers.ts';

/** Events of Stripe that were created from `from` until before `through` (epoch seconds), the oldest first. */
type EventWindow = { from: number; through: number; events: Stripe.Event[] };

/** Seconds. */
const longestWindow = 3 * 3600;
/** Events that are held at a time, unless more were created in one second. */
const maxHeld = 1000;

/** A client of Stripe's API at `baseUrl`, for a connected account where one is given. */
export function stripeClient(key: string, baseUrl: string, stripeAccount?: string): Stripe {
  const { hostname: host, port, protocol } = new URL(baseUrl);
  return new Stripe(key, {
    apiVersion: apiVersion as Stripe.LatestApiVersion,
    host,
    ...(port ? { port } : {}),
    protocol: protocol.slice(0, -1) as 'https',
    timeout: 20_000,
    maxNetworkRetries: 2,
    telemetry: false,
    ...(stripeAccount === undefined ? {} : { stripeAccount }),
  });
}

/**
 * The events about payments that were created from `from` until before `to`, window by window, the oldest first. Stripe
 * lists the newest first, so a window is read whole; one with many events is made shorter. Stripe has those of 30 days.
 * Errors: `not_configured` where the key cannot be used, `stripe_unreachable` where Stripe cannot answer now; or
 * AccountUnavailable.
 */
export async function* listEvents(
  stripe: Stripe,
  { from, to }: { from: number; to: number },
): AsyncGenerator<EventWindow> {
  let length = longestWindow;
  for (let start = from; start < to; ) {
    const through = Math.min(start + length, to);
    const { events, isWhole } = await readWindow(stripe, start, through);
    if (isWhole) {
      yield { from: start, through, events };
      length = lengthFor(through - start, events.length);
      start = through;
    } else {
      // The newest of the window show how many to expect in a time.
      const seen = through - (events[0]?.created ?? start);
      length = Math.min(lengthFor(seen, events.length), Math.floor((through - start) / 2));
    }
  }
}

/** Seconds in which about two thirds of what can be held are expected, after `count` events in `length` seconds. */
function lengthFor(length: number, count: number): number {
  const expected = Math.floor((length * maxHeld * 2) / (3 * Math.max(count, 1)));
  return Math.min(Math.max(expected, 1), longestWindow);
}

/** The events of a window, or only its newest where there are too many, and a shorter one has fewer. */
async function readWindow(
  stripe: Stripe,
  from: number,
  to: number,
): Promise<{ events: Stripe.Event[]; isWhole: boolean }> {
  const types = [...objectParsers.keys()];
  const events: Stripe.Event[] = [];
  try {
    for await (const event of stripe.events.list({ types, created: { gte: from, lt: to }, limit: 100 })) {
      events.push(event);
      if (events.length > maxHeld && to - from > 1) return { events: events.reverse(), isWhole: false };
    }
  } catch (error) {
    throw stripeFailure(error);
  }
  return { events: events.reverse(), isWhole: true };
}

const lasting: [kind: new (...given: never[]) => Error, message: string][] = [
  [
    Stripe.errors.StripeAuthenticationError,
    'Stripe refuses the API key in the secret stripe-api: it was rolled, or is incomplete. Store a valid one.',
  ],
  [
    Stripe.errors.StripePermissionError,
    'The API key in the secret stripe-api may not read events. Give it the permission Events: read.',
  ],
];

/** The key has no access to a connected account: it was disconnected, or is of the other mode. */
export class AccountUnavailable extends Error {}

/** What a failed call of Stripe means: for the operator, or for a later try. */
function stripeFailure(error: unknown): unknown {
  if (!(error instanceof Stripe.errors.StripeError)) return error;
  if (error.code === 'account_invalid')
    return new AccountUnavailable('The connected account is unavailable.');
  const found = lasting.find(([kind]) => error instanceof kind);
  if (found) return new AppError('not_configured', found[1]);
  // Without Stripe's own message, which may quote the key.
  const why = error instanceof Stripe.errors.StripeRateLimitError ? 'limits the rate' : 'cannot answer';
  return new AppError('stripe_unreachable', `Stripe ${why} now. What was read is queued; the rest follows.`, {
    retryable: true,
    details: { status: String(error.statusCode ?? 'none') },
  });
}
