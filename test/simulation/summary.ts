import { knownUntilStateModel } from './known.ts';
import type { Result } from './simulate.ts';

/** The counts of many scenarios. */
export type Summary = {
  runs: number;
  faults: Record<string, number>;
  checks: Record<string, number>;
  statuses: Record<string, number>;
  doubts: Record<string, number>;
  /** Seeds by the check that they are known to violate. */
  known: Record<string, number[]>;
  failures: { seed: number; violations: string[] }[];
};

export const emptySummary = (): Summary => ({
  runs: 0,
  faults: {},
  checks: {},
  statuses: {},
  doubts: {},
  known: {},
  failures: [],
});

const count = (counts: Record<string, number>, what: string, by = 1): void => {
  counts[what] = (counts[what] ?? 0) + by;
};

function addSeeds({ known }: Summary, check: string, seeds: number[]): void {
  known[check] = [...(known[check] ?? []), ...seeds];
}

export function addResult(
  summary: Summary,
  seed: number,
  { injected, checks, statuses, doubts, violations, known }: Result,
): void {
  summary.runs += 1;
  for (const { fault } of injected) count(summary.faults, fault);
  for (const [what, by] of Object.entries(checks)) count(summary.checks, what, by);
  for (const [what, by] of Object.entries(statuses)) count(summary.statuses, what, by);
  for (const [what, by] of Object.entries(doubts)) count(summary.doubts, what, by);
  for (const check of knownUntilStateModel)
    if (known.some((violation) => violation.includes(`${check}: `))) addSeeds(summary, check, [seed]);
  if (violations.length > 0) summary.failures.push({ seed, violations: violations.slice(0, 5) });
}

export function addSummary(total: Summary, part: Summary): void {
  total.runs += part.runs;
  total.failures.push(...part.failures);
  for (const [check, seeds] of Object.entries(part.known)) addSeeds(total, check, seeds);
  for (const counts of ['faults', 'checks', 'statuses', 'doubts'] as const)
    for (const [what, by] of Object.entries(part[counts])) count(total[counts], what, by);
}
