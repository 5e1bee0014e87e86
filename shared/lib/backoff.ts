import type { Random } from './clock.ts';

/**
 * Seconds until the next attempt. The ceiling doubles with each failure from `first` to `longest`; the wait is random in
 * its upper half, so that work that failed together is not retried together.
 */
export function backoff(failures: number, random: Random, range: { first: number; longest: number }): number {
  const ceiling = Math.min(range.longest, range.first * 2 ** Math.min(failures - 1, 30));
  return Math.round(ceiling / 2 + (ceiling / 2) * random());
}

/** `seconds`, changed at random by up to `share` of it, so that work scheduled together is not due together. */
export function jitter(seconds: number, random: Random, share: number): number {
  return Math.round(seconds * (1 + share * (2 * random() - 1)));
}
