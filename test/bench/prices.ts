/**
 * AWS prices in US dollars: region us-east-1, list prices of the first tier, without any free tier, as known in
 * November 2026. AWS publishes its prices per region and changes them without notice: edit the figures here for
 * another region or day.
 *
 * How reliable each one is:
 * - `second-hand`: several dated accounts by others of 2025 or 2026 agree; AWS's own page needs a browser and was
 * not read
 * - `remembered`: no dated source was found
 */
export type Price = { usd: number; per: number; known: 'second-hand' | 'remembered'; source: string };

const million = 1_000_000;
const aws = 'https://aws.amazon.com';

export const prices = {
  lambdaRequests: { usd: 0.2, per: million, known: 'second-hand', source: `${aws}/lambda/pricing/` },
  /** arm64. */
  lambdaGbSeconds: { usd: 0.0000133334, per: 1, known: 'second-hand', source: `${aws}/lambda/pricing/` },
  /** HTTP API, per 512 KB. */
  apiRequests: { usd: 1, per: million, known: 'second-hand', source: `${aws}/api-gateway/pricing/` },
  /** FIFO, per 64 KB. */
  queueRequests: { usd: 0.5, per: million, known: 'second-hand', source: `${aws}/sqs/pricing/` },
  /** Custom events, per 64 KB. */
  events: { usd: 1, per: million, known: 'second-hand', source: `${aws}/eventbridge/pricing/` },
  schedules: { usd: 1, per: million, known: 'second-hand', source: `${aws}/eventbridge/pricing/` },
  /** On demand, since November 2024. */
  readUnits: { usd: 0.125, per: million, known: 'second-hand', source: `${aws}/dynamodb/pricing/on-demand/` },
  writeUnits: {
    usd: 0.625,
    per: million,
    known: 'second-hand',
    source: `${aws}/dynamodb/pricing/on-demand/`,
  },
  storedGbMonths: { usd: 0.25, per: 1, known: 'remembered', source: `${aws}/dynamodb/pricing/on-demand/` },
  /** Point-in-time recovery. */
  backupGbMonths: { usd: 0.2, per: 1, known: 'remembered', source: `${aws}/dynamodb/pricing/on-demand/` },
  secretMonths: { usd: 0.4, per: 1, known: 'second-hand', source: `${aws}/secrets-manager/pricing/` },
  secretReads: { usd: 0.05, per: 10_000, known: 'second-hand', source: `${aws}/secrets-manager/pricing/` },
  keyMonths: { usd: 1, per: 1, known: 'second-hand', source: `${aws}/kms/pricing/` },
  keyRequests: { usd: 0.03, per: 10_000, known: 'second-hand', source: `${aws}/kms/pricing/` },
  /** Ingested by CloudWatch Logs. */
  logGb: { usd: 0.5, per: 1, known: 'second-hand', source: `${aws}/cloudwatch/pricing/` },
  metricMonths: { usd: 0.3, per: 1, known: 'second-hand', source: `${aws}/cloudwatch/pricing/` },
  /** Per metric that an alarm watches. */
  alarmMetricMonths: { usd: 0.1, per: 1, known: 'remembered', source: `${aws}/cloudwatch/pricing/` },
  traces: { usd: 5, per: million, known: 'remembered', source: `${aws}/xray/pricing/` },
} satisfies Record<string, Price>;

export type Priced = keyof typeof prices;
