import type { Random } from './clock.ts';

/**
 * Seconds until the next attempt: doubles with each failed one from `first` to `longest`, and lies at random in
 * the upper half of that, so that what failed together does not come back together.
 */
export function backoff(failures: number, random: Random, range: { first: number; longest: number }): number {
  const ceiling = Math.min(range.longest, range.first * 2 ** Math.min(failures - 1, 30));
  return Math.round(ceiling / 2 + (ceiling / 2) * random());
}

/** `seconds`, more or less by up to `share` of it: keeps what was scheduled together from coming due together. */
export function jitter(seconds: number, random: Random, share: number): number {
  return Math.round(seconds * (1 + share * (2 * random() - 1)));
}
