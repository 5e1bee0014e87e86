/** What the parts of the bench have in common. */

/** One line of the table: a figure of ours, and what it is compared with, in the same unit. */
export type Row = {
  /** What was measured: `booking-sync`, `payment to event`. */
  what: string;
  unit: string;
  ours: number;
  /** What nobody could do better with the same means. */
  floor?: number;
  /** What doing nothing at all costs. */
  empty?: number;
  /** The usual way of building it. */
  usual?: number;
  goal?: Goal;
  note?: string;
};

/** What a figure is to keep: all that is named here. */
export type Goal = {
  /** Ours is at most so many times the floor. */
  timesFloor?: number;
  /** The usual way is at least so many times ours. */
  timesBetter?: number;
  /** Ours is at most this. */
  atMost?: number;
};

export type MeasureOptions = {
  /** As few rounds as show that it runs: for CI, which does not look at the clock. */
  short: boolean;
  /** Says how far a long measurement is; each text replaces the one before. */
  progress: (text: string) => void;
  /** The part's own options, as given on the command line. */
  values: Record<string, string | boolean | undefined>;
};

/** A part of the bench. */
export type Part = {
  /** As on the command line: `cold-start`. */
  name: string;
  title: string;
  /** Options of its own, each with a value: the line that `--help` says about it. */
  options?: Record<string, { text: string }>;
  measure(options: MeasureOptions): Promise<Row[]>;
};

/** What was measured of a part. */
export type Result = { name: string; title: string; seconds: number; rows: Row[] };

/** The middle of some figures; where two are in the middle, their mean. */
export function median(figures: number[]): number {
  const sorted = figures.toSorted((one, other) => one - other);
  const at = (index: number) => sorted[index] ?? Number.NaN;
  return (at(Math.floor((sorted.length - 1) / 2)) + at(Math.floor(sorted.length / 2))) / 2;
}
