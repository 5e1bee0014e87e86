import { buildApp } from './synthesize.ts';

// Entry of the CDK command line (cdk.json), which passes output directory and context in the environment.
buildApp().synth();
