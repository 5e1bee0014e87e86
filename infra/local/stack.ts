/**
 * The local stack of this service: synthesizes the CDK app, runs its template, and sets the secrets that an
 * operator sets by hand after a deploy: the OAuth client, a webhook signing secret and Stripe's API key.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { providers } from '../../functions/payment-confirmed/providers.ts';
import { env, type KeyPurpose, keySecrets, routes } from '../../shared/lib/names.ts';
import type { Options } from '../config.ts';
import type { ResolvedResource } from './aws/resources.ts';
import { type Runner, type RunnerOptions, runAssembly } from './aws/runner.ts';
import { variablesOf } from './aws/wiring.ts';
import type { GoogleSimulator } from './google/simulator.ts';
import { type GoogleChoice, type ProvidedGoogle, provideGoogle } from './google.ts';
import type { StripeSimulator } from './stripe/simulator.ts';
import { provideStripe } from './stripe.ts';

const execute = promisify(execFile);

export type LocalStackOptions = RunnerOptions & {
  google: GoogleChoice;
  /** Port of the simulated Stripe; any free one by default. */
  stripePort?: number;
  /** Folder of a cloud assembly that is already synthesized. */
  assembly?: string;
  /** Synthesizes with Stripe's event bus, as the option `stripeEventSource` does. */
  stripeEvents?: boolean;
  /** Synthesizes with the option `stripeConnect`. */
  stripeConnect?: boolean;
};

/** The partner event source of the local stack. */
export const localStripeSource = 'aws.partner/stripe.com/ed_local';

/** Names of the secrets that the functions read. */
export type SecretNames = {
  googleClient: string;
  webhookSigning: string;
  stripeApi: string;
  /** Secrets with keys, by purpose. */
  keys: Record<KeyPurpose, string>;
};

export type LocalStack = Runner & {
  /** The simulator, when this stack started one. */
  google?: GoogleSimulator;
  /** Base URL of the simulated Google; undefined for the real one. */
  googleUrl: string | undefined;
  stripe: StripeSimulator;
  secretNames: SecretNames;
};

/**
 * Starts the local stack. Resolves when it answers; closes what it started when it rejects.
 * @throws Error when the port is taken, the template has unsupported resources, or a part cannot start
 */
export async function startLocalStack(options: LocalStackOptions): Promise<LocalStack> {
  const {
    google: choice,
    stripePort = 0,
    assembly,
    stripeEvents = false,
    stripeConnect = false,
    ...runnerOptions
  } = options;
  let google: ProvidedGoogle | undefined;
  let stripe: StripeSimulator | undefined;
  let secretNames: SecretNames | undefined;
  const runner = await runAssembly(
    () =>
      assembly ??
      synthesizeOnce({ stripeConnect, ...(stripeEvents ? { stripeEventSource: localStripeSource } : {}) }),
    async ({ url, secrets, functions, stateOf, defer }) => {
      secretNames = {
        googleClient: secrets.nameOf(variableOfAny(functions, env.googleClientSecretId)),
        webhookSigning: secrets.nameOf(variableOfAny(functions, env.webhookSecretId)),
        stripeApi: secrets.nameOf(variableOfAny(functions, env.stripeApiSecretId)),
        keys: keyPurposes((purpose) => secrets.nameOf(variableOfAny(functions, keySecrets[purpose]))),
      };
      const { webhookSigning } = secretNames;
      // The state of an earlier start keeps its secrets.
      const earlier = JSON.parse(secrets.get(webhookSigning) || '{}');
      secrets.put(webhookSigning, JSON.stringify({ ...newWebhookSigning(), ...earlier }));
      google = await provideGoogle(choice, {
        redirectUri: `${url}${routes.callback}`,
        previousClient: secrets.get(secretNames.googleClient),
        stateFile: stateOf('google.json'),
      });
      const { simulator } = google;
      if (simulator) defer(() => simulator.close());
      secrets.put(secretNames.googleClient, google.client);
      const { simulator: startedStripe, apiKey } = await provideStripe({
        port: stripePort,
        stateFile: stateOf('stripe.json'),
      });
      stripe = startedStripe;
      defer(() => startedStripe.close());
      secrets.put(secretNames.stripeApi, JSON.stringify({ keys: [apiKey] }));
      return {
        // Test mode too: the local stack handles no real money.
        [env.stripeMode]: 'both',
        [env.stripeUrl]: stripe.url,
        ...(google.url ? { [env.googleUrl]: google.url } : {}),
      };
    },
    runnerOptions,
  );
  return {
    ...runner,
    ...(google?.simulator ? { google: google.simulator } : {}),
    googleUrl: google?.url,
    stripe: stripe as StripeSimulator,
    secretNames: secretNames as SecretNames,
  };
}

/** A value for each purpose that has keys. */
function keyPurposes<T>(of: (purpose: KeyPurpose) => T): Record<KeyPurpose, T> {
  const purposes = Object.keys(keySecrets) as KeyPurpose[];
  return Object.fromEntries(purposes.map((purpose) => [purpose, of(purpose)])) as Record<KeyPurpose, T>;
}

/** The value of a variable that is equal in all functions that have it. */
function variableOfAny(functions: ResolvedResource[], variable: string): string {
  for (const each of functions) {
    const value = variablesOf(each)[variable];
    if (value) return value;
  }
  throw new Error(`No function of the template has the environment variable ${variable}.`);
}

/** One signing secret for each payment provider, of the shape that it gives. */
function newWebhookSigning(): Record<string, string[]> {
  return Object.fromEntries(
    providers.map(({ name }) => [name, [`whsec_${randomBytes(32).toString('base64')}`]]),
  );
}

/**
 * Synthesizes into a temporary folder that is removed at exit. The app runs in its own process, as with the CDK
 * command line: the CDK library would otherwise stay in memory for the lifetime of the stack.
 */
async function synthesizeOnce(context: Options): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'leadscalendar-assembly-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  try {
    await execute(process.execPath, [join(import.meta.dirname, '..', 'app.ts')], {
      env: { ...process.env, CDK_OUTDIR: directory, CDK_CONTEXT_JSON: JSON.stringify(context) },
      maxBuffer: 16 * 1024 * 1024,
    });
  } catch (cause) {
    const { stderr } = cause as { stderr?: string };
    throw new Error(`The CDK app could not be synthesized: ${stderr ?? cause}`, { cause });
  }
  return directory;
}
