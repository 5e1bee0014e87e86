/** Money: monthly costs, from units that are measured here and a dated price list. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resolveResources } from '../../infra/local/aws/resources.ts';
import { readSchedules } from '../../infra/local/aws/schedules.ts';
import { readAssembly, type Template } from '../../infra/local/aws/template.ts';
import { functionConfig } from '../../infra/local/aws/wiring.ts';
import { synthesize } from '../../infra/synthesize.ts';
import type { RefreshPolicy } from '../../shared/lib/config.ts';
import { env } from '../../shared/lib/names.ts';
import {
  type MeasuredStack,
  type Measurement,
  measureScenarios,
  refreshedConnections,
  startMeasuredStack,
} from '../e2e/call-scenarios.ts';
import { type Item, storedBytes, writeUnits } from './capacity.ts';
import {
  auditingOf,
  dollars,
  type Load,
  type MeasuredOperation,
  type MeasuredService,
  paymentsOf,
  recoveringOf,
  refreshesOf,
  refreshingOf,
  standingOf,
  storedBookingsOf,
  storedConnectionsOf,
  times,
  tracesOf,
  type Units,
  usualPaymentsOf,
  usualRefreshingOf,
} from './cost-model.ts';
import type { MeasureOptions, Part, Row } from './part.ts';
import type { Priced } from './prices.ts';

const defaults = { payments: 1_000_000, connections: 100_000, active: 5, latency: 300 };

export const cost: Part = {
  name: 'cost',
  title: 'Money: US dollars a month, us-east-1, no free tier',
  options: {
    payments: { text: `a month (default: ${defaults.payments})` },
    connections: { text: `stored (default: ${defaults.connections})` },
    active: { text: `percent of the connections in use on a day (default: ${defaults.active})` },
    latency: { text: `milliseconds in which Google answers (default: ${defaults.latency})` },
  },
  async measure(options) {
    const given = readLoad(options.values);
    const directory = mkdtempSync(join(tmpdir(), 'bench-cost-'));
    try {
      options.progress('building');
      synthesize(directory);
      const { service, refreshEvery } = await measureService(directory, options);
      return costRows(service, { ...given, refreshEvery });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
};

function readLoad(values: MeasureOptions['values']): Omit<Load, 'refreshEvery'> {
  const read = (name: keyof typeof defaults, most = Number.MAX_SAFE_INTEGER): number => {
    const value = Number(values[name] ?? defaults[name]);
    if (value >= 0 && value <= most) return value;
    throw new Error(
      `--${name} ${values[name]} cannot be: it is a number from 0${most === 100 ? ' to 100' : ''}.`,
    );
  };
  return {
    payments: read('payments'),
    connections: read('connections'),
    active: read('active', 100) / 100,
    latency: read('latency'),
  };
}

/** Lifetime of Google's access tokens in seconds. */
const tokenLifetime = 3600;

async function measureService(
  directory: string,
  { short, progress }: MeasureOptions,
): Promise<{ service: MeasuredService; refreshEvery: Load['refreshEvery'] }> {
  const { template, assetPaths } = readAssembly(directory);
  const { resourcesOf } = resolveResources(template, { apiUrl: 'http://api', queueUrlBase: 'http://queues' });
  const functions = resourcesOf('AWS::Lambda::Function').map((each) => functionConfig(each, assetPaths, {}));
  const memoryOf = (name: string): number =>
    functions.find((each) => each.name === name)?.memoryMb ?? Number.NaN;
  const { environment: { [env.refreshPolicy]: policy = '', [env.refreshConcurrency]: concurrency } = {} } =
    functions.find(({ name }) => name === 'token-refresh') ?? {};
  const { margin, keepAlive } = JSON.parse(policy) as RefreshPolicy;
  const schedules = readSchedules(resourcesOf('AWS::Scheduler::Schedule'));
  const everyMs = (name: string): number =>
    schedules.find(({ functionArn }) => functionArn.endsWith(`:${name}`))?.everyMs ?? Number.NaN;
  const perMonth = (name: string): number => (30 * 86_400_000) / everyMs(name);
  // A due connection waits for the next sweep, half its interval on average.
  const wait = everyMs('token-refresh') / 2000;

  const stack = await startMeasuredStack(directory);
  try {
    const measured = await measureScenarios(stack, { rounds: short ? 1 : 15, progress });
    const accessLog = accessLogBytes(template);
    const operation = (measurement: Measurement, waiting: string): MeasuredOperation =>
      operationOf(measurement, memoryOf, memoryOf(waiting), accessLog);
    const { payment } = measured;
    const idleSweep = operation(measured['refresh with nothing due'], 'token-refresh');
    const metrics = new Set(Object.values(measured).flatMap((each) => each.metrics));
    return {
      service: {
        payment: operation(payment, 'booking-sync'),
        refresh: share(
          operation(measured['refresh of several connections'], 'token-refresh'),
          idleSweep,
          refreshedConnections,
        ),
        idleSweep,
        idleReconcile: operation(measured['reconcile with nothing due'], 'booking-reconcile'),
        ...(await storedItems(stack)),
        standing: { ...standingIn(template), metrics: metrics.size },
        sweepsPerMonth: perMonth('token-refresh'),
        reconcilesPerMonth: perMonth('booking-reconcile'),
        refreshConcurrency: Number(concurrency),
      },
      refreshEvery: { inUse: tokenLifetime - margin + wait, idle: keepAlive + wait },
    };
  } finally {
    await stack.close();
  }
}

/** Fixed monthly cost of the template. An alarm on an expression is billed for all metrics in it. */
function standingIn({ Resources }: Template): Omit<MeasuredService['standing'], 'metrics'> {
  const all = (type: string) => Object.values(Resources).filter(({ Type }) => Type === type);
  const metricsOf = ({ Properties = {} }: Template['Resources'][string]): number => {
    const { Metrics } = Properties as { Metrics?: { MetricStat?: object }[] };
    return Metrics?.filter(({ MetricStat }) => MetricStat).length ?? 1;
  };
  return {
    secrets: all('AWS::SecretsManager::Secret').length,
    keys: all('AWS::KMS::Key').length,
    alarmMetrics: all('AWS::CloudWatch::Alarm').reduce((sum, alarm) => sum + metricsOf(alarm), 0),
  };
}

/** CloudWatch counts this many extra bytes per line. */
const lineOverhead = 26;

function operationOf(
  { functions, calls, messages, events, items }: Measurement,
  memoryOf: (name: string) => number,
  waitingMb: number,
  accessLog: number,
): MeasuredOperation {
  const ran = Object.entries(functions);
  const apiRequests = 'payment-confirmed' in functions ? 1 : 0;
  return {
    invocations: ran.reduce((sum, [, { runs }]) => sum + runs, 0),
    runs: ran.map(([name, { ms }]) => ({ memoryMb: memoryOf(name), ms })),
    googleCalls: Object.values(calls.google ?? {}).reduce((sum, count) => sum + count, 0),
    waitingMb,
    apiRequests,
    messages: messages.length,
    events: events.length,
    readUnits: items.readUnits,
    writeUnits: items.writeUnits,
    logBytes: ran.reduce(
      (sum, [, { logBytes, logLines }]) => sum + logBytes + logLines * lineOverhead,
      apiRequests * (accessLog + lineOverhead),
    ),
  };
}

/** The share of each of `count` connections in a sweep that would otherwise find none. */
function share(all: MeasuredOperation, none: MeasuredOperation, count: number): MeasuredOperation {
  const each = (name: 'googleCalls' | 'events' | 'readUnits' | 'writeUnits' | 'logBytes'): number =>
    (all[name] - none[name]) / count;
  return {
    ...all,
    invocations: 0,
    runs: all.runs.map(({ memoryMb, ms }, index) => ({
      memoryMb,
      ms: Math.max(0, ms - (none.runs[index]?.ms ?? 0)) / count,
    })),
    googleCalls: each('googleCalls'),
    events: each('events'),
    readUnits: each('readUnits'),
    writeUnits: each('writeUnits'),
    logBytes: each('logBytes'),
  };
}

/** Bytes of a line of the API's access log, with each variable estimated at twelve characters. */
function accessLogBytes({ Resources }: Template): number {
  const stage = Object.values(Resources).find(({ Type }) => Type === 'AWS::ApiGatewayV2::Stage');
  const settings = stage?.Properties?.AccessLogSettings as { Format: string } | undefined;
  if (!settings) throw new Error('The API of the template writes no access log.');
  return settings.Format.replace(/\$context\.[\w.]+/g, '-'.repeat(12)).length;
}

async function storedItems({
  meter,
}: MeasuredStack): Promise<Pick<MeasuredService, 'plainWrites' | 'stored'>> {
  const connections = await meter.contents('ConnectionsTable');
  const bookings = await meter.contents('BookingsTable');
  const [connection] = connections.items.filter(({ userId }) => userId?.S === 'payer') as [Item];
  const [booking] = bookings.items.filter(({ id }) => id?.S === 'booking#paid-0') as [Item];
  const [pointer] = bookings.items.filter(({ id }) => id?.S === 'payment#pi_paid-0') as [Item];
  return {
    plainWrites: {
      connection: writeUnits(connection, connection, []),
      booking: writeUnits(undefined, booking, []),
    },
    stored: {
      connection: storedBytes(connection, connections.indexes),
      booking: storedBytes(booking, bookings.indexes) + storedBytes(pointer, bookings.indexes),
    },
  };
}

const services: Record<string, Priced[]> = {
  Lambda: ['lambdaRequests', 'lambdaGbSeconds'],
  API: ['apiRequests'],
  queue: ['queueRequests'],
  bus: ['events'],
  DynamoDB: ['readUnits', 'writeUnits', 'storedGbMonths', 'backupGbMonths'],
  secrets: ['secretMonths', 'secretReads'],
  KMS: ['keyMonths', 'keyRequests'],
  CloudWatch: ['logGb', 'metricMonths', 'alarmMetricMonths'],
  traces: ['traces'],
  schedules: ['schedules'],
};

/** `Lambda 5.23, queue 1.5`: dollars per service, without those that cost nothing. */
function byService(units: Units): string {
  return Object.entries(services)
    .map(
      ([name, priced]) =>
        [name, dollars(Object.fromEntries(priced.map((each) => [each, units[each] ?? 0])))] as const,
    )
    .filter(([, usd]) => usd >= 0.005)
    .map(([name, usd]) => `${name} ${usd.toFixed(2)}`)
    .join(', ');
}

/** The table. Only refreshes have a goal. */
export function costRows(service: MeasuredService, load: Load): Row[] {
  const { payments, connections, active } = load;
  const row = (what: string, units: Units, others: Partial<Row> = {}): Row => ({
    what,
    unit: 'USD',
    ours: dollars(units),
    note: byService(units),
    ...others,
  });
  const count = (amount: number): string => amount.toLocaleString('en');
  const perMillion = { ...load, payments: 1_000_000 };
  const refreshing = refreshingOf(service, load);
  const inUse = `${count(active * 100)} % in use`;
  // The goal applies up to this many active users; more of them need more refreshes.
  const judged = active <= 0.05 ? { goal: { timesBetter: 10 } } : {};
  return [
    row('a million payments', paymentsOf(service, perMillion), {
      usual: dollars(usualPaymentsOf(service, perMillion)),
    }),
    ...(payments === 1_000_000
      ? []
      : [
          row(`${count(payments)} payments`, paymentsOf(service, load), {
            usual: dollars(usualPaymentsOf(service, load)),
          }),
        ]),
    row('  their recovery, estimated', recoveringOf(load)),
    row('  their daily audit, estimated', auditingOf(load)),
    row('  their traces', sumOfTraces(service, payments)),
    row('  their bookings, each month after', storedBookingsOf(service, load)),
    {
      what: `refreshes, ${inUse}`,
      unit: 'a month',
      ours: refreshesOf(load),
      usual: (connections * 30 * 86_400) / 3600,
      ...judged,
    },
    row(`${count(connections)} connections refreshed`, refreshing, {
      usual: dollars(usualRefreshingOf(service, load, 1)),
      ...judged,
      note: `${byService(refreshing)}; usual: one after the other`,
    }),
    row(`  usual: ${service.refreshConcurrency} at a time, as ours`, refreshing, {
      usual: dollars(usualRefreshingOf(service, load, service.refreshConcurrency)),
      note: '',
    }),
    row(`${count(connections)} connections stored`, storedConnectionsOf(service, load)),
    row('standing, with nothing to do', standingOf(service)),
  ];
}

/** Each function of a payment decides separately about traces. */
function sumOfTraces({ payment }: MeasuredService, payments: number): Units {
  return times(tracesOf(payments), payment.invocations);
}
