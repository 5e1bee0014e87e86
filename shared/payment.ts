/**
 * What is known of one payment. Providers deliver twice, late and in any order, so these are facts that only grow:
 * merging them in any order, any number of times, gives the same. Instants are RFC 3339, amounts whole numbers of the
 * smallest unit of the payment's currency.
 */
export type PaymentFacts = {
  /** When the payment was confirmed: the earliest that was said. */
  confirmedAt?: string;
  /** When the payment was said to have failed or expired: the latest. A confirmation outweighs it. */
  failedAt?: string;
  amount?: number;
  /** The highest total that was ever said to be refunded, refunds that failed later included. */
  refundedTotal?: number;
  /** Refunds by id. `failed`: the money came back to the merchant. */
  refunds?: Record<string, { amount: number; state: RefundState }>;
  disputes?: Record<string, DisputeState>;
};

// Later in the list outweighs earlier, whichever arrives first.
const refundStates = ['open', 'done', 'failed'] as const;
const disputeStates = ['open', 'won', 'lost'] as const;
export type RefundState = (typeof refundStates)[number];
export type DisputeState = (typeof disputeStates)[number];

/**
 * Where a payment stands:
 * - `unconfirmed`: nobody has said yet that it was paid
 * - `failed`: it will not be, as far as is known
 * - `paid`, `partly_refunded`, `disputed`: the money is here, all or part of it, or argued about
 * - `refunded`, `dispute_lost`: it is not any more
 */
export type PaymentStanding =
  | 'unconfirmed'
  | 'failed'
  | 'paid'
  | 'partly_refunded'
  | 'disputed'
  | 'refunded'
  | 'dispute_lost';

/** All that is known from both. */
export function mergeFacts(one: PaymentFacts = {}, other: PaymentFacts = {}): PaymentFacts {
  return withoutUndefined({
    confirmedAt: pick(one.confirmedAt, other.confirmedAt, (a, b) => (a < b ? a : b)),
    failedAt: pick(one.failedAt, other.failedAt, (a, b) => (a > b ? a : b)),
    amount: pick(one.amount, other.amount, Math.max),
    refundedTotal: pick(one.refundedTotal, other.refundedTotal, Math.max),
    refunds: pick(one.refunds, other.refunds, (a, b) =>
      mergeRecords(a, b, (x, y) => ({
        amount: Math.max(x.amount, y.amount),
        state: later(refundStates, x.state, y.state),
      })),
    ),
    disputes: pick(one.disputes, other.disputes, (a, b) =>
      mergeRecords(a, b, (x, y) => later(disputeStates, x, y)),
    ),
  });
}

/** What the facts come to. */
export function standingOf(facts: PaymentFacts): PaymentStanding {
  if (facts.confirmedAt === undefined) return facts.failedAt === undefined ? 'unconfirmed' : 'failed';
  const disputes = Object.values(facts.disputes ?? {});
  if (disputes.includes('lost')) return 'dispute_lost';
  const refunded = refundedAmount(facts);
  if (refunded > 0 && facts.amount !== undefined && refunded >= facts.amount) return 'refunded';
  if (disputes.includes('open')) return 'disputed';
  return refunded > 0 ? 'partly_refunded' : 'paid';
}

/** What is refunded for good, as far as is known: by the refunds themselves, or by the total less those that failed. */
function refundedAmount({ refunds = {}, refundedTotal = 0 }: PaymentFacts): number {
  let standing = 0;
  let failed = 0;
  for (const { amount, state } of Object.values(refunds)) {
    if (state === 'failed') failed += amount;
    else standing += amount;
  }
  return Math.max(standing, refundedTotal - failed, 0);
}

function pick<T>(one: T | undefined, other: T | undefined, choose: (one: T, other: T) => T): T | undefined {
  if (one === undefined) return other;
  return other === undefined ? one : choose(one, other);
}

function mergeRecords<T>(
  one: Record<string, T>,
  other: Record<string, T>,
  merge: (one: T, other: T) => T,
): Record<string, T> {
  const ids = [...new Set([...Object.keys(one), ...Object.keys(other)])].sort();
  // An id may be `constructor`, which every object seems to have.
  const own = (record: Record<string, T>, id: string) => (Object.hasOwn(record, id) ? record[id] : undefined);
  return Object.fromEntries(ids.map((id) => [id, pick(own(one, id), own(other, id), merge) as T]));
}

function later<T>(order: readonly T[], one: T, other: T): T {
  return order.indexOf(one) > order.indexOf(other) ? one : other;
}

function withoutUndefined(
  facts: { [Name in keyof PaymentFacts]: PaymentFacts[Name] | undefined },
): PaymentFacts {
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined));
}
