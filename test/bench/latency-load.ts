/** The sender of the latency part: Stripe, with payments that are signed before the clock runs. */
import { randomBytes } from 'node:crypto';
import { Agent, request as httpRequest, type RequestOptions } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Stripe } from 'stripe';
import { checkoutCompleted, demoBooking, hour } from '../../infra/local/payment.ts';

/** Milliseconds. With Google at 500 ms five payments are under way, half of what the local stack takes on at a time. */
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
  // A month ahead, so that nothing of it comes due while the bench runs.
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
 * A payment that was answered: when it was made, and when the answer was there (epoch milliseconds); and how many
 * milliseconds the answer took.
 */
export type Answered = { bookingId: string; paidAt: number; answeredAt: number; answeredAfter: number };

/** Acts on one in each interval, at any moment of it: even ones would always meet what earlier ones cause. */
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

/** All payments are made in the same moment, and wait here until one of the sender's connections is free for them. */
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

/** @throws Error where the webhook does not take the payment: how long that took says nothing */
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

/** To be called after each load: a server may close a connection that has been idle for seconds while it is used again. */
export function closeConnections(): void {
  agent.destroy();
}

/** One request, over a connection that is kept unless the options name another agent, and the milliseconds until all of its answer was there. */
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
