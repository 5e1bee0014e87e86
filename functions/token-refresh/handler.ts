import middy from '@middy/core';
import { dynamoClient } from '../../shared/dynamo.ts';
import { setLogContext } from '../../shared/observability.ts';
import { tokenDeps } from '../../shared/token-deps.ts';
import { refreshDueConnections } from './refresh-due.ts';

const deps = tokenDeps(dynamoClient());

/** Milliseconds kept for the refreshes under way: longer than Google's token endpoint is waited for. */
const reserve = 20_000;

/** Every few minutes. */
export const handler = middy({ timeoutEarlyInMillis: 0 }).handler(async (_event: unknown, context) => {
  setLogContext({ requestId: context.awsRequestId });
  return refreshDueConnections({ ...deps, timeLeft: () => context.getRemainingTimeInMillis() > reserve });
});
