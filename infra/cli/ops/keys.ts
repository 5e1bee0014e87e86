/** `ops keys`: shows, rotates and retires the keys of a deployment. Each purpose has a secret of its own. */
import { randomBytes } from 'node:crypto';
import { minReloadIntervalSeconds, secretTtlSeconds } from '../../../shared/aws/secrets.ts';
import { toIso } from '../../../shared/lib/clock.ts';
import { type KeyPurpose, keySecrets } from '../../../shared/lib/names.ts';
import { type KeyView, type Rotation, retire, rotate, viewKeys } from '../keys-rotation.ts';
import { type KeysStore, keysStore, type TokensByKey, tokensByKey } from '../keys-store.ts';
import { table } from './print.ts';
import { keyOutputs, type Target } from './target.ts';

/** The keys that a command works on. Stored tokens are at hand for `token-encryption` only. */
type Keys = { purpose: KeyPurpose; store: KeysStore; tokens?: TokensByKey };

type Changed = { text: string; json: unknown; failed: boolean };

/** @throws Error where there is no such purpose */
export function openKeys({ secrets, dynamo, output }: Target, purpose: string): Keys {
  if (!isPurpose(purpose))
    throw new Error(`--secret is one of ${Object.keys(keySecrets).join(', ')}, not "${purpose}".`);
  const store = keysStore(secrets, output(keyOutputs[purpose]));
  if (purpose !== 'token-encryption') return { purpose, store };
  return { purpose, store, tokens: tokensByKey(dynamo, output('ConnectionsTableName')) };
}

const isPurpose = (name: string): name is KeyPurpose => Object.hasOwn(keySecrets, name);

/** The keys; for `token-encryption` with the number of connections that need each. */
export async function listKeys({ purpose, store, tokens }: Keys, now: number): Promise<Changed> {
  const keys = viewKeys(purpose, (await store.read()).text, now);
  const counts = await Promise.all(keys.map(async ({ id }) => tokens?.countEncryptedWith(id)));
  const rows = keys.map((key, index) => {
    const found = counts[index];
    return [key.id, describe(key), found ? `${found.complete ? '' : 'at least '}${found.count}` : ''];
  });
  const headings = ['key', 'use', tokens ? 'connections' : ''];
  const json = keys.map((key, index) => ({ ...key, connections: counts[index]?.count }));
  return { text: table(headings, rows, 'There is no key.'), json, failed: false };
}

function describe({ use, from }: KeyView): string {
  if (use === 'current') return 'current: used for everything new';
  return from === undefined ? 'old: only decrypts and verifies' : `next: from ${toIso(from)}`;
}

/** Adds a key, which is in use from 6 minutes later on, or at once. */
export async function addKey({ purpose, store }: Keys, now: number, atOnce: boolean): Promise<Changed> {
  const known = await store.read();
  const rotation = rotate(purpose, known.text, now, newKey, { atOnce });
  const { text, id, from } = rotation;
  const warning = await store.replace(known, text);
  return {
    text: `Added the key ${id} to ${purpose}.

${toIso(from)}  It is used for everything new.${atOnce ? ofEmergency(purpose) : ' Every function knows it by then.'}
${nextSteps(purpose, rotation)}${warned(warning)}`,
    json: { purpose, id, from: toIso(from), warning },
    failed: warning !== undefined,
  };
}

const warned = (warning = ''): string => (warning === '' ? '' : `\n\n${warning}`);

/** What has to happen before the previous key may be retired. */
function nextSteps(purpose: KeyPurpose, { previous, propagatedAt }: Rotation): string {
  const afterThat = '  after that          ';
  const retirement = `ops keys retire ${previous}${purpose === 'token-encryption' ? '' : ` --secret ${purpose}`}`;
  const condition: Record<KeyPurpose, string> = {
    'token-encryption': 'when no connection needs the old key',
    'state-encryption': 'with nothing else to wait for',
    'link-signing': 'when the backend uses its new key (metric UserTokenVerified)',
    'api-signing': 'when the backend uses its new key (metric UserTokenVerified)',
    'payment-messages': 'when the dead-letter queue is empty',
  };
  const giveKey = `${afterThat}give LeadsCalendar's backend its new key: ops token --signing-keys`;
  const steps: Partial<Record<KeyPurpose, string>> = {
    'token-encryption': `${afterThat}token-refresh encrypts the stored tokens again at its next runs: ops keys list`,
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

/** Removes a key that is no longer needed. `atOnce`: waits only for the copies that functions cache. */
export async function removeKey(
  { purpose, store, tokens }: Keys,
  now: number,
  id: string,
  atOnce: boolean,
): Promise<Changed> {
  const known = await store.read();
  const text = retire(purpose, known.text, id, now, { atOnce });
  if (tokens) await requireUnused(tokens, id);
  const warning = await store.replace(known, text);
  return {
    text: `Removed the key ${id} from ${purpose}. Within ${secretTtlSeconds / 60} minutes no function accepts it any more.
Was that too early? The previous value is still kept as AWSPREVIOUS: see docs/rotate-keys.md.${warned(warning)}`,
    json: { purpose, removed: id, warning },
    failed: warning !== undefined,
  };
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
