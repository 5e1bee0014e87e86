import middy from '@middy/core';
import { pointerReader } from '../../shared/audit/payments.ts';
import { auditProgress } from '../../shared/audit/progress.ts';
import { dynamoClient } from '../../shared/aws/dynamo.ts';
import { findingStore } from '../../shared/booking/findings.ts';
import { bookingStore } from '../../shared/booking/store.ts';
import { tokenDeps } from '../../shared/connection/token-deps.ts';
import { googleEndpoints } from '../../shared/google/endpoints.ts';
import { lightFetch } from '../../shared/google/light-fetch.ts';
import { paymentPolicy, required, storeOptions } from '../../shared/lib/config.ts';
import { env } from '../../shared/lib/names.ts';
import { setLogContext } from '../../shared/lib/observability.ts';
import { runAudit } from './run-audit.ts';

const dynamo = dynamoClient();
const table = required(env.bookingsTable);
const options = storeOptions();
const deps = {
  ...tokenDeps(dynamo),
  bookings: bookingStore(dynamo, table, options),
  pointers: pointerReader(dynamo, table, options.indexShards),
  findings: findingStore(dynamo, table, options.indexShards),
  progress: auditProgress(dynamo, table),
  calendar: { fetch: lightFetch, baseUrl: googleEndpoints().calendar },
  paymentPolicy: paymentPolicy(),
  concurrency: 5,
  // Far below Google's quota of a project, which booking-sync needs.
  callBudget: 20_000,
};

/** Milliseconds reserved for the users that are being compared. */
const shutdownMarginMs = 120_000;

/** Each hour: a run of the day begins, goes on, or its findings are looked at again. */
export const handler = middy({ timeoutEarlyInMillis: 0 }).handler(async (_event: unknown, context) => {
  setLogContext({ requestId: context.awsRequestId });
  return runAudit({ ...deps, timeLeft: () => context.getRemainingTimeInMillis() > shutdownMarginMs });
});
