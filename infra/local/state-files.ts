/** Files of the local stack's state, and what other commands must know of a running stack. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SecretNames } from './stack.ts';
import type { Endpoints } from './wiring.ts';

/** Writes beside the file and renames, so that a killed process never leaves half a file. */
export function writeFileAtomically(path: string, text: string, mode = 0o644): void {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text, { mode });
  renameSync(temporary, path);
}

/** Where a stack and its services are reached and what its secrets are called: written at start, read by other commands. */
export type StackAddress = {
  url: string;
  googleUrl: string | undefined;
  secretNames: SecretNames;
  endpoints: Endpoints;
};

/** Everything that the local stack keeps in its folder. */
const entries = ['dynalite', 'dynamodb-local', 'queues', 'secrets.json', 'google.json', 'logs', 'stack.json'];

/** Removes the state, and nothing else that may be in the folder. */
export function forgetState(stateDir: string): void {
  for (const entry of entries) rmSync(join(stateDir, entry), { recursive: true, force: true });
}

/** Folder of the state of `npm start`, beside package.json. */
export const defaultStateDir = join(import.meta.dirname, '..', '..', '.local');

export function writeStackAddress(stateDir: string, address: StackAddress): void {
  writeFileAtomically(join(stateDir, 'stack.json'), `${JSON.stringify(address, null, 2)}\n`);
}

/**
 * Reads where the local stack is, or was when it last ran.
 * @throws Error that says to start the stack first
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
