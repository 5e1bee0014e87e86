import { readFileSync } from 'node:fs';
import { describe, expect, inject, it } from 'vitest';
import { readAssembly } from '../../infra/local/aws/template.ts';
import { tableShapes } from './dynamodb.ts';
import { mutants } from './mutants.ts';
import { help, optionNames, readOptions } from './options.ts';
import { readRegressions } from './regressions.ts';
import { startReplay } from './replay.ts';
import { randomOf } from './scheduler.ts';
import { shrink } from './shrink.ts';
import { type Result, type Scenario, scenarioOf, simulate } from './simulate.ts';
import { drawPlan } from './user-actions.ts';

const scenarios = 150;

describe('the simulation', () => {
  it(`${scenarios} simulated scenarios pass, and every check runs`, {
    timeout: 120_000,
  }, async () => {
    const checks = new Set<string>();
    const faults = new Set<string>();
    for (let seed = 1; seed <= scenarios; seed++) {
      const result = await simulate(scenarioOf(seed));
      expect(result.violations, `seed ${seed}: npm run simulate -- --replay ${seed} --shrink`).toEqual([]);
      for (const name of Object.keys(result.checks)) checks.add(name);
      for (const { fault } of result.injected) faults.add(fault);
    }
    const promised = [
      'a write changes nothing but what its booking changed',
      'an ordinary action frees a stuck booking',
      'booking versions follow each other',
      'connection versions never go back',
      'every token can be decrypted with the current key',
      'a status is published before it is stored',
      'no connection is marked broken without cause',
      'no event of ours without a booking',
      'no secret in a bus event',
      'no secret in a log line',
      'one event at most, after each call',
      'one refresh at a time',
      'the calendar shows what is desired',
      'the last event published agrees with the status',
    ];
    expect(promised.filter((check) => !checks.has(check))).toEqual([]);
    expect(faults.size).toBeGreaterThan(20);
  });

  it('a seed gives the same trace again, to the millisecond', async () => {
    for (let seed = 500; seed < 520; seed++) {
      const [one, other] = [await simulate(scenarioOf(seed)), await simulate(scenarioOf(seed))];
      expect(other.trace).toEqual(one.trace);
    }
  });

  it('a seed draws the same plan again, another seed another plan', () => {
    expect(drawPlan(randomOf('plan 7'))).toEqual(drawPlan(randomOf('plan 7')));
    expect(drawPlan(randomOf('plan 8'))).not.toEqual(drawPlan(randomOf('plan 7')));
  });

  it('the simulated tables have the keys and indexes of the template', () => {
    const { template } = readAssembly(inject('assembly'));
    const declared = Object.values(template.Resources)
      .filter(({ Type }) => Type === 'AWS::DynamoDB::Table')
      .map(({ Properties }) => Properties as unknown as Declared);
    const shapes = declared.map(({ KeySchema, GlobalSecondaryIndexes }) => ({
      key: KeySchema[0]?.AttributeName,
      indexes: Object.fromEntries(
        GlobalSecondaryIndexes.map(({ IndexName, KeySchema: [partition, sort], Projection }) => [
          IndexName,
          {
            partition: partition?.AttributeName,
            sort: sort?.AttributeName,
            include: Projection.NonKeyAttributes ?? [],
          },
        ]),
      ),
    }));
    expect(shapes).toEqual(expect.arrayContaining(Object.values(tableShapes)));
    expect(shapes).toHaveLength(Object.values(tableShapes).length);
  });
});

type Declared = {
  KeySchema: { AttributeName: string }[];
  GlobalSecondaryIndexes: {
    IndexName: string;
    KeySchema: { AttributeName: string }[];
    Projection: { NonKeyAttributes?: string[] };
  }[];
};

describe('a regression case', () => {
  const cases = readRegressions();
  it.each(cases)('regression case $file passes', async ({ scenario }) => {
    expect((await simulate(scenario)).violations).toEqual([]);
  });

  it.each(cases)('regression case $file fails under its mutant: $mutant', async ({ mutant, scenario }) => {
    const { simulate: replayed, close } = startReplay(mutant);
    const { violations } = await replayed(scenario).finally(close);
    expect(violations).not.toEqual([]);
  });
});

describe('the command', () => {
  it('an unknown option of the simulation is answered with the nearest one', () => {
    expect(() => readOptions(['--rns', '3'])).toThrow('There is no option --rns: did you mean --runs?');
    expect(() => readOptions(['--profile', 'lte'])).toThrow('There is no profile "lte": did you mean late?');
  });

  it.each([['--runs'], ['--runs', 'many'], ['--runs', '0'], ['--seed', '1.5'], ['stray']])(
    'the simulation rejects %s %s in one sentence',
    (...args) => {
      expect(() => readOptions(args.filter((arg) => arg !== undefined))).toThrow(/^[^.]+\.?[^.]*\.$/);
    },
  );

  it('the help of the simulation explains each option', () => {
    for (const name of optionNames) expect(help).toContain(`--${name} `);
  });
});

describe('a mutant', () => {
  it.each(mutants.flatMap((mutant) => [mutant, ...(mutant.also ? [{ ...mutant, ...mutant.also }] : [])]))(
    'a mutant finds its text once in the code: $name',
    ({ file, from, to }) => {
      const code = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
      expect(code.split(from)).toHaveLength(2);
      expect(to).not.toBe(from);
    },
  );
});

describe('shrinking', () => {
  it('shrinking keeps only the actions and faults by which a scenario fails', async () => {
    const all = scenarioOf(12);
    const needed = all.plan.actions.slice(1, 3).map(({ id }) => id);
    // Fails while both actions are there and the second of three faults takes place.
    const simulated = async ({ plan, without }: Scenario): Promise<Result> => {
      const ids = plan.actions.map(({ id }) => id);
      const operations = ['one/1', 'two/2', 'three/3'].filter((operation) => !without.includes(operation));
      const fails = needed.every((id) => ids.includes(id)) && operations.includes('two/2');
      return {
        violations: fails ? ['it fails'] : [],
        doubts: {},
        injected: operations.map((operation) => ({ operation, fault: 'slow', target: 'bus', at: 0 })),
        checks: {},
        statuses: {},
        trace: [],
      };
    };
    const { plan, without } = await shrink(all, simulated);
    expect(plan.actions.map(({ id }) => id)).toEqual(needed);
    expect(without.sort()).toEqual(['one/1', 'three/3']);
  });
});
