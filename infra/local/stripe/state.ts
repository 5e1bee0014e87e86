import { type Collection, openJournal } from '../journal.ts';
import { createEventLog, type EventLog, type StripeEvent } from './event-log.ts';
import { newKey, permissions, type StripeKey } from './keys.ts';

/** Behaviours that exclude each other. The defaults are the common ones. */
export type Switches = {
  /** Deliver no webhook, so that only reading the events finds them. */
  dropWebhooks: boolean;
  /** Whether events that the API shows have `account`, as in webhooks. Not documented. */
  listedAccount: 'absent' | 'shown';
};

export type StripeState = {
  log: EventLog;
  keys: Collection<StripeKey>;
  /** Connected accounts that have revoked the platform's access. */
  disconnected: Set<string>;
  switches: Switches;
  now: () => number;
  random: () => number;
  /** Stores an event. */
  register(event: StripeEvent): void;
  close(): void;
};

export function openState(options: {
  stateFile: string | undefined;
  now: () => number;
  random: () => number;
}): StripeState {
  const { stateFile, now, random } = options;
  const journal = openJournal(stateFile);
  const log = createEventLog();
  const keys = journal.collection<StripeKey>('keys');
  const events = journal.collection<StripeEvent>('events');
  for (const event of events.values()) log.add(event);
  if ([...keys.values()].length === 0) {
    for (const key of firstKeys(random)) keys.set(key.key, key);
  }
  return {
    log,
    keys,
    disconnected: new Set(),
    switches: { dropWebhooks: false, listedAccount: 'absent' },
    now,
    random,
    register: (event) => {
      checkEvent(event);
      if (events.get(event.id)) return;
      events.set(event.id, event);
      log.add(event);
    },
    close: journal.close,
  };
}

/** For each mode a secret key, and a restricted one that may read everything here. */
function firstKeys(random: () => number): StripeKey[] {
  return [false, true].flatMap((livemode) => [
    newKey({ livemode, permissions: [...permissions] }, random),
    newKey({ livemode }, random),
  ]);
}

/** Events also arrive over HTTP, and one that no list can show would be a silent mistake in a test. */
function checkEvent({ id, type, created, livemode, data }: StripeEvent): void {
  const isEvent =
    [id, type, data?.object?.id, data?.object?.object].every((it) => typeof it === 'string' && it !== '') &&
    Number.isInteger(created) &&
    typeof livemode === 'boolean';
  if (!isEvent) {
    throw new Error(
      'An event needs id, type, created (epoch seconds), livemode, and data.object with id and object.',
    );
  }
}
