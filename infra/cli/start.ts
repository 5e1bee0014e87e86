/** `npm start`: the whole service on this machine, until Ctrl-C. */
import { relative } from 'node:path';
import { parseArgs } from 'node:util';
import { routes, webhookRoute } from '../../shared/lib/names.ts';
import type { DynamoDbKind } from '../local/aws/dynamodb.ts';
import type { GoogleChoice } from '../local/google.ts';
import { type LocalStack, startLocalStack } from '../local/stack.ts';
import { defaultStateDir, readStackAddress, writeStackAddress } from '../local/state-files.ts';
import { runCommand } from './command.ts';
import { connectLink } from './links.ts';
import { createNarrator } from './narrator.ts';
import { stripeSigningSecret } from './payment.ts';

const demoUser = 'demo-user';

const help = `Runs the service on this machine, from the same template that would be deployed.

  npm start -- [options]

Options
  --port <number>        port of the HTTP API (default: 3000); the simulated Google and Stripe take the next two
  --fresh                delete the state of earlier starts in .local/
  --dynamodb-local       Amazon's DynamoDB Local instead of dynalite (needs Java)
  --google-url <base>    another simulator of Google
  --google real          the real Google; needs --client
  --client <file>        client_secret.json as downloaded from the Google Cloud console
  --stripe-events        with Stripe's event bus too: npm run pay -- --event-bus
  --stripe-connect       with connected accounts: npm run pay -- --account acct_demo
  --state <folder>       where state is kept (default: .local)
  --assembly <folder>    run this cloud assembly (cdk.out) instead of synthesizing
  --help                 print this

AWS_ENDPOINT_URL_DYNAMODB or AWS_ENDPOINT_URL: an endpoint to use for DynamoDB instead.`;

await runCommand(async () => {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '3000' },
      fresh: { type: 'boolean', default: false },
      'dynamodb-local': { type: 'boolean', default: false },
      'google-url': { type: 'string' },
      google: { type: 'string' },
      client: { type: 'string' },
      'stripe-events': { type: 'boolean', default: false },
      'stripe-connect': { type: 'boolean', default: false },
      state: { type: 'string', default: defaultStateDir },
      assembly: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(help);
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 0 || port > 65_533)
    throw new Error(`--port is a whole number from 0 to 65533, not "${values.port}".`);
  if ((values['stripe-events'] || values['stripe-connect']) && values.assembly)
    throw new Error(
      '--stripe-events and --stripe-connect are for a template that start makes, without --assembly.',
    );
  await refuseSecondStart(values.state);

  console.log(
    'Starting: the template is synthesized, then tables, queue, functions, Google and Stripe … (some seconds)',
  );
  const narrator = createNarrator(console.log);
  const stack = await startLocalStack({
    port,
    stateDir: values.state,
    ...(values.assembly ? { assembly: values.assembly } : {}),
    stripeEvents: values['stripe-events'],
    stripeConnect: values['stripe-connect'],
    fresh: values.fresh,
    dynamodb: chooseDynamoDb(values['dynamodb-local']),
    google: chooseGoogle(values, port),
    stripePort: port === 0 ? 0 : port + 2,
    ...narrator,
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, async () => {
      await stack.close();
      process.exit(0);
    });
  }
  writeStackAddress(values.state, stack);
  console.log(await welcome(stack, values.state));
});

/** The state on disk belongs to one stack, on any port. */
async function refuseSecondStart(stateDir: string): Promise<void> {
  let url: string;
  try {
    url = readStackAddress(stateDir).url;
  } catch {
    return;
  }
  const answers = await fetch(`${url}${routes.health}`, { signal: AbortSignal.timeout(2000) }).then(
    ({ ok }) => ok,
    () => false,
  );
  if (answers) throw new Error(`A local stack is already running at ${url}. Stop it first (Ctrl-C).`);
}

function chooseDynamoDb(dynamoDbLocal: boolean): DynamoDbKind {
  if (dynamoDbLocal) return 'dynamodb-local';
  const endpoint = process.env.AWS_ENDPOINT_URL_DYNAMODB ?? process.env.AWS_ENDPOINT_URL;
  return endpoint ? { endpoint } : 'dynalite';
}

function chooseGoogle(
  values: { google?: string | undefined; 'google-url'?: string | undefined; client?: string | undefined },
  port: number,
): GoogleChoice {
  if (values.google !== undefined && values.google !== 'real' && values.google !== 'simulator') {
    throw new Error(`--google is "real" or "simulator", not "${values.google}".`);
  }
  if (values.google === 'real') {
    if (!values.client)
      throw new Error('--google real needs --client <client_secret.json>: see docs/setup.md.');
    return { kind: 'real', clientFile: values.client };
  }
  const url = values['google-url'];
  if (!url) return { kind: 'simulator', port: port === 0 ? 0 : port + 1 };
  return { kind: 'url', url, ...(values.client ? { clientFile: values.client } : {}) };
}

async function welcome(
  { url, googleUrl, google, stripe, secrets, secretNames, outputs }: LocalStack,
  stateDir: string,
): Promise<string> {
  const link = await connectLink(
    secrets.get(secretNames.keys['link-signing']) as string,
    url,
    demoUser,
    Date.now(),
  );
  const signingSecret = stripeSigningSecret(secrets.get(secretNames.webhookSigning) as string);
  const state = relative(process.cwd(), stateDir);
  const otherState = stateDir === defaultStateDir ? '' : ` --state ${stateDir}`;
  return `
LeadsCalendar × Google Calendar runs on this machine.

  1. Connect a calendar (user ${demoUser}, link valid for 10 minutes)
     ${link}
     Another link: npm run ops -- token ${demoUser} --link --local${otherState}

  2. Pay for a booking, in a second terminal
     npm run pay${otherState && ` --${otherState}`}

  3. See it in the calendar
     ${google ? `${google.url}/calendar` : (googleUrl ?? 'https://calendar.google.com')}

  For operators npm run console -- --local${otherState}  (pages)
                npm run ops -- --help  (commands)
  Google        ${google ? `simulated, ${google.url}` : (googleUrl ?? 'the real one')}
  Webhook       ${url}${webhookRoute('stripe')}
  signed with   ${signingSecret}
  Stripe        simulated, ${stripe.url}; live and test mode (a deployment: by the option stripeMode)${outputs.StripeEventSource ? `\n  Its bus       ${outputs.StripeEventSource} (npm run pay -- --event-bus${otherState})` : ''}
  State, logs   ${state}/, ${state}/logs/  (delete: npm start -- --fresh${otherState})

Ctrl-C stops everything. What happens:
`;
}
