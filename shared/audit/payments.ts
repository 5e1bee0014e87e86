import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import type { PaymentPointer } from '../booking/booking.ts';
import type { Finding, PaymentFinding } from '../booking/findings.ts';
import { isUnmatched, readPointer, unmatchedPayments } from '../booking/payment-pointers.ts';
import type { Clock } from '../lib/clock.ts';

/** Payments that no booking accounts for. */

/** What is known under the ids of payments. `unmatched`: of those confirmed before `until`. */
export type PointerReader = {
  get(paymentId: string): Promise<PaymentPointer | undefined>;
  unmatched(until: number): AsyncGenerator<PaymentPointer>;
};

export function pointerReader(dynamo: DynamoDBClient, table: string, indexShards: number): PointerReader {
  return {
    get: (paymentId) => readPointer(dynamo, table, paymentId),
    unmatched: (until) => unmatchedPayments(dynamo, table, indexShards, until),
  };
}

/** Whether a payment is still not recorded, or holds money for no booking. */
export async function isUnpaid(
  pointers: PointerReader,
  { kind, paymentId }: PaymentFinding,
): Promise<boolean> {
  const pointer = await pointers.get(paymentId);
  return kind === 'payment_not_recorded'
    ? pointer === undefined
    : pointer !== undefined && isUnmatched(pointer);
}

/** Seconds after which a booking should have been declared that is paid for. */
const declaredWithin = 86_400;

/** Payments that hold money although their booking was not declared within a day. */
export async function comparePayments(deps: {
  pointers: PointerReader;
  clock: Clock;
  found: (finding: Finding) => Promise<void>;
}): Promise<number> {
  let findings = 0;
  for await (const { paymentId, named } of deps.pointers.unmatched(deps.clock() - declaredWithin)) {
    findings++;
    await deps.found({ kind: 'paid_without_booking', paymentId, ...named });
  }
  return findings;
}
