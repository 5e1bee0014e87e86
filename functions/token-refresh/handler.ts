import middy from '@middy/core';
import { dynamoClient } from '../../shared/aws/dynamo.ts';
import { tokenDeps } from '../../shared/connection/token-deps.ts';
import { requiredNumber } from '../../shared/lib/config.ts';
import { env } from '../../shared/lib/names.ts';
import { setLogContext } from '../../shared/lib/observability.ts';
import { reencryptTokens } from './reencrypt-tokens.ts';
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
