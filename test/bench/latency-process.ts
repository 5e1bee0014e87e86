/**
 * The processes of the latency part, one per participant, so that none waits for another's event loop. The part
 * starts this file with the name of a role and sends its settings; the role reports its address.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempDisposableSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectUser } from '../../infra/cli/demo-user.ts';
import { stripeSigningSecret } from '../../infra/cli/payment.ts';
import type { Endpoints } from '../../infra/local/aws/wiring.ts';
import { startGoogleSimulator } from '../../infra/local/google/simulator.ts';
import type { SimulatedClient } from '../../infra/local/google/state.ts';
import { listen } from '../../infra/local/ports.ts';
import { startLocalStack } from '../../infra/local/stack.ts';
import { type InlineSettings, inlineServer } from './usual/inline.ts';

export type ServiceSettings = {
  port: number;
  googleUrl: string;
  client: SimulatedClient;
  /** Users and their accounts of the simulated Google. */
  userId: string;
  account: string;
};

/** Settings of each process, and its report. */
export type Roles = {
  google: { settings: { client: SimulatedClient }; told: { url: string } };
  service: { settings: ServiceSettings; told: { url: string; endpoints: Endpoints; signingSecret: string } };
  inline: { settings: InlineSettings; told: { url: string } };
};
type RoleName = keyof Roles;

const begin: { [Name in RoleName]: (settings: Roles[Name]['settings']) => Promise<Roles[Name]['told']> } = {
  async google({ client }) {
    const { url } = await startGoogleSimulator({ clients: [client] });
    return { url };
  },
  async service({ port, googleUrl, client, userId, account }) {
    using directory = mkdtempDisposableSync(join(tmpdir(), 'bench-latency-'));
    const clientFile = join(directory.path, 'client.json');
    writeFileSync(clientFile, clientJson(client), { mode: 0o600 });
    const google = { kind: 'url', url: googleUrl, clientFile } as const;
    // Without schedules: their occasional work is not part of a payment's latency.
    const stack = await startLocalStack({ port, google, schedules: false });
    const { response } = await connectUser(stack, { userId, account, now: Date.now() });
    if (!response.ok) throw new Error(`The user was not connected: ${await response.text()}`);
    const { url, endpoints, secrets, secretNames } = stack;
    const signingSecret = stripeSigningSecret(secrets.get(secretNames.webhookSigning) as string);
    return { url, endpoints, signingSecret };
  },
  async inline(settings) {
    return { url: `http://127.0.0.1:${await listen(inlineServer(settings), 0)}` };
  },
};

/**
 * Starts a role in a process of its own, which ends with this one at the latest.
 * @throws Error with its last output if it does not start
 */
export async function startProcess<Name extends RoleName>(
  name: Name,
  settings: Roles[Name]['settings'],
): Promise<{ told: Roles[Name]['told']; end: () => Promise<void> }> {
  const child = fork(import.meta.filename, [name], {
    execArgv: [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const exited = once(child, 'exit');
  let lastWords = '';
  child.stderr?.on('data', (chunk) => {
    lastWords = `${lastWords}${chunk}`.slice(-4000);
  });
  child.send(settings);
  const told = await Promise.race([
    once(child, 'message').then(([message]) => message),
    exited.then(() => undefined),
  ]);
  if (told === undefined) throw new Error(`The process "${name}" did not start: ${lastWords}`);
  return {
    told,
    async end() {
      // Not by a signal: at its exit, the local stack removes its synthesized assembly.
      child.disconnect();
      await exited;
    },
  };
}

function clientJson({
  clientId: client_id,
  clientSecret: client_secret,
  redirectUris,
}: SimulatedClient): string {
  return JSON.stringify({ web: { client_id, client_secret, redirect_uris: redirectUris } });
}

if (import.meta.main) {
  process.on('disconnect', () => process.exit());
  process.once('message', async (settings) => {
    const name = process.argv[2] as RoleName;
    const start = begin[name] as (settings: unknown) => Promise<unknown>;
    process.send?.(await start(settings));
  });
}
