/** `npm run token`: tokens and links as LeadsCalendar's backend makes them, for manual trials. */
import { parseArgs } from 'node:util';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { keyText, parseKeys } from '../../shared/crypto/keys.ts';
import { defaultStateDir, readLocalSecret, readStackAddress } from '../local/state-files.ts';
import { runCommand } from './command.ts';
import { bearerToken, connectLink } from './links.ts';

const help = `Prints a bearer token for a user, valid for ten minutes.

  npm run token -- <userId>          a token for the local stack
  npm run token -- <userId> --link   a link that connects the user's calendar
  npm run token -- --signing-keys    the two keys that LeadsCalendar's backend signs with

Options
  --link                print a connect link instead of a bearer token
  --signing-keys        print the keys for LeadsCalendar's backend, as variables of its environment:
                        secrets, so keep them where it keeps its own
  --api-secret <name>   a deployed stack: its secret for bearer tokens (output ApiSigningSecret), and
  --link-secret <name>  its secret for links (output LinkSigningSecret),
                        with the AWS credentials and region of your shell
  --url <api url>       with --link-secret: the deployed API (output ApiUrl)
  --state <folder>      state of the local stack (default: .local)
  --help                print this`;

type SigningPurpose = 'api-signing' | 'link-signing';
const variables: Record<SigningPurpose, string> = {
  'api-signing': 'API_SIGNING_KEY',
  'link-signing': 'LINK_SIGNING_KEY',
};

await runCommand(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      link: { type: 'boolean', default: false },
      'signing-keys': { type: 'boolean', default: false },
      'api-secret': { type: 'string' },
      'link-secret': { type: 'string' },
      url: { type: 'string' },
      state: { type: 'string', default: defaultStateDir },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(help);
  const deployed = { 'api-signing': values['api-secret'], 'link-signing': values['link-secret'] };
  const isDeployed = Object.values(deployed).some((name) => name !== undefined);
  const read = (purpose: SigningPurpose) => {
    if (!isDeployed) return localSecret(values.state, purpose);
    const name = deployed[purpose];
    if (name !== undefined) return deployedSecret(name);
    const missing = purpose === 'api-signing' ? 'api-secret' : 'link-secret';
    throw new Error(`This needs --${missing}: an output of the deploy names the secret.`);
  };
  const [userId, ...more] = positionals;
  if (values['signing-keys'] && !userId) {
    for (const purpose of ['api-signing', 'link-signing'] as const) {
      if (isDeployed && deployed[purpose] === undefined) continue;
      const keys = parseKeys(purpose, await read(purpose));
      const id = keys.current(Math.floor(Date.now() / 1000));
      console.log(`${variables[purpose]}=${keyText(keys, id)}`);
    }
    return;
  }
  if (!userId || more.length > 0 || values['signing-keys']) throw new Error(help);
  if (!values.link) return console.log(await bearerToken(await read('api-signing'), userId, Date.now()));
  if (isDeployed && !values.url) {
    throw new Error('A link to a deployed stack needs --url: the output ApiUrl of the deploy.');
  }
  const keys = await read('link-signing');
  const url = values.url ?? readStackAddress(values.state).url;
  console.log(await connectLink(keys, url.replace(/\/$/, ''), userId, Date.now()));
});

function localSecret(stateDir: string, purpose: SigningPurpose): string {
  return readLocalSecret(stateDir, readStackAddress(stateDir).secretNames.keys[purpose]);
}

async function deployedSecret(name: string): Promise<string> {
  const { SecretString } = await new SecretsManagerClient().send(
    new GetSecretValueCommand({ SecretId: name }),
  );
  if (!SecretString) throw new Error(`The secret ${name} has no text value.`);
  return SecretString;
}
