import middy from '@middy/core';
import { requiredNumber } from '../../shared/config.ts';
import { dynamoClient } from '../../shared/dynamo.ts';
import { env } from '../../shared/names.ts';
import { setLogContext } from '../../shared/observability.ts';
import { tokenDeps } from '../../shared/token-deps.ts';
import { reencryptTokens } from './carry-over.ts';
import { refreshDueConnections } from './refresh-due.ts';

const deps = {
  ...tokenDeps(dynamoClient()),
  indexShards: requiredNumber(env.indexShards),
  concurrency: requiredNumber(env.refreshConcurrency),
};

/** Milliseconds reserved for the running refreshes: longer than the timeout of Google's token endpoint. */
const shutdownMarginMs = 20_000;

/** Every few minutes. */
export const handler = middy({ timeoutEarlyInMillis: 0 }).handler(async (_event: unknown, context) => {
  setLogContext({ requestId: context.awsRequestId });
  const timeLeft = (): boolean => context.getRemainingTimeInMillis() > shutdownMarginMs;
  const report = await refreshDueConnections({ ...deps, timeLeft });
  return { ...report, ...(await reencryptTokens({ ...deps, timeLeft })) };
});
