/** A sweep in simulated time: what its order of work costs where processors are endlessly fast. */
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { refreshDueConnections, type SweepReport } from '../../functions/token-refresh/refresh-due.ts';
import { connectionStore } from '../../shared/connection-store.ts';
import { logTo } from '../../shared/observability.ts';
import { parseTokenKeys } from '../../shared/token-keys.ts';
import { heldSecret } from '../fakes/secret.ts';
import { useImmediateCrypto } from '../simulation/crypto.ts';
import { dynamoClientOf } from '../simulation/dynamodb.ts';
import { createScheduler, type Process, randomOf } from '../simulation/scheduler.ts';
import { fill, indexShards, table, tableInMemory, tokenKeys } from './refresh-table.ts';

export type Simulated = {
  report: SweepReport;
  /** Of simulated time. */
  seconds: number;
  calls: Record<string, number>;
  itemsRead: number;
};

/**
 * The real use case and store on the table in memory, which answers after `tableLatency`. Google answers after
 * `tokenLatency` on average: half of that, and what is left varies as waiting times do, up to a second and more.
 * Both in milliseconds.
 */
export async function simulatedSweep({
  connections,
  due,
  concurrency,
  tableLatency,
  tokenLatency,
}: {
  connections: number;
  due: number;
  concurrency: number;
  tableLatency: number;
  tokenLatency: number;
}): Promise<Simulated> {
  useImmediateCrypto();
  logTo(() => {});
  const startsAt = Date.parse('2026-11-23T09:00:00Z');
  const { now, at, operate, run } = createScheduler(startsAt);
  const clock = (): number => Math.floor(now() / 1000);
  const random = randomOf('refresh at scale');
  const { execute } = tableInMemory();
  await fill(
    dynamoClientOf(async (command) => execute(command)),
    { connections, due, now: clock() },
  );

  const process: Process = {
    name: 'sweep',
    random,
    skew: 0,
    dead: false,
    frozen: false,
    onDeath: () => {},
    operations: 0,
  };
  const calls: Record<string, number> = {};
  let itemsRead = 0;
  const course = { before: tableLatency / 2, after: tableLatency / 2 };
  const dynamo: DynamoDBClient = dynamoClientOf(async (command) => {
    const { name } = command.constructor;
    calls[name] = (calls[name] ?? 0) + 1;
    const answer = (await operate(process, course, () => execute(command))) as { Items?: unknown[] };
    itemsRead += answer.Items?.length ?? 0;
    return answer;
  });
  let owners = 0;
  const unused = (): Promise<never> =>
    Promise.reject(new Error('A sweep of active connections needs none of it.'));
  const sweep = refreshDueConnections({
    connections: connectionStore(dynamo, table, indexShards),
    google: {
      exchangeCode: unused,
      revoke: unused,
      async refresh() {
        const latency = (tokenLatency / 2) * (1 - Math.log(1 - random()));
        await new Promise<void>((resolve) => at(latency, resolve));
        return { accessToken: 'access'.padEnd(220, '.'), expiresIn: 3599, scopes: [] };
      },
    },
    googleClient: heldSecret({ clientId: 'bench', clientSecret: 'bench', redirectUris: [] }),
    tokenKeys: heldSecret(parseTokenKeys(tokenKeys)),
    bus: { publish: unused },
    clock,
    random,
    sleep: unused,
    newOwner: () => String(++owners),
    refreshPolicy: { inUseFor: 86_400, margin: 900, keepAlive: 3 * 86_400 },
    indexShards,
    concurrency,
    timeLeft: () => true,
  });
  await run(Number.POSITIVE_INFINITY);
  return { report: await sweep, seconds: (now() - startsAt) / 1000, calls, itemsRead };
}
