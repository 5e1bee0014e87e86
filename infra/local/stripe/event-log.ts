/** The events of the simulated Stripe, in the order of their time. */

/** An object as an event shows it: a payment intent, a charge and so on. */
type StripeObject = Record<string, unknown> & { id: string; object: string };

/** A snapshot event. `account` is the connected account that it happened in; absent for the own one. */
export type StripeEvent = Record<string, unknown> & {
  id: string;
  type: string;
  /** Epoch seconds. */
  created: number;
  livemode: boolean;
  account?: string;
  data: { object: StripeObject };
};

/** Whose events a call sees. `account` is empty for the own account. */
export type Scope = { livemode: boolean; account: string };

/** Events of the same second are in the order in which they were registered. */
type Moment = { created: number; sequence: number };
export type Entry = Moment & { event: StripeEvent };

/** Seconds: `from` is included, `to` is not. */
type PageQuery = {
  from: number;
  to: number;
  isWanted: (type: string) => boolean;
  limit: number;
  olderThan?: Entry;
  newerThan?: Entry;
};

/** Entries are oldest first. Objects are in their newest state. */
type Ledger = { entries: Entry[]; byId: Map<string, Entry>; objects: Map<string, Entry> };

export type EventLog = ReturnType<typeof createEventLog>;

export function createEventLog() {
  const ledgers = new Map<string, Ledger>();
  let sequence = 0;
  const ledgerOf = ({ livemode, account }: Scope): Ledger => {
    const key = `${livemode} ${account}`;
    const ledger = ledgers.get(key) ?? { entries: [], byId: new Map(), objects: new Map() };
    ledgers.set(key, ledger);
    return ledger;
  };

  return {
    /** Adds an event with a new id. */
    add: (event: StripeEvent): void => {
      const { entries, byId, objects } = ledgerOf({ ...event, account: event.account ?? '' });
      sequence += 1;
      const entry = { created: event.created, sequence, event };
      byId.set(event.id, entry);
      entries.splice(countBefore(entries, entry), 0, entry);
      const key = objectKey(event.data.object.object, event.data.object.id);
      const newest = objects.get(key);
      if (!newest || isBefore(newest, entry)) objects.set(key, entry);
    },
    find: (scope: Scope, id: string): Entry | undefined => ledgerOf(scope).byId.get(id),
    /** The newest state of an object, by its type and id. */
    findObject: (scope: Scope, type: string, id: string): StripeObject | undefined =>
      ledgerOf(scope).objects.get(objectKey(type, id))?.event.data.object,
    page: (scope: Scope, query: PageQuery) => pageOf(ledgerOf(scope).entries, query),
  };
}

/** One page, newest first, and whether there are more in its direction. */
function pageOf(entries: Entry[], query: PageQuery): { events: StripeEvent[]; hasMore: boolean } {
  const { from, to, isWanted, limit, olderThan, newerThan } = query;
  let first = countBefore(entries, { created: from, sequence: 0 });
  let end = countBefore(entries, { created: to, sequence: 0 });
  if (olderThan) end = Math.min(end, countBefore(entries, olderThan));
  if (newerThan) first = Math.max(first, countBefore(entries, newerThan) + 1);

  // The page before a cursor ends at the cursor, so it is filled from there.
  const step = newerThan ? 1 : -1;
  const found: StripeEvent[] = [];
  for (let at = newerThan ? first : end - 1; at >= first && at < end && found.length <= limit; at += step) {
    const { event } = entries[at] as Entry;
    if (isWanted(event.type)) found.push(event);
  }
  const events = found.slice(0, limit);
  return { events: newerThan ? events.reverse() : events, hasMore: found.length > limit };
}

/** How many of the ordered entries are before a moment. */
function countBefore(entries: Entry[], moment: Moment): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(entries[middle] as Entry, moment)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function isBefore(one: Moment, other: Moment): boolean {
  return one.created - other.created < 0 || (one.created === other.created && one.sequence < other.sequence);
}

const objectKey = (type: string, id: string): string => `${type} ${id}`;
