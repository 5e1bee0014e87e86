import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { eventBridgeBus } from '../aws/bus.ts';
import { secret } from '../aws/secrets.ts';
import { keysOf } from '../crypto/keys.ts';
import { parseGoogleClient } from '../google/client-secret.ts';
import { googleEndpoints } from '../google/endpoints.ts';
import { googleTokens } from '../google/token-endpoint.ts';
import { systemClock, systemRandom, systemSleep } from '../lib/clock.ts';
import { refreshPolicy, required, requiredNumber } from '../lib/config.ts';
import { env } from '../lib/names.ts';
import type { TokenDeps } from './access-token.ts';
import { connectionStore } from './store.ts';

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
