import { loadEnvironment } from './environment.ts';
import { buildApp } from './synthesize.ts';

// Entry of the CDK command line (cdk.json), which passes output directory and context in the environment. The name of
// the environment is an argument, as `npm run deploy` and `npm run synth` give it.
const [name] = process.argv.slice(2);
try {
  buildApp(undefined, {}, name === undefined ? undefined : await loadEnvironment(name)).synth();
} catch (error) {
  console.error(process.env.DEBUG ? error : `\n${(error as Error).message}`);
  process.exitCode = 1;
}
