/** Calls: the network calls of each operation, next to its lower bound. */
import {
  measureScenarios,
  refreshedConnections,
  startMeasuredStack,
  waitingBookings,
} from '../e2e/call-scenarios.ts';
import type { Part, Row } from './part.ts';

type Scenario = keyof Awaited<ReturnType<typeof measureScenarios>>;

/** An operation: its calls within a scenario, the lower bound, and why ours are more. */
type Operation = {
  what: string;
  scenario: Scenario;
  /** Functions whose calls count; `google` for those to Google. */
  by: string[];
  floor: number;
  why?: string;
  /** Repetitions within the scenario. */
  times?: number;
};

const pointer = 'the pointer by which refunds find the booking; put after the booking, never beside it';
const lease = 'the lease, so that two workers never refresh at once';
const decided = 'what is stored is read first, to decide on it';
const shards = 'one query for each shard of the index';

const operations: Operation[] = [
  { what: 'webhook accepted', scenario: 'payment', by: ['payment-confirmed'], floor: 1 },
  { what: 'sync, token fresh', scenario: 'payment', by: ['booking-sync', 'google'], floor: 4, why: pointer },
  {
    what: 'sync, token expired',
    scenario: 'payment with an expired token',
    by: ['booking-sync', 'google'],
    floor: 6,
    why: `${pointer}; ${lease}`,
  },
  { what: 'sync of a duplicate', scenario: 'duplicate', by: ['booking-sync', 'google'], floor: 1 },
  {
    what: 'sync, user not connected',
    scenario: 'payment of an unconnected user',
    by: ['booking-sync', 'google'],
    floor: 3,
    why: pointer,
  },
  { what: 'reschedule, API call', scenario: 'reschedule', by: ['bookings'], floor: 2, why: decided },
  { what: 'reschedule, sync', scenario: 'reschedule', by: ['booking-sync', 'google'], floor: 4 },
  { what: 'cancel, API call', scenario: 'cancel', by: ['bookings'], floor: 2, why: decided },
  { what: 'cancel, sync', scenario: 'cancel', by: ['booking-sync', 'google'], floor: 4 },
  {
    what: 'connect',
    scenario: 'connect',
    by: ['connect'],
    floor: 0,
  },
  {
    what: 'callback',
    scenario: 'callback',
    by: ['oauth-callback', 'google'],
    floor: 5,
    why: 'whether the link was used is read, and the attempt counted, before the code is redeemed; told before stored, released after',
  },
  { what: 'callback, nothing waits', scenario: 'callback', by: ['booking-sync'], floor: 1 },
  {
    what: `reconnect, ${waitingBookings} bookings wait`,
    scenario: 'reconnect with waiting bookings',
    by: ['oauth-callback', 'booking-sync', 'google'],
    floor: 5 + 2 + 4 * waitingBookings,
    why: 'as callback; each booking is a sync of its own',
  },
  {
    what: 'disconnect',
    scenario: 'disconnect',
    by: ['connections', 'google'],
    floor: 4,
    why: 'others of the same account are looked for, since Google would end theirs too; the outcome is recorded',
  },
  {
    what: 'refresh of a connection',
    scenario: 'refresh of several connections',
    by: ['token-refresh', 'google'],
    floor: 2,
    why: lease,
    times: refreshedConnections,
  },
  {
    what: 'idle sweep of connections',
    scenario: 'refresh with nothing due',
    by: ['token-refresh'],
    floor: 1,
    why: shards,
  },
  {
    what: 'idle sweep of bookings',
    scenario: 'reconcile with nothing due',
    by: ['booking-reconcile'],
    floor: 1,
    why: shards,
  },
];

/** Scenarios whose items are counted, by their name in the table. */
const itemsOf: Partial<Record<Scenario, string>> = {
  payment: 'payment',
  'payment with an expired token': 'payment, token expired',
  duplicate: 'duplicate',
  reschedule: 'reschedule',
  cancel: 'cancel',
  callback: 'callback',
  disconnect: 'disconnect',
  'refresh of several connections': `sweep that refreshes ${refreshedConnections}`,
};

export const calls: Part = {
  name: 'calls',
  title: 'Calls: how many each operation makes when warm',
  async measure({ progress }) {
    progress('starting');
    const stack = await startMeasuredStack();
    try {
      const measured = await measureScenarios(stack, { progress });
      const sweepAlone = total(measured['refresh with nothing due'].calls, ['token-refresh']);
      const counted = operations.map(({ what, scenario, by, floor, why, times }): Row => {
        const all = total(measured[scenario].calls, by);
        const ours = times ? (all - sweepAlone) / times : all;
        return { what, unit: 'calls', ours, floor, ...(why ? { note: why } : {}) };
      });
      const items = Object.entries(itemsOf).flatMap(([scenario, name]): Row[] => {
        const { read, readBytes, readUnits, written, writtenBytes, writeUnits } =
          measured[scenario as Scenario].items;
        return [
          { what: `${name}: read`, unit: 'RRU', ours: readUnits, note: `${read} items, ${readBytes} bytes` },
          {
            what: `${name}: written`,
            unit: 'WRU',
            ours: writeUnits,
            note: `${written} items, ${writtenBytes} bytes`,
          },
        ];
      });
      return [...counted, ...items];
    } finally {
      await stack.close();
    }
  },
};

/** Without secrets, which an environment reads once in five minutes. */
function total(counts: Record<string, Record<string, number>>, by: string[]): number {
  return by
    .flatMap((name) => Object.entries(counts[name] ?? {}))
    .filter(([call]) => !call.startsWith('secretsmanager:'))
    .reduce((sum, [, count]) => sum + count, 0);
}
