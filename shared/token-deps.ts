import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import type { TokenDeps } from './access-token.ts';
import { eventBridgeBus } from './bus.ts';
import { systemClock, systemRandom, systemSleep } from './clock.ts';
import { googleEndpoints, refreshPolicy, required, requiredNumber } from './config.ts';
import { connectionStore } from './connection-store.ts';
import { parseGoogleClient } from './google-client-secret.ts';
import { googleTokens } from './google-oauth.ts';
import { keysOf } from './keys.ts';
import { env } from './names.ts';
import { secret } from './secrets.ts';

/** The real dependencies of everything that handles tokens, from the function's environment. */
export function tokenDeps(dynamo: DynamoDBClient): TokenDeps {
  return {
    connections: connectionStore(dynamo, required(env.connectionsTable), requiredNumber(env.indexShards)),
    google: googleTokens(googleEndpoints()),
    googleClient: secret(required(env.googleClientSecretId), parseGoogleClient, systemClock),
    tokenKeys: keysOf('token-encryption'),
    bus: eventBridgeBus(required(env.eventBus)),
    clock: systemClock,
    random: systemRandom,
    sleep: systemSleep,
    refreshPolicy: refreshPolicy(),
  };
}
