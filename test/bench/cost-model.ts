/** What a month costs, computed from measured units and prices. Pure: nothing here measures, reads or knows the time. */
import { type Price, type Priced, prices } from './prices.ts';

/** How much of what is priced something uses. */
export type Units = Partial<Record<Priced, number>>;

/** What was measured of one operation. Bytes and units are those of DynamoDB and the log. */
export type MeasuredOperation = {
  /** Invocations that it takes; none where it is a part of one. */
  invocations: number;
  /** For each function that runs its memory in MB, and milliseconds of our own work, Google's answer aside. */
  runs: { memoryMb: number; ms: number }[];
  /** Calls to Google that a run waits for, one after the other, and the memory that waits. */
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
  /** Write units of one connection's tokens without indexes and lease, and of one booking: what the usual way writes. */
  plainWrites: { connection: number; booking: number };
  /** Bytes that one connection takes, and what one paid booking leaves behind. */
  stored: { connection: number; booking: number };
  /** What stands, whatever happens. */
  standing: { secrets: number; keys: number; alarmMetrics: number; metrics: number };
  sweepsPerMonth: number;
  reconcilesPerMonth: number;
  /** Refreshes side by side in a sweep. */
  refreshConcurrency: number;
};

export type Load = {
  /** A month. */
  payments: number;
  connections: number;
  /** Part of the connections that are in use on a day, 0..1. */
  active: number;
  /** Milliseconds in which Google answers. */
  latency: number;
  /** Seconds between two refreshes of a connection in use, and of an idle one. */
  refreshEvery: { inUse: number; idle: number };
};

export const monthSeconds = 30 * 86_400;
const gigabyte = 1024 ** 3;
/** Lambda gives one whole processor at this memory, and less below in proportion. */
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
 * Units of one operation. All measured time is taken to be processor time and stretched by the share of a processor that
 * the memory gives, which is more than it can be. `waitsFor`: milliseconds that each call to Google is billed.
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
    // Sent, received and deleted: each message by itself, the dearest way.
    queueRequests: 3 * messages,
    events,
    readUnits,
    writeUnits,
    logGb: logBytes / gigabyte,
  };
}

const gbSeconds = (memoryMb: number, ms: number): number => (memoryMb / 1024) * (ms / 1000);
const stretched = (ms: number, memoryMb: number): number => ms * Math.max(1, wholeCpuMb / memoryMb);

/** Payments of a month, traces aside. */
export function paymentsOf(service: MeasuredService, { payments, latency }: Load): Units {
  return times(unitsOf(service.payment, latency), payments);
}

/**
 * The usual way: the webhook reads the connection, waits for Google and writes the booking, all in one run. It is given
 * our webhook's own time and log for all of its work, and no events, retries or refunds.
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

/** Refreshes of a month. A user who is in use on a day is taken to be so for 24 hours. */
export function refreshesOf({
  connections,
  active,
  refreshEvery,
}: Omit<Load, 'payments' | 'latency'>): number {
  const perMonth = active / refreshEvery.inUse + (1 - active) / refreshEvery.idle;
  return connections * perMonth * monthSeconds;
}

/** Keeping the tokens of all connections usable for a month. Sweeps that find nothing are in `standingOf`. */
export function refreshingOf(service: MeasuredService, load: Load): Units {
  // Those that refresh side by side wait together.
  return times(unitsOf(service.refresh, load.latency / service.refreshConcurrency), refreshesOf(load));
}

/**
 * The usual way: each connection every hour, by a read, a call to Google and a write, `sideBySide` of them at a time.
 * Its own work takes no time.
 */
export function usualRefreshingOf(service: MeasuredService, load: Load, sideBySide: number): Units {
  const { refresh, plainWrites } = service;
  const plain = { ...refresh, runs: [], readUnits: 1, writeUnits: plainWrites.connection, logBytes: 0 };
  const hourly = (load.connections * monthSeconds) / 3600;
  return times(unitsOf(plain, load.latency / sideBySide), hourly);
}

/** What stored connections cost a month. */
export function storedConnectionsOf({ stored }: MeasuredService, { connections }: Load): Units {
  return storing(stored.connection * connections);
}

/** What the bookings of one month cost in each month after it. */
export function storedBookingsOf({ stored }: MeasuredService, { payments }: Load): Units {
  return storing(stored.booking * payments);
}

function storing(bytes: number): Units {
  return { storedGbMonths: bytes / gigabyte, backupGbMonths: bytes / gigabyte };
}

/** Traces with X-Ray's default rule: the first run of a function in each second, and a twentieth of the rest. */
export function tracesOf(runs: number): Units {
  const first = Math.min(runs, monthSeconds);
  return { traces: first + (runs - first) / 20 };
}

/** What a month costs in which nothing happens. */
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
      // Five pollers of Lambda ask the empty queue, each for twenty seconds.
      queueRequests: (5 * monthSeconds) / 20,
      // Kept for five minutes: webhook two, sync three, refresh two, in one environment of each that never rests.
      secretReads: 7 * windows,
      // DynamoDB: four pairs of a function that is always busy and a table. SQS: its documented formula, with four
      // functions that send and one that receives.
      keyRequests: (4 + 2 * 4 + 1) * windows,
      secretMonths: standing.secrets,
      keyMonths: standing.keys,
      alarmMetricMonths: standing.alarmMetrics,
      metricMonths: standing.metrics,
    },
  );
}
