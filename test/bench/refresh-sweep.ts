/** A sweep of token-refresh, bundled as its function is, in a process of its own; says by message what it took. */
import { randomUUID } from 'node:crypto';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import {
  refreshDueConnections,
  type SweepDeps,
  type SweepReport,
} from '../../functions/token-refresh/refresh-due.ts';
import { systemClock, systemRandom, systemSleep } from '../../shared/clock.ts';
import { googleEndpoints } from '../../shared/config.ts';
import { connectionStore } from '../../shared/connection-store.ts';
import { googleOAuth } from '../../shared/google-oauth.ts';
import { parseTokenKeys } from '../../shared/token-keys.ts';
import { openToken, sealTokens } from '../../shared/token-vault.ts';
import { heldSecret } from '../fakes/secret.ts';

/** What it is started with, as JSON. */
export type SweepSettings = {
  tableUrl: string;
  table: string;
  googleUrl: string;
  concurrency: number;
  /** Refreshed before the measurement begins. */
  warmUp: number;
  indexShards: number;
  /** The secret `token-keys`. */
  tokenKeys: string;
};

/** What a sweep took. */
export type Swept = {
  report: SweepReport;
  seconds: number;
  /** Processor time of this process. */
  cpuSeconds: number;
  /** Most memory that the process had at any time. */
  peakMegabytes: number;
  /** Calls to the table by command: `UpdateItemCommand`. */
  calls: Record<string, number>;
  /** Milliseconds of processor time to open and to seal the tokens of one connection. */
  vaultMilliseconds: number;
  /** Items that queries answered. */
  itemsRead: number;
};

const settings: SweepSettings = JSON.parse(process.argv[2] ?? '{}');
const { tableUrl, table, googleUrl, concurrency, warmUp, indexShards, tokenKeys } = settings;

const credentials = { accessKeyId: 'local', secretAccessKey: 'local' };
const dynamo = new DynamoDBClient({ endpoint: tableUrl, region: 'us-east-1', credentials });
const calls: Record<string, number> = {};
let itemsRead = 0;
dynamo.middlewareStack.add(
  (next, { commandName = '' }) =>
    async (args) => {
      calls[commandName] = (calls[commandName] ?? 0) + 1;
      const answer = await next(args);
      if ('Items' in answer.output) itemsRead += answer.output.Items?.length ?? 0;
      return answer;
    },
  { step: 'initialize' },
);

const client = { clientId: 'bench', clientSecret: 'bench', redirectUris: [] };
const deps: SweepDeps = {
  connections: connectionStore(dynamo, table, indexShards),
  google: googleOAuth(googleEndpoints(googleUrl)),
  googleClient: heldSecret(client),
  tokenKeys: heldSecret(parseTokenKeys(tokenKeys)),
  bus: { publish: () => Promise.reject(new Error('There is nothing to tell anybody.')) },
  clock: systemClock,
  random: systemRandom,
  sleep: systemSleep,
  newOwner: randomUUID,
  refreshPolicy: { inUseFor: 86_400, margin: 900, keepAlive: 3 * 86_400 },
  indexShards,
  concurrency,
  timeLeft: () => true,
};

void sweep().then((swept) => process.send?.(swept, () => process.exit()));

async function sweep(): Promise<Swept> {
  // A function that runs every few minutes finds itself warm.
  let toWarmUp = warmUp;
  await refreshDueConnections({ ...deps, concurrency: 200, timeLeft: () => toWarmUp-- > 0 });
  for (const name of Object.keys(calls)) delete calls[name];
  itemsRead = 0;

  const startedAt = performance.now();
  const cpuBefore = process.cpuUsage();
  const report = await refreshDueConnections(deps);
  const { user, system } = process.cpuUsage(cpuBefore);
  return {
    report,
    seconds: (performance.now() - startedAt) / 1000,
    cpuSeconds: (user + system) / 1e6,
    peakMegabytes: process.resourceUsage().maxRSS / 1024,
    calls,
    itemsRead,
    vaultMilliseconds: await vaultMilliseconds(),
  };
}

/** What token-vault alone takes of the processor for one connection. */
async function vaultMilliseconds(): Promise<number> {
  const keys = parseTokenKeys(tokenKeys);
  const rounds = 1000;
  const tokens = { accessToken: 'access'.padEnd(220, '.'), refreshToken: 'refresh'.padEnd(103, '.') };
  const before = process.cpuUsage();
  for (let round = 0; round < rounds; round++) {
    const sealed = await sealTokens(keys, 0, 'user', tokens);
    await openToken(keys, 'user', 'refresh', sealed.refreshToken);
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / rounds;
}
