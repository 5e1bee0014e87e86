/** `npm run token`: tokens and links that LeadsCalendar's backend would make, for trying things by hand. */
import { parseArgs } from 'node:util';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { linkSigningKey, parseTokenKeys } from '../../shared/token-keys.ts';
import { runCommand } from './command.ts';
import { bearerToken, connectLink } from './links.ts';
import { defaultStateDir, readLocalSecret, readStackAddress } from './state-files.ts';

const help = `Prints a bearer token for a user, valid for ten minutes.

  npm run token -- <userId>          a token for the local stack
  npm run token -- <userId> --link   a link that connects the user's calendar
  npm run token -- --signing-key     the key that LeadsCalendar's backend signs both with

Options
  --link            print a connect link instead of a bearer token
  --signing-key     print the key for LeadsCalendar's backend: a secret, so give it to nobody else
  --secret <name>   take the keys from this secret of a deployed stack (output TokenKeysSecret),
                    with the AWS credentials and region of your shell
  --url <api url>   with --link and --secret: the deployed API (output ApiUrl)
  --state <folder>  state of the local stack (default: .local)
  --help            print this`;

await runCommand(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      link: { type: 'boolean' },
      'signing-key': { type: 'boolean' },
      secret: { type: 'string' },
      url: { type: 'string' },
      state: { type: 'string', default: defaultStateDir },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(help);
  const tokenKeys = () => (values.secret ? readDeployedSecret(values.secret) : localTokenKeys(values.state));
  const [userId, ...more] = positionals;
  if (values['signing-key'] && !userId) {
    const keys = parseTokenKeys(await tokenKeys());
    return console.log(linkSigningKey(keys, keys.current(Math.floor(Date.now() / 1000))));
  }
  if (!userId || more.length > 0 || values['signing-key']) throw new Error(help);
  const keys = await tokenKeys();
  if (!values.link) return console.log(await bearerToken(keys, userId, Date.now()));
  if (values.secret && !values.url) {
    throw new Error('A link to a deployed stack needs --url: the output ApiUrl of the deploy.');
  }
  const url = values.url ?? readStackAddress(values.state).url;
  console.log(await connectLink(keys, url.replace(/\/$/, ''), userId, Date.now()));
});

function localTokenKeys(stateDir: string): string {
  return readLocalSecret(stateDir, readStackAddress(stateDir).secretNames.tokenKeys);
}

async function readDeployedSecret(name: string): Promise<string> {
  const { SecretString } = await new SecretsManagerClient().send(
    new GetSecretValueCommand({ SecretId: name }),
  );
  if (!SecretString) throw new Error(`The secret ${name} has no text value.`);
  return SecretString;
}
