/** The service's own metrics, from CloudWatch or from the logs of the local stack. */
import { createReadStream, globSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type CloudWatchClient, paginateGetMetricData } from '@aws-sdk/client-cloudwatch';
import * as v from 'valibot';
import { metricNamespace } from '../../../shared/lib/names.ts';
import type { MetricName } from '../../../shared/lib/observability.ts';
import { parseJson } from '../../../shared/lib/schemas.ts';

/** `TC(:60000)`: how many values are 60,000 at most. */
type Statistic = 'Sum' | 'SampleCount' | 'Maximum' | 'p50' | 'p99' | `TC(:${number})`;
export type MetricQuery = {
  name: MetricName;
  dimensions?: Record<string, string>;
  statistic: Statistic;
};
/** Epoch seconds, and the length of its parts in seconds. `to` is not in it. */
type Window = { from: number; to: number; period: number };

/** A value for each part of the window, oldest first, by query. Undefined where nothing was recorded. */
export type ReadMetrics = (queries: MetricQuery[], window: Window) => Promise<(number | undefined)[][]>;

const partsOf = ({ from, to, period }: Window): number => Math.ceil((to - from) / period);

/** CloudWatch answers so many queries in one call. */
const maxQueries = 500;

export function cloudWatchMetrics(client: CloudWatchClient, stackName: string): ReadMetrics {
  return async (queries, window) => {
    if (queries.length > maxQueries) throw new Error(`At most ${maxQueries} metrics are read at once.`);
    const series = queries.map(() => new Array<number | undefined>(partsOf(window)).fill(undefined));
    const pages = paginateGetMetricData(
      { client },
      {
        StartTime: new Date(window.from * 1000),
        EndTime: new Date(window.to * 1000),
        MetricDataQueries: queries.map(({ name, dimensions = {}, statistic }, index) => ({
          Id: `q${index}`,
          MetricStat: {
            Metric: {
              Namespace: metricNamespace,
              MetricName: name,
              Dimensions: Object.entries({ stack: stackName, ...dimensions }).map(([Name, Value]) => ({
                Name,
                Value,
              })),
            },
            Period: window.period,
            Stat: statistic,
          },
        })),
      },
    );
    for await (const { MetricDataResults = [] } of pages) {
      for (const { Id = '', Timestamps = [], Values = [] } of MetricDataResults) {
        const values = series[Number(Id.slice(1))];
        Timestamps.forEach((at, index) => {
          if (values) values[partAt(window, at.getTime() / 1000)] = Values[index];
        });
      }
    }
    return series;
  };
}

function partAt({ from, period }: Window, at: number): number {
  return Math.max(0, Math.floor((at - from) / period));
}

const loggedMetric = v.looseObject({
  _aws: v.object({
    Timestamp: v.number(),
    CloudWatchMetrics: v.tuple([
      v.object({
        Namespace: v.literal(metricNamespace),
        Dimensions: v.tuple([v.array(v.string())]),
        Metrics: v.tuple([v.object({ Name: v.string() })]),
      }),
    ]),
  }),
});

/** Metrics of the local stack, which writes them as log lines, as Lambda functions do. */
export function loggedMetrics(stateDir: string): ReadMetrics {
  return async (queries, window) => {
    const found = queries.map(() => Array.from({ length: partsOf(window) }, (): number[] => []));
    for (const file of globSync(join(stateDir, 'logs', '*.log'))) {
      for await (const line of createInterface({ input: createReadStream(file) })) {
        if (line.includes('"_aws"')) addLine(line, { queries, window, found });
      }
    }
    return found.map((parts, index) => parts.map((values) => statisticOf(values, queries[index]?.statistic)));
  };
}

type Found = { queries: MetricQuery[]; window: Window; found: number[][][] };

function addLine(line: string, { queries, window, found }: Found): void {
  const read = v.safeParse(loggedMetric, parseJson(line));
  if (!read.success) return;
  const { _aws, ...fields } = read.output;
  const second = Math.floor(_aws.Timestamp / 1000);
  if (second < window.from || second > window.to) return;
  // What was recorded in the second of the question counts, in the last part.
  const at = Math.min(second, window.to - 1);
  const [{ Dimensions, Metrics }] = _aws.CloudWatchMetrics;
  const names = Dimensions[0].filter((name) => name !== 'stack');
  queries.forEach(({ name, dimensions = {} }, index) => {
    if (name !== Metrics[0].Name || names.length !== Object.keys(dimensions).length) return;
    if (!names.every((one) => fields[one] === dimensions[one])) return;
    found[index]?.[partAt(window, at)]?.push(Number(fields[name]));
  });
}

function statisticOf(values: number[], statistic: Statistic | undefined): number | undefined {
  if (values.length === 0 || statistic === undefined) return undefined;
  const sorted = values.toSorted((one, other) => one - other);
  switch (statistic) {
    case 'Sum':
      return values.reduce((sum, value) => sum + value, 0);
    case 'SampleCount':
      return values.length;
    case 'Maximum':
      return sorted.at(-1);
    case 'p50':
    case 'p99':
      return sorted[Math.ceil((Number(statistic.slice(1)) / 100) * values.length) - 1];
    default: {
      const most = Number(/\d+/.exec(statistic)?.[0]);
      return values.filter((value) => value <= most).length;
    }
  }
}

/** The sum of a series. */
export function total(values: (number | undefined)[] = []): number {
  return values.reduce<number>((sum, value) => sum + (value ?? 0), 0);
}
