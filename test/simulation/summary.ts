import type { Result } from './simulate.ts';

/** The counts of many scenarios. */
export type Summary = {
  runs: number;
  faults: Record<string, number>;
  checks: Record<string, number>;
  statuses: Record<string, number>;
  doubts: Record<string, number>;
  failures: { seed: number; violations: string[] }[];
};

export const emptySummary = (): Summary => ({
  runs: 0,
  faults: {},
  checks: {},
  statuses: {},
  doubts: {},
  failures: [],
});

const count = (counts: Record<string, number>, what: string, by = 1): void => {
  counts[what] = (counts[what] ?? 0) + by;
};

export function addResult(
  summary: Summary,
  seed: number,
  { injected, checks, statuses, doubts, violations }: Result,
): void {
  summary.runs += 1;
  for (const { fault } of injected) count(summary.faults, fault);
  for (const [what, by] of Object.entries(checks)) count(summary.checks, what, by);
  for (const [what, by] of Object.entries(statuses)) count(summary.statuses, what, by);
  for (const [what, by] of Object.entries(doubts)) count(summary.doubts, what, by);
  if (violations.length > 0) summary.failures.push({ seed, violations: violations.slice(0, 5) });
}

export function addSummary(total: Summary, part: Summary): void {
  total.runs += part.runs;
  total.failures.push(...part.failures);
  for (const counts of ['faults', 'checks', 'statuses', 'doubts'] as const)
    for (const [what, by] of Object.entries(part[counts])) count(total[counts], what, by);
}
