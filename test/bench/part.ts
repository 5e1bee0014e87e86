/** Types and helpers of all parts of the bench. */

/** One line of the table: our figure and its comparisons, in the same unit. */
export type Row = {
  /** Name of the measurement: `booking-sync`, `payment to event`. */
  what: string;
  unit: string;
  ours: number;
  /** Lower bound with the same means. */
  floor?: number;
  /** Cost of doing nothing at all. */
  empty?: number;
  /** Baseline: the common way of building it. */
  usual?: number;
  goal?: Goal;
  note?: string;
};

/** Limits of a figure: all that are named here. */
export type Goal = {
  /** Ours is at most this multiple of the lower bound. */
  timesFloor?: number;
  /** The baseline is at least this multiple of ours. */
  timesBetter?: number;
  /** Ours is at most this. */
  atMost?: number;
};

export type MeasureOptions = {
  /** As few rounds as prove that it runs: for CI, which ignores the figures. */
  short: boolean;
  /** Reports progress of a long measurement; each text replaces the last. */
  progress: (text: string) => void;
  /** The part's own options, as given on the command line. */
  values: Record<string, string | boolean | undefined>;
};

/** A part of the bench. */
export type Part = {
  /** As on the command line: `cold-start`. */
  name: string;
  title: string;
  /** Its own options, each with a value, and their line in `--help`. */
  options?: Record<string, { text: string }>;
  measure(options: MeasureOptions): Promise<Row[]>;
};

/** Measurements of a part. */
export type Result = { name: string; title: string; seconds: number; rows: Row[] };

/** The median of some figures; the mean of the middle two for an even number. */
export function median(figures: number[]): number {
  const sorted = figures.toSorted((one, other) => one - other);
  const at = (index: number) => sorted[index] ?? Number.NaN;
  return (at(Math.floor((sorted.length - 1) / 2)) + at(Math.floor(sorted.length / 2))) / 2;
}
