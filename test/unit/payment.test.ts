import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergeFacts, type PaymentFacts, standingOf } from '../../shared/payment.ts';

const paid = { confirmedAt: '2026-11-23T10:00:00Z', amount: 9000 };
const refund = (state: 'open' | 'done' | 'failed', amount = 9000, id = 're_1'): PaymentFacts => ({
  refunds: { [id]: { amount, state } },
});

describe('where a payment stands', () => {
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
    ['it is disputed', [paid, { disputes: { dp_1: 'open' } }], 'disputed'],
    ['the dispute is won', [paid, { disputes: { dp_1: 'won' } }], 'paid'],
    ['the dispute is lost', [paid, { disputes: { dp_1: 'lost' } }], 'dispute_lost'],
    [
      'refunds have ids that every object seems to have',
      [paid, refund('done', 4000, 'constructor'), refund('done', 5000, '__proto__')],
      'refunded',
    ],
    ['it is refunded during a dispute', [paid, { disputes: { dp_1: 'open' } }, refund('done')], 'refunded'],
  ])('when %s', (_, said, standing) => {
    expect(standingOf(said.reduce(mergeFacts, {}))).toBe(standing);
  });
});

describe('facts', () => {
  const time = fc.constantFrom('2026-11-23T10:00:00Z', '2026-11-23T11:00:00Z', '2026-11-23T12:00:00Z');
  const amount = fc.constantFrom(0, 100, 4000, 9000);
  const facts: fc.Arbitrary<PaymentFacts> = fc.record(
    {
      confirmedAt: time,
      failedAt: time,
      amount,
      refundedTotal: amount,
      refunds: fc.dictionary(
        fc.constantFrom('re_1', 're_2'),
        fc.record({ amount, state: fc.constantFrom('open', 'done', 'failed') }),
      ),
      disputes: fc.dictionary(fc.constantFrom('dp_1', 'dp_2'), fc.constantFrom('open', 'won', 'lost')),
    },
    { requiredKeys: [] },
  );

  it('come to the same in whatever order and however often they are said', () => {
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
