/** Regression cases: scenarios that fail under a mutant, and pass without it. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mutants } from './mutants.ts';
import { startReplay } from './replay.ts';
import { type Range, runSeeds } from './search.ts';
import { shrink } from './shrink.ts';
import { type Result, type Scenario, scenarioOf } from './simulate.ts';

const folder = new URL('regressions/', import.meta.url);

export type Regression = { file: string; mutant: string; scenario: Scenario };

export function readRegressions(): Regression[] {
  return readdirSync(folder).map((file) => {
    const { mutant, ...scenario } = JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
    return { file, mutant, scenario };
  });
}

export function saveRegression(file: string | URL, mutant: string | undefined, scenario: Scenario): void {
  writeFileSync(file, `${JSON.stringify({ ...(mutant ? { mutant } : {}), ...scenario }, null, 2)}\n`);
}

/** What became of the case of a mutant. */
export type Recorded =
  | { is: 'kept'; files: string[] }
  | { is: 'recorded'; files: string[]; seed: number }
  | { is: 'not caught' };

/**
 * Keeps the cases of a mutant that fail under it and pass without it, and deletes the others. If none remains, a
 * failing scenario is searched, reduced and saved.
 */
export async function record(mutant: string, range: Range): Promise<Recorded & { deleted: string[] }> {
  const [changed, original] = [startReplay(mutant), startReplay()];
  /** Without violations where the scenario fails without the mutant too. */
  const simulate = async (scenario: Scenario): Promise<Pick<Result, 'violations' | 'injected'>> => {
    const result = await changed.simulate(scenario);
    if (result.violations.length === 0) return result;
    const { violations } = await original.simulate(scenario);
    return violations.length > 0 ? { ...result, violations: [] } : result;
  };
  const proves = async (scenario: Scenario): Promise<boolean> =>
    (await simulate(scenario)).violations.length > 0;
  try {
    const [kept, deleted] = [[] as string[], [] as string[]];
    for (const { file, scenario } of readRegressions().filter((one) => one.mutant === mutant))
      ((await proves(scenario)) ? kept : deleted).push(file);
    for (const file of deleted) rmSync(new URL(file, folder));
    if (kept.length > 0) return { is: 'kept', files: kept, deleted };
    const seed = await findSeed(mutant, range, proves);
    if (seed === undefined) return { is: 'not caught', deleted };
    const smallest = await shrink(scenarioOf(seed, range.profile), simulate);
    const file = `${mutant
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-|-$/g, '')}.json`;
    saveRegression(new URL(file, folder), mutant, smallest);
    return { is: 'recorded', files: [file], seed, deleted };
  } finally {
    await Promise.all([changed.close(), original.close()]);
  }
}

/** A seed whose scenario fails because of the mutant; undefined where none of the range does. */
async function findSeed(
  mutant: string,
  { runs, firstSeed, profile }: Range,
  proves: (scenario: Scenario) => Promise<boolean>,
): Promise<number | undefined> {
  const end = firstSeed + runs;
  for (let from = firstSeed; from < end; ) {
    const range = { runs: end - from, firstSeed: from, profile };
    const { failures } = await runSeeds(range, { mutant, stopAtFailure: true });
    for (const { seed } of failures) if (await proves(scenarioOf(seed, profile))) return seed;
    if (failures.length === 0) return undefined;
    from = Math.max(...failures.map(({ seed }) => seed)) + 1;
  }
  return undefined;
}

/** Deletes the cases of mutants that do not exist any more. Answers their files. */
export function deleteWithoutMutant(): string[] {
  const names = mutantNames('');
  const files = readRegressions().flatMap(({ file, mutant }) => (names.includes(mutant) ? [] : file));
  for (const file of files) rmSync(new URL(file, folder));
  return files;
}

export function mutantNames(only: string): string[] {
  return mutants.map(({ name }) => name).filter((name) => name.includes(only));
}
