import type { Result, Scenario } from './simulate.ts';

type Simulate = (scenario: Scenario) => Promise<Pick<Result, 'violations' | 'injected'>>;

/**
 * The smallest scenario that still fails, by leaving out what happens and what goes wrong, in halves, quarters and so
 * on down to single ones, until nothing more can be left out.
 */
export async function shrink(scenario: Scenario, simulate: Simulate): Promise<Scenario> {
  let smallest = scenario;
  const fails = async (candidate: Scenario): Promise<boolean> => {
    const failed = (await simulate(candidate)).violations.length > 0;
    if (failed) smallest = candidate;
    return failed;
  };
  for (let before = Number.POSITIVE_INFINITY; sizeOf(smallest) < before; ) {
    before = sizeOf(smallest);
    await leaveOut(smallest.plan.actions, (actions) =>
      fails({ ...smallest, plan: { ...smallest.plan, actions } }),
    );
    const { injected } = await simulate(smallest);
    const operations = injected.map(({ operation }) => operation);
    const { without } = smallest;
    await leaveOut(operations, (kept) =>
      fails({ ...smallest, without: [...without, ...operations.filter((one) => !kept.includes(one))] }),
    );
  }
  return smallest;
}

const sizeOf = ({ plan, without }: Scenario): number => plan.actions.length * 1000 - without.length;

/** Tries to do without parts of a list; `holds` says whether what is left is still enough. */
async function leaveOut<T>(items: T[], holds: (left: T[]) => Promise<boolean>): Promise<void> {
  let left = items;
  for (let size = Math.ceil(left.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < left.length; ) {
      const candidate = [...left.slice(0, from), ...left.slice(from + size)];
      if (await holds(candidate)) left = candidate;
      else from += size;
    }
  }
}
