/** The sender of the latency part: Stripe, with payments that are signed before the clock starts. */
import { randomBytes } from 'node:crypto';
import { Agent, request as httpRequest, type RequestOptions } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Stripe } from 'stripe';
import { checkoutCompleted, demoBooking, hour } from '../../infra/cli/payment.ts';

/** Milliseconds. With Google at 500 ms five payments run concurrently, half of the local stack's limit. */
export const steadyEvery = 100;
/** The sender's connections in a burst. */
const burstConnections = 50;

/** A payment as Stripe would post it. Its booking's id is the summary of its event. */
export type Payment = { bookingId: string; payload: string; signature: string };

/** @param prefix of the booking's id */
export function newPayment(prefix: string, userId: string, secret: string): Payment {
  const newId = randomBytes(12).toString('hex');
  const bookingId = `${prefix}-${newId}`;
  const now = Date.now();
  // A month ahead, so that no check comes due while the bench runs.
  const booking = { ...demoBooking(userId, bookingId, now + 30 * 24 * hour), summary: bookingId };
  const payload = JSON.stringify(checkoutCompleted(booking, now, newId));
  const timestamp = Math.floor(now / 1000);
  return {
    bookingId,
    payload,
    signature: Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp }),
  };
}

/**
 * An answered payment: when it was sent and answered (epoch milliseconds), and how many milliseconds the answer
 * took.
 */
export type Answered = { bookingId: string; paidAt: number; answeredAt: number; answeredAfter: number };

/** Sends once per interval at a random moment of it: a regular pace would always meet the same background work. */
export function steadily<Item, Result>(
  items: Item[],
  act: (item: Item) => Promise<Result>,
  random: () => number,
): Promise<Result[]> {
  const startedAt = performance.now();
  return Promise.all(
    items.map(async (item, index) => {
      await sleep(startedAt + (index + random()) * steadyEvery - performance.now());
      return act(item);
    }),
  );
}

/** All payments are due at once, and wait here until one of the sender's connections is free. */
export async function atOnce(url: string, payments: Payment[]): Promise<Answered[]> {
  const paidAt = Date.now();
  const left = [...payments];
  const answered: Answered[] = [];
  const work = async () => {
    for (let next = left.shift(); next; next = left.shift())
      answered.push(await sendPayment(url, next, paidAt));
  };
  await Promise.all(Array.from({ length: burstConnections }, work));
  return answered;
}

/** @throws Error if the webhook refuses the payment, whose time would say nothing */
export async function sendPayment(
  url: string,
  { bookingId, payload, signature }: Payment,
  paidAt = Date.now(),
): Promise<Answered> {
  const headers = { 'content-type': 'application/json; charset=utf-8', 'stripe-signature': signature };
  const { status, body, ms } = await exchange(url, { method: 'POST', headers }, payload);
  if (status !== 200) throw new Error(`The webhook answered ${status}: ${body}`);
  return { bookingId, paidAt, answeredAt: Date.now(), answeredAfter: ms };
}

const agent = new Agent({ keepAlive: true });

/** Call after each load: a server may close a connection that was idle for seconds just as it is used again. */
export function closeConnections(): void {
  agent.destroy();
}

/**
 * One request over a keep-alive connection (unless the options name another agent), and the milliseconds until its
 * whole answer was received.
 */
export async function exchange(
  url: string,
  options: RequestOptions,
  content = '',
): Promise<{ status: number; body: string; ms: number }> {
  const startedAt = performance.now();
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>();
  httpRequest(url, { agent, ...options })
    .on('error', reject)
    .on('response', (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    })
    .end(content);
  const answer = await promise;
  return { ...answer, ms: performance.now() - startedAt };
}
