import { App, Validations } from 'aws-cdk-lib';
import {
  ASSET_RESOURCE_METADATA_ENABLED_CONTEXT,
  CDK_APP_MODE_CONTEXT,
  type CloudAssembly,
  PATH_METADATA_ENABLE_CONTEXT,
} from 'aws-cdk-lib/cx-api';
import recommendedFlags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { AwsSolutionsChecks, ServerlessChecks } from 'cdk-nag';
import { LeadsCalendarGoogle } from './stack.ts';

/** The app: the one stack, checked by cdk-nag's packs whenever it is synthesized. */
export function buildApp(outdir?: string, context: Record<string, unknown> = {}): App {
  const app = new App({
    ...(outdir ? { outdir } : {}),
    context: {
      ...recommendedFlags,
      // As on the command line: the construct of each resource, and the path of its bundle.
      [PATH_METADATA_ENABLE_CONTEXT]: true,
      [ASSET_RESOURCE_METADATA_ENABLED_CONTEXT]: true,
      ...context,
    },
    // The template depends on the sources alone: no metadata on its build.
    analyticsReporting: false,
  });
  new LeadsCalendarGoogle(app, 'LeadsCalendarGoogle');
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new ServerlessChecks(app));
  return app;
}

/**
 * Synthesizes into a directory, without the CDK command line: for the local stack and for tests. Silent.
 *
 * @param context as with `cdk -c key=value`; see config.ts
 * @throws what is wrong with the configuration, or the findings of cdk-nag
 */
export function synthesize(outdir: string, context: Record<string, unknown> = {}): CloudAssembly {
  // In memory: findings are in the exception, and nothing is printed.
  return buildApp(outdir, { [CDK_APP_MODE_CONTEXT]: 'inmemory', ...context }).synth();
}
