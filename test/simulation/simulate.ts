import { setLogSink } from '../../shared/lib/observability.ts';
import { checkEnd } from './check-end.ts';
import { useImmediateCrypto } from './crypto.ts';
import type { Profile } from './faults.ts';
import { drawLatePlan } from './late.ts';
import { leaks } from './leaks.ts';
import { playScenario } from './play-scenario.ts';
import { drawProfile, type ProfileName } from './profiles.ts';
import { oneOf, randomOf } from './scheduler.ts';
import { drawPlan, type Plan } from './user-actions.ts';
import { type Watch, watchWorld } from './watch-world.ts';
import type { Injected } from './world.ts';

/** What happens, and which of the faults are left out. */
export type Scenario = { seed: number; plan: Plan; profile: Profile; without: string[] };

export type Result = {
  violations: string[];
  injected: Injected[];
  /** How often each doubt arose and how it was resolved. */
  doubts: Record<string, number>;
  checks: Watch['checks'];
  /** How bookings ended. */
  statuses: Record<string, number>;
  trace: string[];
};

/** The profiles of ten seeds, where none is asked for. */
const shares: ProfileName[] = [
  'mixed',
  'mixed',
  'mixed',
  'mixed',
  'late',
  'late',
  'late',
  'crashes',
  'google',
  'aws',
];

/** The scenario of a seed. `all`: the seed draws its profile too. */
export function scenarioOf(seed: number, profile: ProfileName | 'all' = 'all'): Scenario {
  const name = profile === 'all' ? oneOf(randomOf(`profile of ${seed}`), shares) : profile;
  const draw = name === 'late' ? drawLatePlan : drawPlan;
  return {
    seed,
    plan: draw(randomOf(`plan ${seed}`)),
    profile: drawProfile(randomOf(`profile ${seed}`), name),
    without: [],
  };
}

/** Plays a scenario. The same scenario gives the same result. */
export async function simulate({ seed, plan, profile, without }: Scenario): Promise<Result> {
  useImmediateCrypto();
  let watch: Watch = { violations: [], checks: {}, broken: [] };
  const leaked: string[] = [];
  setLogSink((line) => {
    watch.checks['no secret in a log line'] = (watch.checks['no secret in a log line'] ?? 0) + 1;
    leaked.push(...leaks('a log line', line));
  });
  let trace: string[] = [];
  let injected: Injected[] = [];
  let doubts: Record<string, number> = {};
  const statuses: Record<string, number> = {};
  try {
    const played = await playScenario(plan, { seed, profile, without: new Set(without) }, (world) => {
      watch = watchWorld(world);
      ({ injected, lines: trace } = world);
    });
    await checkEnd(played, watch);
    played.world.doubts.end();
    doubts = played.world.doubts.counts;
    for (const { status } of played.world.bookings()) statuses[status] = (statuses[status] ?? 0) + 1;
  } catch (error) {
    watch.violations.push(`the scenario broke off: ${(error as Error).stack}`);
  }
  return {
    violations: [...watch.violations, ...leaked],
    doubts,
    injected,
    checks: watch.checks,
    statuses,
    trace,
  };
}
