import { App, Validations } from 'aws-cdk-lib';
import type { CloudAssembly } from 'aws-cdk-lib/cx-api';
import recommendedFlags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { AwsSolutionsChecks, ServerlessChecks } from 'cdk-nag';
import { LeadsCalendarGoogle } from './stack.ts';

/** The app: the one stack, checked by cdk-nag's packs whenever it is synthesized. */
export function buildApp(outdir?: string, context: Record<string, unknown> = {}): App {
  const app = new App({
    ...(outdir ? { outdir } : {}),
    context: { ...recommendedFlags, ...context },
    // The template depends on the sources alone: no metadata on who built it with what.
    analyticsReporting: false,
  });
  new LeadsCalendarGoogle(app, 'LeadsCalendarGoogle');
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new ServerlessChecks(app));
  return app;
}

/**
 * Synthesizes into a directory, without the CDK command line: for the local stack and for tests.
 *
 * @param context as with `cdk -c key=value`; see config.ts
 * @throws what is wrong with the configuration, or the findings of cdk-nag
 */
export function synthesize(outdir: string, context?: Record<string, unknown>): CloudAssembly {
  return buildApp(outdir, context).synth();
}
