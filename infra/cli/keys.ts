/** `npm run keys`: shows, rotates and retires the keys of a stack. */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { minReloadIntervalSeconds, secretTtlSeconds } from '../../shared/aws/secrets.ts';
import { toIso } from '../../shared/lib/clock.ts';
import { type KeyPurpose, keySecrets } from '../../shared/lib/names.ts';
import { dynamoDbClient, localCredentials } from '../local/aws/dynamodb.ts';
import { region } from '../local/aws/template.ts';
import { defaultStateDir, readStackAddress } from '../local/state-files.ts';
import { runCommand } from './command.ts';
import { type KeyView, type Rotation, retire, rotate, viewKeys } from './keys-rotation.ts';
import {
  type KeysStore,
  keysStore,
  type SecretVersion,
  type TokensByKey,
  tokensByKey,
} from './keys-store.ts';

const help = `Shows, rotates and retires keys. Each purpose has a secret of its own.

  npm run keys -- list          the keys; for token-encryption with the number of connections that need each
  npm run keys -- rotate        adds a key, which is in use from 6 minutes later on
  npm run keys -- retire <id>   removes a key that is no longer needed

Options
  --secret <purpose>  which keys (default: token-encryption)
                      token-encryption   Google's tokens in the table
                      state-encryption   connection attempts under way
                      link-signing       connect links, signed by LeadsCalendar's backend
                      api-signing        bearer tokens, signed by LeadsCalendar's backend
                      payment-messages   payments in the queue
  --now               after a leak. rotate: use the new key at once.
                      retire: wait only for the copies that functions cache
  --secret-id <name>  the secret of a deployed stack (outputs TokenEncryptionSecret, LinkSigningSecret, …),
                      with the AWS credentials and region of your shell
  --table <name>      its connections (output ConnectionsTableName), for token-encryption
  --state <folder>    state of the running local stack (default: .local)
  --help              print this`;

/** The table of connections, as the local stack calls it. */
const localTable = 'ConnectionsTable';

/** The keys that a command works on. Stored tokens are at hand for `token-encryption` only. */
type Target = { purpose: KeyPurpose; store: KeysStore; tokens?: TokensByKey };

await runCommand(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      now: { type: 'boolean', default: false },
      secret: { type: 'string', default: 'token-encryption' },
      'secret-id': { type: 'string' },
      table: { type: 'string' },
      state: { type: 'string', default: defaultStateDir },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(help);
  const [command, id, ...more] = positionals;
  const now = Math.floor(Date.now() / 1000);
  const target = () => openTarget({ ...values, secretId: values['secret-id'] });
  if (command === 'list' && !id) return list(target(), now);
  if (command === 'rotate' && !id) return addKey(target(), now, values.now);
  if (command === 'retire' && id && more.length === 0) return removeKey(target(), now, id, values.now);
  throw new Error(help);
});

async function list({ purpose, store, tokens }: Target, now: number): Promise<void> {
  for (const key of viewKeys(purpose, (await read(store)).text, now)) {
    const columns = [key.id.padEnd(12), describe(key)];
    if (!tokens) {
      console.log(columns.join('  '));
      continue;
    }
    const { count, complete } = await tokens.countEncryptedWith(key.id);
    const connections = `${complete ? '' : 'at least '}${count} connection${count === 1 ? '' : 's'}`;
    console.log([columns[0], columns[1]?.padEnd(34), connections].join('  '));
  }
}

function describe({ use, from }: KeyView): string {
  if (use === 'current') return 'current: used for everything new';
  return from === undefined ? 'old: only decrypts and verifies' : `next: from ${toIso(from)}`;
}

async function addKey({ purpose, store }: Target, now: number, atOnce: boolean): Promise<void> {
  const known = await read(store);
  const rotation = rotate(purpose, known.text, now, newKey, { atOnce });
  const { text, id, from } = rotation;
  const warning = await store.replace(known, text);
  console.log(`
Added the key ${id} to ${purpose}.

${toIso(from)}  It is used for everything new.${atOnce ? ofEmergency(purpose) : ' Every function knows it by then.'}
${nextSteps(purpose, rotation)}`);
  if (warning) throw new Error(warning);
}

/** What has to happen before the previous key may be retired. */
function nextSteps(purpose: KeyPurpose, { previous, propagatedAt }: Rotation): string {
  const afterThat = '  after that          ';
  const retirement = `npm run keys -- retire ${previous}${purpose === 'token-encryption' ? '' : ` --secret ${purpose}`}`;
  const condition: Record<KeyPurpose, string> = {
    'token-encryption': 'when no connection needs the old key',
    'state-encryption': 'with nothing else to wait for',
    'link-signing': 'when the backend uses its new key (metric UserTokenVerified)',
    'api-signing': 'when the backend uses its new key (metric UserTokenVerified)',
    'payment-messages': 'when the dead-letter queue is empty',
  };
  const giveKey = `${afterThat}give LeadsCalendar's backend its new key: npm run token -- --signing-keys`;
  const steps: Partial<Record<KeyPurpose, string>> = {
    'token-encryption': `${afterThat}token-refresh encrypts the stored tokens again at its next runs: npm run keys -- list`,
    'link-signing': giveKey,
    'api-signing': giveKey,
  };
  const step = steps[purpose];
  return `${step ? `${step}\n` : ''}${toIso(propagatedAt)}  At the earliest, ${condition[purpose]}: ${retirement}`;
}

/** What happens while functions do not know the new key yet. */
function ofEmergency(purpose: KeyPurpose): string {
  const answers: Record<KeyPurpose, string> = {
    'token-encryption':
      'answers token_unreadable (the booking is tried again; the alarm OperatorError may ring)',
    'state-encryption': 'answers state_invalid (the user tries again)',
    'link-signing': 'answers token_invalid',
    'api-signing': 'answers token_invalid',
    'payment-messages': 'leaves the payment in the queue for 3 minutes (the alarm OperatorError may ring)',
  };
  return `
  at first            A function whose copy of the keys is older than ${minReloadIntervalSeconds} s reads them again when it meets the new key.
                      A younger one ${answers[purpose]} until its copy is that old.
                      One that does not meet the new key uses the old one for up to ${secretTtlSeconds / 60} minutes.`;
}

async function removeKey(target: Target, now: number, id: string, atOnce: boolean): Promise<void> {
  const { purpose, store, tokens } = target;
  const known = await read(store);
  const text = retire(purpose, known.text, id, now, { atOnce });
  if (tokens) await requireUnused(tokens, id);
  const warning = await store.replace(known, text);
  console.log(`Removed the key ${id} from ${purpose}. Within ${secretTtlSeconds / 60} minutes no function accepts it any more.
Was that too early? The previous value is still kept as AWSPREVIOUS: see docs/rotate-keys.md.`);
  if (warning) throw new Error(warning);
}

/** @throws Error while a stored token needs the key */
async function requireUnused(tokens: TokensByKey, id: string): Promise<void> {
  // The index answers at once and may lag; what decides are the tokens themselves.
  const { count, complete } = await tokens.countEncryptedWith(id);
  if (count > 0) {
    throw new Error(
      `${complete ? '' : 'At least '}${count} connection${count === 1 ? ' has' : 's have'} tokens that only the key "${id}" opens. ` +
        'Nothing was removed. token-refresh encrypts them again, some thousands at each run: try again after its next one. ' +
        'If the number does not fall, its log says why ("Tokens not re-encrypted").',
    );
  }
  const found = await tokens.findEncryptedWith(id);
  if (found > 0) {
    throw new Error(
      `${found} connection${found === 1 ? ' holds' : 's hold'} a token that only the key "${id}" opens, mostly of an ` +
        'earlier account that is still to be revoked at Google. Nothing was removed. That happens with the ' +
        "connection's next refresh: try again in an hour.",
    );
  }
}

/** 64 characters, 384 random bits. */
function newKey(): string {
  return randomBytes(48).toString('base64url');
}

type TargetOptions = {
  secret: string;
  secretId?: string | undefined;
  table?: string | undefined;
  state: string;
};

function openTarget({ secret: purpose, secretId, table, state }: TargetOptions): Target {
  if (!isPurpose(purpose)) {
    throw new Error(
      `--secret is one of ${Object.keys(keySecrets).join(', ')}, not "${purpose}". The name of a deployed secret goes to --secret-id.`,
    );
  }
  const needsTable = purpose === 'token-encryption';
  if (secretId === undefined && table === undefined) return openLocal(purpose, state);
  if (secretId === undefined || (needsTable && table === undefined)) {
    throw new Error(
      'A deployed stack needs --secret-id (an output of the deploy), and for token-encryption --table as well (output ConnectionsTableName).',
    );
  }
  const store = keysStore(new SecretsManagerClient(), secretId);
  if (!needsTable || table === undefined) return { purpose, store };
  return { purpose, store, tokens: tokensByKey(new DynamoDBClient(), table) };
}

function openLocal(purpose: KeyPurpose, state: string): Target {
  const { endpoints, secretNames } = readStackAddress(state);
  const secrets = new SecretsManagerClient({
    endpoint: endpoints.secretsManager,
    region,
    credentials: localCredentials,
  });
  const store = keysStore(secrets, secretNames.keys[purpose]);
  if (purpose !== 'token-encryption') return { purpose, store };
  return { purpose, store, tokens: tokensByKey(dynamoDbClient(endpoints.dynamodb), localTable) };
}

function isPurpose(name: string): name is KeyPurpose {
  return Object.hasOwn(keySecrets, name);
}

/** The first thing that every command does, so it finds out whether anything is there. */
async function read(store: KeysStore): Promise<SecretVersion> {
  try {
    return await store.read();
  } catch (cause) {
    if (!(cause instanceof Error) || !('code' in cause) || cause.code !== 'ECONNREFUSED') throw cause;
    throw new Error('The local stack does not run any more: run "npm start" first.', { cause });
  }
}
