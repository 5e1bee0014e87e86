import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type DisputeState,
  mergeFacts,
  type PaymentFacts,
  standingOf,
} from '../../shared/booking/payment.ts';

const paid = { confirmedAt: '2026-11-23T10:00:00Z', amount: 9000 };
const refund = (state: 'open' | 'done' | 'failed', amount = 9000, id = 're_1'): PaymentFacts => ({
  refunds: { [id]: { amount, state } },
});
const lost = (amount: number, id = 'dp_1'): PaymentFacts => ({
  disputes: { [id]: { amount, state: 'lost' } },
});
/** 4000 of 9000 were captured; older API versions refund the other 5000. */
const captured = { ...paid, captured: 4000 };
const remainder: PaymentFacts[] = [{ ...refund('done', 5000, 're_0'), refundsIncludeRemainder: true }];

describe('status of a payment', () => {
  it.each<[string, PaymentFacts[], ReturnType<typeof standingOf>]>([
    ['nothing is known', [], 'unconfirmed'],
    ['it has failed', [{ failedAt: '2026-11-23T10:00:00Z' }], 'failed'],
    ['it has failed, and was paid after all', [{ failedAt: '2026-11-23T11:00:00Z' }, paid], 'paid'],
    ['it is paid', [paid], 'paid'],
    ['nothing had to be paid', [{ ...paid, amount: 0 }], 'paid'],
    ['a refund came before it', [refund('done')], 'unconfirmed'],
    ['part of it is refunded', [paid, refund('done', 100)], 'partly_refunded'],
    ['all of it is refunded', [paid, refund('done')], 'refunded'],
    [
      'all of it is refunded in parts',
      [paid, refund('done', 4000), refund('open', 5000, 're_2')],
      'refunded',
    ],
    ['all of it is refunded, says the charge', [paid, { refundedTotal: 9000 }], 'refunded'],
    ['charge and refund say the same', [paid, { refundedTotal: 9000 }, refund('done')], 'refunded'],
    ['the refund has failed', [paid, refund('failed')], 'paid'],
    [
      'the refund has failed, after the charge told of it',
      [paid, { refundedTotal: 9000 }, refund('failed')],
      'paid',
    ],
    [
      'one of two refunds has failed',
      [paid, { refundedTotal: 9000 }, refund('failed', 4000), refund('done', 5000, 're_2')],
      'partly_refunded',
    ],
    [
      'how much was paid is not known',
      [{ confirmedAt: paid.confirmedAt }, refund('done')],
      'partly_refunded',
    ],
    ['it is disputed', [paid, { disputes: { dp_1: { amount: 9000, state: 'open' } } }], 'disputed'],
    ['the dispute is won', [paid, { disputes: { dp_1: { amount: 9000, state: 'won' } } }], 'paid'],
    ['the dispute is lost', [paid, lost(9000)], 'dispute_lost'],
    ['a dispute over part of it is lost', [paid, lost(1000)], 'partly_refunded'],
    ['disputes over all of it are lost in parts', [paid, lost(4000), lost(5000, 'dp_2')], 'dispute_lost'],
    ['the rest is refunded after a lost dispute', [paid, lost(1000), refund('done', 8000)], 'dispute_lost'],
    [
      'a dispute is lost whose amount is not known',
      [paid, { disputes: { dp_1: { state: 'lost' } } }],
      'dispute_lost',
    ],
    [
      'a dispute is lost, and how much was paid is not known',
      [{ confirmedAt: paid.confirmedAt }, lost(1000)],
      'dispute_lost',
    ],
    ['a part of the authorization is captured', [captured], 'paid'],
    ['all that was captured is refunded', [captured, refund('done', 4000)], 'refunded'],
    ['all that was captured is refunded, says the charge', [captured, { refundedTotal: 4000 }], 'refunded'],
    ['half of what was captured is refunded', [captured, refund('done', 2000)], 'partly_refunded'],
    ['the remainder of the authorization is released', [captured, ...remainder], 'paid'],
    [
      'the remainder is released and all that was captured refunded',
      [captured, ...remainder, refund('done', 4000)],
      'refunded',
    ],
    [
      'the remainder is as large as what was captured',
      [
        { ...paid, captured: 4500 },
        { ...refund('done', 4500), refundsIncludeRemainder: true },
      ],
      'paid',
    ],
    ['more was captured than authorized', [{ ...paid, captured: 9900 }, refund('done')], 'partly_refunded'],
    [
      'refunds have ids that every object seems to have',
      [paid, refund('done', 4000, 'constructor'), refund('done', 5000, '__proto__')],
      'refunded',
    ],
    [
      'it is refunded during a dispute',
      [paid, { disputes: { dp_1: { amount: 9000, state: 'open' } } }, refund('done')],
      'refunded',
    ],
  ])('derives the status of a payment when %s', (_, said, standing) => {
    expect(standingOf(said.reduce(mergeFacts, {}))).toBe(standing);
  });
});

describe('refunds of one payment', () => {
  const many = Array.from({ length: 260 }, (_, at) => refund('done', 1 + ((at * 7) % 50), `re_${at}`));

  it('keeps a bounded number of refunds, the same ones in any order and with repetitions', () => {
    const bounded = many.reduce(mergeFacts, {});
    expect(Object.keys(bounded.refunds ?? {})).toHaveLength(200);
    const orders = fc.shuffledSubarray(many, { minLength: many.length });
    fc.assert(
      fc.property(orders, fc.subarray(many), fc.nat(many.length), (order, again, at) => {
        const parts = [order.slice(0, at), order.slice(at), again].map((part) => part.reduce(mergeFacts, {}));
        expect(parts.reduce(mergeFacts, {})).toEqual(bounded);
      }),
      { numRuns: 30 },
    );
  });

  it('counts refunds beyond the bound by the refunded total of the charge', () => {
    expect(standingOf([paid, ...many, { refundedTotal: 9000 }].reduce(mergeFacts, {}))).toBe('refunded');
  });
});

describe('disputes of one payment', () => {
  it('keeps a bounded number of disputes, and every lost one', () => {
    const open = Array.from(
      { length: 300 },
      (_, at): PaymentFacts => ({ disputes: { [`dp_${at}`]: { amount: 1, state: 'open' } } }),
    );
    const facts = [paid, lost(9000, 'dp_zzz'), ...open].reduce<PaymentFacts>(mergeFacts, {});
    expect(Object.keys(facts.disputes ?? {})).toHaveLength(200);
    expect(standingOf(facts)).toBe('dispute_lost');
  });
});

describe('payment facts', () => {
  const time = fc.constantFrom('2026-11-23T10:00:00Z', '2026-11-23T11:00:00Z', '2026-11-23T12:00:00Z');
  const amount = fc.constantFrom(0, 100, 4000, 9000);
  const facts: fc.Arbitrary<PaymentFacts> = fc.record(
    {
      confirmedAt: time,
      failedAt: time,
      amount,
      captured: amount,
      refundedTotal: amount,
      refundsIncludeRemainder: fc.constant(true as const),
      refunds: fc.dictionary(
        fc.constantFrom('re_1', 're_2'),
        fc.record({ amount, state: fc.constantFrom('open', 'done', 'failed') }),
      ),
      disputes: fc.dictionary(
        fc.constantFrom('dp_1', 'dp_2'),
        fc.record(
          { amount, state: fc.constantFrom<DisputeState[]>('open', 'won', 'lost') },
          { requiredKeys: ['state'] },
        ),
      ),
    },
    { requiredKeys: [] },
  );

  it('merging facts is commutative, associative and idempotent', () => {
    fc.assert(
      fc.property(
        fc.array(facts, { minLength: 1, maxLength: 6 }),
        fc.infiniteStream(fc.nat()),
        (said, numbers) => {
          const shuffled = [...said, ...said]
            .map((it) => [numbers.next().value, it] as const)
            .sort(([a], [b]) => a - b);
          expect(shuffled.map(([, it]) => it).reduce(mergeFacts, {})).toEqual(said.reduce(mergeFacts, {}));
        },
      ),
    );
  });
});
