/** Files of the local stack's state, and facts that other commands need about a running stack. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Endpoints } from './aws/wiring.ts';
import type { SecretNames } from './stack.ts';

/** Writes next to the file and renames, so that a killed process never leaves a partial file. */
export function writeFileAtomically(path: string, text: string, mode = 0o644): void {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text, { mode });
  renameSync(temporary, path);
}

/** Addresses and secret names of a stack and its services: written at start, read by other commands. */
type StackAddress = {
  url: string;
  googleUrl: string | undefined;
  stripeUrl: string;
  secretNames: SecretNames;
  endpoints: Endpoints;
  /** The outputs of the stack, as after a deploy. */
  outputs: Record<string, string>;
};

type RunningStack = Omit<StackAddress, 'stripeUrl'> & { stripe: { url: string } };

/** All files of the local stack in its folder. */
const entries = [
  'dynalite',
  'dynamodb-local',
  'queues',
  'secrets.json',
  'google.json',
  'stripe.json',
  'logs',
  'stack.json',
];

/** Removes the state, and no other file in the folder. */
export function deleteState(stateDir: string): void {
  for (const entry of entries) rmSync(join(stateDir, entry), { recursive: true, force: true });
}

/** Folder of the state of `npm start`, next to package.json. */
export const defaultStateDir = join(import.meta.dirname, '..', '..', '.local');

export function writeStackAddress(
  stateDir: string,
  { url, googleUrl, stripe, secretNames, endpoints, outputs }: RunningStack,
): void {
  const address: StackAddress = { url, googleUrl, stripeUrl: stripe.url, secretNames, endpoints, outputs };
  writeFileAtomically(join(stateDir, 'stack.json'), `${JSON.stringify(address, null, 2)}\n`);
}

/**
 * Reads the addresses of the running or last local stack.
 * @throws Error with the advice to start the stack first
 */
export function readStackAddress(stateDir: string): StackAddress {
  return readState(stateDir, 'stack.json') as StackAddress;
}

/** Reads the current value of a secret of the local stack. */
export function readLocalSecret(stateDir: string, name: string): string {
  const secrets = readState(stateDir, 'secrets.json') as Record<string, { value: string }>;
  const secret = secrets[name];
  if (!secret) throw new Error(`The local stack has no value for the secret "${name}".`);
  return secret.value;
}

function readState(stateDir: string, file: string): unknown {
  try {
    return JSON.parse(readFileSync(join(stateDir, file), 'utf8'));
  } catch (cause) {
    throw new Error(
      `No local stack has run yet (${join(stateDir, file)} is missing): run "npm start" first.`,
      {
        cause,
      },
    );
  }
}
