/** `npm run deploy`: deploys an environment with the CDK, after checks that need the deployed stack. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CloudFormationClient } from '@aws-sdk/client-cloudformation';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { GetAccountSettingsCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { environmentNames, loadEnvironment } from '../environment.ts';
import { concurrencyContext, firstDeployContext } from '../synthesize.ts';
import { adoptionOf } from './adopt.ts';
import { runCommand } from './command.ts';
import { deployedOptions, harmfulChanges } from './deployed-options.ts';

const help = `Deploys an environment: a file in infra/environments/.

  npm run deploy -- --env staging
  npm run deploy -- --env production --require-approval never    other options go to cdk deploy

Options
  --env <name>          ${environmentNames().join(', ')}
  --adopt <file>        a new stack takes over the tables, key and secrets that a deleted one has left; the file is the
                        cdk-outputs.<name>.json of the deleted one
  --accept <option>     deploy although the change of this option does harm; may be given several times
  --help                print this

It refuses changes that lose data or that others rely on, takes the account's quota of concurrent runs into account, and
writes the outputs to cdk-outputs.<name>.json. The first deploy of a stack goes back as a whole where it fails: then
nothing is left behind. Credentials are those of your shell, as for the AWS command line.`;

await runCommand(async () => {
  const { values, tokens } = parseArgs({
    options: {
      env: { type: 'string' },
      accept: { type: 'string', multiple: true, default: [] },
      adopt: { type: 'string' },
      help: { type: 'boolean' },
    },
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  if (values.help) return console.log(help);
  if (typeof values.env !== 'string') {
    throw new Error(`Which environment? --env ${environmentNames().join(' or --env ')}. See --help.`);
  }
  const environment = await loadEnvironment(values.env);
  const { name, stackName, account, region, options } = environment;
  console.log(`● ${stackName} in account ${account}, ${region}`);

  const before = await deployedOptions(new CloudFormationClient({ region }), stackName);
  const accepted = (values.accept as string[]) ?? [];
  const harm = before
    ? harmfulChanges(before, options).filter(({ option }) => !accepted.includes(option))
    : [];
  if (harm.length > 0) {
    const list = harm.map(
      ({ option, says }) => `- ${option}: ${says} Deploy all the same: --accept ${option}`,
    );
    throw new Error(`Nothing was deployed: the change does harm.\n${list.join('\n')}`);
  }
  const { AccountLimit } = await new LambdaClient({ region }).send(new GetAccountSettingsCommand({}));
  const quota = AccountLimit?.ConcurrentExecutions;
  const others = passedOn(tokens);
  const deploy = (context: string[]) =>
    cdk([
      'deploy',
      ...['--app', `node infra/app.ts ${name}`],
      ...['--outputs-file', `cdk-outputs.${name}.json`],
      ...(quota === undefined ? [] : ['-c', `${concurrencyContext}=${quota}`]),
      ...context,
      ...others,
    ]);
  if (typeof values.adopt === 'string') {
    if (before) throw new Error(`${stackName} exists: only a new stack can take over what another has left.`);
    const mapping = `cdk-outputs.${name}.adopted.json`;
    writeFileSync(
      mapping,
      JSON.stringify(await adoptionOf(values.adopt, new DynamoDBClient({ region })), null, 2),
    );
    console.log('● Importing what the deleted stack has left');
    await cdk(['import', '--app', `node infra/app.ts ${name}`, '--resource-mapping', mapping]);
    console.log('● Then all the rest');
  } else if (before === undefined) {
    console.log(
      '● First deploy: without deletion protection of the tables, so that a failure leaves nothing behind',
    );
    await deploy(['-c', `${firstDeployContext}=true`]);
    console.log('● Once more, with deletion protection');
  }
  await deploy([]);
  console.log(`● Deployed. What to do next: docs/setup.md. Outputs: cdk-outputs.${name}.json`);
});

type Token = { kind: string; name?: string; rawName?: string; value?: string | boolean | undefined };

/** The arguments that are for cdk: all but those of this command. */
function passedOn(tokens: readonly Token[]): string[] {
  return tokens.flatMap(({ kind, name, rawName, value }) => {
    if (kind === 'positional') return [String(value)];
    if (kind !== 'option' || rawName === undefined || ['env', 'accept', 'adopt'].includes(name ?? ''))
      return [];
    return typeof value === 'string' ? [rawName, value] : [rawName];
  });
}

/** Runs the CDK command line in this terminal. Rejects where it fails. */
function cdk(args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('cdk', args, { stdio: 'inherit' });
    child.once('error', reject);
    child.once('exit', (code) =>
      code === 0 ? resolve() : reject(new Error(`cdk ${args[0]} ended with code ${code}.`)),
    );
  });
}
