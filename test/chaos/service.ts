/**
 * The service in a process that may be killed at any moment: API, functions, and what invokes them. The tables and
 * queues are elsewhere, as they are at AWS.
 */
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { startLocalStack } from '../../infra/local/stack.ts';
import { writeStackAddress } from '../../infra/local/state-files.ts';
import { ready, type ServiceSettings } from './processes.ts';

const settings = JSON.parse(process.argv[2] as string) as ServiceSettings;
const { port, stateDir, assembly, endpoints, googleUrl, clientFile, eventsFile } = settings;

const stack = await startLocalStack({
  port,
  stateDir,
  assembly,
  dynamodb: { endpoint: endpoints.dynamodb },
  queues: { endpoint: endpoints.sqs },
  google: { kind: 'url', url: googleUrl, clientFile },
  schedules: false,
  // Written before the function is answered that it is published: what the bus has taken outlives this process.
  onEvent: ({ detailType, detail }) =>
    appendFileSync(eventsFile, `${JSON.stringify({ type: detailType, detail })}\n`),
});
const { url, secretNames } = stack;
writeStackAddress(stateDir, { url, googleUrl, secretNames, endpoints: stack.endpoints });

// The scheduler of AWS lives on when functions die; one that began anew with each life would never come to run.
void every(settings.reconcileEvery, 'booking-reconcile');
void every(settings.refreshEvery, 'token-refresh');
ready();

async function every(milliseconds: number, functionName: string): Promise<never> {
  for (;;) {
    await stack.invoke(functionName, {});
    await sleep(milliseconds);
  }
}
