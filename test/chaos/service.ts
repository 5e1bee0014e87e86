/**
 * The service in a process that may be killed at any moment: API, functions and their triggers. Tables and queues
 * are elsewhere, as at AWS.
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
  // Written before the function gets its answer, so that accepted events survive this process.
  onEvent: ({ detailType, detail }) =>
    appendFileSync(eventsFile, `${JSON.stringify({ type: detailType, detail })}\n`),
});
writeStackAddress(stateDir, { ...stack, googleUrl });

// AWS's scheduler survives functions; a timer that restarted with each life would never fire.
void every(settings.reconcileEvery, 'booking-reconcile');
void every(settings.refreshEvery, 'token-refresh');
void every(settings.recoverEvery, 'payment-recovery');
ready();

async function every(milliseconds: number, functionName: string): Promise<never> {
  for (;;) {
    await stack.invoke(functionName, {});
    await sleep(milliseconds);
  }
}
