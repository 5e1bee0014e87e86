import { logTo } from '../../shared/observability.ts';
import { useImmediateCrypto } from './crypto.ts';
import { drawPlan, type Plan } from './deeds.ts';
import { drawProfile, type Profile, type ProfileName } from './faults.ts';
import { checkEnd, leaks, type Watch, watchWorld } from './invariants.ts';
import { live } from './life.ts';
import { randomOf } from './scheduler.ts';
import type { Injected } from './world.ts';

/** A run: what happens in it, and which of its faults are left out. */
export type Scenario = { seed: number; plan: Plan; profile: Profile; without: string[] };

export type Result = {
  violations: string[];
  injected: Injected[];
  checks: Watch['checks'];
  /** How bookings ended. */
  statuses: Record<string, number>;
  story: string[];
};

/** The scenario of a seed. */
export function scenarioOf(seed: number, profile: ProfileName = 'mixed'): Scenario {
  return {
    seed,
    plan: drawPlan(randomOf(`plan ${seed}`)),
    profile: drawProfile(randomOf(`profile ${seed}`), profile),
    without: [],
  };
}

/** Lives through a scenario. The same scenario gives the same result. */
export async function simulate({ seed, plan, profile, without }: Scenario): Promise<Result> {
  useImmediateCrypto();
  let watch: Watch = { violations: [], checks: {}, broken: [] };
  const leaked: string[] = [];
  logTo((line) => {
    watch.checks['no secret in a log line'] = (watch.checks['no secret in a log line'] ?? 0) + 1;
    leaked.push(...leaks('a log line', line));
  });
  let story: string[] = [];
  let injected: Injected[] = [];
  const statuses: Record<string, number> = {};
  try {
    const life = await live(plan, { seed, profile, without: new Set(without) }, (world) => {
      watch = watchWorld(world);
      ({ injected, story } = world);
    });
    await checkEnd(life, watch);
    for (const { status } of life.world.bookings()) statuses[status] = (statuses[status] ?? 0) + 1;
  } catch (error) {
    watch.violations.push(`the run broke off: ${(error as Error).stack}`);
  }
  return { violations: [...watch.violations, ...leaked], injected, checks: watch.checks, statuses, story };
}
