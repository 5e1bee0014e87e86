/** Two releases that serve the same tables and queue, one after the other and side by side. */
import { randomBytes } from 'node:crypto';
import { ScanCommand } from '@aws-sdk/client-dynamodb';
import type { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import type { SendMessageBatchCommand, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { fromItem, type Item } from '../../shared/aws/dynamo.ts';
import { ada, ben, indexShards, startWorld, type World } from '../integration/world.ts';
import { type SimulatedQueue, simulatedQueue, visibility } from '../simulation/queue.ts';
import { type Acting, courses, type Expected, grantOf } from './bookings.ts';
import type { createRelease, Release, Surroundings } from './release.ts';

type Name = 'today' | 'next';
type Create = Record<Name, typeof createRelease>;

/** Which releases run, and for how many visibility timeouts: after six, a message that stays is a dead letter. */
type Phase = { running: Name[]; rounds: number };
const untilDeadLetter = 6;
/** Rounds in which a doubt ends. */
const roundsOfRest = 3;

export const rollback: Phase[] = [
  { running: ['next'], rounds: 1 },
  { running: ['today'], rounds: untilDeadLetter },
  { running: ['next'], rounds: untilDeadLetter },
];
export const upgradeAndRollback: Phase[] = [
  { running: ['today'], rounds: untilDeadLetter },
  { running: ['today', 'next'], rounds: 1 },
  { running: ['next'], rounds: 1 },
  { running: ['next', 'today'], rounds: 1 },
  { running: ['today'], rounds: untilDeadLetter },
  { running: ['today', 'next'], rounds: 1 },
  { running: ['next'], rounds: untilDeadLetter },
];

const tables = { bookings: 'BookingsTable', connections: 'ConnectionsTable' };
const connectedUser = 'ada-user';

/** A booking on its course: `done` of its steps were taken. */
type Course = { acting: Acting; steps: (typeof courses)[string]; done: number; expected: Expected };

export type Played = {
  violations: string[];
  /** Items and message bodies of the first phase. */
  first: { items: Item[]; messages: string[] };
  log: Record<Name, string[]>;
  /** Most dead letters at one time. */
  deadLetters: number;
  bookings: number;
};

/** Plays every course from every phase on, then the rest of it, with redriven dead letters. */
export async function playUpgrade(create: Create, phases: Phase[]): Promise<Played> {
  const world = await startWorld();
  try {
    const service = startService(world, create);
    const played = await play(world, service, phases);
    return { ...played, violations: [...service.violations, ...played.violations], log: service.log };
  } finally {
    await world.close();
  }
}

async function play(world: World, service: Service, phases: Phase[]): Promise<Omit<Played, 'log'>> {
  const { queue, pick } = service;
  const violations: string[] = [];
  const bookings: Course[] = [];
  const references = new Map<string, string>();
  const first: Played['first'] = { items: [], messages: [] };
  let deadLetters = 0;
  let links = 0;

  const connect = async (userId: string, email: string): Promise<void> => {
    const state = await pick().beginConnection(userId, `link-${links++}`);
    await pick().finishConnection(state, grantOf(world, email));
  };
  const waits = ({ acting }: Course): boolean =>
    [...queue.bodies(), ...queue.deadBodies()].some((body) => body.includes(`${acting.bookingId}"`));

  /** Half of the courses; the other half is `late`, and the next phase has them the other way round. */
  function begin(phase: number, late: boolean): Course[] {
    return Object.entries(courses).flatMap(([name, steps], index) => {
      if (((index + phase) % 2 === 0) !== late) return [];
      const bookingId = `${name}-${phase}`;
      const userId = name === 'waiting' ? `user-${bookingId}` : connectedUser;
      return { acting: { world, release: pick, bookingId, userId, connect }, steps, done: 0, expected: {} };
    });
  }

  async function takeStep(booking: Course): Promise<void> {
    const step = booking.steps[booking.done];
    if (!step || waits(booking)) return;
    booking.done += 1;
    booking.expected = await step(booking.acting).catch((error: Error) => {
      violations.push(`${booking.acting.bookingId}: ${error.message}`);
      return booking.expected;
    });
  }

  async function takeSteps(): Promise<void> {
    for (const [index, booking] of bookings.entries()) {
      await takeStep(booking);
      if (index % 3 === 0) await service.pump();
    }
  }

  async function check(): Promise<void> {
    for (const { acting, expected } of bookings.filter((booking) => !waits(booking)))
      violations.push(...(await disagreements(acting, expected)));
  }

  for (const [phase, { running, rounds }] of phases.entries()) {
    service.run(running);
    await connect(connectedUser, ada);
    bookings.push(...begin(phase, false));
    await takeSteps();
    await service.settle(rounds);
    const items = await itemsOf(world);
    violations.push(...lostReferences(items, references));
    if (rounds === untilDeadLetter) await check();
    if (phase === 0) Object.assign(first, { items, messages: [...service.sent] });
    deadLetters = Math.max(deadLetters, queue.deadBodies().length);
    // Their first messages are in the queue while releases change.
    const late = begin(phase, true);
    bookings.push(...late);
    for (const booking of late) await takeStep(booking);
  }
  // One more than the steps of the longest course. After a violation there is nothing more to learn.
  for (let round = 0; round < 4 && violations.length === 0; round++) {
    queue.redrive();
    await service.settle(roundsOfRest);
    await check();
    await takeSteps();
  }
  if (violations.length === 0 && queue.size() > 0)
    violations.push(`The queue still holds ${queue.bodies().join()}`);
  return { violations, first, deadLetters, bookings: bookings.length };
}

type Service = ReturnType<typeof startService>;

function startService(world: World, create: Create) {
  const { time } = world;
  const violations: string[] = [];
  const log: Record<Name, string[]> = { today: [], next: [] };
  const sent: string[] = [];
  const queue = simulatedQueue(
    () => time.now * 1000,
    () => 5,
  );
  const around = surroundings(world, queue, sent);
  const releases = {
    today: create.today(around, (line) => log.today.push(line)),
    next: create.next(around, (line) => log.next.push(line)),
  };
  let running: Name[] = [];
  let turn = 0;
  const pick = (): Release => releases[running[turn++ % running.length] as Name];

  async function work(name: Name, messages: ReturnType<typeof queue.receive>): Promise<void> {
    const staying = await releases[name].work(messages);
    const done = messages.filter(({ messageId }) => !staying.includes(messageId));
    for (const { body } of done)
      if (name === 'today' && JSON.parse(body).schemaVersion !== 1)
        violations.push(`A newer message was acknowledged: ${body}`);
    queue.remove(done.map(({ messageId }) => messageId));
  }

  /** Works through the queue, all running releases at once, until no message is visible. */
  async function pump(): Promise<void> {
    for (;;) {
      const batches = running.map((name) => ({ name, messages: queue.receive(5) }));
      if (batches.every(({ messages }) => messages.length === 0)) return;
      await Promise.all(batches.map(({ name, messages }) => work(name, messages)));
    }
  }

  return {
    queue,
    violations,
    log,
    /** The bodies of all messages so far. */
    sent,
    run(names: Name[]): void {
      running = names;
    },
    /** A running release, each in turn. */
    pick,
    pump,
    /** As often as `rounds` says: works through the queue, waits for a visibility timeout, and runs the schedules. */
    async settle(rounds: number): Promise<void> {
      for (let round = 0; round < rounds; round++) {
        await pump();
        time.now += visibility / 1000 + 5;
        await pick().reconcile();
        await pick().refresh();
      }
    },
  };
}

function surroundings(world: World, queue: SimulatedQueue, sent: string[]): Surroundings {
  type Text = string | undefined;
  type Entry = { MessageBody?: Text; MessageGroupId?: Text; MessageDeduplicationId?: Text };
  const put = ({ MessageBody = '', MessageGroupId = '', MessageDeduplicationId = '' }: Entry): void => {
    sent.push(MessageBody);
    queue.send({ body: MessageBody, groupId: MessageGroupId, deduplicationId: MessageDeduplicationId });
  };
  const sqs = {
    async send({ input }: SendMessageCommand | SendMessageBatchCommand) {
      const entries = 'Entries' in input ? (input.Entries ?? []) : [input as Entry];
      for (const entry of entries) put(entry);
      return { Successful: entries };
    },
  };
  const eventBridge = { send: async (_: PutEventsCommand) => ({ FailedEntryCount: 0 }) };
  return {
    dynamo: world.dynamo,
    tables,
    indexShards,
    sqs: sqs as unknown as SQSClient,
    eventBridge: eventBridge as unknown as EventBridgeClient,
    googleUrl: world.google.url,
    googleClient: world.googleClient.value,
    secret: JSON.stringify({ current: 'k1', k1: randomBytes(32).toString('hex') }),
    clock: () => world.time.now,
  };
}

async function itemsOf({ dynamo }: World): Promise<Item[]> {
  const pages = await Promise.all(
    Object.values(tables).map((TableName) => dynamo.send(new ScanCommand({ TableName }))),
  );
  return pages.flatMap(({ Items = [] }) => Items.map((item) => fromItem<Item>(item)));
}

/** How a booking and its events differ from what is expected: one event at most, and the right one. */
async function disagreements(
  { world, release, bookingId }: Acting,
  { status, event, location }: Expected,
): Promise<string[]> {
  const read = await release()
    .status(bookingId)
    .catch(({ message }: Error) => message);
  const events = [ada, ben]
    .flatMap((email) => world.google.control.events(email))
    .filter((one) => one.extendedProperties?.private?.leadscalendarBooking === bookingId)
    .filter((one) => one.status !== 'cancelled')
    .map((one) => ({ status: one.status, location: one.location }));
  const found = JSON.stringify({ status: read, events });
  const right = JSON.stringify({ status, events: event ? [{ status: event, location }] : [] });
  return found === right ? [] : [`${bookingId} is ${found}, not ${right}`];
}

/** References that the next release gave, and that are gone or were given again. */
function lostReferences(items: Item[], known: Map<string, string>): string[] {
  const found = new Map<string, unknown>();
  for (const { id, userId, reference, payments = {}, facts } of items) {
    const name = String(id ?? userId);
    found.set(name, reference);
    const paid: Record<string, Item> = {
      ...(payments as object),
      ...(facts ? { facts: facts as Item } : {}),
    };
    for (const [payment, said] of Object.entries(paid)) found.set(`${name} ${payment}`, said.reference);
  }
  const lost = [...known].filter(([name, reference]) => found.has(name) && found.get(name) !== reference);
  for (const [name, reference] of found) if (typeof reference === 'string') known.set(name, reference);
  return lost.map(
    ([name, reference]) => `${name} had the reference ${reference}, and has ${found.get(name)}`,
  );
}
