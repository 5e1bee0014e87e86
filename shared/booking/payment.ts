import { omitUndefined } from '../lib/omit-undefined.ts';

/**
 * The facts about one payment. Providers deliver twice, late and in any order: merging the facts in any order, any
 * number of times, gives the same. Instants are RFC 3339, amounts whole numbers of the currency's smallest unit.
 */
export type PaymentFacts = {
  /** When the payment was confirmed: the earliest report. */
  confirmedAt?: string;
  /** When the payment failed or expired: the latest report. A confirmation outweighs it. */
  failedAt?: string;
  /** The amount of the payment. Of an authorized card payment, less may be captured. */
  amount?: number;
  /** The highest captured amount that was reported. */
  captured?: number;
  /** The highest refunded total of the captured amount that was reported, including refunds that failed later. */
  refundedTotal?: number;
  /** Refunds by id. `failed`: the money returned to the merchant. */
  refunds?: Record<string, { amount: number; state: RefundState }>;
  /** Refunds may include the remainder of the authorization, which was never captured. */
  refundsIncludeRemainder?: true;
  /** Disputes by id, with the disputed amount where it is known. */
  disputes?: Record<string, Dispute>;
  /** No webhook had delivered it when it was found among Stripe's events. */
  recovered?: true;
};
type Dispute = { amount?: number; state: DisputeState };

/**
 * Maximum refunds, and maximum disputes, that a payment keeps: the largest refunds, and closed disputes first. Totals of
 * the charge include the others.
 */
const maxRecords = 200;

// A later state outweighs an earlier one, in any order of arrival.
const refundStates = ['open', 'done', 'failed'] as const;
const disputeStates = ['open', 'won', 'lost'] as const;
export type RefundState = (typeof refundStates)[number];
export type DisputeState = (typeof disputeStates)[number];

/**
 * The status of a payment:
 * - `unconfirmed`: not reported as paid yet
 * - `failed`: reported as failed or expired
 * - `paid`, `partly_refunded`, `disputed`: the merchant has the money, all or part of it, or it is disputed
 * - `refunded`, `dispute_lost`: no money is left; `dispute_lost` where a lost dispute took any of it
 */
export type PaymentStanding =
  | 'unconfirmed'
  | 'failed'
  | 'paid'
  | 'partly_refunded'
  | 'disputed'
  | 'refunded'
  | 'dispute_lost';

/** The facts of both. */
export function mergeFacts(one: PaymentFacts = {}, other: PaymentFacts = {}): PaymentFacts {
  return omitUndefined({
    // Facts of a newer release, which this one does not know.
    ...one,
    ...other,
    confirmedAt: combine(one.confirmedAt, other.confirmedAt, (a, b) => (a < b ? a : b)),
    failedAt: combine(one.failedAt, other.failedAt, (a, b) => (a > b ? a : b)),
    amount: combine(one.amount, other.amount, Math.max),
    captured: combine(one.captured, other.captured, Math.max),
    refundedTotal: combine(one.refundedTotal, other.refundedTotal, Math.max),
    refunds: combine(one.refunds, other.refunds, (a, b) =>
      mergeRecords(
        a,
        b,
        (x, y) => ({
          ...x,
          ...y,
          amount: Math.max(x.amount, y.amount),
          state: furthest(refundStates, x.state, y.state),
        }),
        ({ amount }) => amount,
      ),
    ),
    refundsIncludeRemainder: one.refundsIncludeRemainder ?? other.refundsIncludeRemainder,
    disputes: combine(one.disputes, other.disputes, (a, b) =>
      mergeRecords(a, b, mergeDisputes, ({ state }) => disputeStates.indexOf(state)),
    ),
  });
}

/** The status that follows from the facts. */
export function standingOf(facts: PaymentFacts): PaymentStanding {
  if (facts.confirmedAt === undefined) return facts.failedAt === undefined ? 'unconfirmed' : 'failed';
  const capturedAmount = facts.captured ?? facts.amount;
  const refunded = refundedAmount(facts);
  const lost = lostAmount(facts);
  // Where the amount is unknown, a lost dispute counts as all of it, and a refund as part of it.
  if (lost > 0 && refunded + lost >= (capturedAmount ?? 0)) return 'dispute_lost';
  if (refunded > 0 && refunded >= (capturedAmount ?? Number.POSITIVE_INFINITY)) return 'refunded';
  if (hasOpenDispute(facts)) return 'disputed';
  return refunded + lost > 0 ? 'partly_refunded' : 'paid';
}

const hasOpenDispute = ({ disputes = {} }: PaymentFacts): boolean =>
  Object.values(disputes).some(({ state }) => state === 'open');

/** The permanently refunded amount: the sum of the refunds, or the reported total without failed ones. */
export function refundedAmount(facts: PaymentFacts): number {
  const { refunds = {}, refundedTotal = 0, captured, amount = 0, refundsIncludeRemainder = false } = facts;
  let lasting = 0;
  let failed = 0;
  for (const refund of Object.values(refunds)) {
    if (refund.state === 'failed') failed += refund.amount;
    else lasting += refund.amount;
  }
  if (captured !== undefined) {
    const remainder = Math.max(amount - captured, 0);
    lasting = withoutUncaptured(lasting, { captured, remainder }, refundsIncludeRemainder);
  }
  return Math.max(lasting, refundedTotal - failed, 0);
}

/**
 * The refunded amount without the remainder of the authorization. The remainder is included where more is refunded than
 * was captured, and where `mayInclude` is set and the amount is large enough.
 */
export function withoutUncaptured(
  refunded: number,
  { captured, remainder }: { captured: number; remainder: number },
  mayInclude: boolean,
): number {
  const isIncluded = refunded > captured || (mayInclude && refunded >= remainder);
  return isIncluded ? Math.max(refunded - remainder, 0) : refunded;
}

/** The amount of lost disputes. One with an unknown amount counts as the whole payment. */
function lostAmount({ disputes = {} }: PaymentFacts): number {
  return Object.values(disputes)
    .filter(({ state }) => state === 'lost')
    .reduce((sum, { amount = Number.POSITIVE_INFINITY }) => sum + amount, 0);
}

function mergeDisputes(one: Dispute, other: Dispute): Dispute {
  const amount = combine(one.amount, other.amount, Math.max);
  return omitUndefined({ ...one, ...other, amount, state: furthest(disputeStates, one.state, other.state) });
}

function combine<T>(
  one: T | undefined,
  other: T | undefined,
  choose: (one: T, other: T) => T,
): T | undefined {
  if (one === undefined) return other;
  return other === undefined ? one : choose(one, other);
}

/**
 * Both records, reduced to the highest ranks. A rank never falls by merging, so dropped entries cannot matter later, in
 * any order.
 */
function mergeRecords<T>(
  one: Record<string, T>,
  other: Record<string, T>,
  merge: (one: T, other: T) => T,
  rank: (value: T) => number,
): Record<string, T> {
  const ids = [...new Set([...Object.keys(one), ...Object.keys(other)])].sort();
  // An id may be `constructor`, which every object inherits.
  const own = (record: Record<string, T>, id: string) => (Object.hasOwn(record, id) ? record[id] : undefined);
  const merged = ids.map((id): [string, T] => [id, combine(own(one, id), own(other, id), merge) as T]);
  if (merged.length <= maxRecords) return Object.fromEntries(merged);
  const retained = merged.sort(([, a], [, b]) => rank(b) - rank(a)).slice(0, maxRecords);
  return Object.fromEntries(retained.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function furthest<T>(order: readonly T[], one: T, other: T): T {
  return order.indexOf(one) > order.indexOf(other) ? one : other;
}
