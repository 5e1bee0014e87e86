/** `npm run keys`: shows, rotates and retires the keys of a stack. */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { toIso } from '../shared/clock.ts';
import { secretMinimumAge, secretTimeToLive } from '../shared/secrets.ts';
import { type KeyView, retire, rotate, viewKeys } from './keys-rotation.ts';
import { type KeysStore, keysStore } from './keys-store.ts';
import { runCommand } from './local/command.ts';
import { dynamoDbClient, localCredentials } from './local/dynamodb.ts';
import { defaultStateDir, readStackAddress } from './local/state-files.ts';
import { region } from './local/template.ts';

const help = `Shows, rotates and retires the keys that seal stored tokens and sign links (secret token-keys).

  npm run keys -- list          the keys, and how many connections have tokens sealed with each
  npm run keys -- rotate        adds a key, which is used for everything new from 6 minutes later on
  npm run keys -- retire <id>   removes a key that nothing needs any more

Options
  --now             where a key has leaked. rotate: use the new key at once.
                    retire: do not wait for links and connection attempts under way
  --secret <name>   keys of a deployed stack (output TokenKeysSecret), and
  --table <name>    its connections (output ConnectionsTableName),
                    with the AWS credentials and region of your shell
  --state <folder>  state of the running local stack (default: .local)
  --help            print this`;

/** The table of connections, as the local stack calls it. */
const localTable = 'ConnectionsTable';

await runCommand(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      now: { type: 'boolean', default: false },
      secret: { type: 'string' },
      table: { type: 'string' },
      state: { type: 'string', default: defaultStateDir },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(help);
  const [command, id, ...more] = positionals;
  const now = Math.floor(Date.now() / 1000);
  const store = () => openStore(values);
  if (command === 'list' && !id) return list(store(), now);
  if (command === 'rotate' && !id) return addKey(store(), now, values.now);
  if (command === 'retire' && id && more.length === 0) return removeKey(store(), now, id, values.now);
  throw new Error(help);
});

async function list(store: KeysStore, now: number): Promise<void> {
  for (const key of viewKeys((await read(store)).text, now)) {
    const { count, complete } = await store.countSealedWith(key.id);
    const connections = `${complete ? '' : 'at least '}${count} connection${count === 1 ? '' : 's'}`;
    console.log(`${key.id.padEnd(12)}  ${describe(key).padEnd(34)}  ${connections}`);
  }
}

function describe({ use, from }: KeyView): string {
  if (use === 'current') return 'current: seals everything new';
  return from === undefined ? 'old: only opens' : `next: from ${toIso(from)}`;
}

async function addKey(store: KeysStore, now: number, atOnce: boolean): Promise<void> {
  const known = await read(store);
  const { text, id, previous, from, settledAt } = rotate(known.text, now, newKey, { atOnce });
  const warning = await store.replace(known, text);
  console.log(`
Added the key ${id}.

${toIso(from)}  Everything new is sealed with it.${atOnce ? ofEmergency() : ' Every function knows it by then.'}
  after that          token-refresh seals the stored tokens anew at its next runs: npm run keys -- list
  after that          give LeadsCalendar's backend its new signing key: npm run token -- --signing-key
${toIso(settledAt)}  At the earliest, and when the backend uses its new key: npm run keys -- retire ${previous}`);
  if (warning) throw new Error(warning);
}

/** What it means that functions have not been given the time to learn of a key before it is used. */
function ofEmergency(): string {
  return `
  at first            A function whose copy of the keys is older than ${secretMinimumAge} s looks again when it meets the new key.
                      A younger one answers token_unreadable (the booking is tried again; the alarm OperatorError
                      may ring) or state_invalid (the user tries again) until its copy is that old.
                      One that does not meet the new key goes on with the old one for up to ${secretTimeToLive / 60} minutes.`;
}

async function removeKey(store: KeysStore, now: number, id: string, atOnce: boolean): Promise<void> {
  const known = await read(store);
  const text = retire(known.text, id, now, { atOnce });
  // The index answers at once and may lag; what decides are the tokens themselves.
  const { count, complete } = await store.countSealedWith(id);
  if (count > 0) {
    throw new Error(
      `${complete ? '' : 'At least '}${count} connection${count === 1 ? ' has' : 's have'} tokens that only the key "${id}" opens. ` +
        'Nothing was removed. token-refresh seals them anew, some thousands at each run: try again after its next one. ' +
        'If the number does not shrink, its log says why ("Tokens were not carried over").',
    );
  }
  const found = await store.findSealedWith(id);
  if (found > 0) {
    throw new Error(
      `${found} connection${found === 1 ? ' holds' : 's hold'} a token that only the key "${id}" opens, mostly of an ` +
        'earlier account that is still to be taken back at Google. Nothing was removed. That is done with the ' +
        "connection's next refresh: try again in an hour.",
    );
  }
  const warning = await store.replace(known, text);
  console.log(`Removed the key ${id}. Links and bearer tokens signed with it stop working within ${secretTimeToLive / 60} minutes.
Was that too early? The value before is still kept as AWSPREVIOUS: see docs/operations.md.`);
  if (warning) throw new Error(warning);
}

/** 64 characters, 384 random bits. */
function newKey(): string {
  return randomBytes(48).toString('base64url');
}

function openStore({
  secret,
  table,
  state,
}: {
  secret?: string | undefined;
  table?: string | undefined;
  state: string;
}): KeysStore {
  if (secret && table) return keysStore(new SecretsManagerClient(), secret, new DynamoDBClient(), table);
  if (secret || table) {
    throw new Error('A deployed stack needs both: --secret (output TokenKeysSecret) and --table.');
  }
  const { endpoints, secretNames } = readStackAddress(state);
  const secrets = new SecretsManagerClient({
    endpoint: endpoints.secretsManager,
    region,
    credentials: localCredentials,
  });
  return keysStore(secrets, secretNames.tokenKeys, dynamoDbClient(endpoints.dynamodb), localTable);
}

/** The first thing that every command does, so it finds out whether anything is there. */
async function read(store: KeysStore): ReturnType<KeysStore['read']> {
  try {
    return await store.read();
  } catch (cause) {
    if (!(cause instanceof Error) || !('code' in cause) || cause.code !== 'ECONNREFUSED') throw cause;
    throw new Error('The local stack does not run any more: run "npm start" first.', { cause });
  }
}
