/** `npm run simulate`: see options.ts. */
import { readFileSync } from 'node:fs';
import { nearestTo } from '../../infra/nearest.ts';
import { faultNames } from './faults.ts';
import { help, readOptions, UsageError } from './options.ts';
import { deleteWithoutMutant, mutantNames, record, saveRegression } from './regressions.ts';
import { startReplay } from './replay.ts';
import { runSeeds } from './search.ts';
import { shrink } from './shrink.ts';
import { type Scenario, scenarioOf } from './simulate.ts';
import type { Summary } from './summary.ts';

const since = performance.now();
const elapsed = (): string => `${((performance.now() - since) / 1000).toFixed(0)} s`;
const show = (line: string): void => {
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[2K${line}`);
};

try {
  const options = readOptions(process.argv.slice(2));
  if (options.help) console.log(help);
  else await run(options);
} catch (error) {
  console.error(process.env.DEBUG ? error : (error as Error).message);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}

type Options = ReturnType<typeof readOptions>;

function run(options: Options): Promise<void> {
  if (options.mutant) checkMutant(options.mutant);
  if (options.record !== undefined) return recordCases(options, options.record);
  if (options.mutants) return checkMutants(options);
  if (options.replay !== undefined) return replay(options, options.replay);
  if (options.mutant) return showMutant(options, options.mutant);
  return simulateMany(options);
}

function checkMutant(name: string): void {
  const names = mutantNames('');
  if (!names.includes(name))
    throw new UsageError(`There is no mutant "${name}": did you mean "${nearestTo(name, names)}"?`);
}

async function simulateMany(options: Options): Promise<void> {
  const { runs, firstSeed } = options;
  let shown = 0;
  let printed = 0;
  const total = await runSeeds(options, { coverage: true }, ({ runs: done, failures }) => {
    for (const { seed, violations } of failures.slice(printed)) {
      show('');
      console.log(`seed ${seed}: ${violations[0]}`);
    }
    printed = failures.length;
    show(`${done} of ${runs} runs, ${failures.length} failed, ${elapsed()}`);
    if (!process.stdout.isTTY && done >= shown + runs / 10) {
      shown = done;
      console.log(`${done} of ${runs} runs, ${failures.length} failed, ${elapsed()}`);
    }
  });
  show('');
  printSummary(total);
  console.log(
    `\n${total.runs} runs (seeds ${firstSeed} to ${firstSeed + runs - 1}) in ${elapsed()}: ${total.failures.length} failed.`,
  );
  const [first] = total.failures;
  if (!first) return;
  await showSmallest(scenarioOf(first.seed, options.profile), options);
  process.exitCode = 1;
}

function printSummary(total: Summary & { unreached: string[] }): void {
  printTable('Faults that took place', total.faults, faultNames);
  printTable('Checks', total.checks);
  printTable('How bookings ended', total.statuses);
  printTable('In doubt, and how it was resolved', total.doubts);
  if (total.unreached.length === 0) return;
  console.log(
    `\nCode of sync and tokens that was never reached (${total.unreached.length} places, in 1,500 runs at most):`,
  );
  for (const place of total.unreached) console.log(`  ${place}`);
}

function printTable(
  title: string,
  counts: Record<string, number>,
  names: readonly string[] = Object.keys(counts).sort(),
): void {
  console.log(`\n${title}`);
  for (const name of names) console.log(`  ${String(counts[name] ?? 0).padStart(10)}  ${name}`);
}

async function replay(options: Options, what: string): Promise<void> {
  const seed = Number(what);
  const scenario: Scenario = Number.isSafeInteger(seed)
    ? scenarioOf(seed, options.profile)
    : JSON.parse(readFileSync(what, 'utf8'));
  return options.shrink ? showSmallest(scenario, options) : showScenario(scenario, options.mutant);
}

/** Reduces a scenario to the least that still fails, and shows it. */
async function showSmallest(scenario: Scenario, { mutant, save }: Options): Promise<void> {
  console.log(`\nReducing the scenario of seed ${scenario.seed} …`);
  const { simulate, close } = startReplay(mutant);
  const smallest = await shrink(scenario, simulate).finally(close);
  await showScenario(smallest, mutant);
  if (!save) return;
  saveRegression(save, mutant, smallest);
  console.log(`\nSaved as ${save}.`);
}

async function showScenario(scenario: Scenario, mutant?: string): Promise<void> {
  const { simulate, close } = startReplay(mutant);
  const { trace, violations } = await simulate(scenario).finally(close);
  console.log(`\n${trace.join('\n')}\n`);
  console.log(violations.length > 0 ? `Violations:\n  ${violations.join('\n  ')}` : 'No violation.');
}

async function checkMutants(options: Options): Promise<void> {
  const tried = mutantNames(options.only);
  let caught = 0;
  for (const mutant of tried) {
    const total = await runSeeds(options, { mutant, stopAtFailure: true }, ({ runs: done }) =>
      show(`${mutant}: ${done} runs`),
    );
    show('');
    const [first] = total.failures;
    if (first) caught += 1;
    console.log(
      first
        ? `caught after ${String(total.runs).padStart(5)} runs: ${mutant}\n    seed ${first.seed}: ${first.violations[0]?.slice(0, 150)}`
        : `NOT CAUGHT in ${total.runs} runs: ${mutant}`,
    );
  }
  console.log(
    `\n${caught} of ${tried.length} mutants caught within ${options.runs} runs each, in ${elapsed()}.`,
  );
  if (caught < tried.length) process.exitCode = 1;
}

async function showMutant(options: Options, mutant: string): Promise<void> {
  const total = await runSeeds(options, { mutant, stopAtFailure: true });
  const [first] = total.failures;
  if (first) return showSmallest(scenarioOf(first.seed, options.profile), options);
  console.log(`${options.runs} runs did not catch it.`);
}

async function recordCases(options: Options, name: string): Promise<void> {
  if (name !== 'all') checkMutant(name);
  const names = name === 'all' ? mutantNames(options.only) : [name];
  if (name === 'all') for (const file of deleteWithoutMutant()) console.log(`deleted, of no mutant: ${file}`);
  let missing = 0;
  for (const mutant of names) {
    const recorded = await record(mutant, options);
    for (const file of recorded.deleted) console.log(`deleted, proves nothing: ${file}`);
    if (recorded.is === 'not caught') missing += 1;
    const seed = recorded.is === 'recorded' ? `, of seed ${recorded.seed}` : '';
    const files = recorded.is === 'not caught' ? `within ${options.runs} runs` : recorded.files.join(', ');
    console.log(`${recorded.is}: ${mutant}\n    ${files}${seed}`);
  }
  console.log(`\n${names.length - missing} of ${names.length} mutants have a case, in ${elapsed()}.`);
  if (missing > 0) process.exitCode = 1;
}
