import { App, type StackProps, Validations } from 'aws-cdk-lib';
import {
  ASSET_RESOURCE_METADATA_ENABLED_CONTEXT,
  CDK_APP_MODE_CONTEXT,
  type CloudAssembly,
  PATH_METADATA_ENABLE_CONTEXT,
} from 'aws-cdk-lib/cx-api';
import { AwsSolutionsChecks, ServerlessChecks } from 'cdk-nag';
import cdkJson from '../cdk.json' with { type: 'json' };
import { type Options, readConfig } from './config.ts';
import type { Environment } from './environment.ts';
import { ServiceStack } from './stack.ts';

/** Context of `npm run deploy`: the first deploy of a stack, which is rolled back as a whole where it fails. */
export const firstDeployContext = 'leadscalendar:first-deploy';
/** Context of `npm run deploy`: the account's quota of concurrent runs. */
export const concurrencyContext = 'leadscalendar:concurrency';

/** The app: the one stack, checked by cdk-nag's packs whenever it is synthesized. */
export function buildApp(
  outdir?: string,
  context: Record<string, unknown> = {},
  environment?: Environment,
): App {
  const app = new App({
    ...(outdir ? { outdir } : {}),
    context: {
      // The CDK's feature flags: with others, resources would be made otherwise.
      ...cdkJson.context,
      // As on the command line: the construct of each resource, and the path of its bundle.
      [PATH_METADATA_ENABLE_CONTEXT]: true,
      [ASSET_RESOURCE_METADATA_ENABLED_CONTEXT]: true,
      ...context,
    },
    // The template depends on the sources alone: no metadata on its build.
    analyticsReporting: false,
  });
  const given = optionsIn(app.node.getAllContext());
  const [first] = Object.keys(given);
  if (environment && first) {
    throw new Error(
      `-c ${first}: the options of an environment are in its file alone, infra/environments/${environment.name}.ts. A flag that the next deploy forgets would undo it.`,
    );
  }
  new ServiceStack(app, 'LeadsCalendarGoogle', {
    options: withinQuota(
      environment?.options ?? readConfig(given),
      app.node.tryGetContext(concurrencyContext),
    ),
    deletionProtection: app.node.tryGetContext(firstDeployContext) === undefined,
    ...(environment ? propsOf(environment) : {}),
  });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new ServerlessChecks(app));
  return app;
}

function propsOf({ stackName, account, region, production, tags }: Environment): StackProps {
  return { stackName, env: { account, region }, terminationProtection: production, tags };
}

/** The context without what belongs to the CDK or other tools: their keys have a colon, or begin with an @. */
function optionsIn(context: Record<string, unknown>): Options {
  return Object.fromEntries(Object.entries(context).filter(([key]) => !/^@|:/.test(key)));
}

/** AWS keeps so many concurrent runs unreserved in each account. */
const unreserved = 100;

/**
 * The options in an account with that quota of concurrent runs: nothing is reserved where AWS would refuse it, and
 * booking-sync leaves half of a small quota to webhooks and users.
 */
function withinQuota(options: ReturnType<typeof readConfig>, quota: unknown): ReturnType<typeof readConfig> {
  if (quota === undefined) return options;
  const { reservedConcurrency, syncConcurrency } = options;
  const runs = Number(quota);
  const fits = reservedConcurrency === 0 || 2 * reservedConcurrency + 1 + unreserved <= runs;
  return {
    ...options,
    reservedConcurrency: fits ? reservedConcurrency : 0,
    syncConcurrency: Math.max(2, Math.min(syncConcurrency, Math.floor(runs / 2))),
  };
}

/**
 * Synthesizes into a directory, without the CDK command line: for the local stack and for tests. Silent.
 *
 * @param context as with `cdk -c key=value`; see config.ts
 * @throws what is wrong with the configuration, or the findings of cdk-nag
 */
export function synthesize(
  outdir: string,
  context: Record<string, unknown> = {},
  environment?: Environment,
): CloudAssembly {
  // In memory: findings are in the exception, and nothing is printed.
  return buildApp(outdir, { [CDK_APP_MODE_CONTEXT]: 'inmemory', ...context }, environment).synth();
}
