import middy from '@middy/core';
import { dynamoClient } from '../../shared/aws/dynamo.ts';
import { type Finding, findingStore } from '../../shared/booking/findings.ts';
import { paymentAccountStore } from '../../shared/booking/payment-accounts.ts';
import { readPointer } from '../../shared/booking/payment-pointers.ts';
import { paymentQueue } from '../../shared/booking/queue.ts';
import { keysOf } from '../../shared/crypto/keys.ts';
import { systemClock, systemRandom } from '../../shared/lib/clock.ts';
import { required, requiredNumber, stripeConnect } from '../../shared/lib/config.ts';
import { env } from '../../shared/lib/names.ts';
import { setLogContext } from '../../shared/lib/observability.ts';
import { stripeDeps } from '../../shared/payments/stripe/translate.ts';
import { recoveryProgress } from './progress.ts';
import { sweepEvents } from './recover.ts';

const dynamo = dynamoClient();
const table = required(env.bookingsTable);
const indexShards = requiredNumber(env.indexShards);
const findings = findingStore(dynamo, table, indexShards);
const deps = {
  ...stripeDeps(),
  accounts: stripeConnect() ? paymentAccountStore(dynamo, table, indexShards) : undefined,
  pointer: (paymentId: string) => readPointer(dynamo, table, paymentId),
  found: (finding: Finding) => findings.record(finding, systemClock()),
  queue: paymentQueue(required(env.bookingsQueueUrl), keysOf('payment-messages')),
  progress: recoveryProgress(dynamo, table),
  clock: systemClock,
  random: systemRandom,
};

/** Milliseconds reserved for reading and queueing one window. */
const shutdownMarginMs = 60_000;

/** Every few minutes. Without an API key of Stripe it does nothing. */
export const handler = middy({ timeoutEarlyInMillis: 0 }).handler(async (_event: unknown, context) => {
  setLogContext({ requestId: context.awsRequestId });
  return sweepEvents({ ...deps, timeLeft: () => context.getRemainingTimeInMillis() > shutdownMarginMs });
});
