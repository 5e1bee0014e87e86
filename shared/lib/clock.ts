import { setTimeout as wait } from 'node:timers/promises';

/** The current time in whole epoch seconds. */
export type Clock = () => number;
/** A number in [0, 1). */
export type Random = () => number;
/** Resolves after so many milliseconds. */
export type Sleep = (milliseconds: number) => Promise<void>;

/** Epoch milliseconds of this machine, for log lines and caches. */
export const systemMilliseconds = (): number => Date.now();
export const systemClock: Clock = () => Math.floor(Date.now() / 1000);
export const systemRandom: Random = Math.random;
export const systemSleep: Sleep = async (milliseconds) => {
  await wait(milliseconds);
};

/** RFC 3339 in UTC for an epoch second. */
export function toIso(epochSeconds: number): string {
  return new Date(epochSeconds * 1000).toISOString().replace('.000Z', 'Z');
}

/** The first whole second from `now` on that is later than `before`, RFC 3339: clocks of workers differ by some seconds. */
export function laterThan(before: string | undefined, now: number): string {
  return toIso(before === undefined ? now : Math.max(now, Math.floor(Date.parse(before) / 1000) + 1));
}

/** Whether a day such as `2026-02-28` exists. Date.parse alone turns 30 February into 2 March. */
export function dayExists(day: string): boolean {
  const at = Date.parse(`${day}T00:00:00Z`);
  return !Number.isNaN(at) && toIso(at / 1000).startsWith(day);
}
