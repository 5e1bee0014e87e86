/** Monthly costs, computed from measured units and prices. Pure: measures and reads nothing, and has no clock. */
import { type Price, type Priced, prices } from './prices.ts';

/** Usage of each priced unit. */
export type Units = Partial<Record<Priced, number>>;

/** Measurements of one operation. Bytes and units are those of DynamoDB and the log. */
export type MeasuredOperation = {
  /** Invocations of the operation; zero for a part of one. */
  invocations: number;
  /** For each function its memory in MB, and milliseconds of our own work, without Google's latency. */
  runs: { memoryMb: number; ms: number }[];
  /** Sequential calls to Google that a run waits for, and the memory that waits. */
  googleCalls: number;
  waitingMb: number;
  apiRequests: number;
  messages: number;
  events: number;
  readUnits: number;
  writeUnits: number;
  logBytes: number;
};

export type MeasuredService = {
  payment: MeasuredOperation;
  /** One refresh, as a part of a sweep. */
  refresh: MeasuredOperation;
  idleSweep: MeasuredOperation;
  idleReconcile: MeasuredOperation;
  /**
   * Write units of one connection's tokens without indexes and lease, and of one booking: the writes of the
   * baseline.
   */
  plainWrites: { connection: number; booking: number };
  /** Bytes of one connection, and of all items of one paid booking. */
  stored: { connection: number; booking: number };
  /** Fixed cost, independent of load. */
  standing: { secrets: number; keys: number; alarmMetrics: number; metrics: number };
  sweepsPerMonth: number;
  reconcilesPerMonth: number;
  /** Concurrent refreshes in a sweep. */
  refreshConcurrency: number;
};

export type Load = {
  /** A month. */
  payments: number;
  connections: number;
  /** Share of connections that are in use on a day, 0..1. */
  active: number;
  /** Latency of Google in milliseconds. */
  latency: number;
  /** Seconds between two refreshes of a connection in use, and of an idle one. */
  refreshEvery: { inUse: number; idle: number };
};

export const monthSeconds = 30 * 86_400;
const gigabyte = 1024 ** 3;
/** Lambda gives one whole processor at this memory, and a proportional share below. */
export const wholeCpuMb = 1769;

export function dollars(units: Units, table: Record<Priced, Price> = prices): number {
  return Object.entries(units).reduce((sum, [name, amount]) => {
    const { usd, per } = table[name as Priced];
    return sum + (amount * usd) / per;
  }, 0);
}

export function times(units: Units, factor: number): Units {
  return Object.fromEntries(Object.entries(units).map(([name, amount]) => [name, amount * factor]));
}

export function sum(...all: Units[]): Units {
  const total: Units = {};
  for (const units of all)
    for (const [name, amount] of Object.entries(units) as [Priced, number][])
      total[name] = (total[name] ?? 0) + amount;
  return total;
}

/**
 * Units of one operation. All measured time counts as processor time and is stretched by the memory's processor
 * share, which is an upper bound. `waitsFor`: billed milliseconds per call to Google.
 */
function unitsOf(operation: MeasuredOperation, waitsFor: number): Units {
  const { invocations, runs, googleCalls, waitingMb, messages, logBytes, ...same } = operation;
  const { apiRequests, events, readUnits, writeUnits } = same;
  const working = runs.reduce(
    (all, { memoryMb, ms }) => all + gbSeconds(memoryMb, stretched(ms, memoryMb)),
    0,
  );
  return {
    lambdaRequests: invocations,
    lambdaGbSeconds: working + gbSeconds(waitingMb, googleCalls * waitsFor),
    apiRequests,
    // Each message is sent, received and deleted alone, the most expensive way.
    queueRequests: 3 * messages,
    events,
    readUnits,
    writeUnits,
    logGb: logBytes / gigabyte,
  };
}

const gbSeconds = (memoryMb: number, ms: number): number => (memoryMb / 1024) * (ms / 1000);
const stretched = (ms: number, memoryMb: number): number => ms * Math.max(1, wholeCpuMb / memoryMb);

/** Payments of a month, without traces. */
export function paymentsOf(service: MeasuredService, { payments, latency }: Load): Units {
  return times(unitsOf(service.payment, latency), payments);
}

/**
 * The baseline: the webhook reads the connection, waits for Google and writes the booking in one run. It is
 * charged our webhook's own time and log for all of its work, and no events, retries or refunds.
 */
export function usualPaymentsOf(
  { payment, plainWrites }: MeasuredService,
  { payments, latency }: Load,
): Units {
  const inline = {
    ...payment,
    invocations: 1,
    runs: payment.runs.slice(0, 1),
    messages: 0,
    events: 0,
    readUnits: 1,
    writeUnits: plainWrites.booking,
  };
  return times(unitsOf(inline, latency), payments);
}

/** Refreshes of a month. A user in use on a day counts as in use for 24 hours. */
export function refreshesOf({
  connections,
  active,
  refreshEvery,
}: Omit<Load, 'payments' | 'latency'>): number {
  const perMonth = active / refreshEvery.inUse + (1 - active) / refreshEvery.idle;
  return connections * perMonth * monthSeconds;
}

/** Keeping the tokens of all connections valid for a month. Sweeps without due connections are in `standingOf`. */
export function refreshingOf(service: MeasuredService, load: Load): Units {
  // Concurrent refreshes share their waiting time.
  return times(unitsOf(service.refresh, load.latency / service.refreshConcurrency), refreshesOf(load));
}

/**
 * The baseline: each connection every hour, by a read, a call to Google and a write, `sideBySide` of them at a
 * time. Its own work counts as no time.
 */
export function usualRefreshingOf(service: MeasuredService, load: Load, sideBySide: number): Units {
  const { refresh, plainWrites } = service;
  const plain = { ...refresh, runs: [], readUnits: 1, writeUnits: plainWrites.connection, logBytes: 0 };
  const hourly = (load.connections * monthSeconds) / 3600;
  return times(unitsOf(plain, load.latency / sideBySide), hourly);
}

/** Events of Stripe about one payment; each is read in its own quarter of an hour, and again for two hours. */
const eventsOfPayment = 3;
const readsOfEvent = 9;

/**
 * Recovery of lost webhooks in a month, estimated: what it reads is queued again, and synced alone and without a change, in
 * 20 ms with three read units. A run takes two seconds.
 */
export function recoveringOf({ payments }: Pick<Load, 'payments'>): Units {
  const runs = monthSeconds / 900;
  const repeats = payments * eventsOfPayment * readsOfEvent;
  return {
    schedules: runs,
    lambdaRequests: runs + repeats,
    lambdaGbSeconds: runs * gbSeconds(512, 2000) + repeats * gbSeconds(1024, 20),
    queueRequests: repeats / 10 + 2 * repeats,
    readUnits: runs + 3 * repeats,
    writeUnits: runs,
  };
}

/** Users whose calendars the audit reads side by side. */
const auditedAtOnce = 5;

/**
 * The daily audit in a month, estimated: a call to Google for each connection, and two reads of each booking of last week
 * and of 60 days ahead, a millisecond each.
 */
export function auditingOf({
  payments,
  connections,
  latency,
}: Pick<Load, 'payments' | 'connections' | 'latency'>): Units {
  const runs = monthSeconds / 3600;
  const days = monthSeconds / 86_400;
  const bookings = (payments / days) * (60 + 7);
  const oneRun = gbSeconds(512, (connections * latency) / auditedAtOnce + 2 * bookings);
  return {
    schedules: runs,
    lambdaRequests: runs,
    lambdaGbSeconds: days * oneRun,
    readUnits: days * (2 * connections + 2 * bookings),
    writeUnits: (days * connections) / auditedAtOnce,
  };
}

/** Monthly cost of stored connections. */
export function storedConnectionsOf({ stored }: MeasuredService, { connections }: Load): Units {
  return storing(stored.connection * connections);
}

/** Cost of one month's bookings in each later month. */
export function storedBookingsOf({ stored }: MeasuredService, { payments }: Load): Units {
  return storing(stored.booking * payments);
}

function storing(bytes: number): Units {
  return { storedGbMonths: bytes / gigabyte, backupGbMonths: bytes / gigabyte };
}

/** Traces with X-Ray's default rule: the first run of a function in each second, and one in twenty of the rest. */
export function tracesOf(runs: number): Units {
  const first = Math.min(runs, monthSeconds);
  return { traces: first + (runs - first) / 20 };
}

/** Cost of a month without any payment. */
export function standingOf(service: MeasuredService): Units {
  const { standing, idleSweep, idleReconcile, sweepsPerMonth, reconcilesPerMonth } = service;
  const windows = monthSeconds / 300;
  return sum(
    times(unitsOf(idleSweep, 0), sweepsPerMonth),
    times(unitsOf(idleReconcile, 0), reconcilesPerMonth),
    tracesOf(sweepsPerMonth),
    tracesOf(reconcilesPerMonth),
    {
      schedules: sweepsPerMonth + reconcilesPerMonth,
      // Lambda's five pollers query the empty queue for twenty seconds each.
      queueRequests: (5 * monthSeconds) / 20,
      // Cached for five minutes: webhook two, sync three, refresh two secrets, in one permanently busy environment
      // each.
      secretReads: 7 * windows,
      // DynamoDB: four pairs of a permanently busy function and a table. SQS: its documented formula, with four
      // functions that send and one that receives.
      keyRequests: (4 + 2 * 4 + 1) * windows,
      secretMonths: standing.secrets,
      keyMonths: standing.keys,
      alarmMetricMonths: standing.alarmMetrics,
      metricMonths: standing.metrics,
    },
  );
}
