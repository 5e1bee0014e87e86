/** Refunds and disputes are compared with the captured amount, in any order and for any version of Stripe's API. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergeFacts, type PaymentFacts, standingOf } from '../../shared/booking/payment.ts';
import { parseStripeEvent } from '../../shared/payments/stripe/events.ts';
import { stripeSettings } from '../fixtures/stripe-settings.ts';
import { charge, intent, refund, snapshot } from './stripe.ts';

const generations = {
  'a version before 2025-03-31.basil': '2024-06-20',
  '2025-03-31.basil': '2025-03-31.basil',
  'a version of today': '2026-10-28.endive',
};
/** Amounts in cents: what is authorized, captured, and refunded of the captured amount. */
type Amounts = { authorized: number; captured: number; refunds: number[] };

/** The events of a payment that is captured in part. Older versions also refund the remainder. */
function eventsOf({ authorized, captured, refunds }: Amounts, api_version: string): object[] {
  const remainder = authorized - captured;
  const isOld = api_version < '2025-03-31';
  const all = [...(isOld && remainder > 0 ? [remainder] : []), ...refunds];
  const total = all.reduce((sum, each) => sum + each, 0);
  const event = (type: string, object: object) => snapshot(type, object, { api_version });
  return [
    event('payment_intent.succeeded', intent({ amount: authorized, amount_received: captured })),
    ...all.map((amount, index) =>
      event('refund.created', refund({ id: `re_${index}`, amount, status: 'succeeded' })),
    ),
    ...(total > 0
      ? [
          event(
            'charge.refunded',
            charge({
              amount: authorized,
              amount_captured: captured,
              amount_refunded: total,
              refunded: total === (isOld ? authorized : captured),
            }),
          ),
        ]
      : []),
  ];
}

async function factsOf(event: object): Promise<PaymentFacts> {
  const translation = await parseStripeEvent(event, stripeSettings, async () => ({}));
  if ('ignored' in translation) throw new Error(translation.ignored);
  return translation.payment.facts;
}

const statusAfter = async (events: object[]) =>
  standingOf((await Promise.all(events.map(factsOf))).reduce(mergeFacts, {}));

const permutations = <T>(items: T[]): T[][] =>
  items.length < 2
    ? [items]
    : items.flatMap((first, index) =>
        permutations(items.filter((_, at) => at !== index)).map((rest) => [first, ...rest]),
      );

describe.each(Object.entries(generations))('in %s', (_, api_version) => {
  it('a full refund after a partial capture ends refunded, in every order of the events', async () => {
    const events = eventsOf({ authorized: 10_000, captured: 4000, refunds: [4000] }, api_version);
    for (const order of permutations(events)) expect(await statusAfter(order)).toBe('refunded');
  });

  it('a partial capture without a refund stays paid, also if half is captured', async () => {
    for (const captured of [4000, 5000, 6000]) {
      const events = eventsOf({ authorized: 10_000, captured, refunds: [] }, api_version);
      for (const order of permutations(events)) expect(await statusAfter(order)).toBe('paid');
    }
  });

  it('a payment is refunded exactly when its refunds reach the captured amount', async () => {
    const amounts = fc
      .tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 20 }), fc.nat(20), fc.boolean())
      .map(([captured, remainder, first, isFull]): Amounts => {
        const part = Math.min(first, captured);
        return {
          authorized: captured + remainder,
          captured,
          refunds: [part, isFull ? captured - part : 0].filter((each) => each > 0),
        };
      });
    await fc.assert(
      fc.asyncProperty(amounts, fc.infiniteStream(fc.nat()), async (amounts, numbers) => {
        const events = eventsOf(amounts, api_version);
        const shuffled = [...events, ...events]
          .map((event) => [numbers.next().value as number, event] as const)
          .sort(([a], [b]) => a - b)
          .map(([, event]) => event);
        const refunded = amounts.refunds.reduce((sum, each) => sum + each, 0);
        const expected =
          refunded === 0 ? 'paid' : refunded < amounts.captured ? 'partly_refunded' : 'refunded';
        expect(await statusAfter(shuffled)).toBe(expected);
      }),
      { numRuns: 150 },
    );
  });
});

it('a lost dispute over part of the captured amount leaves the payment partly refunded', async () => {
  const paid = snapshot('payment_intent.succeeded', intent({ amount: 10_000, amount_received: 9000 }));
  const dispute = (amount: number) =>
    snapshot('charge.dispute.closed', {
      id: 'dp_1',
      charge: 'ch_1',
      payment_intent: 'pi_1',
      amount,
      status: 'lost',
    });
  expect(await statusAfter([paid, dispute(1000)])).toBe('partly_refunded');
  expect(await statusAfter([dispute(9000), paid])).toBe('dispute_lost');
});
