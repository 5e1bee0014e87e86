/** The options of `npm run simulate`. */
import { parseArgs } from 'node:util';
import { nearestTo } from '../../infra/nearest.ts';
import { type ProfileName, profileNames } from './profiles.ts';

export const help = `Runs the whole service in simulated time, through many scenarios with faults, and checks what it guarantees.

  npm run simulate -- --runs 100000 --seed 7

Which scenarios
  --runs <number>         how many (default: 3000)
  --seed <number>         the first one (default: 1); the same seed gives the same scenario
  --profile <name>        ${['all', ...profileNames].join(', ')} (default: all, a mixture)

One scenario
  --replay <seed or file> shows a scenario or a regression case, line by line
  --shrink                reduces it to the least that fails
  --save <file>           keeps the reduced scenario of the first failure

Mutants: deliberate bugs that the simulation must catch
  --mutants               looks for a scenario that fails, for each mutant
  --only <text>           only mutants whose name contains this
  --mutant <name>         shows the least that fails under one mutant; with --replay, that scenario under it
  --record <name or all>  checks the regression case of one mutant or of all, and records those that prove nothing again

  --help                  print this

The exit code is 1 where something failed, and 2 where an option is wrong.`;

export class UsageError extends Error {}

export type Options = {
  runs: number;
  firstSeed: number;
  profile: ProfileName | 'all';
  replay: string | undefined;
  shrink: boolean;
  save: string | undefined;
  mutants: boolean;
  only: string;
  mutant: string | undefined;
  record: string | undefined;
  help: boolean;
};

const declared = {
  runs: { type: 'string', default: '3000' },
  seed: { type: 'string', default: '1' },
  profile: { type: 'string', default: 'all' },
  replay: { type: 'string' },
  shrink: { type: 'boolean', default: false },
  save: { type: 'string' },
  mutants: { type: 'boolean', default: false },
  only: { type: 'string', default: '' },
  mutant: { type: 'string' },
  record: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

export const optionNames = Object.keys(declared);

/** Errors: `UsageError`, in one sentence. */
export function readOptions(args: string[]): Options {
  const values = parse(args);
  const { replay, shrink, save, mutants, only, mutant, record, help } = values;
  const profile = (['all', ...profileNames] as const).find((name) => name === values.profile);
  if (!profile) {
    const nearest = nearestTo(values.profile, profileNames);
    throw new UsageError(
      `There is no profile "${values.profile}": did you mean ${nearest}? There are all, ${profileNames.join(', ')}.`,
    );
  }
  return {
    runs: wholeNumber('runs', values.runs),
    firstSeed: wholeNumber('seed', values.seed),
    profile,
    replay,
    shrink,
    save,
    mutants,
    only,
    mutant,
    record,
    help,
  };
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options: declared }).values;
  } catch (error) {
    const { message } = error as Error;
    const [, unknown] = /^Unknown option '(-[^']*)'/.exec(message) ?? [];
    if (unknown === undefined) throw new UsageError(`${message.split(/\.\s/)[0]?.replace(/\.?$/, '.')}`);
    const nearest = nearestTo(unknown.replace(/^-+/, ''), optionNames);
    throw new UsageError(`There is no option ${unknown}: did you mean --${nearest}? See --help.`);
  }
}

function wholeNumber(name: string, text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new UsageError(`--${name} must be a whole number above 0, not "${text}".`);
}
